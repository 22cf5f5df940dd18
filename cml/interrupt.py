"""How a run ends early: INT, TERM and HUP become Cancelled in the main thread, and no child outlives it.

DVC ignores INT in the main thread while a stage runs, so long work runs in a thread beside it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from cml.errors import Cancelled

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 2.0
T = TypeVar("T")


def listen() -> None:
    """Makes the first signal raise Cancelled; later ones are ignored, so that the way out is walked to its end."""

    def cancel(number: int, _: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Cancelled(signal.Signals(number).name)

    for number in SIGNALS:
        signal.signal(number, cancel)


def beside(work: Callable[[], T]) -> T:
    """Returns what `work` returns or raises what it raises, run in a thread of its own while this one hears signals.

    On Cancelled every child is ended first, and the thread given a moment to unwind.
    """
    outcome: list[T] = []
    problem: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            problem.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        # A join without a timeout would not be woken by a signal on every platform.
        while thread.is_alive():
            thread.join(timeout=3600)
    except Cancelled:
        end_children()
        thread.join(timeout=GRACE_SECONDS)
        raise
    if problem:
        raise problem[0]
    return outcome[0]


def end_children() -> None:
    """Ends every process below this one: TERM, a moment, KILL. Children that were reparented to a PID 1 that is this
    process are among them.
    """
    import psutil

    children = psutil.Process(os.getpid()).children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.terminate()
    _, alive = psutil.wait_procs(children, timeout=GRACE_SECONDS)
    for child in alive:
        with contextlib.suppress(psutil.Error):
            child.kill()
