"""The report as one HTML page that makes no request: style, script and images are inside."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from markupsafe import Markup

from cml.config.number_format import NumberFormat
from cml.model.report import Report
from cml.report.formatting import sample
from cml.report.jinja import render_pieces
from cml.report.sections.plots import Picture, PlotRow, Series
from cml.report.template_files import templates_folder
from cml.report.view import View
from cml.report.view_builder import build_view

WIDTH, HEIGHT, MARGIN = 320, 120, 4  # of a line chart, in SVG units
MAX_CHART_POINTS = 160


@dataclass(frozen=True, kw_only=True)
class Polyline:
    """A series; `points` is the attribute of an SVG polyline."""

    label: str
    points: str
    first: str
    last: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot: its pictures, or where none can be shown, its lines."""

    title: str
    problem: str | None
    pictures: tuple[Picture, ...]
    lines: tuple[Polyline, ...]


def render_html(
    report: Report, *, number_format: NumberFormat, locale: str, images: Mapping[str, bytes]
) -> Iterator[str]:
    """Yields the page in pieces; `images` are PNG files by `PlotImage.file`."""
    sources = {file: f"data:image/png;base64,{b64encode(data).decode()}" for file, data in images.items()}
    view = build_view(report, number_format=number_format, locale=locale, sources=sources)
    return render_pieces("report.html.j2", view.context() | _page_context(view), kind="html")


def _page_context(view: View) -> dict[str, Any]:
    """Returns the names that only report.html.j2 needs."""
    style, script = ((templates_folder() / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return {
        # Markup: these two are our own files.
        "style": Markup(style),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "csp": _content_security_policy(style, script),
        "figures": tuple(_figure(plot) for plot in view.plots.plots),
        "stages": view.pipeline.in_order(),
        "sides": {"width": WIDTH, "height": HEIGHT},
    }


def _content_security_policy(style: str, script: str) -> str:
    """Returns a policy that forbids every request, and every style and script but these two."""
    # Hashes instead of 'unsafe-inline': even if a name broke out of its place, its script would not run.
    return (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _figure(plot: PlotRow) -> Figure:
    lines = () if plot.is_shown else _polylines(plot.series)
    return Figure(title=plot.title, problem=plot.problem, pictures=plot.images, lines=lines)


def _polylines(series: tuple[Series, ...]) -> tuple[Polyline, ...]:
    """Returns the series on one scale: a step to the right is one point, also where a series is shorter than others."""
    finite = [point for each in series for point in each.points if math.isfinite(point)]
    length = max((len(each.points) for each in series), default=0)
    if length < 2 or not finite:
        return ()
    # One scale for all series, so that they can be compared.
    low, high = min(finite), max(finite)
    lines = []
    for each in series:
        points = " ".join(_svg_point(x, y, length, low, high) for x, y in _sampled(each.points))
        lines.append(Polyline(label=each.label, points=points, first=each.first, last=each.last))
    return tuple(lines)


def _sampled(points: tuple[float, ...]) -> list[tuple[int, float]]:
    """Returns pairs of index and value, of the values that are finite."""
    indices = [int(index) for index in sample(tuple(float(index) for index in range(len(points))), MAX_CHART_POINTS)]
    return [(index, points[index]) for index in indices if math.isfinite(points[index])]


def _svg_point(index: int, value: float, length: int, low: float, high: float) -> str:
    span = high - low
    share = (value - low) / span if 0 < span < math.inf else 0.5
    x = MARGIN + index / (length - 1) * (WIDTH - 2 * MARGIN)
    y = HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN)
    return f"{x:.1f},{y:.1f}"
