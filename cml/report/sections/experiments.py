"""The experiments: the latest tagged commits of the branch with their metrics, and the trend of each metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cml.model.report import Experiment, Name, Report, is_number
from cml.report.formatting import Formatter, sort_key, sparkline
from cml.report.sections.base import DASH, Section

MAX_COLUMNS = 3  # metrics that the table shows
MIN_TREND_POINTS = 3


@dataclass(frozen=True, kw_only=True)
class ExperimentRow:
    """One experiment. `when` is its date as ISO 8601, `keys` the numbers in `cells`, for sorting."""

    name: str
    sha: str
    url: str | None
    subject: str
    author: str
    date: str
    when: str
    is_current: bool
    cells: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExperimentsView(Section):
    """`experiment_columns` are the headings of the cells, `experiment_trends` pairs of a heading and a sparkline."""

    has_experiments: bool
    experiment_columns: tuple[str, ...]
    experiments: tuple[ExperimentRow, ...]
    experiment_trends: tuple[tuple[str, str], ...]
    experiments_hint: str


def build_experiments(report: Report, formatter: Formatter) -> ExperimentsView:
    metrics = _columns(report)
    headings = _headings(metrics)
    # This run first, also where its commit is not the newest; the others stay in the order of the history.
    experiments = sorted(report.experiments, key=lambda each: not each.is_current)
    hint = report.experiments_hint
    return ExperimentsView(
        has_experiments=bool(report.experiments or hint),
        experiment_columns=headings,
        experiments=tuple(_row(each, metrics, formatter) for each in experiments),
        experiment_trends=_trends(experiments, dict(zip(headings, metrics, strict=True))),
        experiments_hint=formatter.translations.gettext(hint) if hint else "",
    )


def _columns(report: Report) -> list[Name]:
    """Returns the first metrics, in the order of the report, that are a number in at least one experiment."""

    def candidates() -> Iterator[Name]:
        yield from ((row.path, row.name) for row in report.metrics or ())
        # Metrics that this run does not have come last.
        yield from sorted({metric for each in report.experiments for metric in each.metrics})

    columns: list[Name] = []
    for metric in candidates() if report.experiments else ():
        if len(columns) == MAX_COLUMNS:
            break
        if metric not in columns and any(is_number(each.metrics.get(metric)) for each in report.experiments):
            columns.append(metric)
    return columns


def _headings(metrics: Sequence[Name]) -> tuple[str, ...]:
    """Returns the names of metrics, with the path where two files have a metric of the same name."""
    names = [name for _, name in metrics]
    return tuple(name if names.count(name) == 1 else f"{path}:{name}" for path, name in metrics)


def _row(experiment: Experiment, metrics: Sequence[Name], formatter: Formatter) -> ExperimentRow:
    values = experiment.metrics
    return ExperimentRow(
        name=experiment.name,
        sha=experiment.sha[:7],
        url=experiment.url,
        subject=experiment.subject,
        author=experiment.author,
        date=formatter.moment(experiment.date),
        when=experiment.date,
        is_current=experiment.is_current,
        cells=tuple(formatter.metric(values[metric]) if metric in values else DASH for metric in metrics),
        keys=tuple(sort_key(values.get(metric)) for metric in metrics),
    )


def _trends(experiments: Sequence[Experiment], columns: dict[str, Name]) -> tuple[tuple[str, str], ...]:
    """Returns a sparkline, from the oldest experiment to the newest, for each metric with enough numbers."""
    trends = []
    for heading, metric in columns.items():
        keys = [sort_key(each.metrics.get(metric)) for each in reversed(experiments)]
        points = [float(key) for key in keys if key and math.isfinite(float(key))]
        if len(points) >= MIN_TREND_POINTS:
            trends.append((heading, sparkline(points, low=min(points), high=max(points))))
    return tuple(trends)
