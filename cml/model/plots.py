"""The plots of a project as DVC gives them, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class VegaPlot:
    """A Vega-Lite specification with its rows in `data.values`; their field `rev` is "baseline" or "current".

    `note` is one line to show below the title, for example that one side could not be read.
    """

    title: str
    spec: dict[str, Any]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ImagePlot:
    """The image of each side: "baseline" or "current" -> the bytes of the file."""

    title: str
    sides: dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class BrokenPlot:
    """A plot that cannot be drawn, and the reason in one line."""

    title: str
    reason: str


DvcPlot = VegaPlot | ImagePlot | BrokenPlot
