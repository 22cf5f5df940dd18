"""Translations of the report. English is in the code and in the templates; other languages are `locales/*.po`.

A message without a translation appears in English. `make generate` lists them.
"""

from __future__ import annotations

import io
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations

from cml.report.template_files import templates_folder

ENGLISH = "en"
LANGUAGES = ("de", "es", "fr", "pt_BR")
Translations = NullTranslations


def language_of(locale: str) -> str:
    """Returns the language of a locale: its own, else one of another territory (`pt` for `pt_BR`), else English."""
    language = locale.partition("_")[0].lower()
    names = [name for name in LANGUAGES if name.partition("_")[0] == language]
    return next((name for name in names if name == locale), next(iter(names), ENGLISH))


@lru_cache
def translations_of(language: str) -> Translations:
    """Returns the translations into one of our languages."""
    if language == ENGLISH:
        return NullTranslations()
    # Only a report in another language needs them, and they take 7 ms.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    # Compiled in memory (20 ms), so that no compiled file can be older than its text.
    with (templates_folder() / "locales" / f"{language}.po").open("rb") as file:
        catalog = read_po(file, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return GNUTranslations(compiled)


def noop(message: str) -> str:
    """Marks a message for `make generate` where it is defined; it is translated where it is used."""
    return message


def nnoop(one: str, many: str) -> tuple[str, str]:
    """Marks a message with a plural."""
    return one, many


def pnoop(context: str, message: str) -> tuple[str, str]:
    """Marks a message with a context, for words that other languages translate differently in another place."""
    return context, message


def npnoop(context: str, one: str, many: str) -> tuple[str, str, str]:
    """Marks a message with a context and a plural."""
    return context, one, many
