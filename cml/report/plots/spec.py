"""Prepares a Vega-Lite specification, as DVC filled it, for drawing: our size and colors, and not too many rows.

`render` draws the result.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from cml.report.plots.render import MAX_SIDE, one_line
from cml.report.plots.style import COLORS, CONFIG, DASHES, FONT, HEIGHT, PANEL_SIZE, WIDTH
from cml.report.plots.thinning import Row, even_indices, number_of, outline, sort_by, spread

LABELS = ("baseline", "current")
DVC_SIZE = 300  # pixels: width and height in DVC's own templates
MAX_SERIES_ROWS = 1_000  # drawn for one line or cloud
MAX_ROWS = 20_000  # drawn in one plot
MAX_POINTS = 40  # values of a line that the report keeps
MAX_READABLE_CLASSES = 12  # of a confusion matrix; with more, there is no room for its numbers
UNDRAWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # one of these aborts vl-convert

# Rows of these marks may be left out.
THINNED_MARKS = frozenset({"line", "trail", "point", "circle", "square", "rule"})
# A transformation that counts, sums or stacks rows must see all of them.
COUNTING = frozenset(
    {
        *("bin", "density", "flatten", "fold", "impute", "joinaggregate", "lookup", "quantile"),
        *("regression", "sample", "stack", "timeUnit", "window"),
    }
)
PANELS = frozenset({"facet", "row", "column", "hconcat", "vconcat", "concat", "repeat"})
# The channels that divide rows into series.
GROUPING = ("color", "stroke", "fill", "strokeDash", "shape", "detail", "row", "column", "facet")

Node = dict[str, Any]
Points = tuple[tuple[str, tuple[float, ...]], ...]


class Chart:
    """A specification, its rows, its marks, and the fields of its channels."""

    def __init__(self, spec: Node) -> None:
        data = spec.get("data")
        values = data.get("values") if isinstance(data, dict) else None
        self.rows: list[Row] = values if isinstance(values, list) else []
        if not all(isinstance(row, dict) for row in self.rows):
            raise ValueError("its data is not a list of rows")
        self.spec = {name: value for name, value in spec.items() if name != "data"} if self.rows else spec
        self.marks: set[str] = set()
        self.fields: dict[str, set[str]] = defaultdict(set)
        self.numeric_fields: set[str] = set()
        self.counts_rows = False
        for node in _nodes(self.spec):
            self._read_node(node)
        revisions = {str(row.get("rev")) for row in self.rows}
        self.labels = [label for label in LABELS if label in revisions]

    def _read_node(self, node: Node) -> None:
        mark, aggregate = node.get("mark"), node.get("aggregate")
        if isinstance(mark, str | dict):
            self.marks.add(mark if isinstance(mark, str) else str(mark.get("type")))
        # A mean or a count changes with each row that is left out; a smallest or largest value does not.
        keeps_extremes = isinstance(aggregate, dict) or aggregate in (None, "min", "max")
        self.counts_rows |= not keeps_extremes or not COUNTING.isdisjoint(node)
        for channel, encoding in node.items():
            if isinstance(encoding, dict) and isinstance(encoding.get("field"), str):
                field = re.sub(r"\\(.)", r"\1", encoding["field"])  # in Vega, a\.b is the field "a.b"
                self.fields[channel].add(field)
                if encoding.get("type") == "quantitative":
                    self.numeric_fields.add(field)

    def specification(self, note: str, *, caption: str = "", sides: Mapping[str, str] | None = None) -> str:
        """Returns the specification to draw, as JSON.

        `note` is a line below the title. A title that equals `caption` is left out, since the report shows the caption
        above the image. `sides` are translations of "baseline" and "current". Raises ValueError where a field that
        must be a number is none in any row, or where the size is too large.
        """
        rows = self._cleaned(self.thinned())
        spec: Node = self._restyled(self.spec)
        if rows:
            spec["data"] = {"values": rows}
        _set_title(spec, note, caption)
        self._set_size(spec)
        self._dash_baseline(spec)
        _translate_sides(spec, sides or {})
        self._set_config(spec, rows)
        return json.dumps(spec, default=str, ensure_ascii=False)

    def _cleaned(self, rows: Sequence[Row]) -> list[Row]:
        """Returns the rows with the fields that the specification mentions; numeric fields are numbers or None."""
        text = json.dumps(self.spec, default=str).replace("\\", "")
        # A column that the plot does not show makes the specification larger, and drawing slower.
        names = {name for row in rows for name in row if str(name).replace("\\", "") in text}
        cleaned = [
            {
                name: _drawable(value, as_number=name in self.numeric_fields)
                for name, value in row.items()
                if name in names
            }
            for row in rows
        ]
        for name in self.numeric_fields & names:
            if all(row.get(name) is None for row in cleaned):
                raise ValueError(f"its field {name!r} contains no numbers")
        if "random()" in text:  # `_restyled` replaces it by a function of the row's number
            for index, row in enumerate(cleaned):
                row["cml_row"] = index
        return cleaned

    def _restyled(self, node: Any, key: str = "") -> Any:
        """Returns a copy in our colors, without what only a mouse needs, and the same in every run."""
        if isinstance(node, list):
            # Zooming by mouse clips all marks, which takes longer than the rest of the drawing.
            return [
                self._restyled(item) for item in node if not (isinstance(item, dict) and item.get("bind") == "scales")
            ]
        if not isinstance(node, dict):
            return _drawable(node, as_number=False)
        # `nearest` is for a mouse: for it, Vega computes the area around each point.
        copy = {name: self._restyled(value, name) for name, value in node.items() if name != "nearest"}
        is_color = key in {"color", "stroke", "fill"}
        if is_color and copy.get("field") == "rev" and self._is_default_scale(copy.get("scale")):
            copy["scale"] = {"domain": self.labels, "range": [COLORS[label] for label in self.labels]}
        if copy.get("name") == "showValues" and self._count_classes() <= MAX_READABLE_CLASSES:
            copy["value"] = True
        if isinstance(expression := copy.get("calculate"), str):
            copy["calculate"] = _without_chance(expression, str(copy.get("as")))
        return copy

    def _is_default_scale(self, scale: Any) -> bool:
        """Whether the colors of the sides are DVC's default and not a choice of the template's author."""
        if not self.labels:
            return False
        domain = scale.get("domain") if isinstance(scale, dict) else None
        return scale is None or (isinstance(domain, list) and set(domain) <= set(LABELS))

    def _count_classes(self) -> int:
        axes = self.fields["x"] | self.fields["y"]
        return max((len({str(row.get(name)) for row in self.rows}) for name in axes), default=0)

    def _set_size(self, spec: Node) -> None:
        """Replaces DVC's size by ours; a size that a template chose stays. Raises ValueError for a huge one."""
        encoding = spec.get("encoding") or {}
        is_single = PANELS.isdisjoint(spec) and not any(encoding.get(channel) for channel in PANELS)
        unit = spec["spec"] if isinstance(spec.get("spec"), dict) else spec
        size = {"width": WIDTH, "height": HEIGHT} if is_single else {"width": PANEL_SIZE, "height": PANEL_SIZE}
        for side, pixels in size.items():
            for layer in unit.get("layer") or ():  # DVC's confusion matrix has its size in a layer
                if isinstance(layer, dict) and layer.get(side) == DVC_SIZE:
                    del layer[side]
            if unit.get(side) in (None, DVC_SIZE, "container", {}):
                unit[side] = pixels
            elif isinstance(unit[side], int | float) and unit[side] > MAX_SIDE:
                raise ValueError(f"its {side} of {unit[side]} pixels is too large: at most {MAX_SIDE}")
        if is_single:
            spec.setdefault("autosize", {"type": "fit", "contains": "padding"})

    def _dash_baseline(self, spec: Node) -> None:
        """Draws the line of the baseline dashed, unless the template uses dashes for something else."""
        encoding = spec.get("encoding")
        if "line" in self.marks and isinstance(encoding, dict) and not encoding.get("strokeDash") and self.labels:
            scale = {"domain": self.labels, "range": [DASHES[label] for label in self.labels]}
            encoding["strokeDash"] = {"field": "rev", "type": "nominal", "scale": scale}

    def _set_config(self, spec: Node, rows: Sequence[Row]) -> None:
        """Sets our configuration; what the template configures itself stays."""
        ours, theirs = dict(CONFIG), spec.get("config") or {}
        if "line" in self.marks:
            ours["legend"] = {**ours["legend"], "symbolType": "stroke"}
        if all((number_of(row.get(name)) or 0) % 1 == 0 for name in self.fields["x"] for row in rows):
            ours["axisX"] = {**ours["axisX"], "tickMinStep": 1}  # there is no step 0.5
        spec["config"] = {"font": FONT, **ours, **theirs}
        background = spec.get("background") or theirs.get("background")
        # On a dark page, our dark text could not be read on a transparent background.
        spec["background"] = "white" if background in (None, "transparent") else background
        spec["padding"] = 16

    @cached_property
    def series(self) -> list[list[Row]]:
        """The rows of each line or cloud: one for each combination of values in the channels that divide rows."""
        # Not by the axes: each of their values would be a series of its own.
        names = {"rev"}.union(*(self.fields[channel] for channel in GROUPING)) - self.fields["x"] - self.fields["y"]
        series: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in self.rows:
            series[tuple(str(row.get(name)) for name in names)].append(row)
        return list(series.values())

    @cached_property
    def lines(self) -> list[list[Row]]:
        """The series, each in the order in which a line connects its rows: by x."""
        if len(self.fields["x"]) != 1:
            return self.series
        (x,) = self.fields["x"]
        return [sort_by(rows, x) for rows in self.series]

    def thinned(self) -> list[Row]:
        """Returns the rows to draw: all of them if they are few, else of each series the rows that stand out."""
        if len(self.rows) <= MAX_SERIES_ROWS or self.counts_rows or not self.marks <= THINNED_MARKS:
            return self.rows
        room = max(4, min(MAX_SERIES_ROWS, MAX_ROWS // len(self.series)))
        measures = sorted(self.fields["y"])
        if measures and not self.marks.isdisjoint({"line", "trail"}):
            return [row for rows in self.lines for row in outline(rows, measures, room)]
        axes = sorted(self.fields["x"] | self.fields["y"])
        return [row for rows in self.series for row in spread(rows, axes, room)]

    def points(self) -> Points:
        """Returns values of y for each side, where the chart is one line for each side over one pair of fields."""
        is_line = "line" in self.marks and self.marks <= THINNED_MARKS and not self.counts_rows
        is_simple = len(self.fields["x"]) == len(self.fields["y"]) == 1 and len(self.series) == len(self.labels)
        if not (is_line and is_simple):
            return ()
        (y,) = self.fields["y"]
        points = {}
        for rows in self.lines:
            values = [number for row in rows if (number := number_of(row.get(y))) is not None]
            points[str(rows[0].get("rev"))] = tuple(values[index] for index in even_indices(len(values), MAX_POINTS))
        return tuple((label, points[label]) for label in self.labels if points[label])


def _set_title(spec: Node, note: str, caption: str) -> None:
    title = spec.pop("title", None)
    title = {**title} if isinstance(title, dict) else {"text": title or ""}
    if title.get("text") == caption:
        title["text"] = ""
    if title.get("text") or note:
        subtitle = {"subtitle": one_line(note)} if note else {}
        spec["title"] = title | {"anchor": "start"} | subtitle


def _translate_sides(spec: Node, sides: Mapping[str, str]) -> None:
    """Translates the sides in legends and above panels; where a template hides them, they stay hidden."""
    if not sides:
        return
    names = json.dumps(sides, ensure_ascii=False)
    for node in list(_nodes(spec)):
        for channel, encoding in node.items():
            if not isinstance(encoding, dict) or encoding.get("field") != "rev" or channel not in GROUPING:
                continue
            part = "header" if channel in PANELS else "legend"
            if encoding.get(part, {}) is not None:
                encoding[part] = {"labelExpr": f"{names}[datum.value] || datum.value", **encoding.get(part, {})}


def _nodes(node: Any) -> Iterator[Node]:
    """Yields every mapping in a piece of JSON."""
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _nodes(child)
    elif isinstance(node, list):
        for child in node:
            yield from _nodes(child)


def _drawable(value: Any, *, as_number: bool) -> Any:
    if as_number or (isinstance(value, float) and not math.isfinite(value)):
        return number_of(value)
    return UNDRAWABLE.sub("", value) if isinstance(value, str) else value


def _without_chance(expression: str, field: str) -> str:
    """Returns an expression in which `random()` is the same in every run: equal input gives an equal image."""
    seed = 12.9898 + sum(map(ord, field))
    return expression.replace("random()", f"(abs(sin((datum.cml_row + 1) * {seed}) * 43758.5453) % 1)")
