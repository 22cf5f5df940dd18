"""How plots look: sizes, colors and Vega-Lite's configuration."""

from __future__ import annotations

from typing import Any

# The two differ in lightness and in hue, so that color-blind readers can tell them apart.
COLORS = {"baseline": "#7a8ba6", "current": "#c2410c"}
DASHES = {"baseline": [6, 3], "current": [1, 0]}

# In pixels before scaling. On a phone, text of 12 pixels is then still 8 pixels high.
WIDTH, HEIGHT = 480, 300
PANEL_SIZE = 190  # of one of several panels

FONT = "Liberation Sans"  # it is inside vl-convert, so that every machine draws the same image

_TEXT, _SOFT, _LABEL = "#1f2328", "#57606a", "#424a53"
_GRID, _AXIS = "#e6e9ed", "#b6bec8"

CONFIG: dict[str, dict[str, Any]] = {
    "title": {
        "fontSize": 15,
        "color": _TEXT,
        "anchor": "start",
        "offset": 10,
        "limit": 440,
        "subtitleFontSize": 12,
        "subtitleColor": _SOFT,
        "subtitlePadding": 5,
    },
    "axis": {
        "labelFontSize": 12,
        "labelColor": _LABEL,
        "labelLimit": 180,
        "labelOverlap": "greedy",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titleColor": _LABEL,
        "titlePadding": 8,
        "gridColor": _GRID,
        "domainColor": _AXIS,
        "tickColor": _AXIS,
    },
    "axisX": {"grid": False},
    "legend": {
        "orient": "top",
        "title": None,
        "columns": 4,
        "labelFontSize": 12,
        "labelColor": _TEXT,
        "labelLimit": 400,
        "symbolSize": 200,
        "symbolStrokeWidth": 2.5,
    },
    "header": {"labelFontSize": 13, "labelFontWeight": "bold", "labelColor": _TEXT, "title": None},
    "view": {"stroke": None},
    "line": {"strokeWidth": 2.25},
    "range": {"category": list(COLORS.values()), "heatmap": {"scheme": "blues"}, "ramp": {"scheme": "blues"}},
}
