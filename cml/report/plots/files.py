"""Turns the plots of a project into image files: one image for both sides of a plot, images as they are.

`spec` prepares a specification, `render` draws it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Thread

from cml import __version__
from cml.model.plots import BrokenPlot, DvcPlot, VegaPlot
from cml.model.report import Plot, PlotImage
from cml.report.plots.images import MAX_BYTES, image_size
from cml.report.plots.render import Order, draw_all, one_line
from cml.report.plots.spec import LABELS, Chart, Points


def begin_drawing(
    plots: Sequence[DvcPlot], folder: Path, *, sides: Mapping[str, str] | None = None
) -> Callable[[], tuple[Plot, ...]]:
    """Starts to draw plots into `folder`/plots in the background. Returns a function that waits and returns the plots.

    They are in the order given. A plot that cannot be drawn has a `problem`. `sides` are translations of "baseline" and
    "current". An image of the same order that an earlier run left in `folder` is used again.
    """
    drafts = [_draft_or_problem(plot, sides or {}) for plot in plots]
    orders = {name: image for draft in drafts for name, _, image in draft.named_images() if isinstance(image, dict)}
    images: dict[str, bytes | str] = {name: data for name in orders if (data := _earlier_image(folder, name))}
    missing = {name: order for name, order in orders.items() if name not in images}

    def draw() -> None:
        images.update(zip(missing, draw_all([*missing.values()]), strict=True))

    # A daemon: a run that ends early must not wait for its drawings.
    thread = Thread(target=draw, daemon=True)
    if missing:
        thread.start()

    def finish() -> tuple[Plot, ...]:
        if missing:
            thread.join()
        return tuple(_finish(draft, images, folder) for draft in drafts)

    return finish


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """A plot before drawing: each of its images, by label, is bytes or the order to draw it."""

    title: str
    images: tuple[tuple[str, bytes | Order], ...] = ()
    points: Points = ()
    problem: str | None = None

    def named_images(self) -> Iterator[tuple[str, str, bytes | Order]]:
        """Yields (file name without suffix, label, image). The same image has the same name in every run."""
        # The name has no character of the title that could lead out of the folder.
        words = re.sub(r"[^a-z0-9]+", "-", self.title.lower())[:40].strip("-") or "plot"
        for label, image in self.images:
            content = image if isinstance(image, bytes) else _fingerprint(image)
            digest = hashlib.sha256(self.title.encode("utf-8", "replace") + b"\0" + content).hexdigest()[:10]
            yield "-".join(part for part in (words, label, digest) if part), label, image


def _fingerprint(order: Order) -> bytes:
    """Returns everything that decides about a drawing: the order, and the versions of the programs that draw."""
    return json.dumps([order, __version__, version("vl-convert-python")], sort_keys=True).encode()


def _earlier_image(folder: Path, name: str) -> bytes | None:
    """Returns the image that an earlier run drew, unless it is damaged or a link."""
    file = folder / "plots" / f"{name}.png"
    if file.is_symlink() or file.parent.is_symlink() or not file.is_file():
        return None
    try:
        data = file.read_bytes()
        return data if image_size(data)[0] == "png" else None
    except (OSError, ValueError):
        return None


def _draft_or_problem(plot: DvcPlot, sides: Mapping[str, str]) -> _Draft:
    # Specifications and rows come from the project and may contain anything. One broken plot must not end the others.
    try:
        return _draft(plot, sides)
    except Exception as error:
        return _Draft(title=plot.title, problem=one_line(error))


def _draft(plot: DvcPlot, sides: Mapping[str, str]) -> _Draft:
    if isinstance(plot, BrokenPlot):
        return _Draft(title=plot.title, problem=one_line(plot.reason))
    if isinstance(plot, VegaPlot):
        chart = Chart(plot.spec)
        order = {"spec": chart.specification(plot.note, caption=plot.title, sides=sides)}
        return _Draft(title=plot.title, images=(("", order),), points=chart.points())
    images = tuple((label, _image_or_order(plot.sides[label])) for label in LABELS if plot.sides.get(label) is not None)
    return _Draft(title=plot.title, images=images)


def _image_or_order(data: bytes) -> bytes | Order:
    """Returns an image as it is; an SVG is drawn as a PNG, since it may contain scripts and links."""
    is_svg = data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and len(data) <= MAX_BYTES
    return {"svg": data.decode("utf-8-sig")} if is_svg else data


def _finish(draft: _Draft, drawn: Mapping[str, bytes | str], folder: Path) -> Plot:
    """Writes the images of a plot. A drawing is its bytes, or a message about why there is none."""
    images, problem = [], draft.problem or "it contains no image"
    for name, label, image in draft.named_images():
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
    # The last image is the one of this run. Without it, the baseline's alone would be misleading.
    if not images or images[-1].label != draft.images[-1][0]:
        return Plot(title=draft.title, points=draft.points, problem=one_line(problem))
    return Plot(title=draft.title, images=tuple(images), points=draft.points)


def _write(folder: Path, name: str, data: bytes) -> str:
    """Returns the new file's path relative to `folder`. A symbolic link in its place is replaced, not followed."""
    place = folder / "plots"
    if place.is_symlink():
        place.unlink()
    place.mkdir(parents=True, exist_ok=True)
    file = place / name
    file.unlink(missing_ok=True)
    file.write_bytes(data)
    return f"plots/{file.name}"
