"""Writes the translation catalogs of the report (templates/report/locales).

New messages of the code and the templates are added without a translation, messages that nobody uses any more are
removed, and known translations are kept. Each catalog is compiled to the .mo file beside it.
"""

from __future__ import annotations

import io
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
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
    """Returns the right content of every catalog, as text and compiled."""
    files = {}
    for language in LANGUAGES:
        catalog = updated_catalog(language)
        files[po_path(language)] = as_po(catalog)
        files[po_path(language).with_suffix(".mo")] = as_mo(catalog)
    return files


def missing_translations() -> list[str]:
    """Returns one line for each language, followed by its messages without a translation."""
    lines = []
    for language in LANGUAGES:
        catalog = updated_catalog(language)
        missing = [str(message.id) for message in catalog if not all(translations(message))]
        lines.append(f"{language}: {len(catalog)} messages, {len(missing)} without a translation")
        lines += [f"  {text}" for text in missing]
    return lines


def marked_messages() -> list[tuple[str | tuple[str, ...], str | None]]:
    """Returns every message that the code and the templates mark, with its context, in their order."""
    messages = []
    for folder in SOURCES:
        extracted = extract_from_dir(TOP / folder, METHODS, keywords=KEYWORDS)
        messages += [(message, context) for *_, message, _, context in sorted(extracted, key=lambda found: found[:2])]
    return list(dict.fromkeys(messages))


def po_path(language: str) -> Path:
    return LOCALES / language / "LC_MESSAGES" / "cml.po"


def read_catalog(language: str) -> Catalog:
    with po_path(language).open("rb") as file:
        return read_po(file, locale=language)


def updated_catalog(language: str) -> StableCatalog:
    """Returns a catalog of the messages that are marked now, with the translations that the file has."""
    known = read_catalog(language) if po_path(language).exists() else Catalog()
    catalog = StableCatalog(language)
    for message, context in marked_messages():
        old = known.get(message, context)
        catalog.add(message, old.string if old else None, context=context)
    return catalog


def translations(message: Message) -> tuple[str, ...]:
    """Returns the translation of a message, one text for each of its plural forms."""
    return message.string if isinstance(message.string, tuple) else (str(message.string or ""),)


def as_po(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_po(file, catalog, width=120)
    return file.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_mo(file, catalog)
    return file.getvalue()
