"""From plots as DVC tells them to PNG files: one drawing for both sides of a plot, image plots as they are.

The drawing is done by vl-convert in a child process: V8 ends the whole process where a specification is too much for
it, holds the GIL meanwhile, and can be stopped no other way. Nothing here uses the network.
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
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from cml.report.model import Plot, PlotImage

LABELS = ("baseline", "current")
COLORS = {"baseline": "#7a8ba6", "current": "#c2410c"}  # apart in lightness and in hue, for every kind of eye
DASHES = {"baseline": [6, 3], "current": [1, 0]}
WIDTH, HEIGHT, SIDE, SCALE = 600, 340, 250, 2  # of a drawing, and of one panel of several, before scaling
DRAWN_ROWS, SERIES_ROWS = 20_000, 1_000  # of a plot, and of one line: 1,200 pixels can show no more
SAMPLES = 40
LEGIBLE_CLASSES = 12  # of a confusion matrix, for its counts to have room
SECONDS_A_PLOT, SECONDS_IN_ALL = 20, 120
MAX_BYTES, MAX_PIXELS = 10_000_000, 50_000_000

CONFIG: dict[str, Any] = {
    "font": "Liberation Sans",  # in vl-convert itself, so that every machine draws the same
    "title": {"fontSize": 15, "fontWeight": "bold", "color": "#1f2328", "anchor": "start", "offset": 10, "limit": 560}
    | {"subtitleFontSize": 12, "subtitleColor": "#57606a", "subtitlePadding": 5},
    "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelColor": "#424a53"}
    | {"titleColor": "#424a53", "gridColor": "#e6e9ed", "domainColor": "#b6bec8", "tickColor": "#b6bec8"}
    | {"labelLimit": 180, "titlePadding": 8},
    "axisX": {"grid": False},
    "legend": {"orient": "top", "title": None, "labelFontSize": 12, "symbolStrokeWidth": 2.5, "symbolSize": 200}
    | {"labelLimit": 400, "labelColor": "#1f2328", "columns": 4},
    "header": {"labelFontSize": 13, "labelFontWeight": "bold", "labelColor": "#1f2328", "title": None},
    "view": {"stroke": None},
    "line": {"strokeWidth": 2.25},
    "range": {"category": list(COLORS.values()), "heatmap": {"scheme": "blues"}, "ramp": {"scheme": "blues"}},
}
# Rows of these may be left out; what counts, sums or sorts its rows must see them all.
THINNED_MARKS = frozenset({"line", "trail", "point", "circle", "square", "rule"})
COUNTING = frozenset({"bin", "density", "flatten", "fold", "impute", "joinaggregate", "quantile", "regression", "stack"})
COUNTING_TOO = frozenset({"timeUnit", "window", "sample", "lookup"})
PANELS = frozenset({"facet", "row", "column", "hconcat", "vconcat", "concat", "repeat"})


@dataclass(frozen=True, kw_only=True)
class VegaPlot:
    """A Vega-Lite specification with its data in `data.values`, whose field `rev` says "baseline" or "current".

    `note` is one line for below the title: a side that could not be read.
    """

    title: str
    spec: dict[str, Any]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ImagePlot:
    """The image of each side: "baseline" or "current" -> the file's bytes."""

    title: str
    sides: dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class BrokenPlot:
    title: str
    reason: str


DvcPlot = VegaPlot | ImagePlot | BrokenPlot


def draw(plots: Sequence[DvcPlot], folder: Path) -> tuple[Plot, ...]:
    """Draws plots into `folder`/plots and returns them in the same order; what can't be drawn says so in `problem`."""
    orders: list[dict[str, Any]] = []
    drafts: list[_Draft] = []
    for plot in plots:
        try:
            drafts.append(_draft(plot, orders))
        except Exception as error:  # noqa: BLE001 - any data may stand in a repository
            drafts.append(_Draft(title=plot.title, problem=_one_line(error)))
    answers = _draw_all(orders)
    return tuple(_finish(draft, answers, folder) for draft in drafts)


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """A plot whose images are bytes, or the index of the order that will bring them."""

    title: str
    images: tuple[tuple[str, bytes | int], ...] = ()
    points: tuple[tuple[str, tuple[float, ...]], ...] = ()
    problem: str | None = None


def _draft(plot: DvcPlot, orders: list[dict[str, Any]]) -> _Draft:
    if isinstance(plot, BrokenPlot):
        return _Draft(title=plot.title, problem=_one_line(plot.reason))
    if isinstance(plot, VegaPlot):
        chart = _Chart(plot.spec)
        orders.append({"spec": chart.specification(plot.note)})
        return _Draft(title=plot.title, images=(("", len(orders) - 1),), points=chart.points())
    images: list[tuple[str, bytes | int]] = []
    for label in LABELS:
        if data := plot.sides.get(label):
            if b"<svg" in data[:4096]:
                orders.append({"svg": data.decode("utf-8")})
            images.append((label, len(orders) - 1 if b"<svg" in data[:4096] else data))
    return _Draft(title=plot.title, images=tuple(images))


def _finish(draft: _Draft, answers: Sequence[bytes | str], folder: Path) -> Plot:
    if draft.problem:
        return Plot(title=draft.title, problem=draft.problem)
    images = []
    for label, image in draft.images:
        data = answers[image] if isinstance(image, int) else image
        try:
            if isinstance(data, str):
                raise ValueError(data)
            extension, width, height = image_size(data)
            file = _write(folder, title=draft.title, label=label, data=data, extension=extension)
        except (ValueError, OSError, IndexError, struct.error) as error:
            return Plot(title=draft.title, points=draft.points, problem=_one_line(f"{label} {error}"))
        images.append(PlotImage(file=file, label=label, width=width, height=height))
    return Plot(title=draft.title, images=tuple(images), points=draft.points)


def _write(folder: Path, *, title: str, label: str, data: bytes, extension: str) -> str:
    """Returns the new file's name relative to `folder`. A link that stands in its place is replaced, not followed."""
    words = re.sub(r"[^a-z0-9]+", "-", title.lower())[:40].strip("-") or "plot"
    digest = hashlib.sha256(title.encode("utf-8", "replace") + b"\0" + data).hexdigest()[:8]
    name = "-".join(filter(None, (words, label, digest))) + f".{extension}"
    place = folder / "plots"
    if place.is_symlink():
        place.unlink()
    place.mkdir(parents=True, exist_ok=True)
    (place / name).unlink(missing_ok=True)
    (place / name).write_bytes(data)
    return f"plots/{name}"


def _one_line(text: object) -> str:
    line = " ".join(str(text).split()) or type(text).__name__
    return line if len(line) <= 300 else f"{line[:299]}…"


# The specification


class _Chart:
    """A specification as DVC filled it, read once: its rows, its marks, and the fields of its axes."""

    def __init__(self, spec: dict[str, Any]) -> None:
        data = spec.get("data")
        values = data.get("values") if isinstance(data, dict) else None
        self.rows: list[dict[str, Any]] = values if isinstance(values, list) else []
        if not all(isinstance(row, dict) for row in self.rows):
            raise ValueError("its data is not a list of rows")
        self.spec = {key: value for key, value in spec.items() if key != "data"} if self.rows else spec
        self.marks: set[str] = set()
        self.fields: dict[str, set[str]] = defaultdict(set)
        self.counts_rows = False
        for node in _dicts(self.spec):
            self._look_at(node)
        present = {row.get("rev") for row in self.rows}
        self.labels = [label for label in LABELS if label in present]

    def _look_at(self, node: dict[str, Any]) -> None:
        mark = node.get("mark")
        if isinstance(mark, str | dict):
            self.marks.add(mark if isinstance(mark, str) else str(mark.get("type")))
        aggregate = node.get("aggregate")
        is_extreme = isinstance(aggregate, dict) or aggregate in (None, "min", "max")
        self.counts_rows |= not is_extreme or not (COUNTING | COUNTING_TOO).isdisjoint(node)
        for channel, encoding in node.items():
            if isinstance(encoding, dict) and isinstance(encoding.get("field"), str):
                self.fields[channel].add(_plain(encoding["field"]))
                if encoding.get("type") == "quantitative":
                    self.fields["numbers"].add(_plain(encoding["field"]))

    def specification(self, note: str) -> str:
        """Returns the specification to draw, as JSON: in our size and colours, with no more rows than can be seen."""
        mentioned = json.dumps(self.spec, default=str).replace("\\", "")
        names = {name for row in self.rows for name in row}
        names = {name for name in names if str(name).replace("\\", "") in mentioned}
        numbers = self.fields["numbers"]
        rows = [
            {name: _value(row[name], as_number=name in numbers) for name in row if name in names} for row in self.thinned()
        ]
        for index, row in enumerate(rows if "random()" in mentioned else ()):
            row["cml_row"] = index
        spec = self._restyled(self.spec)
        assert isinstance(spec, dict)
        if self.rows:
            spec["data"] = {"values": rows}
        title = spec.get("title")
        spec["title"] = dict(title) if isinstance(title, dict) else {"text": title or ""}
        spec["title"] |= {"anchor": "start"} | ({"subtitle": note} if note else {})
        self._size(spec)
        self._dash(spec)
        config = spec.get("config") or {}
        ours: dict[str, Any] = {"legend": {**CONFIG["legend"], "symbolType": "stroke"}} if "line" in self.marks else {}
        if all(str(row.get(name)).isdecimal() for name in self._axis("x") for row in rows):
            ours["axisX"] = {**CONFIG["axisX"], "tickMinStep": 1}  # there is no step 0.5
        spec["config"] = {**CONFIG, **ours, **config}
        background = spec.get("background") or config.get("background")
        spec["background"] = "white" if background in (None, "transparent") else background
        spec["padding"] = 16
        return json.dumps(spec, default=str, ensure_ascii=False).encode("utf-8", "replace").decode()

    def _restyled(self, node: Any, key: str = "") -> Any:
        """A copy with our colours, a static picture's view of what a mouse would show, and nothing left to chance."""
        if isinstance(node, list):
            # Zooming by mouse would have all marks clipped, which costs more than the rest of the drawing.
            return [self._restyled(item) for item in node if not (isinstance(item, dict) and item.get("bind") == "scales")]
        if not isinstance(node, dict):
            return None if isinstance(node, float) and not math.isfinite(node) else node
        copy = {name: self._restyled(value, name) for name, value in node.items() if name != "nearest"}
        scale = copy.get("scale")
        domain = scale.get("domain") if isinstance(scale, dict) else None
        if key in {"color", "stroke", "fill"} and copy.get("field") == "rev" and self.labels:
            if scale is None or (isinstance(domain, list) and set(domain) <= set(LABELS)):
                copy["scale"] = {"domain": self.labels, "range": [COLORS[label] for label in self.labels]}
        if copy.get("name") == "showValues" and self._count_classes() <= LEGIBLE_CLASSES:
            copy["value"] = True
        if isinstance(expression := copy.get("calculate"), str) and "random()" in expression:
            factor = 12.9898 + len(str(copy.get("as"))) + sum(map(ord, str(copy.get("as"))))
            even = f"((abs(sin((datum.cml_row + 1) * {factor:.4f})) * 43758.5453) % 1)"
            copy["calculate"] = expression.replace("random()", even)
        return copy

    def _count_classes(self) -> int:
        return max((len({str(row.get(name)) for row in self.rows}) for name in self._axis("x") | self._axis("y")), default=0)

    def _axis(self, channel: str) -> set[str]:
        return self.fields.get(channel, set())

    def _size(self, spec: dict[str, Any]) -> None:
        """DVC asks for 300 x 300; a size that a template chose itself stays."""
        encoding = spec.get("encoding") or {}
        is_single = PANELS.isdisjoint(spec) and not any(encoding.get(channel) for channel in PANELS)
        wanted = {"width": WIDTH, "height": HEIGHT} if is_single else {"width": SIDE, "height": SIDE}
        panel = spec.get("spec") if isinstance(spec.get("spec"), dict) else spec
        assert isinstance(panel, dict)
        for side, pixels in wanted.items():
            if panel.get(side) in (None, 300, "container", {}):
                panel[side] = pixels
        if is_single and not {"layer", "mark"}.isdisjoint(spec):
            spec.setdefault("autosize", {"type": "fit", "contains": "padding"})

    def _dash(self, spec: dict[str, Any]) -> None:
        """Draws the baseline dashed, where the dashes tell nothing else apart."""
        encoding = spec.get("encoding")
        if "line" in self.marks and isinstance(encoding, dict) and not encoding.get("strokeDash") and self.labels:
            scale = {"domain": self.labels, "range": [DASHES[label] for label in self.labels]}
            encoding["strokeDash"] = {"field": "rev", "type": "nominal", "scale": scale}

    # The rows

    def series(self) -> dict[tuple[str, ...], list[dict[str, Any]]]:
        """Returns the rows of each line or group of points, by side and by what else tells them apart."""
        channels = ("color", "stroke", "fill", "strokeDash", "shape", "detail", "row", "column", "facet")
        names = sorted({"rev"}.union(*(self._axis(channel) for channel in channels)) - self._axis("x") - self._axis("y"))
        found: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for row in self.rows:
            found[tuple(str(row.get(name)) for name in names)].append(row)
        return found

    def thinned(self) -> list[dict[str, Any]]:
        """Returns the rows to draw: all of a few; else, of each series, the first, the last, and the extremes between."""
        if len(self.rows) <= SERIES_ROWS or self.counts_rows or not self.marks <= THINNED_MARKS:
            return self.rows
        series = self.series()
        room = max(2, min(SERIES_ROWS, DRAWN_ROWS // len(series)))
        is_line = not self.marks.isdisjoint({"line", "trail"})
        pick = _extremes if is_line else _every_nth
        y = next(iter(self._axis("y")), "")
        x = next(iter(self._axis("x")), "")
        return [row for rows in series.values() for row in pick(_by_x(rows, x) if is_line else rows, x, y, room)]

    def points(self) -> tuple[tuple[str, tuple[float, ...]], ...]:
        """Returns up to 40 values of y for each side, where the chart is one line a side over one pair of fields."""
        x, y, series = self._axis("x"), self._axis("y"), self.series()
        is_simple = "line" in self.marks and self.marks <= THINNED_MARKS and not self.counts_rows
        if not is_simple or len(x) != 1 or len(y) != 1 or len(series) != len(self.labels):
            return ()
        (name,) = y
        found = []
        for label, rows in zip(self.labels, sorted(series.values(), key=lambda rows: str(rows[0].get("rev"))), strict=True):
            values = [value for row in _by_x(rows, next(iter(x))) if (value := _number(row.get(name))) is not None]
            found.append((label, tuple(values[index] for index in _even(len(values), SAMPLES))))
        return tuple(pair for pair in found if pair[1])


def _dicts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _dicts(child)


def _plain(field: str) -> str:
    return re.sub(r"\\(.)", r"\1", field)  # Vega's a\.b is the field "a.b"


def _number(value: Any) -> float | None:
    """A finite number, also out of the text of a CSV cell; else None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _value(value: Any, *, as_number: bool) -> Any:
    if as_number and not isinstance(value, bool):
        return _number(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _by_x(rows: list[dict[str, Any]], x: str) -> list[dict[str, Any]]:
    """The rows in the order in which a line connects them."""
    keys = [_number(row.get(x)) for row in rows]
    if any(key is None for key in keys):
        return rows
    return [rows[index] for index in sorted(range(len(rows)), key=keys.__getitem__)]  # type: ignore[arg-type]


def _even(count: int, room: int) -> list[int]:
    """At most `room` (two or more) evenly spaced indices below `count`, the first and the last among them."""
    if count <= room:
        return list(range(count))
    return [index * (count - 1) // (room - 1) for index in range(room)]


def _extremes(rows: list[dict[str, Any]], x: str, y: str, room: int) -> list[dict[str, Any]]:
    """The first row, the last, and the lowest and highest of each of equal stretches: what the line looks like."""
    if len(rows) <= room:
        return rows
    values = [_number(row.get(y)) for row in rows]
    edges = _even(len(rows), max(2, room // 2))
    kept = {0, len(rows) - 1}
    for start, end in itertools.pairwise(edges):
        if stretch := [index for index in range(start, end) if values[index] is not None]:
            kept |= {min(stretch, key=values.__getitem__), max(stretch, key=values.__getitem__)}  # type: ignore[arg-type]
        else:
            kept.add(start)  # a gap stays one
    return [rows[index] for index in sorted(kept)]


def _every_nth(rows: list[dict[str, Any]], x: str, y: str, room: int) -> list[dict[str, Any]]:
    """Evenly chosen rows of a cloud, and its outermost ones."""
    kept = set(_even(len(rows), room))
    for name in (x, y):
        known = [(number, index) for index, row in enumerate(rows) if (number := _number(row.get(name))) is not None]
        kept |= {min(known)[1], max(known)[1]} if known else set()
    return [rows[index] for index in sorted(kept)]


# The child that draws


def _draw_all(orders: Sequence[dict[str, Any]]) -> list[bytes | str]:
    """Returns for each order a PNG, or one line that says why there is none."""
    answers: list[bytes | str] = []
    end = time.monotonic() + SECONDS_IN_ALL
    while len(answers) < len(orders):
        seconds = end - time.monotonic()
        if seconds <= 0:
            answers.append("was not drawn: the plots before it took too long")
            continue
        answers += _ask_child(orders[len(answers) :], seconds=seconds)
    return answers


def _ask_child(orders: Sequence[dict[str, Any]], *, seconds: float) -> list[bytes | str]:
    """Returns at least one answer. A child that dies over an order leaves the rest for the next one."""
    start = "import sys; sys.path[:] = sys.argv[1:]; from cml.report.plots import serve; serve()"
    command = [sys.executable, "-I", "-c", start, *filter(None, sys.path)]  # -I: nothing of the working directory
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "HOME", "TMPDIR") if name in os.environ}
    try:
        child = subprocess.run(
            command,
            input="".join(json.dumps(order) + "\n" for order in orders).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"TZ": "UTC", **kept},
            timeout=seconds,
            check=False,
        )
        output, end = child.stdout, -child.returncode
    except subprocess.TimeoutExpired as error:
        output, end = error.stdout or b"", int(signal.SIGALRM)
    lines = [json.loads(line) for line in output.split(b"\n")[:-1]]
    answers: list[bytes | str] = [base64.b64decode(line["png"]) if "png" in line else line["problem"] for line in lines]
    if len(answers) < len(orders):
        took_long = end == signal.SIGALRM
        answers.append(f"took longer than {SECONDS_A_PLOT} s to draw" if took_long else "is too much for vl-convert")
    return answers


def serve() -> None:
    """The child: one order a line on stdin, one answer a line on stdout. An order that takes too long ends it."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what JavaScript prints is no answer
    for line in sys.stdin:
        signal.alarm(SECONDS_A_PLOT)
        try:
            answer = {"png": base64.b64encode(_png(json.loads(line))).decode()}
        except BaseException as error:  # noqa: BLE001 - a panic in Rust is no Exception
            answer = {"problem": _one_line(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _png(order: dict[str, Any]) -> bytes:
    import vl_convert

    if "spec" in order:
        # By way of SVG: the direct way fetches images from anywhere, whatever `allowed_base_urls` says.
        svg = vl_convert.vegalite_to_svg(order["spec"], vl_version="5.21", allowed_base_urls=[])
    else:
        svg = order["svg"]
    drawing = ElementTree.fromstring(re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", svg))
    for element in list(drawing.iter()):
        if "image" in str(element.tag).lower():
            _refuse_link(element)
        for child in list(element):
            if child.get("opacity") == "0":  # what a mouse would show; each would cost milliseconds
                element.remove(child)
    return vl_convert.svg_to_png(ElementTree.tostring(drawing, "unicode"), scale=SCALE if "spec" in order else 1)


def _refuse_link(element: ElementTree.Element) -> None:
    """Raises ValueError where an image does not lie in the drawing itself."""
    for name, value in element.attrib.items():
        if name.endswith("href") and not value.startswith(("data:image/png;", "data:image/jpeg;")):
            raise ValueError("shows an image from elsewhere, which is not fetched")


# Images


def image_size(data: bytes) -> tuple[str, int, int]:
    """Returns an image's kind (png, jpg, gif, webp) and its width and height in pixels, all out of its bytes.

    Raises ValueError, IndexError or struct.error where it is none of them, broken, or too big.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        size = ("png", *struct.unpack(">II", data[16:24]))
    elif data.startswith((b"GIF87a", b"GIF89a")):
        size = ("gif", *struct.unpack("<HH", data[6:10]))
    elif data.startswith(b"\xff\xd8\xff"):
        size = ("jpg", *_jpeg_size(data))
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        size = ("webp", *_webp_size(data))
    else:
        raise ValueError("is no PNG, JPEG, GIF, WebP or SVG image")
    if len(data) > MAX_BYTES or not 0 < size[1] * size[2] <= MAX_PIXELS:
        raise ValueError(f"is too big an image: {size[1]} x {size[2]} pixels, {len(data) / 1e6:.1f} MB")
    return size


def _jpeg_size(data: bytes) -> tuple[int, int]:
    place = 2
    while data[place + 1] not in {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}:  # the frame's header, by any coding
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    height, width = struct.unpack(">HH", data[place + 5 : place + 9])
    return width, height


def _webp_size(data: bytes) -> tuple[int, int]:
    if data[12:16] == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack("<HH", data[26:30])
    return width & 0x3FFF, height & 0x3FFF
