"""What several sections need: the base class, the kind of comparison, and the labels of the two sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cml.model.report import Report
from cml.report.i18n import ENGLISH, Translations, language_of, pnoop, translations_of

DASH = "—"
"""Shown in place of a value that does not exist."""

Comparison = Literal["diff", "same", "first"]
"""Two revisions; a revision with itself; no revision before this one. Only "diff" has old values and differences."""

_SIDES = {"baseline": pnoop("side", "baseline"), "current": pnoop("side", "current")}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section. Templates see each of its fields by its name, so a name is used in one section only.

    `unlisted` counts, by field, the rows that are only in report.json since no page can show so many.
    """

    unlisted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LabelledRow:
    """A row with the translated word for its kind, side or status."""

    label: str

    @property
    def said(self) -> str:
        """The name of `label` in version 0.1, which templates of users may still have."""
        return self.label


def comparison_of(report: Report) -> Comparison:
    if report.baseline is None:
        return "first"
    return "same" if report.baseline.sha == report.sha and not report.has_workspace_changes else "diff"


def side_label(label: str, *, translations: Translations) -> str:
    """Returns the translation of "baseline" or "current", any other label as it is."""
    return translations.pgettext(*_SIDES[label]) if label in _SIDES else label


def side_labels(locale: str) -> dict[str, str]:
    """Returns the translations of "baseline" and "current"; none for English."""
    language = language_of(locale)
    if language == ENGLISH:
        return {}
    return {label: side_label(label, translations=translations_of(language)) for label in _SIDES}
