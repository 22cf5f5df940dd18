"""Words the sections that explain a result: plots, data, pipeline and experiments. Pure; called by `words` alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle

from cml.report import units
from cml.report.markup import mermaid
from cml.report.model import DataChanges, DataEntry, Experiment, PipelineSection, Plot, Report
from cml.report.units import Pen, count_of, is_number, key
from cml.report.view import DASH, DataCount, DataRow, ExperimentRow, PlotView, Series, Stage

EXPERIMENT_METRICS = 3
CHART_POINTS = 40
LARGEST_GRAPH = 100  # stages; three times as many edges
Column = tuple[tuple[str, str], str]
"""A metric as (path, name), and what heads its column."""

COLORS = {"grey": "#8b949e", "blue": "#2f81f7", "orange": "#db6d28", "purple": "#a371f7"}
_CHART_COLORS = (
    '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "' + ", ".join(COLORS.values()) + '"}}}}%%'
)

# Strokes only: the fill is the theme's, so that the label reads in light and in dark.
_STAGE_STYLES = {
    "ran": "stroke:#1a7f37,stroke-width:3px",
    "failed": "stroke:#cf222e,stroke-width:4px",
    "waiting": "stroke-dasharray:2 4",
}
_STAGE_CLASSES = {"ran": "ran", "failed": "failed", "not run": "waiting"}


def plots(given: Sequence[Plot], *, pen: Pen) -> tuple[PlotView, ...]:
    return tuple(_plot(plot, pen=pen) for plot in given)


def _plot(plot: Plot, *, pen: Pen) -> PlotView:
    finite = [point for _, points in plot.points for point in points if math.isfinite(point)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    series = tuple(
        Series(
            label=label,
            color=color,
            trend=units.sparkline(points, low=low, high=high),
            first=pen.metric(points[0]),
            last=pen.metric(points[-1]),
            points=points,
        )
        for (label, points), color in zip(plot.points, cycle(COLORS))
        if points
    )
    chart = _chart([each.points for each in series], low=low, high=high)
    return PlotView(title=plot.title, problem=plot.problem, images=plot.images, series=series, chart=chart)


def _chart(series: Sequence[tuple[float, ...]], *, low: float, high: float) -> tuple[str, ...]:
    """A Mermaid chart. It stretches every line to the whole axis, so only lines of equal length are drawn in one."""
    length = len(series[0]) if series else 0
    if length < 3 or high <= low or len(series) > len(COLORS) or any(len(points) != length for points in series):
        return ()
    if not all(math.isfinite(point) for points in series for point in points):
        return ()
    lines = (", ".join(f"{point:.6g}" for point in units.sample(points, CHART_POINTS)) for points in series)
    axes = (f"  x-axis 1 --> {length}", f"  y-axis {low:.6g} --> {high:.6g}")
    return (_CHART_COLORS, "xychart-beta", *axes, *(f"  line [{line}]" for line in lines))


def data_counts(data: DataChanges | None, *, pen: Pen) -> tuple[DataCount, ...]:
    return tuple(
        DataCount(kind=kind, count=len(entries), size=_sum_of_sizes(kind, entries, pen=pen))
        for kind, entries in _by_kind(data)
    )


def data_rows(data: DataChanges | None, *, pen: Pen) -> tuple[DataRow, ...]:
    return tuple(
        DataRow(
            kind=kind,
            path=entry.path,
            old_path=entry.old_path,
            size=pen.size_change(entry.old_size, entry.new_size),
            key=key(entry.old_size if entry.new_size is None else entry.new_size),
            files=count_of(entry.files, "file") if entry.files else "",
            biggest=entry.biggest,
        )
        for kind, entries in _by_kind(data)
        for entry in entries
    )


def _by_kind(data: DataChanges | None) -> tuple[tuple[str, tuple[DataEntry, ...]], ...]:
    if data is None:
        return ()
    return ("Added", data.added), ("Modified", data.modified), ("Deleted", data.deleted), ("Renamed", data.renamed)


def _sum_of_sizes(kind: str, entries: tuple[DataEntry, ...], *, pen: Pen) -> str:
    """What a change adds (or frees), where every size is known."""
    takes_old, takes_new = kind in ("Modified", "Deleted"), kind in ("Modified", "Added")
    olds = [entry.old_size for entry in entries if takes_old]
    news = [entry.new_size for entry in entries if takes_new]
    sizes = [size for size in (*olds, *news) if size is not None]
    if not sizes or len(sizes) < len(olds) + len(news):
        return ""
    total = sum(sizes[len(olds) :]) - sum(sizes[: len(olds)])
    return f"{'+' if total > 0 else ''}{pen.size(total)}"


def stages(pipeline: PipelineSection | None, *, pen: Pen) -> tuple[Stage, ...]:
    if pipeline is None:
        return ()
    return tuple(
        Stage(
            place=place,
            name=stage.name,
            status=_status(stage.status),
            time=pen.duration(stage.seconds),
            key=key(stage.seconds),
            needs=tuple(before for before, after in pipeline.edges if after == stage.name),
        )
        for place, stage in enumerate(pipeline.stages)
    )


def pipeline_counts(pipeline: PipelineSection | None, *, pen: Pen) -> tuple[str, ...]:
    """`2 ran`, `1 restored from cache`, `3 min 05 s in all`."""
    if pipeline is None:
        return ()
    order = ("failed", "ran", "restored", "up to date", "frozen", "not run")
    counts = ((status, sum(stage.status == status for stage in pipeline.stages)) for status in order)
    words = tuple(f"{count} {_status(status)}" for status, count in counts if count)
    seconds = math.fsum(stage.seconds for stage in pipeline.stages if stage.seconds and stage.seconds > 0)
    return (*words, f"{pen.duration(seconds)} in all") if seconds else words


def _status(status: str) -> str:
    return "restored from cache" if status == "restored" else status


def graph(pipeline: PipelineSection | None) -> tuple[str, ...]:
    """The pipeline as a Mermaid flow chart; none where it would be too big to read."""
    if not pipeline or not 0 < len(pipeline.edges) <= 3 * LARGEST_GRAPH or len(pipeline.stages) > LARGEST_GRAPH:
        return ()
    ids = {stage.name: f"s{place}" for place, stage in enumerate(pipeline.stages)}
    styles = {stage.name: _STAGE_CLASSES.get(stage.status) for stage in pipeline.stages}
    nodes = (f"  {ids[name]}[{mermaid(name)}]{f':::{style}' if style else ''}" for name, style in styles.items())
    edges = (f"  {ids[before]} --> {ids[after]}" for before, after in pipeline.edges if {before, after} <= ids.keys())
    classes = (f"  classDef {name} {style}" for name, style in _STAGE_STYLES.items() if name in styles.values())
    return ("flowchart TD", *nodes, *edges, *classes)


def experiment_columns(report: Report) -> tuple[Column, ...]:
    """The first metrics, in the order of the report's own, of which some experiment has a number."""
    numeric = {metric for each in report.experiments for metric, value in each.metrics.items() if is_number(value)}
    own = [(row.path, row.name) for row in report.metrics or ()]
    chosen = [metric for metric in dict.fromkeys((*own, *sorted(numeric))) if metric in numeric][:EXPERIMENT_METRICS]
    names = [name for _, name in chosen]
    return tuple((metric, metric[1] if names.count(metric[1]) == 1 else ":".join(metric)) for metric in chosen)


def experiments(
    given: Sequence[Experiment], metrics: Sequence[tuple[str, str]], *, pen: Pen
) -> tuple[ExperimentRow, ...]:
    return tuple(
        ExperimentRow(
            name=each.name,
            sha=each.sha[:7],
            url=each.url,
            subject=each.subject,
            author=each.author,
            date=units.moment(each.date),
            is_current=each.is_current,
            cells=tuple(pen.metric(each.metrics[metric]) if metric in each.metrics else DASH for metric in metrics),
            keys=tuple(key(each.metrics.get(metric)) for metric in metrics),
        )
        for each in _newest_first(given)
    )


def trends(given: Sequence[Experiment], columns: Sequence[Column]) -> tuple[tuple[str, str], ...]:
    """Sparklines, oldest to newest, of the columns that have three numbers or more."""
    found = []
    for metric, heading in columns:
        values = (key(each.metrics.get(metric)) for each in reversed(_newest_first(given)))
        points = [float(value) for value in values if value and math.isfinite(float(value))]
        if len(points) > 2:
            found.append((heading, units.sparkline(points, low=min(points), high=max(points))))
    return tuple(found)


def _newest_first(given: Sequence[Experiment]) -> list[Experiment]:
    return sorted(given, key=lambda each: not each.is_current)
