"""Python imports this at the start of a `cml` process under test, if this folder is on PYTHONPATH.

It can send a signal at the n-th effect of the process and let time run faster. An effect is what other programs can see:
a process is started, a file is opened for writing, renamed or removed, a connection is opened.

CML_CHAOS_AT=n, CML_CHAOS_SIGNAL=s: send signal s just before effect n. If the effect is to open a file for writing, the
    file is truncated first. KILL goes to all processes of the run, as if a container were killed.
CML_CHAOS_ON=regex: count from the first effect that matches; that one is number 1.
CML_CHAOS_TRACE=file: write a line for each effect.
CML_CHAOS_SPEED=n: time.sleep, time.monotonic and time-outs of connections run n times faster.
CML_CHAOS_SLEPT=file: write the seconds of each sleep.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from typing import Any

EFFECTS = {"subprocess.Popen", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.exec"}
EFFECTS |= {"socket.connect", "os.truncate", "os.chmod", "shutil.move"}
NOT_OURS = ("/dev/", "/proc/", "/sys/")


class Watch:
    """An audit hook that counts effects and sends the signal at the chosen one."""

    def __init__(self, at: int, number: int, trace: str | None, on: str | None) -> None:
        self.at = at
        self.number = number
        self.count = 0
        self.is_busy = False
        self.on = re.compile(on) if on else None
        self.trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if trace else None

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_busy or not is_effect(event, arguments):
            return
        if self.on:
            if not self.on.search(f"{event} {arguments[:2]}"):
                return
            self.on = None
        self.count += 1
        if self.trace is not None:
            self.is_busy = True
            with contextlib.suppress(OSError):
                os.write(self.trace, f"{self.count} {event} {str(arguments[:2])[:300]}\n".encode())
            self.is_busy = False
        if self.count == self.at:
            if event == "open":
                self.is_busy = True
                empty(arguments)
            if self.number == signal.SIGKILL:
                os.killpg(0, signal.SIGKILL)
            os.kill(os.getpid(), self.number)


def is_effect(event: str, arguments: tuple[Any, ...]) -> bool:
    if event != "open":
        return event in EFFECTS
    path, _, flags = arguments
    is_written = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    return bool(is_written) and isinstance(path, (str, bytes)) and not os.fsdecode(path).startswith(NOT_OURS)


def empty(arguments: tuple[Any, ...]) -> None:
    """Truncates the file that is about to be opened: the state just after opening, before anything is written."""
    path, _, flags = arguments
    if flags & os.O_TRUNC:
        with contextlib.suppress(OSError):
            os.close(os.open(path, flags))


def speed_up(times: float) -> None:
    """Makes sleeps, the monotonic clock and time-outs of sockets `times` faster."""
    import socket

    sleep, monotonic, settimeout = time.sleep, time.monotonic, socket.socket.settimeout

    def sleep_less(seconds: Any) -> None:
        if path := os.environ.get("CML_CHAOS_SLEPT"):
            with open(path, "a") as file:  # noqa: PTH123 - this file imports as little as possible
                file.write(f"{seconds}\n")
        sleep(seconds / times)

    time.sleep = sleep_less
    time.monotonic = lambda: monotonic() * times

    def set_timeout(self: Any, value: float | None) -> None:
        settimeout(self, value / times if value else value)

    socket.socket.settimeout = set_timeout  # type: ignore[method-assign]  # replaced on purpose


if any(os.path.basename(word) == "cml" for word in sys.orig_argv[1:2]):
    if os.environ.get("CML_CHAOS_AT") or os.environ.get("CML_CHAOS_TRACE"):
        at, number = int(os.environ.get("CML_CHAOS_AT", "0")), int(os.environ.get("CML_CHAOS_SIGNAL", "9"))
        trace, on = os.environ.get("CML_CHAOS_TRACE"), os.environ.get("CML_CHAOS_ON")
        sys.addaudithook(Watch(at, number, trace, on))
    if os.environ.get("CML_CHAOS_SPEED"):
        speed_up(float(os.environ["CML_CHAOS_SPEED"]))
