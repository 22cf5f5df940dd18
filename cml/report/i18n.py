"""The words of a report in its readers' language: catalogs lie beside the templates, English stands in the code.

`make generate` updates the catalogs with the messages that the code and the templates mark.
"""

from __future__ import annotations

from functools import lru_cache
from gettext import GNUTranslations, NullTranslations

from cml.report import templates_folder

ENGLISH = "en"
LANGUAGES = ("de", "es", "fr", "pt_BR")
Words = NullTranslations


def language_of(locale: str) -> str:
    """Returns the language that serves a locale: its own, else one without or of another territory, else English."""
    language = locale.partition("_")[0].lower()
    names = [name for name in LANGUAGES if name.partition("_")[0] == language]
    return next((name for name in names if name == locale), next(iter(names), ENGLISH))


@lru_cache
def words_of(language: str) -> Words:
    """Returns the catalog of one of our languages."""
    if language == ENGLISH:
        return NullTranslations()
    place = templates_folder() / "locales" / language / "LC_MESSAGES" / "cml.mo"
    with place.open("rb") as file:
        return GNUTranslations(file)


def noop(message: str) -> str:
    """Marks a message for the catalogs that is translated elsewhere; so do those below."""
    return message


def nnoop(one: str, many: str) -> tuple[str, str]:
    return one, many


def pnoop(context: str, message: str) -> tuple[str, str]:
    return context, message


def npnoop(context: str, one: str, many: str) -> tuple[str, str, str]:
    return context, one, many
