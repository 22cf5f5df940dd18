"""Words the sections that explain a result: plots, data, pipeline and experiments. Pure; called by `words` alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle

from cml.model.report import DataChanges, DataEntry, Experiment, GpuUsage, PipelineSection, Plot, Report
from cml.report import formatting
from cml.report.escape import Figure, mermaid
from cml.report.formatting import Formatter, is_number, key
from cml.report.i18n import ENGLISH, Words, language_of, noop, npnoop, pnoop, words_of
from cml.report.view import DASH, DataCount, DataRow, ExperimentRow, Picture, PlotView, Series, Stage

EXPERIMENT_METRICS = 3
CHART_POINTS = 40
LARGEST_GRAPH = 100  # stages; three times as many edges
Column = tuple[tuple[str, str], str]
"""A metric as (path, name), and what heads its column."""

COLORS = {noop("grey"): "#8b949e", noop("blue"): "#2f81f7", noop("orange"): "#db6d28", noop("purple"): "#a371f7"}
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

_SIDES = {"baseline": pnoop("side", "baseline"), "current": pnoop("side", "current")}
_KINDS = {
    "added": (pnoop("heading", "Added"), pnoop("file", "added")),
    "modified": (pnoop("heading", "Modified"), pnoop("file", "modified")),
    "deleted": (pnoop("heading", "Deleted"), pnoop("file", "deleted")),
    "renamed": (pnoop("heading", "Renamed"), pnoop("file", "renamed")),
}
_STAGES = {
    "failed": (pnoop("stage", "failed"), npnoop("stages", "%(count)s failed", "%(count)s failed")),
    "ran": (pnoop("stage", "ran"), npnoop("stages", "%(count)s ran", "%(count)s ran")),
    "restored": (
        pnoop("stage", "restored from cache"),
        npnoop("stages", "%(count)s restored from cache", "%(count)s restored from cache"),
    ),
    "up to date": (pnoop("stage", "up to date"), npnoop("stages", "%(count)s up to date", "%(count)s up to date")),
    "frozen": (pnoop("stage", "frozen"), npnoop("stages", "%(count)s frozen", "%(count)s frozen")),
    "not run": (pnoop("stage", "not run"), npnoop("stages", "%(count)s not run", "%(count)s not run")),
}


def side(label: str, *, words: Words) -> str:
    """The word for a side of the comparison; a label that names none stays as it is."""
    return words.pgettext(*_SIDES[label]) if label in _SIDES else label


def side_words(locale: str) -> dict[str, str]:
    """The words for "baseline" and "current" in the locale's language; none where it is English."""
    language = language_of(locale)
    return {} if language == ENGLISH else {label: side(label, words=words_of(language)) for label in _SIDES}


def plots(given: Sequence[Plot], *, formatter: Formatter, sources: Mapping[str, str]) -> tuple[PlotView, ...]:
    return tuple(_plot(plot, formatter=formatter, sources=sources) for plot in given)


def _plot(plot: Plot, *, formatter: Formatter, sources: Mapping[str, str]) -> PlotView:
    finite = [point for _, points in plot.points for point in points if math.isfinite(point)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    series = tuple(
        Series(
            label=side(label, words=formatter.words),
            color=formatter.words.gettext(color),
            trend=formatting.sparkline(points, low=low, high=high),
            first=formatter.metric(points[0]),
            last=formatter.metric(points[-1]),
            points=points,
        )
        for (label, points), color in zip(plot.points, cycle(COLORS))
        if points
    )
    chart = _chart([each.points for each in series], low=low, high=high)
    images = tuple(
        Picture(
            file=image.file,
            label=side(image.label, words=formatter.words),
            width=image.width,
            height=image.height,
            source=sources.get(image.file, ""),
        )
        for image in plot.images
    )
    return PlotView(title=plot.title, problem=plot.problem, images=images, series=series, chart=chart)


def _chart(series: Sequence[tuple[float, ...]], *, low: float, high: float) -> tuple[str, ...]:
    """A Mermaid chart. It stretches every line to the whole axis, so only lines of equal length are drawn in one."""
    length = len(series[0]) if series else 0
    if length < 3 or high <= low or len(series) > len(COLORS) or any(len(points) != length for points in series):
        return ()
    if not all(math.isfinite(point) for points in series for point in points):
        return ()
    lines = (", ".join(f"{point:.6g}" for point in formatting.sample(points, CHART_POINTS)) for points in series)
    axes = (f"  x-axis 1 --> {length}", f"  y-axis {low:.6g} --> {high:.6g}")
    return (_CHART_COLORS, "xychart-beta", *axes, *(f"  line [{line}]" for line in lines))


def data_counts(data: DataChanges | None, *, formatter: Formatter) -> tuple[DataCount, ...]:
    return tuple(
        DataCount(
            kind=kind,
            said=formatter.words.pgettext(*_KINDS[kind][0]),
            count=len(entries),
            size=_sum_of_sizes(kind, entries, formatter=formatter),
        )
        for kind, entries in _by_kind(data)
    )


def data_rows(data: DataChanges | None, *, formatter: Formatter) -> tuple[DataRow, ...]:
    return tuple(
        DataRow(
            kind=kind,
            said=formatter.words.pgettext(*_KINDS[kind][1]),
            path=entry.path,
            old_path=entry.old_path,
            size=formatter.size_change(entry.old_size, entry.new_size),
            key=key(entry.old_size if entry.new_size is None else entry.new_size),
            files=_files(entry.files, formatter.words),
            biggest=entry.biggest,
        )
        for kind, entries in _by_kind(data)
        for entry in entries
    )


def _by_kind(data: DataChanges | None) -> tuple[tuple[str, tuple[DataEntry, ...]], ...]:
    if data is None:
        return ()
    return ("added", data.added), ("modified", data.modified), ("deleted", data.deleted), ("renamed", data.renamed)


def _files(count: int, words: Words) -> str:
    return words.ngettext("%(count)s file", "%(count)s files", count) % {"count": count} if count else ""


def _sum_of_sizes(kind: str, entries: tuple[DataEntry, ...], *, formatter: Formatter) -> str:
    """What a change adds (or frees), where every size is known."""
    takes_old, takes_new = kind in ("modified", "deleted"), kind in ("modified", "added")
    olds = [entry.old_size for entry in entries if takes_old]
    news = [entry.new_size for entry in entries if takes_new]
    sizes = [size for size in (*olds, *news) if size is not None]
    if not sizes or len(sizes) < len(olds) + len(news):
        return ""
    total = sum(sizes[len(olds) :]) - sum(sizes[: len(olds)])
    return f"{'+' if total > 0 else ''}{formatter.size(total)}"


def stages(pipeline: PipelineSection | None, *, formatter: Formatter) -> tuple[Stage, ...]:
    if pipeline is None:
        return ()
    return tuple(
        Stage(
            place=place,
            name=stage.name,
            status=stage.status,
            said=formatter.words.pgettext(*_STAGES[stage.status][0]),
            time=formatter.duration(stage.seconds),
            key=key(stage.seconds),
            needs=tuple(before for before, after in pipeline.edges if after == stage.name),
            memory=_memory(stage.gpu, formatter=formatter) if stage.gpu else "",
            use=formatter.percent(stage.gpu.utilization) if stage.gpu else "",
            gpu_keys=(key(stage.gpu.peak_memory), key(stage.gpu.utilization)) if stage.gpu else ("", ""),
            job=stage.job,
            machine=stage.machine,
        )
        for place, stage in enumerate(pipeline.stages)
    )


def _memory(gpu: GpuUsage, *, formatter: Formatter) -> str:
    """`7.4 GiB`; on several GPUs that many times as much."""
    size = formatter.size(gpu.peak_memory)
    return Figure(f"{gpu.devices} \N{MULTIPLICATION SIGN} {size}") if gpu.devices > 1 else size


def pipeline_counts(pipeline: PipelineSection | None, *, formatter: Formatter) -> tuple[str, ...]:
    """`2 ran`, `1 restored from cache`, `3 min 05 s in all`."""
    if pipeline is None:
        return ()
    found = []
    for status, (_, counted) in _STAGES.items():
        if count := sum(stage.status == status for stage in pipeline.stages):
            found.append(formatter.words.npgettext(*counted, count) % {"count": count})
    seconds = math.fsum(stage.seconds for stage in pipeline.stages if stage.seconds and stage.seconds > 0)
    if seconds:
        found.append(formatter.words.gettext("%(time)s in all") % {"time": formatter.duration(seconds)})
    return tuple(found)


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

    def candidates() -> Iterator[tuple[str, str]]:
        yield from ((row.path, row.name) for row in report.metrics or ())
        yield from sorted({metric for each in report.experiments for metric in each.metrics})

    chosen: list[tuple[str, str]] = []
    for metric in candidates() if report.experiments else ():
        if len(chosen) == EXPERIMENT_METRICS:
            break
        if metric not in chosen and any(is_number(each.metrics.get(metric)) for each in report.experiments):
            chosen.append(metric)
    names = [name for _, name in chosen]
    return tuple((metric, metric[1] if names.count(metric[1]) == 1 else ":".join(metric)) for metric in chosen)


def experiments(
    given: Sequence[Experiment], metrics: Sequence[tuple[str, str]], *, formatter: Formatter
) -> tuple[ExperimentRow, ...]:
    return tuple(
        ExperimentRow(
            name=each.name,
            sha=each.sha[:7],
            url=each.url,
            subject=each.subject,
            author=each.author,
            date=formatter.moment(each.date),
            when=each.date,
            is_current=each.is_current,
            cells=tuple(
                formatter.metric(each.metrics[metric]) if metric in each.metrics else DASH for metric in metrics
            ),
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
            found.append((heading, formatting.sparkline(points, low=min(points), high=max(points))))
    return tuple(found)


def _newest_first(given: Sequence[Experiment]) -> list[Experiment]:
    return sorted(given, key=lambda each: not each.is_current)
