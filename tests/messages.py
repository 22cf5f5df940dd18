"""Writes the catalogs of templates/report/locales anew: `python tests/messages.py`.

What is marked for translation in the code and in the templates is looked for, the .po files are brought up to date (new
messages without a translation, old ones gone), and each is compiled to the .mo beside it.
"""

from __future__ import annotations

import io
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from cml.report.i18n import LANGUAGES

TOP = Path(__file__).resolve().parent.parent
LOCALES = TOP / "templates" / "report" / "locales"
METHODS = [("**.py", "python"), ("**.j2", "jinja2")]
KEYWORDS = {**DEFAULT_KEYWORDS, "noop": None, "nnoop": (1, 2), "pnoop": ((1, "c"), 2), "npnoop": ((1, "c"), 2, 3)}


class Plain(Catalog):
    """A catalog whose header names no date, person or version, so that only its messages ever change it."""

    def __init__(self, language: str) -> None:
        super().__init__(locale=language, charset="utf-8", fuzzy=False, header_comment=f"# Reports of CML, {language}")

    def _get_mime_headers(self) -> list[tuple[str, str]]:
        return [
            ("Language", str(self.locale_identifier)),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Transfer-Encoding", "8bit"),
            ("Plural-Forms", self.plural_forms),
        ]

    mime_headers = property(_get_mime_headers)


def marked() -> list[tuple[str | tuple[str, ...], str | None]]:
    """Every message that the code and the templates mark, with its context, in their order."""
    found = []
    for folder in ("cml/report", "templates/report"):
        here = extract_from_dir(TOP / folder, METHODS, keywords=KEYWORDS)
        found += [(message, context) for *_, message, _, context in sorted(here, key=lambda each: each[:2])]
    return list(dict.fromkeys(found))


def po(language: str) -> Path:
    return LOCALES / language / "LC_MESSAGES" / "cml.po"


def read(language: str) -> Catalog:
    with po(language).open("rb") as file:
        return read_po(file, locale=language)


def updated(language: str) -> Plain:
    """The catalog with the messages that are marked now, and the translations that are known."""
    known = read(language) if po(language).exists() else Catalog()
    catalog = Plain(language)
    for message, context in marked():
        old = known.get(message, context)
        catalog.add(message, old.string if old else None, context=context)
    return catalog


def strings(message: Message) -> tuple[str, ...]:
    """The translation of a message, one for each of its forms."""
    return message.string if isinstance(message.string, tuple) else (str(message.string or ""),)


def as_po(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_po(file, catalog, width=120)
    return file.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def main() -> None:
    for language in LANGUAGES:
        catalog = updated(language)
        po(language).parent.mkdir(parents=True, exist_ok=True)
        po(language).write_bytes(as_po(catalog))
        po(language).with_suffix(".mo").write_bytes(as_mo(catalog))
        lacking = [str(message.id) for message in catalog if not all(strings(message))]
        print("\n  ".join([f"{language}: {len(catalog)} messages, {len(lacking)} without a translation", *lacking]))


if __name__ == "__main__":
    main()
