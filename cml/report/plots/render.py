"""Draws Vega-Lite specifications and SVGs as PNGs, in a child process without network.

vl-convert runs JavaScript in V8. A specification that is too much for V8 ends the whole process; while V8 works, it
holds Python's GIL, so that only a signal to the process can stop it. The child imports this module, which therefore
imports nothing else of ours.
"""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from xml.etree import ElementTree as ET

SCALE = 2  # of a specification; an SVG keeps its size
SECONDS_PER_PLOT = 20
SECONDS_IN_ALL = 120
MAX_MEMORY = 4 << 30
MAX_SIDE = 5_000  # pixels of a drawing, before scaling
MAX_LINE = 300  # characters of a message

Order = dict[str, str]
"""What to draw: {"spec": a specification as JSON} or {"svg": the text of an SVG}."""


def draw_all(orders: Sequence[Order]) -> list[bytes | str]:
    """Returns a PNG for each order, or a message of one line."""
    answers: list[bytes | str] = []
    end = time.monotonic() + SECONDS_IN_ALL
    while len(answers) < len(orders):
        seconds = end - time.monotonic()
        if seconds > 0:
            answers += _ask_child(orders[len(answers) :], seconds=seconds)
        else:
            answers.append(f"the plots before it took {SECONDS_IN_ALL} s, the limit for all plots")
    return answers


def _ask_child(orders: Sequence[Order], *, seconds: float) -> list[bytes | str]:
    """Returns at least one answer. If an order ends the child, the orders after it are left to the next child."""
    start = (
        f"import sys; sys.path[:] = sys.argv[1:]; from cml.report.plots.render import serve; serve({SECONDS_PER_PLOT})"
    )
    # No token of the job reaches the child. With UTC, dates are drawn the same on every machine.
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "TMPDIR") if name in os.environ}
    problem = "vl-convert crashed on it"
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", start, *filter(None, sys.path)],  # -I: no module from the working directory
            input="".join(json.dumps(order) + "\n" for order in orders).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"TZ": "UTC", **kept},
            timeout=seconds,
            check=False,
        )
        output = child.stdout
        if child.returncode == -signal.SIGALRM:
            problem = f"it takes longer than {SECONDS_PER_PLOT} s to draw"
    except OSError as error:
        output, problem = b"", f"cannot start the process that draws: {error}"
    except subprocess.TimeoutExpired as error:
        output, problem = error.stdout or b"", f"drawing all plots took longer than {SECONDS_IN_ALL} s"
    lines = [json.loads(line) for line in output.split(b"\n")[:-1]]
    answers: list[bytes | str] = [base64.b64decode(line["png"]) if "png" in line else line["problem"] for line in lines]
    return answers if len(answers) == len(orders) else [*answers, problem]


def serve(seconds: int) -> None:
    """Runs in the child: reads one order per line from stdin, writes one answer per line to stdout.

    An order that takes more than `seconds` ends the child.
    """
    # V8 aborts when it runs out of memory: without this, a core dump of gigabytes would be in the project's folder.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    # The default action ends the process, also while V8 runs; a handler of Python would never be called.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # JavaScript may print; only our answers may go to the real stdout
        for line in sys.stdin:
            signal.alarm(seconds)
            try:
                answer = {"png": base64.b64encode(_png(json.loads(line))).decode()}
            except BaseException as error:
                # vl-convert's message: "... failed:", JavaScript's message, and a stack.
                reason = str(error).partition("failed:")[2] or str(error)
                answer = {"problem": one_line(reason.strip().split("\n")[0].split(" {")[0])}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def _png(order: Order) -> bytes:
    # Only the process that draws needs it.
    import vl_convert

    svg = order.get("svg", "")
    if "spec" in order:
        # Not `vegalite_to_png`: it loads images from any address, whatever `allowed_base_urls` says.
        svg = vl_convert.vegalite_to_svg(order["spec"], vl_version="5.21", allowed_base_urls=[])
    drawing = ET.fromstring(svg)  # noqa: S314 - an entity bomb can only end this child
    sizes = re.findall(r"[\d.]+", " ".join(drawing.get(name, "") for name in ("width", "height", "viewBox")))
    if any(float(size) > MAX_SIDE for size in sizes):
        raise ValueError(f"the drawing is too large: {' x '.join(sizes[:2])} pixels, at most {MAX_SIDE} each")
    # vl-convert would load images that an SVG links to, from the network or from this machine's files.
    for element in list(drawing.iter()):
        if "image" in str(element.tag).lower():
            _refuse_link(element)
        for child in list(element):
            if child.get("opacity") == "0":  # a target for the mouse: drawing it takes milliseconds
                element.remove(child)
    return vl_convert.svg_to_png(ET.tostring(drawing, "unicode"), scale=SCALE if "spec" in order else 1)


def _refuse_link(element: ET.Element) -> None:
    """Raises ValueError for an image that is not inside the drawing itself."""
    for name, value in element.attrib.items():
        if name.endswith("href") and not value.startswith(("data:image/png;", "data:image/jpeg;")):
            raise ValueError("it links to an image outside of the plot, which is not loaded")


def one_line(text: object) -> str:
    """The text as one line of at most 300 characters; the name of its type where it is empty."""
    line = " ".join(str(text).split()) or type(text).__name__
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"
