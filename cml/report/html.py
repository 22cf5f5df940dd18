"""What report.html needs beyond the View: its style and script with their hashes, plots as data, lines as SVG points.

Pure, but for reading our own style and script.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cml.report import templates_folder
from cml.report.formatting import sample
from cml.report.view import Picture, PlotView, Series, View

WIDTH, HEIGHT, MARGIN = 320, 120, 4  # of a line chart without an image, in SVG units
CHART_POINTS = 160


@dataclass(frozen=True, kw_only=True)
class Line:
    """A series as the points of an SVG polyline."""

    label: str
    points: str
    first: str
    last: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot: its pictures, or where there are none its lines."""

    title: str
    problem: str | None
    pictures: tuple[Picture, ...]
    lines: tuple[Line, ...]


def image_sources(images: Mapping[str, bytes]) -> dict[str, str]:
    """Returns data: addresses of images, by the same names."""
    return {file: f"data:image/png;base64,{b64encode(data).decode()}" for file, data in images.items()}


def page_context(view: View) -> dict[str, Any]:
    """Names for report.html.j2; `csp` forbids every request, and every style and script but these two."""
    from markupsafe import Markup

    style, script = ((templates_folder() / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    csp = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return {
        "style": Markup(style),  # noqa: S704 (our own file)
        "script": Markup(script),  # noqa: S704 (our own file)
        "csp": csp,
        "figures": tuple(_figure(plot) for plot in view.plots),
        "stages": sorted((*view.pipeline, *view.pipeline_idle), key=lambda stage: stage.place),
        "sides": {"width": WIDTH, "height": HEIGHT},
    }


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _figure(plot: PlotView) -> Figure:
    return Figure(
        title=plot.title,
        problem=plot.problem,
        pictures=plot.images,
        lines=() if plot.is_shown else _lines(plot.series),
    )


def _lines(series: tuple[Series, ...]) -> tuple[Line, ...]:
    """Every series on one scale: one step to the right is one point, also where one of them ended sooner."""
    finite = [point for each in series for point in each.points if math.isfinite(point)]
    longest = max((len(each.points) for each in series), default=0)
    if longest < 2 or not finite:
        return ()
    low, high = min(finite), max(finite)
    return tuple(
        Line(
            label=each.label,
            points=" ".join(_point(place, value, longest, low, high) for place, value in _kept(each.points)),
            first=each.first,
            last=each.last,
        )
        for each in series
    )


def _kept(points: tuple[float, ...]) -> list[tuple[float, float]]:
    places = sample(tuple(float(place) for place in range(len(points))), CHART_POINTS)
    return [(place, points[int(place)]) for place in places if math.isfinite(points[int(place)])]


def _point(place: float, value: float, longest: int, low: float, high: float) -> str:
    span = high - low
    share = (value - low) / span if 0 < span < math.inf else 0.5
    x = MARGIN + place / (longest - 1) * (WIDTH - 2 * MARGIN)
    return f"{x:.1f},{HEIGHT - MARGIN - share * (HEIGHT - 2 * MARGIN):.1f}"
