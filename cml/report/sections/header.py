"""The header: the verdict in one line, the biggest changes, and the baseline."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from heapq import nlargest
from typing import Literal

from cml.model.report import MetricRow, Report, is_number
from cml.report.escape import NumberText
from cml.report.formatting import Formatter
from cml.report.i18n import Translations, nnoop, noop, npnoop
from cml.report.sections.base import Comparison, Section, comparison_of
from cml.report.sections.gates import state_of
from cml.report.sections.metrics import MARKS, Outcome, count_outcomes, metric_row, outcome_of
from cml.report.sections.rows import Mark, ValueRow

Tone = Literal["good", "bad", "mixed", "quiet"]

MAX_HIGHLIGHTS = 3

# How many metrics got better, worse ...: the first count of a list says "metrics", the others are short.
_FIRST_COUNT = {
    "better": nnoop("%(count)s metric better", "%(count)s metrics better"),
    "worse": nnoop("%(count)s metric worse", "%(count)s metrics worse"),
    "changed": nnoop("%(count)s metric changed", "%(count)s metrics changed"),
    "new": nnoop("%(count)s metric new", "%(count)s metrics new"),
    "removed": nnoop("%(count)s metric removed", "%(count)s metrics removed"),
    "unchanged": nnoop("%(count)s metric unchanged", "%(count)s metrics unchanged"),
}
_OTHER_COUNTS = {
    "worse": npnoop("metrics", "%(count)s worse", "%(count)s worse"),
    "changed": npnoop("metrics", "%(count)s changed", "%(count)s changed"),
    "new": npnoop("metrics", "%(count)s new", "%(count)s new"),
    "removed": npnoop("metrics", "%(count)s removed", "%(count)s removed"),
}
_COUNTED: tuple[Outcome, ...] = ("better", "worse", "changed", "new", "removed")
_STEPS = (noop("setup"), noop("pull"), noop("reproduce"), noop("push"), noop("run"))

# The reasons that `cml.run.baseline` gives for a baseline.
REASONS = (noop("the target branch"), noop("the default branch"), noop("the previous commit"))
OBVIOUS_REASONS = ("the default", "as set")  # not shown: they say no more than the baseline's name


@dataclass(frozen=True, kw_only=True)
class Highlight:
    """The metrics that got better (or worse): the biggest changes, and how many more there are."""

    mark: Mark
    rows: tuple[ValueRow, ...]
    more: int


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of the comparison: its name, and the first seven characters of its commit, or "workspace"."""

    name: str
    sha: str


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The first line of a report: `title` is in bold, `details` follow it."""

    icon: str
    tone: Tone
    title: str
    details: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HeaderView(Section):
    """`reason` says why the baseline was chosen, and is empty where its name says enough."""

    name: str
    icon: str
    tone: Tone
    title: str
    details: tuple[str, ...]
    highlights: tuple[Highlight, ...]
    comparison: Comparison
    baseline: Side | None
    reason: str
    current: Side


def build_header(report: Report, formatter: Formatter) -> HeaderView:
    translations = formatter.translations
    outcomes = count_outcomes(report)
    headline = _headline(report, outcomes, translations)
    baseline = report.baseline
    current = translations.gettext("workspace") if report.has_workspace_changes else report.sha[:7]
    return HeaderView(
        name=report.name,
        icon=headline.icon,
        tone=headline.tone,
        title=headline.title,
        details=headline.details,
        highlights=_highlights(report, outcomes, formatter),
        comparison=comparison_of(report),
        baseline=Side(name=baseline.name, sha=NumberText(baseline.sha[:7])) if baseline else None,
        reason=_reason(baseline.reason, translations) if baseline else "",
        current=Side(name=translations.gettext("this run"), sha=NumberText(current)),
    )


def _headline(report: Report, outcomes: Counter[Outcome], translations: Translations) -> Headline:
    """Returns the answer to "may I merge?": a failure first, then the gates, then what got better and worse."""
    summary = _summary(report, outcomes, translations)
    notes = _warning_count(report, translations)
    # After a failure nothing else counts: metrics and gates may be those of an earlier run.
    if report.failure:
        step = report.failure.step
        label = translations.gettext(step) if step in _STEPS else step
        title = translations.gettext("Failed: %(step)s") % {"step": label}
        return Headline(icon="❌", tone="bad", title=title, details=(report.failure.message, *notes))
    gates = _gate_counts(report, translations)
    if report.verdict == "failed":
        title = translations.gettext("Failed")
        return Headline(icon="❌", tone="bad", title=title, details=(*gates, summary, *notes))
    if report.verdict == "passed":
        title = translations.gettext("Passed")
        return Headline(icon="✅", tone="good", title=title, details=(*gates, summary, *notes))
    icon, tone = _mood(outcomes)
    return Headline(icon=icon, tone=tone, title=summary, details=notes)


def _mood(outcomes: Counter[Outcome]) -> tuple[str, Tone]:
    """Returns the icon and tone of a report without gates."""
    if outcomes["better"] and outcomes["worse"]:
        return "🟡", "mixed"
    if outcomes["better"]:
        return "🟢", "good"
    if outcomes["worse"]:
        return "🔴", "bad"
    return "⚪", "quiet"


def _warning_count(report: Report, translations: Translations) -> tuple[str, ...]:
    count = len(report.warnings)
    if not count:
        return ()
    return (translations.ngettext("%(count)s warning", "%(count)s warnings", count) % {"count": count},)


def _gate_counts(report: Report, translations: Translations) -> tuple[str, ...]:
    """Returns `1 of 3 gates failed` or `3 gates passed`; nothing where a verdict came without gates."""
    states = Counter(map(state_of, report.gates))
    judged = states["failed"] + states["passed"]
    if report.verdict == "passed":
        return (translations.ngettext("%(count)s gate passed", "%(count)s gates passed", judged) % {"count": judged},)
    if not states["failed"]:
        return ()
    text = translations.ngettext("%(failed)s of %(count)s gate failed", "%(failed)s of %(count)s gates failed", judged)
    return (text % {"failed": states["failed"], "count": judged},)


def _summary(report: Report, outcomes: Counter[Outcome], translations: Translations) -> str:
    """Returns `2 metrics better, 1 worse, 1 new`."""
    total = len(report.metrics or ())
    if not total:
        return translations.gettext("No metrics")
    if comparison_of(report) != "diff":
        text = translations.ngettext(
            "%(count)s metric, nothing to compare with", "%(count)s metrics, nothing to compare with", total
        )
        return text % {"count": total}
    counts = [(outcome, outcomes[outcome]) for outcome in _COUNTED if outcomes[outcome]] or [("unchanged", total)]
    (outcome, count), *others = counts
    parts = [translations.ngettext(*_FIRST_COUNT[outcome], count) % {"count": count}]
    parts += [translations.npgettext(*_OTHER_COUNTS[outcome], count) % {"count": count} for outcome, count in others]
    return ", ".join(parts)


def _highlights(report: Report, outcomes: Counter[Outcome], formatter: Formatter) -> tuple[Highlight, ...]:
    """Returns the biggest changes for the worse, then those for the better."""
    highlights = []
    for outcome, mark in MARKS.items():
        if outcomes[outcome]:
            rows = (row for row in report.metrics or () if outcome_of(row) == outcome)
            # The relative change, since metrics have different units.
            biggest = nlargest(MAX_HIGHLIGHTS, rows, key=_relative_change)
            more = max(0, outcomes[outcome] - MAX_HIGHLIGHTS)
            shown = tuple(metric_row(row, formatter, "diff") for row in biggest)
            highlights.append(Highlight(mark=mark, rows=shown, more=more))
    return tuple(highlights)


def _relative_change(row: MetricRow) -> float:
    """Returns the size of a change relative to the old value, infinite where there is no such number."""
    if not is_number(row.old) or not is_number(row.new) or not row.old:
        return math.inf
    try:
        change = abs((float(row.new) - float(row.old)) / float(row.old))
    except OverflowError:
        return math.inf
    return change if math.isfinite(change) else math.inf


def _reason(reason: str, translations: Translations) -> str:
    """Returns the translation of a reason of `cml.run.baseline`, a list of texts between semicolons."""
    if reason in OBVIOUS_REASONS:
        return ""
    return "; ".join(_reason_part(part, translations) for part in reason.split("; "))


def _reason_part(part: str, translations: Translations) -> str:
    if part in REASONS:
        return translations.gettext(part)
    if part.endswith(" does not exist"):
        revision = part.removesuffix(" does not exist")
        return translations.gettext("%(revision)s does not exist") % {"revision": revision}
    if part.startswith("against "):
        return translations.gettext("against %(revision)s") % {"revision": part.removeprefix("against ")}
    return part
