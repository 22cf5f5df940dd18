"""From plots as DVC tells them to image files: one drawing for both sides of a plot, image plots as they are.

Drawing is done in a child process: V8 ends its process where a specification is too much for it, holds the GIL
meanwhile, and can be stopped no other way. Nothing here uses the network.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from cml.report.model import Plot, PlotImage

LABELS = ("baseline", "current")
COLORS = {"baseline": "#7a8ba6", "current": "#c2410c"}  # apart in lightness and in hue, for every kind of eye
DASHES = {"baseline": [6, 3], "current": [1, 0]}
WIDTH, HEIGHT, PANEL, SCALE = 600, 340, 250, 2  # of a drawing, and the side of one panel of several; then scaled
SERIES_ROWS, DRAWN_ROWS = 1_000, 20_000  # of one line, and of a drawing: 1,200 pixels can show no more
SAMPLES = 40
LEGIBLE_CLASSES = 12  # of a confusion matrix, for its counts to have room
SECONDS_A_PLOT, SECONDS_IN_ALL = 20, 120
MEMORY = 4 << 30
MAX_BYTES, MAX_PIXELS = 10_000_000, 50_000_000
LONGEST_SIDE = 5_000  # of a drawing, before scaling
LONGEST_LINE = 300
UNDRAWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # one of these aborts vl-convert

CONFIG: dict[str, dict[str, Any]] = {
    "title": {"fontSize": 15, "color": "#1f2328", "anchor": "start", "offset": 10, "limit": 560}
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
Order = dict[str, str]
Points = tuple[tuple[str, tuple[float, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class VegaPlot:
    """A Vega-Lite specification with its rows in `data.values`, whose field `rev` says "baseline" or "current".

    `note` is one line to stand below the title: a side that could not be read.
    """

    title: str
    spec: Node
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ImagePlot:
    """The image of each side: "baseline" or "current" -> the file's bytes."""

    title: str
    sides: dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class BrokenPlot:
    """A plot of which nothing can be drawn, and why, in one line."""

    title: str
    reason: str


DvcPlot = VegaPlot | ImagePlot | BrokenPlot


def draw(plots: Sequence[DvcPlot], folder: Path) -> tuple[Plot, ...]:
    """Draws plots into `folder`/plots and returns them in the same order; what can't be drawn says why in `problem`."""
    orders: list[Order] = []
    drafts = []
    for plot in plots:
        try:
            drafts.append(_draft(plot, orders))
        except Exception as error:
            drafts.append(_Draft(title=plot.title, problem=_one_line(error)))
    answers = _draw_all(orders)
    return tuple(_finish(draft, answers, folder) for draft in drafts)


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """A plot whose images are bytes, or the number of the order that will bring them."""

    title: str
    images: tuple[tuple[str, bytes | int], ...] = ()
    points: Points = ()
    problem: str | None = None


def _draft(plot: DvcPlot, orders: list[Order]) -> _Draft:
    if isinstance(plot, BrokenPlot):
        return _Draft(title=plot.title, problem=_one_line(plot.reason))
    if isinstance(plot, VegaPlot):
        chart = _Chart(plot.spec)
        orders.append({"spec": chart.specification(plot.note)})
        return _Draft(title=plot.title, images=(("", len(orders) - 1),), points=chart.points())
    images: list[tuple[str, bytes | int]] = []
    for label in LABELS:
        data = plot.sides.get(label)
        if data is None:
            continue
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and len(data) <= MAX_BYTES:
            orders.append({"svg": data.decode("utf-8-sig")})
            images.append((label, len(orders) - 1))
        else:
            images.append((label, data))
    return _Draft(title=plot.title, images=tuple(images))


def _finish(draft: _Draft, answers: Sequence[bytes | str], folder: Path) -> Plot:
    images, problem = [], draft.problem or "it holds no image"
    for label, image in draft.images:
        data = answers[image] if isinstance(image, int) else image
        if isinstance(data, str):
            problem = data
            continue
        try:
            kind, width, height = image_size(data)
            file = _write(folder, title=draft.title, label=label, data=data, kind=kind)
        except (ValueError, OSError) as error:
            problem = str(error)
        else:
            images.append(PlotImage(file=file, label=label, width=width, height=height))
    if not images or images[-1].label != draft.images[-1][0]:  # the last side is the one that people came to see
        return Plot(title=draft.title, points=draft.points, problem=_one_line(problem))
    return Plot(title=draft.title, images=tuple(images), points=draft.points)


def _write(folder: Path, *, title: str, label: str, data: bytes, kind: str) -> str:
    """Returns the new file's name relative to `folder`. A link that stands in its place is replaced, not followed."""
    words = re.sub(r"[^a-z0-9]+", "-", title.lower())[:40].strip("-") or "plot"
    digest = hashlib.sha256(title.encode("utf-8", "replace") + b"\0" + data).hexdigest()[:8]
    name = "-".join(part for part in (words, label, digest) if part)
    place = folder / "plots"
    if place.is_symlink():
        place.unlink()
    place.mkdir(parents=True, exist_ok=True)
    file = place / f"{name}.{kind}"
    file.unlink(missing_ok=True)
    file.write_bytes(data)
    return f"plots/{file.name}"


def _one_line(text: object) -> str:
    line = " ".join(str(text).split()) or type(text).__name__
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"


# A specification and its rows


class _Chart:
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

    def specification(self, note: str) -> str:
        """Returns the specification to draw, as JSON: in our size and colours, with no more rows than can be seen.

        Raises ValueError where a field that must hold numbers holds none.
        """
        rows = self._cleaned(self.thinned())
        spec: Node = self._restyled(self.spec)
        if rows:
            spec["data"] = {"values": rows}
        title = spec.get("title")
        spec["title"] = {**title} if isinstance(title, dict) else {"text": title or ""}
        spec["title"] |= {"anchor": "start", "subtitle": _one_line(note)} if note else {"anchor": "start"}
        self._size(spec)
        self._dash(spec)
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


# The child that draws


def _draw_all(orders: Sequence[Order]) -> list[bytes | str]:
    """Returns for each order a PNG, or one line that says why there is none."""
    answers: list[bytes | str] = []
    end = time.monotonic() + SECONDS_IN_ALL
    while len(answers) < len(orders):
        seconds = end - time.monotonic()
        if seconds > 0:
            answers += _ask_child(orders[len(answers) :], seconds=seconds)
        else:
            answers.append(f"the plots before it took {SECONDS_IN_ALL} s to draw")
    return answers


def _ask_child(orders: Sequence[Order], *, seconds: float) -> list[bytes | str]:
    """Returns at least one answer. A child that dies over an order leaves those behind it to the next child."""
    start = f"import sys; sys.path[:] = sys.argv[1:]; from cml.report.plots import serve; serve({SECONDS_A_PLOT})"
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    problem = "it is more than vl-convert can draw"
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", start, *filter(None, sys.path)],  # -I: nothing of the working directory
            input="".join(json.dumps(order) + "\n" for order in orders).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"TZ": "UTC", **kept},
            timeout=seconds,
            check=False,
        )
        output = child.stdout
        if child.returncode == -signal.SIGALRM:
            problem = f"it takes longer than {SECONDS_A_PLOT} s to draw"
    except OSError as error:
        output, problem = b"", f"the process that draws did not start: {error}"
    except subprocess.TimeoutExpired as error:
        output, problem = error.stdout or b"", f"it was not done after {SECONDS_IN_ALL} s for all plots"
    lines = [json.loads(line) for line in output.split(b"\n")[:-1]]
    answers: list[bytes | str] = [base64.b64decode(line["png"]) if "png" in line else line["problem"] for line in lines]
    return answers if len(answers) == len(orders) else [*answers, problem]


def serve(seconds: int) -> None:
    """The child: an order a line on stdin, an answer a line on stdout. One that takes more than `seconds` ends it."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what JavaScript prints is no answer
        for line in sys.stdin:
            signal.alarm(seconds)
            try:
                answer = {"png": base64.b64encode(_png(json.loads(line))).decode()}
            except BaseException as error:
                reason = str(error).partition("failed:")[2] or str(error)  # then JavaScript's words, then a stack
                answer = {"problem": _one_line(reason.strip().split("\n")[0].split(" {")[0])}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def _png(order: Order) -> bytes:
    import vl_convert

    svg = order.get("svg", "")
    if "spec" in order:
        # By way of SVG: the direct way fetches images from anywhere, whatever `allowed_base_urls` says.
        svg = vl_convert.vegalite_to_svg(order["spec"], vl_version="5.21", allowed_base_urls=[])
    drawing = ET.fromstring(svg)  # noqa: S314 - a bomb of entities ends no more than this child
    sizes = re.findall(r"[\d.]+", " ".join(drawing.get(name, "") for name in ("width", "height", "viewBox")))
    if any(float(size) > LONGEST_SIDE for size in sizes):
        raise ValueError(f"it is too big a drawing: {' x '.join(sizes[:2])}")
    for element in list(drawing.iter()):
        if "image" in str(element.tag).lower():
            _refuse_link(element)
        for child in list(element):
            if child.get("opacity") == "0":  # for a mouse to find; each would cost milliseconds
                element.remove(child)
    return vl_convert.svg_to_png(ET.tostring(drawing, "unicode"), scale=SCALE if "spec" in order else 1)


def _refuse_link(element: ET.Element) -> None:
    """Raises ValueError where an image does not lie in the drawing itself."""
    for name, value in element.attrib.items():
        if name.endswith("href") and not value.startswith(("data:image/png;", "data:image/jpeg;")):
            raise ValueError("it shows an image from elsewhere, which is not fetched")


# Images


def image_size(data: bytes) -> tuple[str, int, int]:
    """Returns an image's kind (png, jpg, gif, webp), and its width and height in pixels, as its first bytes say.

    Raises ValueError where it is none of them, broken, or too big.
    """
    try:
        kind, (width, height) = _read_head(data)
    except (IndexError, struct.error):
        raise ValueError("it is a broken image") from None
    if len(data) > MAX_BYTES or not 0 < width * height <= MAX_PIXELS:
        raise ValueError(f"it is too big an image: {width} x {height} pixels, {len(data) / 1e6:.1f} MB")
    return kind, width, height


def _read_head(data: bytes) -> tuple[str, tuple[int, int]]:
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        return "png", struct.unpack(">II", data[16:24])
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif", struct.unpack("<HH", data[6:10])
    if data.startswith(b"\xff\xd8\xff"):
        place = 2
        while data[place + 1] not in {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}:  # up to the frame's header
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        height, width = struct.unpack(">HH", data[place + 5 : place + 9])
        return "jpg", (width, height)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp", _webp_size(data)
    raise ValueError("it is no PNG, JPEG, GIF, WebP or SVG image")


def _webp_size(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF
