"""The plots: images where they can be shown, else the lines of a plot as sparklines and as a Mermaid chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from cml.model.report import Plot, Report
from cml.report.formatting import Formatter, sample, sparkline
from cml.report.i18n import noop
from cml.report.sections.base import Section, side_label

MAX_CHART_POINTS = 40
MIN_CHART_POINTS = 3

COLORS = {noop("grey"): "#8b949e", noop("blue"): "#2f81f7", noop("orange"): "#db6d28", noop("purple"): "#a371f7"}
_CHART_THEME = '%%{init: {"themeVariables": {"xyChart": {"plotColorPalette": "' + ", ".join(COLORS.values()) + '"}}}}%%'


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a plot. `trend` is a sparkline; `color` is the word for its color in a chart."""

    label: str
    color: str
    trend: str
    first: str
    last: str
    points: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image of a plot. `source` is its address, empty where the image cannot be shown; sizes are in pixels."""

    file: str
    label: str
    width: int
    height: int
    source: str


@dataclass(frozen=True, kw_only=True)
class PlotRow:
    """One plot. `chart` are the lines of a Mermaid chart, empty where the series cannot share one."""

    title: str
    problem: str | None
    images: tuple[Picture, ...]
    series: tuple[Series, ...]
    chart: tuple[str, ...]

    @property
    def is_shown(self) -> bool:
        """Whether one of its images can be shown."""
        return any(image.source for image in self.images)


@dataclass(frozen=True, kw_only=True)
class PlotsView(Section):
    """`charts` are the plots that have a chart and no image that can be shown."""

    has_plots: bool = False
    plots: tuple[PlotRow, ...] = ()
    charts: tuple[PlotRow, ...] = ()


def build_plots(report: Report, formatter: Formatter, sources: Mapping[str, str]) -> PlotsView:
    """`sources` are the addresses of images, by `PlotImage.file`."""
    plots = tuple(_plot(plot, formatter, sources) for plot in report.plots or ())
    charts = tuple(plot for plot in plots if plot.chart and not plot.is_shown)
    return PlotsView(has_plots=bool(plots), plots=plots, charts=charts)


def _plot(plot: Plot, formatter: Formatter, sources: Mapping[str, str]) -> PlotRow:
    # One scale for both sides, so that their sparklines can be compared.
    finite = [point for _, points in plot.points for point in points if math.isfinite(point)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    series = tuple(
        Series(
            label=side_label(label, translations=formatter.translations),
            color=formatter.translations.gettext(color),
            trend=sparkline(points, low=low, high=high),
            first=formatter.metric(points[0]),
            last=formatter.metric(points[-1]),
            points=points,
        )
        for (label, points), color in zip(plot.points, cycle(COLORS))
        if points
    )
    images = tuple(
        Picture(
            file=image.file,
            label=side_label(image.label, translations=formatter.translations),
            width=image.width,
            height=image.height,
            source=sources.get(image.file, ""),
        )
        for image in plot.images
    )
    chart = _chart([each.points for each in series], low=low, high=high)
    return PlotRow(title=plot.title, problem=plot.problem, images=images, series=series, chart=chart)


def _chart(series: Sequence[tuple[float, ...]], *, low: float, high: float) -> tuple[str, ...]:
    """Returns a Mermaid chart, or nothing where it would be wrong."""
    length = len(series[0]) if series else 0
    if length < MIN_CHART_POINTS or high <= low or len(series) > len(COLORS):
        return ()
    # Mermaid stretches every line over the whole x axis, so lines of different lengths cannot share a chart.
    if any(len(points) != length for points in series):
        return ()
    if not all(math.isfinite(point) for points in series for point in points):
        return ()
    lines = (", ".join(f"{point:.6g}" for point in sample(points, MAX_CHART_POINTS)) for points in series)
    return (
        _CHART_THEME,
        "xychart-beta",
        f"  x-axis 1 --> {length}",
        f"  y-axis {low:.6g} --> {high:.6g}",
        *(f"  line [{line}]" for line in lines),
    )
