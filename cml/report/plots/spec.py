"""A Vega-Lite specification as DVC filled it, made ready to draw: our size and colours, no more rows than can be seen.

Pure; `drawing` draws it.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from cml.report.plots.render import LONGEST_SIDE, one_line

LABELS = ("baseline", "current")
COLORS = {"baseline": "#7a8ba6", "current": "#c2410c"}  # apart in lightness and in hue, for every kind of eye
DASHES = {"baseline": [6, 3], "current": [1, 0]}
# Of a drawing, and the side of one panel of several, before scaling: on a phone 12 pixels of text are left 8.
WIDTH, HEIGHT, PANEL = 480, 300, 190
SERIES_ROWS, DRAWN_ROWS = 1_000, 20_000  # of one line, and of a drawing: 1,200 pixels can show no more
SAMPLES = 40
LEGIBLE_CLASSES = 12  # of a confusion matrix, for its counts to have room
UNDRAWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # one of these aborts vl-convert

CONFIG: dict[str, dict[str, Any]] = {
    "title": {"fontSize": 15, "color": "#1f2328", "anchor": "start", "offset": 10, "limit": 440}
    | {"subtitleFontSize": 12, "subtitleColor": "#57606a", "subtitlePadding": 5},
    "axis": {"labelFontSize": 12, "labelColor": "#424a53", "labelLimit": 180, "labelOverlap": "greedy"}
    | {"titleFontSize": 12, "titleFontWeight": "normal", "titleColor": "#424a53", "titlePadding": 8}
    | {"gridColor": "#e6e9ed", "domainColor": "#b6bec8", "tickColor": "#b6bec8"},
    "axisX": {"grid": False},
    "legend": {"orient": "top", "title": None, "columns": 4, "labelFontSize": 12, "labelColor": "#1f2328"}
    | {"labelLimit": 400, "symbolSize": 200, "symbolStrokeWidth": 2.5},
    "header": {"labelFontSize": 13, "labelFontWeight": "bold", "labelColor": "#1f2328", "title": None},
    "view": {"stroke": None},
    "line": {"strokeWidth": 2.25},
    "range": {"category": list(COLORS.values()), "heatmap": {"scheme": "blues"}, "ramp": {"scheme": "blues"}},
}
FONT = "Liberation Sans"  # lies in vl-convert itself, so that every machine draws the same
# Rows of these marks may be left out; what counts, sums or stacks its rows must see them all.
THINNED_MARKS = frozenset({"line", "trail", "point", "circle", "square", "rule"})
COUNTING = frozenset(
    ["bin", "density", "flatten", "fold", "impute", "joinaggregate", "lookup", "quantile"]
) | frozenset(["regression", "sample", "stack", "timeUnit", "window"])
PANELS = frozenset(["facet", "row", "column", "hconcat", "vconcat", "concat", "repeat"])
GROUPING = ("color", "stroke", "fill", "strokeDash", "shape", "detail", "row", "column", "facet")

Row = dict[str, Any]
Node = dict[str, Any]
Points = tuple[tuple[str, tuple[float, ...]], ...]


class Chart:
    """A specification as DVC filled it, read once: its rows, its marks, and the fields of its channels."""

    def __init__(self, spec: Node) -> None:
        data = spec.get("data")
        values = data.get("values") if isinstance(data, dict) else None
        self.rows: list[Row] = values if isinstance(values, list) else []
        if not all(isinstance(row, dict) for row in self.rows):
            raise ValueError("its data is no list of rows")
        self.spec = {name: value for name, value in spec.items() if name != "data"} if self.rows else spec
        self.marks: set[str] = set()
        self.fields: dict[str, set[str]] = defaultdict(set)
        self.numbers: set[str] = set()
        self.counts_rows = False
        for node in _nodes(self.spec):
            self._look_at(node)
        sides = {str(row.get("rev")) for row in self.rows}
        self.labels = [label for label in LABELS if label in sides]

    def _look_at(self, node: Node) -> None:
        mark, aggregate = node.get("mark"), node.get("aggregate")
        if isinstance(mark, str | dict):
            self.marks.add(mark if isinstance(mark, str) else str(mark.get("type")))
        keeps_extremes = isinstance(aggregate, dict) or aggregate in (None, "min", "max")
        self.counts_rows |= not keeps_extremes or not COUNTING.isdisjoint(node)
        for channel, encoding in node.items():
            if isinstance(encoding, dict) and isinstance(encoding.get("field"), str):
                field = re.sub(r"\\(.)", r"\1", encoding["field"])  # Vega's a\.b is the field "a.b"
                self.fields[channel].add(field)
                if encoding.get("type") == "quantitative":
                    self.numbers.add(field)

    def specification(self, note: str, *, caption: str = "", sides: Mapping[str, str] | None = None) -> str:
        """Returns the specification to draw, as JSON: in our size and colours, with no more rows than can be seen.

        A title that is the `caption` is left out; `sides` are words for "baseline" and "current". Raises ValueError
        where a field that must hold numbers holds none.
        """
        rows = self._cleaned(self.thinned())
        spec: Node = self._restyled(self.spec)
        if rows:
            spec["data"] = {"values": rows}
        title = spec.pop("title", None)
        title = {**title} if isinstance(title, dict) else {"text": title or ""}
        if title.get("text") == caption:
            title["text"] = ""
        if title.get("text") or note:
            spec["title"] = title | {"anchor": "start"} | ({"subtitle": one_line(note)} if note else {})
        self._size(spec)
        self._dash(spec)
        _name_sides(spec, sides or {})
        ours, theirs = dict(CONFIG), spec.get("config") or {}
        if "line" in self.marks:
            ours["legend"] = {**ours["legend"], "symbolType": "stroke"}
        if all((_number(row.get(name)) or 0) % 1 == 0 for name in self.fields["x"] for row in rows):
            ours["axisX"] = {**ours["axisX"], "tickMinStep": 1}  # there is no step 0.5
        spec["config"] = {"font": FONT, **ours, **theirs}
        background = spec.get("background") or theirs.get("background")
        spec["background"] = "white" if background in (None, "transparent") else background
        spec["padding"] = 16
        return json.dumps(spec, default=str, ensure_ascii=False)

    def _cleaned(self, rows: Sequence[Row]) -> list[Row]:
        """The rows with only the fields that the specification mentions, and numbers that are numbers."""
        text = json.dumps(self.spec, default=str).replace("\\", "")
        names = {name for row in rows for name in row}
        names = {name for name in names if str(name).replace("\\", "") in text}
        cleaned = [
            {name: _value(value, as_number=name in self.numbers) for name, value in row.items() if name in names}
            for row in rows
        ]
        for name in self.numbers & names:
            if all(row.get(name) is None for row in cleaned):
                raise ValueError(f"its field {name!r} holds no number")
        for index, row in enumerate(cleaned if "random()" in text else ()):
            row["cml_row"] = index
        return cleaned

    def _restyled(self, node: Any, key: str = "") -> Any:
        """A copy in our colours, with nothing that only a mouse would need, and nothing left to chance."""
        if isinstance(node, list):
            # Zooming by mouse clips all marks, which costs more than the rest of the drawing.
            return [
                self._restyled(item) for item in node if not (isinstance(item, dict) and item.get("bind") == "scales")
            ]
        if not isinstance(node, dict):
            return _value(node, as_number=False)
        copy = {name: self._restyled(value, name) for name, value in node.items() if name != "nearest"}
        if key in {"color", "stroke", "fill"} and copy.get("field") == "rev" and self._is_ours(copy.get("scale")):
            copy["scale"] = {"domain": self.labels, "range": [COLORS[label] for label in self.labels]}
        if copy.get("name") == "showValues" and self._count_classes() <= LEGIBLE_CLASSES:
            copy["value"] = True
        if isinstance(expression := copy.get("calculate"), str):
            seed = 12.9898 + sum(map(ord, str(copy.get("as"))))
            even = f"(abs(sin((datum.cml_row + 1) * {seed}) * 43758.5453) % 1)"
            copy["calculate"] = expression.replace("random()", even)
        return copy

    def _is_ours(self, scale: Any) -> bool:
        """Whether a scale of the sides is DVC's or nobody's, not a choice of the template's author."""
        domain = scale.get("domain") if isinstance(scale, dict) else None
        return bool(self.labels) and (scale is None or (isinstance(domain, list) and {*domain} <= {*LABELS}))

    def _count_classes(self) -> int:
        axes = self.fields["x"] | self.fields["y"]
        return max((len({str(row.get(name)) for row in self.rows}) for name in axes), default=0)

    def _size(self, spec: Node) -> None:
        """Sets the size where it is DVC's 300 x 300. One that a template chose stays; ValueError for a huge one."""
        encoding = spec.get("encoding") or {}
        is_single = PANELS.isdisjoint(spec) and not any(encoding.get(channel) for channel in PANELS)
        unit = spec["spec"] if isinstance(spec.get("spec"), dict) else spec
        for side, pixels in (("width", WIDTH if is_single else PANEL), ("height", HEIGHT if is_single else PANEL)):
            for layer in unit.get("layer") or ():  # the confusion matrix has its size in one of them
                if isinstance(layer, dict) and layer.get(side) == 300:
                    del layer[side]
            if unit.get(side) in (None, 300, "container", {}):
                unit[side] = pixels
            elif isinstance(unit[side], int | float) and unit[side] > LONGEST_SIDE:
                raise ValueError(f"its {side} of {unit[side]} pixels is too big")
        if is_single:
            spec.setdefault("autosize", {"type": "fit", "contains": "padding"})

    def _dash(self, spec: Node) -> None:
        """Draws the baseline dashed, where dashes tell nothing else apart."""
        encoding = spec.get("encoding")
        if "line" in self.marks and isinstance(encoding, dict) and not encoding.get("strokeDash") and self.labels:
            scale = {"domain": self.labels, "range": [DASHES[label] for label in self.labels]}
            encoding["strokeDash"] = {"field": "rev", "type": "nominal", "scale": scale}

    @cached_property
    def series(self) -> list[list[Row]]:
        """The rows of each line or cloud, told apart by side and by what else the channels tell."""
        names = {"rev"}.union(*(self.fields[channel] for channel in GROUPING)) - self.fields["x"] - self.fields["y"]
        found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in self.rows:
            found[tuple(str(row.get(name)) for name in names)].append(row)
        return list(found.values())

    @cached_property
    def lines(self) -> list[list[Row]]:
        """The series, each in the order in which a line connects it: by x."""
        x = min(self.fields["x"], default="")
        return [_in_order(rows, x) if len(self.fields["x"]) == 1 else rows for rows in self.series]

    def thinned(self) -> list[Row]:
        """Returns the rows to draw: all of a few; else of each series the first, the last, and those that stand out."""
        if len(self.rows) <= SERIES_ROWS or self.counts_rows or not self.marks <= THINNED_MARKS:
            return self.rows
        room = max(4, min(SERIES_ROWS, DRAWN_ROWS // len(self.series)))
        measures = sorted(self.fields["y"])
        if measures and not self.marks.isdisjoint({"line", "trail"}):
            return [row for rows in self.lines for row in _outline(rows, measures, room)]
        axes = sorted(self.fields["x"] | self.fields["y"])
        return [row for rows in self.series for row in _spread(rows, axes, room)]

    def points(self) -> Points:
        """Returns up to 40 values of y of each side, where the chart is one line a side over one pair of fields."""
        is_line = "line" in self.marks and self.marks <= THINNED_MARKS and not self.counts_rows
        is_plain = len(self.fields["x"]) == len(self.fields["y"]) == 1 and len(self.series) == len(self.labels)
        if not (is_line and is_plain):
            return ()
        (y,) = self.fields["y"]
        found = {}
        for rows in self.lines:
            values = [number for row in rows if (number := _number(row.get(y))) is not None]
            found[str(rows[0].get("rev"))] = tuple(values[index] for index in _even(len(values), SAMPLES))
        return tuple((label, found[label]) for label in self.labels if found[label])


def _name_sides(spec: Node, words: Mapping[str, str]) -> None:
    """Writes these words for the sides in legends and over panels; where a template hides them, they stay hidden."""
    for node in list(_nodes(spec)) if words else ():
        for channel, encoding in node.items():
            if isinstance(encoding, dict) and encoding.get("field") == "rev":
                part = "header" if channel in PANELS else "legend"
                if channel in GROUPING and encoding.get(part, {}) is not None:
                    names = json.dumps(words, ensure_ascii=False)
                    encoding[part] = {"labelExpr": f"{names}[datum.value] || datum.value", **encoding.get(part, {})}


def _nodes(node: Any) -> Iterator[Node]:
    """Every mapping inside a piece of JSON, itself included."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(child)


def _number(value: Any) -> float | None:
    """A finite number, also out of the text of a CSV cell; else None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _in_order(rows: list[Row], x: str) -> list[Row]:
    keys = [number for row in rows if (number := _number(row.get(x))) is not None]
    if len(keys) < len(rows):
        return rows
    return [rows[index] for _, index in sorted(zip(keys, range(len(rows)), strict=True))]


def _value(value: Any, *, as_number: bool) -> Any:
    if as_number or (isinstance(value, float) and not math.isfinite(value)):
        return _number(value)
    return UNDRAWABLE.sub("", value) if isinstance(value, str) else value


def _even(count: int, room: int) -> list[int]:
    """At most `room` (two or more) evenly spaced indices below `count`, the first and the last among them."""
    return list(range(count)) if count <= room else [index * (count - 1) // (room - 1) for index in range(room)]


def _outline(rows: list[Row], names: Sequence[str], room: int) -> list[Row]:
    """The first row and the last, and the lowest and the highest of equal stretches: what a line looks like."""
    if len(rows) <= room:
        return rows
    kept = {0, len(rows) - 1}
    for name in names:
        values = [_number(row.get(name)) for row in rows]
        for start, end in itertools.pairwise(_even(len(rows), max(2, room // 2 // len(names)))):
            known = [(value, index) for index, value in enumerate(values[start:end], start) if value is not None]
            kept |= {min(known)[1], max(known)[1]} if known else {start}  # a gap stays one
    return [rows[index] for index in sorted(kept)]


def _spread(rows: list[Row], names: Sequence[str], room: int) -> list[Row]:
    """Evenly chosen rows of a cloud, and its outermost ones."""
    kept = set(_even(len(rows), room))
    for name in names:
        known = [(number, index) for index, row in enumerate(rows) if (number := _number(row.get(name))) is not None]
        kept |= {min(known)[1], max(known)[1]} if known else set()
    return [rows[index] for index in sorted(kept)]
