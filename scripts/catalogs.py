"""Writes the translation catalogs of the report (templates/report/locales).

A catalog has the messages that are translated: one without a translation appears in English, so that adding a message
changes no catalog. `make generate` lists these messages and removes those that nobody uses any more.

`python -m scripts.catalogs LANGUAGE` adds the missing messages to one catalog, for a translator to fill in.
"""

from __future__ import annotations

import io
import sys
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

from cml.report.i18n import LANGUAGES
from scripts.paths import LOCALES, TOP

SOURCES = ("cml", "templates/report")
METHODS = [("**.py", "python"), ("**.j2", "jinja2")]
KEYWORDS = {**DEFAULT_KEYWORDS, "noop": None, "nnoop": (1, 2), "pnoop": ((1, "c"), 2), "npnoop": ((1, "c"), 2, 3)}


class StableCatalog(Catalog):
    """A catalog without date, person and version in its header, so that only its messages can change the file."""

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


def generated_files() -> dict[Path, bytes]:
    """Returns the right content of every catalog."""
    return {po_path(language): as_po(updated_catalog(language)) for language in LANGUAGES}


def missing_translations() -> list[str]:
    """Returns one line for each language, followed by its messages without a translation."""
    lines = []
    for language in LANGUAGES:
        missing = missing_messages(language)
        lines.append(f"{language}: {len(marked_messages())} messages, {len(missing)} without a translation")
        lines += [f"  {message.id}" for message in missing]
    return lines


def missing_messages(language: str) -> list[Message]:
    catalog = updated_catalog(language, with_missing=True)
    return [message for message in catalog if message.id and not all(translations(message))]


@cache
def marked_messages() -> list[tuple[str | tuple[str, ...], str | None]]:
    """Returns every message that the code and the templates mark, with its context."""
    messages = []
    for folder in SOURCES:
        extracted = extract_from_dir(TOP / folder, METHODS, keywords=KEYWORDS)
        messages += [(message, context) for *_, message, _, context in sorted(extracted, key=lambda found: found[:2])]
    return list(dict.fromkeys(messages))


def po_path(language: str) -> Path:
    return LOCALES / f"{language}.po"


def read_catalog(language: str) -> Catalog:
    with po_path(language).open("rb") as file:
        return read_po(file, locale=language)


def updated_catalog(language: str, *, with_missing: bool = False) -> StableCatalog:
    """Returns the messages of the catalog that are still marked, and if asked for, those that it does not have."""
    known = read_catalog(language) if po_path(language).exists() else Catalog()
    catalog = StableCatalog(language)
    # In the order of the alphabet, so that no catalog changes where code is moved.
    for message, context in sorted(marked_messages(), key=_sort_key):
        old = known.get(message, context)
        if old or with_missing:
            catalog.add(message, old.string if old else None, context=context)
    return catalog


def _sort_key(marked: tuple[str | tuple[str, ...], str | None]) -> tuple[str, str]:
    message, context = marked
    return message if isinstance(message, str) else message[0], context or ""


def translations(message: Message) -> tuple[str, ...]:
    """Returns the translation of a message, one text for each of its plural forms."""
    return message.string if isinstance(message.string, tuple) else (str(message.string or ""),)


def as_po(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_po(file, catalog, width=120)
    return file.getvalue()


def main(language: str) -> None:
    po_path(language).write_bytes(as_po(updated_catalog(language, with_missing=True)))
    print(f"wrote {po_path(language).relative_to(TOP)}: translate each empty msgstr")


if __name__ == "__main__":
    main(*sys.argv[1:])
