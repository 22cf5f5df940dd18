"""Words a report: verdict, baseline, metrics, params and gates, rows in the order that answers "may I merge?" first.

Pure; what things look like on paper stands in the templates, the other sections in `sections`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from heapq import nlargest
from typing import TYPE_CHECKING, Literal, TypeVar

from cml.model.report import DataChanges, GateResult, MetricRow, ParamRow, Report, UnreadableFile
from cml.report import sections
from cml.report.escape import Figure, log_lines
from cml.report.formatting import Formatter, is_number, key
from cml.report.i18n import Words, language_of, nnoop, noop, npnoop, pnoop, words_of
from cml.report.view import DASH, Comparison, Gate, Highlight, Mark, Row, Side, Tone, Unreadable, View

if TYPE_CHECKING:
    from cml.config.number_format import NumberFormat

AnyRow = TypeVar("AnyRow", MetricRow, ParamRow)
Outcome = Literal["worse", "better", "changed", "new", "removed", "unchanged"]
LISTED = 1000  # rows of a table on paper: nobody reads more, and report.json has them all
UNFOLDED = 20  # rows of a table before the rest folds away
HIGHLIGHTS = 3

# How metrics fared, and how many: the first of a list names the noun.
_FIRST = {
    "better": nnoop("%(count)s metric better", "%(count)s metrics better"),
    "worse": nnoop("%(count)s metric worse", "%(count)s metrics worse"),
    "changed": nnoop("%(count)s metric changed", "%(count)s metrics changed"),
    "new": nnoop("%(count)s metric new", "%(count)s metrics new"),
    "removed": nnoop("%(count)s metric removed", "%(count)s metrics removed"),
    "unchanged": nnoop("%(count)s metric unchanged", "%(count)s metrics unchanged"),
}
_REST = {
    "worse": npnoop("metrics", "%(count)s worse", "%(count)s worse"),
    "changed": npnoop("metrics", "%(count)s changed", "%(count)s changed"),
    "new": npnoop("metrics", "%(count)s new", "%(count)s new"),
    "removed": npnoop("metrics", "%(count)s removed", "%(count)s removed"),
}
_DIFFS = {
    "added": pnoop("metric", "new"),
    "removed": pnoop("metric", "removed"),
    "changed": pnoop("metric", "changed"),
}
_RANKS = {"worse": 0, "better": 1, "changed": 2, "new": 3, "removed": 4, "unchanged": 5}
_MARKS: dict[Outcome, Mark] = {"worse": "worse", "better": "better"}
_STEPS = (noop("setup"), noop("pull"), noop("reproduce"), noop("push"), noop("run"))
_REASONS = (noop("the target branch"), noop("the default branch"), noop("the commit before"))
_PLAIN_REASONS = ("the default", "as set")  # which say no more than the baseline's name


def view_of(
    report: Report, *, number_format: NumberFormat, locale: str, sources: Mapping[str, str] | None = None
) -> View:
    """Returns the report in words of the locale's language; `sources` are addresses of images by `PlotImage.file`.

    Raises ValueError for a locale that Babel doesn't know.
    """
    formatter = Formatter(number_format=number_format, locale=locale, words=words_of(language_of(locale)))
    plots = sections.plots(report.plots or (), formatter=formatter, sources=sources or {})
    return replace(
        _worded(_IdentityKey(report), formatter),
        has_plots=bool(plots),
        plots=plots,
        charts=tuple(plot for plot in plots if plot.chart and not plot.is_shown),
    )


class _IdentityKey:
    """A report as a key of a cache: itself, and no other that is equal."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _IdentityKey) and other.report is self.report

    def __hash__(self) -> int:
        return id(self.report)


@lru_cache(maxsize=1)  # a report is written as Markdown, as a page and on the terminal, one after the other
def _worded(of: _IdentityKey, formatter: Formatter) -> View:
    """Returns the report in words, without its plots."""
    report, locale, words = of.report, formatter.locale, formatter.words
    language = language_of(locale)
    comparison = _comparison(report)
    gates = sorted((result for result in report.gates if _state(result) != "passed"), key=_state)
    gates_passed = [result for result in report.gates if _state(result) == "passed"]
    failed = {(result.path, result.metric) for result in gates[:LISTED]}
    moved, still = _split(sorted(report.metrics or (), key=lambda row: _RANKS[_outcome(row)]), comparison)
    metrics, metrics_unchanged = _listed(moved, still, failed)
    moved_params, still_params = _split(report.params or (), comparison)
    params, params_unchanged = _listed(moved_params, still_params, ())
    rows = tuple(_metric(row, formatter=formatter, comparison=comparison) for row in metrics)
    param_rows = tuple(_param(row, formatter=formatter) for row in params)
    stages = sections.stages(report.pipeline, formatter=formatter)
    busy = tuple(stage for stage in stages if stage.status not in ("up to date", "frozen"))
    columns = sections.experiment_columns(report)
    outcomes = Counter(map(_outcome, report.metrics or ())) if comparison == "diff" else Counter()
    icon, tone, title, details = _verdict(report, outcomes=outcomes, comparison=comparison, words=words)
    baseline = report.baseline
    return View(
        report=report,
        language=language,
        name=report.name,
        icon=icon,
        tone=tone,
        title=title,
        details=details,
        highlights=_highlights(moved, outcomes, formatter=formatter),
        comparison=comparison,
        baseline=Side(name=baseline.name, sha=Figure(baseline.sha[:7])) if baseline else None,
        reason=_reason(baseline.reason, words) if baseline else "",
        current=Side(
            name=words.gettext("this run"),
            sha=Figure(words.gettext("workspace") if report.has_workspace_changes else report.sha[:7]),
        ),
        failure=report.failure.message if report.failure else "",
        log=log_lines(report.failure.log_tail) if report.failure else (),
        gates=tuple(_gate(result, formatter=formatter) for result in gates[:LISTED]),
        gates_passed=tuple(_gate(result, formatter=formatter) for result in gates_passed[:LISTED]),
        has_metrics=report.metrics is not None or bool(report.gates or report.unreadable),
        has_marks=bool(outcomes["better"] or outcomes["worse"]),
        metrics=rows[:UNFOLDED],
        metrics_more=rows[UNFOLDED:],
        metrics_unchanged=tuple(_metric(row, formatter=formatter, comparison=comparison) for row in metrics_unchanged),
        unreadable=tuple(_unreadable(file, formatter=formatter) for file in report.unreadable),
        has_params=bool(report.params),
        params=param_rows[:UNFOLDED],
        params_more=param_rows[UNFOLDED:],
        params_unchanged=tuple(_param(row, formatter=formatter) for row in params_unchanged),
        has_plots=False,
        plots=(),
        charts=(),
        has_data=report.data is not None and (comparison == "diff" or report.data != DataChanges()),
        data_counts=sections.data_counts(report.data, formatter=formatter),
        data=sections.data_rows(report.data, formatter=formatter),
        has_pipeline=bool(stages),
        has_gpu=any(stage.memory for stage in stages),
        has_jobs=any(stage.job for stage in stages),
        pipeline_counts=sections.pipeline_counts(report.pipeline, formatter=formatter),
        pipeline=busy,
        pipeline_idle=tuple(stage for stage in stages if stage not in busy),
        graph=sections.graph(report.pipeline),
        has_experiments=bool(report.experiments or report.experiments_hint),
        experiment_columns=tuple(heading for _, heading in columns),
        experiments=sections.experiments(report.experiments, [metric for metric, _ in columns], formatter=formatter),
        experiment_trends=sections.trends(report.experiments, columns),
        experiments_hint=words.gettext(report.experiments_hint) if report.experiments_hint else "",
        warnings=report.warnings,
        run_url=report.run_url,
        compare_url=report.compare_url,
        unlisted={
            "gates": len(gates[LISTED:]),
            "gates_passed": len(gates_passed[LISTED:]),
            "metrics_more": len(moved) - len(metrics),
            "metrics_unchanged": len(still) - len(metrics_unchanged),
            "params_more": len(moved_params) - len(params),
            "params_unchanged": len(still_params) - len(params_unchanged),
        },
    )


def _comparison(report: Report) -> Comparison:
    if report.baseline is None:
        return "first"
    return "same" if report.baseline.sha == report.sha and not report.has_workspace_changes else "diff"


def _split(rows: Iterable[AnyRow], comparison: Comparison) -> tuple[list[AnyRow], list[AnyRow]]:
    """What changed and what did not; where nothing can have changed, all of it is shown as what changed."""
    moved: list[AnyRow] = []
    still: list[AnyRow] = []
    for row in rows:
        (still if comparison == "diff" and row.status == "unchanged" else moved).append(row)
    return moved, still


def _listed(
    moved: list[AnyRow], still: list[AnyRow], failed: Collection[tuple[str | None, str | None]]
) -> tuple[list[AnyRow], list[AnyRow]]:
    """The rows of a table that are put on paper: the first, and whatever stands behind them and fails a gate."""

    shown = _first(moved, LISTED, failed)
    return shown, _first(still, LISTED - len(shown), failed)


def _first(rows: list[AnyRow], room: int, failed: Collection[tuple[str | None, str | None]]) -> list[AnyRow]:
    behind = [row for row in rows[room:] if (row.path, row.name) in failed]
    return rows[: max(0, room - len(behind))] + behind


def _outcome(row: MetricRow) -> Outcome:
    if row.status == "changed" and row.better is not None:
        return "better" if row.better else "worse"
    return "new" if row.status == "added" else row.status


def _verdict(
    report: Report, *, outcomes: Counter[Outcome], comparison: Comparison, words: Words
) -> tuple[str, Tone, str, tuple[str, ...]]:
    """Icon, tone, what is said in bold, and what is said after it."""
    better, worse = outcomes["better"], outcomes["worse"]
    summary = _summary(outcomes, total=len(report.metrics or ()), comparison=comparison, words=words)
    warnings = len(report.warnings)
    notes = (
        (words.ngettext("%(count)s warning", "%(count)s warnings", warnings) % {"count": warnings},) if warnings else ()
    )
    states = Counter(map(_state, report.gates))
    failed, judged = states["failed"], states["failed"] + states["passed"]
    if report.failure:
        step = report.failure.step
        said = words.gettext("Failed: %(step)s") % {"step": words.gettext(step) if step in _STEPS else step}
        return "❌", "bad", said, (report.failure.message, *notes)
    if report.verdict == "failed":
        of = words.ngettext("%(failed)s of %(count)s gate failed", "%(failed)s of %(count)s gates failed", judged)
        counts = (of % {"failed": failed, "count": judged},) if failed else ()
        return "❌", "bad", words.gettext("Failed"), (*counts, summary, *notes)
    if report.verdict == "passed":
        passed = words.ngettext("%(count)s gate passed", "%(count)s gates passed", judged) % {"count": judged}
        return "✅", "good", words.gettext("Passed"), (passed, summary, *notes)
    if better and worse:
        return "🟡", "mixed", summary, notes
    if better or worse:
        return ("🟢", "good", summary, notes) if better else ("🔴", "bad", summary, notes)
    return "⚪", "quiet", summary, notes


def _summary(outcomes: Counter[Outcome], *, total: int, comparison: Comparison, words: Words) -> str:
    """`2 metrics better, 1 worse, 1 new`."""
    if not total:
        return words.gettext("No metrics")
    if comparison != "diff":
        said = words.ngettext(
            "%(count)s metric, nothing to compare with", "%(count)s metrics, nothing to compare with", total
        )
        return said % {"count": total}
    order: tuple[Outcome, ...] = ("better", "worse", "changed", "new", "removed")
    (word, first), *rest = [(word, outcomes[word]) for word in order if outcomes[word]] or [("unchanged", total)]
    parts = [words.ngettext(*_FIRST[word], first) % {"count": first}]
    parts += [words.npgettext(*_REST[word], count) % {"count": count} for word, count in rest]
    return ", ".join(parts)


def _highlights(
    metrics: Sequence[MetricRow], outcomes: Counter[Outcome], *, formatter: Formatter
) -> tuple[Highlight, ...]:
    """The few that got worse by most of their old value, then those that got better."""
    return tuple(
        Highlight(
            mark=mark,
            rows=tuple(
                _metric(row, formatter=formatter, comparison="diff")
                for row in nlargest(HIGHLIGHTS, (row for row in metrics if _outcome(row) == outcome), key=_share)
            ),
            more=max(0, outcomes[outcome] - HIGHLIGHTS),
        )
        for outcome, mark in _MARKS.items()
        if outcomes[outcome]
    )


def _share(row: MetricRow) -> float:
    """How big a change is beside the old value."""
    if not is_number(row.old) or not is_number(row.new) or not row.old:
        return math.inf
    try:
        share = abs((float(row.new) - float(row.old)) / float(row.old))
    except OverflowError:
        return math.inf
    return share if math.isfinite(share) else math.inf


def _metric(row: MetricRow, *, formatter: Formatter, comparison: Comparison) -> Row:
    mark: Mark = ""
    diff, diff_key = "", ""
    if comparison == "diff" and row.status != "unchanged":
        mark = _MARKS.get(_outcome(row), "")
        diff = formatter.words.pgettext(*_DIFFS[row.status])
        if row.status == "changed" and is_number(row.old) and is_number(row.new):
            change = formatter.change(row.old, row.new)
            diff, diff_key = (diff if change == DASH else change), _difference(row.old, row.new)
    return Row(
        path=row.path,
        name=row.name or '""',
        old=DASH if row.status == "added" else formatter.metric(row.old),
        new=DASH if row.status == "removed" else formatter.metric(row.new),
        diff=diff,
        mark=mark,
        status=row.status,
        keys=(key(row.old), key(row.new), diff_key),
    )


def _difference(old: float, new: float) -> str:
    try:
        return key(float(new) - float(old))
    except OverflowError:
        return ""


def _param(row: ParamRow, *, formatter: Formatter) -> Row:
    return Row(
        path=row.path,
        name=row.name or '""',
        old=DASH if row.status == "added" else formatter.param(row.old),
        new=DASH if row.status == "removed" else formatter.param(row.new),
        status=row.status,
        keys=(key(row.old), key(row.new), ""),
    )


def _state(result: GateResult) -> Literal["passed", "failed", "unmatched"]:
    if result.metric is None:
        return "unmatched"
    return "passed" if result.passed else "failed"


def _gate(result: GateResult, *, formatter: Formatter) -> Gate:
    words, state = formatter.words, _state(result)
    if result.metric is None:
        return Gate(state=state, rule=result.rule, metric="", value=words.gettext("matches no metric"))
    nothing = words.gettext("nothing to compare with") if result.passed else words.gettext("no number")
    unit = "%" if result.rule.rstrip().endswith("%") else ""
    return Gate(
        state=state,
        rule=result.rule,
        metric=f"{result.path}:{result.metric}" if result.path else result.metric,
        value=nothing if result.value is None else formatter.significant(result.value, unit),
    )


def _unreadable(file: UnreadableFile, *, formatter: Formatter) -> Unreadable:
    side: Literal["baseline", "current"] = "baseline" if file.side == "old" else "current"
    return Unreadable(path=file.path, side=side, said=sections.side(side, words=formatter.words), reason=file.reason)


def _reason(reason: str, words: Words) -> str:
    """Why a baseline was taken, as `cml.run.baseline` words it."""
    parts = []
    for part in reason.split("; ") if reason not in _PLAIN_REASONS else ():
        absent = part.removesuffix(" does not exist")
        if part in _REASONS:
            parts.append(words.gettext(part))
        elif absent != part:
            parts.append(words.gettext("%(revision)s does not exist") % {"revision": absent})
        elif part.startswith("against "):
            parts.append(words.gettext("against %(revision)s") % {"revision": part.removeprefix("against ")})
        else:
            parts.append(part)
    return "; ".join(parts)
