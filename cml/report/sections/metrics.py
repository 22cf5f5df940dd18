"""The metrics: their values on both sides, what got better or worse, and files that could not be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from cml.model.report import MetricRow, Report, UnreadableFile, is_number
from cml.report.formatting import Formatter, sort_key
from cml.report.i18n import pnoop
from cml.report.sections.base import DASH, Comparison, LabelledRow, Section, comparison_of, side_label
from cml.report.sections.gates import split_gates
from cml.report.sections.rows import MAX_ROWS, VISIBLE_ROWS, Mark, ValueRow, select_rows, split_rows

Outcome = Literal["worse", "better", "changed", "new", "removed", "unchanged"]

MARKS: dict[Outcome, Mark] = {"worse": "worse", "better": "better"}
_ORDER: tuple[Outcome, ...] = ("worse", "better", "changed", "new", "removed", "unchanged")
_DIFFS = {
    "added": pnoop("metric", "new"),
    "removed": pnoop("metric", "removed"),
    "changed": pnoop("metric", "changed"),
}


@dataclass(frozen=True, kw_only=True)
class UnreadableRow(LabelledRow):
    """A file of metrics or params that could not be read; `label` is the translation of `side`."""

    path: str
    side: Literal["baseline", "current"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class MetricsView(Section):
    """`metrics` are the first rows that changed, `metrics_more` the others; with no diff, all rows are among them."""

    has_metrics: bool
    has_marks: bool
    metrics: tuple[ValueRow, ...]
    metrics_more: tuple[ValueRow, ...]
    metrics_unchanged: tuple[ValueRow, ...]
    unreadable: tuple[UnreadableRow, ...]


def build_metrics(report: Report, formatter: Formatter) -> MetricsView:
    comparison = comparison_of(report)
    outcomes = count_outcomes(report)
    # What got worse comes first: it decides whether a change can be merged.
    in_order = sorted(report.metrics or (), key=lambda row: _ORDER.index(outcome_of(row)))
    changed, unchanged = split_rows(in_order, comparison)
    failed, _ = split_gates(report)
    # A metric that fails a gate is shown even where it is far down in a long list.
    required = {(result.path, result.metric) for result in failed[:MAX_ROWS]}
    shown, shown_unchanged = select_rows(changed, unchanged, required=required)
    rows = tuple(metric_row(row, formatter, comparison) for row in shown)
    return MetricsView(
        has_metrics=report.metrics is not None or bool(report.gates or report.unreadable),
        has_marks=bool(outcomes["better"] or outcomes["worse"]),
        metrics=rows[:VISIBLE_ROWS],
        metrics_more=rows[VISIBLE_ROWS:],
        metrics_unchanged=tuple(metric_row(row, formatter, comparison) for row in shown_unchanged),
        unreadable=tuple(_unreadable(file, formatter) for file in report.unreadable),
        unlisted={
            "metrics_more": len(changed) - len(shown),
            "metrics_unchanged": len(unchanged) - len(shown_unchanged),
        },
    )


def count_outcomes(report: Report) -> Counter[Outcome]:
    """Returns how many metrics had each outcome; nothing where there is no comparison."""
    if comparison_of(report) != "diff":
        return Counter()
    return Counter(map(outcome_of, report.metrics or ()))


def outcome_of(row: MetricRow) -> Outcome:
    if row.status == "changed" and row.better is not None:
        return "better" if row.better else "worse"
    return "new" if row.status == "added" else row.status


def metric_row(row: MetricRow, formatter: Formatter, comparison: Comparison) -> ValueRow:
    mark: Mark = ""
    diff, diff_key = "", ""
    if comparison == "diff" and row.status != "unchanged":
        mark = MARKS.get(outcome_of(row), "")
        diff, diff_key = _difference(row, formatter)
    return ValueRow(
        path=row.path,
        # A report.json from elsewhere may have an empty name, and its row would look broken.
        name=row.name or '""',
        old=DASH if row.status == "added" else formatter.metric(row.old),
        new=DASH if row.status == "removed" else formatter.metric(row.new),
        diff=diff,
        mark=mark,
        status=row.status,
        keys=(sort_key(row.old), sort_key(row.new), diff_key),
    )


def _difference(row: MetricRow, formatter: Formatter) -> tuple[str, str]:
    """Returns how a metric changed, and the number to sort it by: a difference where there is one, else a word."""
    word = formatter.translations.pgettext(*_DIFFS[row.status])
    if row.status != "changed" or not is_number(row.old) or not is_number(row.new):
        return word, ""
    try:
        # Not the formatted change: `metrics_format` may round it.
        key = sort_key(float(row.new) - float(row.old))
    except OverflowError:  # an int that is too large for a float
        key = ""
    # A change from or to NaN has no number.
    change = formatter.change(row.old, row.new)
    return word if change == DASH else change, key


def _unreadable(file: UnreadableFile, formatter: Formatter) -> UnreadableRow:
    side: Literal["baseline", "current"] = "baseline" if file.side == "old" else "current"
    label = side_label(side, translations=formatter.translations)
    return UnreadableRow(path=file.path, side=side, label=label, reason=file.reason)
