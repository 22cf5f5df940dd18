"""The child process that draws: orders of specifications and SVGs in, PNGs or one line about each out.

V8 ends its process where a specification is too much for it, holds the GIL meanwhile, and can be stopped no other way.
The child imports this module alone, so it imports nothing of ours; nothing here uses the network.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from xml.etree import ElementTree as ET

SCALE = 2  # of what a specification draws; an SVG keeps its size
SECONDS_A_PLOT, SECONDS_IN_ALL = 20, 120
MEMORY = 4 << 30
LONGEST_SIDE = 5_000  # of a drawing, before scaling
LONGEST_LINE = 300

Order = dict[str, str]


def draw_all(orders: Sequence[Order]) -> list[bytes | str]:
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
    start = (
        f"import sys; sys.path[:] = sys.argv[1:]; from cml.report.plots.render import serve; serve({SECONDS_A_PLOT})"
    )
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
                answer = {"problem": one_line(reason.strip().split("\n")[0].split(" {")[0])}
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


def one_line(text: object) -> str:
    """The text as one line of at most 300 characters; the name of its type where it is empty."""
    line = " ".join(str(text).split()) or type(text).__name__
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"
