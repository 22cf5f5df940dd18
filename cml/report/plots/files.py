"""From plots as DVC tells them to image files: one drawing for both sides of a plot, image plots as they are.

Here are the plots, their files and the heads of images; `chart` prepares a specification, `drawing` draws it.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from cml import __version__
from cml.model.plots import BrokenPlot, DvcPlot, VegaPlot
from cml.model.report import Plot, PlotImage
from cml.report.plots.render import Order, draw_all, one_line
from cml.report.plots.spec import LABELS, Chart, Points

MAX_BYTES, MAX_PIXELS = 10_000_000, 50_000_000


def begin_drawing(
    plots: Sequence[DvcPlot], folder: Path, *, sides: Mapping[str, str] | None = None
) -> Callable[[], tuple[Plot, ...]]:
    """Begins to draw plots into `folder`/plots, beside other work. Returns what waits for the end and then returns them
    in the same order; what can't be drawn says why in `problem`. `sides` are words for "baseline" and "current" in
    another language.

    What an earlier run drew of the same order, and left in `folder`, is not drawn again.
    """
    drafts = []
    for plot in plots:
        try:
            drafts.append(_draft(plot, sides or {}))
        except Exception as error:
            drafts.append(_Draft(title=plot.title, problem=one_line(error)))
    names = {name: image for draft in drafts for name, _, image in draft.named() if isinstance(image, dict)}
    drawn: dict[str, bytes | str] = {name: data for name in names if (data := _earlier(folder, name))}
    orders = {name: order for name, order in names.items() if name not in drawn}
    drawing = Thread(target=lambda: drawn.update(zip(orders, draw_all([*orders.values()]), strict=True)), daemon=True)
    if orders:
        drawing.start()

    def finish() -> tuple[Plot, ...]:
        if orders:
            drawing.join()
        return tuple(_finish(draft, drawn, folder) for draft in drafts)

    return finish


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """A plot whose images, by their labels, are bytes, or orders that will bring them."""

    title: str
    images: tuple[tuple[str, bytes | Order], ...] = ()
    points: Points = ()
    problem: str | None = None

    def named(self) -> Iterator[tuple[str, str, bytes | Order]]:
        """Yields (name of its file without the kind, label, image): the same image has the same name in every run."""
        words = re.sub(r"[^a-z0-9]+", "-", self.title.lower())[:40].strip("-") or "plot"
        for label, image in self.images:
            made_of = image if isinstance(image, bytes) else _recipe(image)
            digest = hashlib.sha256(self.title.encode("utf-8", "replace") + b"\0" + made_of).hexdigest()[:10]
            yield "-".join(part for part in (words, label, digest) if part), label, image


def _recipe(order: Order) -> bytes:
    """What a drawing follows from: the order, and what draws."""
    from importlib.metadata import version

    return json.dumps([order, __version__, version("vl-convert-python")], sort_keys=True).encode()


def _earlier(folder: Path, name: str) -> bytes | None:
    file = folder / "plots" / f"{name}.png"
    if file.is_symlink() or file.parent.is_symlink() or not file.is_file():
        return None
    try:
        data = file.read_bytes()
        return data if image_size(data)[0] == "png" else None
    except (OSError, ValueError):
        return None


def _draft(plot: DvcPlot, sides: Mapping[str, str]) -> _Draft:
    if isinstance(plot, BrokenPlot):
        return _Draft(title=plot.title, problem=one_line(plot.reason))
    if isinstance(plot, VegaPlot):
        chart = Chart(plot.spec)
        order = {"spec": chart.specification(plot.note, caption=plot.title, sides=sides)}
        return _Draft(title=plot.title, images=(("", order),), points=chart.points())
    images: list[tuple[str, bytes | Order]] = []
    for label in LABELS:
        data = plot.sides.get(label)
        if data is None:
            continue
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and len(data) <= MAX_BYTES:
            images.append((label, {"svg": data.decode("utf-8-sig")}))
        else:
            images.append((label, data))
    return _Draft(title=plot.title, images=tuple(images))


def _finish(draft: _Draft, drawn: Mapping[str, bytes | str], folder: Path) -> Plot:
    images, problem = [], draft.problem or "it holds no image"
    for name, label, image in draft.named():
        data = image if isinstance(image, bytes) else drawn[name]
        if isinstance(data, str):
            problem = data
            continue
        try:
            kind, width, height = image_size(data)
            file = _write(folder, f"{name}.{kind}", data)
        except (ValueError, OSError) as error:
            problem = str(error)
        else:
            images.append(PlotImage(file=file, label=label, width=width, height=height))
    if not images or images[-1].label != draft.images[-1][0]:  # the last side is the one that people came to see
        return Plot(title=draft.title, points=draft.points, problem=one_line(problem))
    return Plot(title=draft.title, images=tuple(images), points=draft.points)


def _write(folder: Path, name: str, data: bytes) -> str:
    """Returns the new file's name relative to `folder`. A link that stands in its place is replaced, not followed."""
    place = folder / "plots"
    if place.is_symlink():
        place.unlink()
    place.mkdir(parents=True, exist_ok=True)
    file = place / name
    file.unlink(missing_ok=True)
    file.write_bytes(data)
    return f"plots/{file.name}"


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
