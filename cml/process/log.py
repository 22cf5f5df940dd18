"""What a person reads while a run works: one line a step with its decision and its time, and children's output, live.

Everything goes to stderr and through the masks. Warnings are kept for the report.
"""

from __future__ import annotations

import os
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from cml.process.masking import Masks

TAIL_LINES = 40
# What GitHub's runner would obey: `::` at a line's start, `##[` anywhere. An invisible space takes the meaning away.
COMMAND = re.compile(r"^\s*:(?=:)|##(?=\[)", re.MULTILINE)
INVISIBLE = "\u200b"
PARTIAL_LINE_SECONDS = 0.2
LONGEST_LINE = 65_536  # bytes without a line break that are waited for


class Log:
    """The story of one run. `annotate` shows a ("warning" | "error", text) where the place has a way of its own."""

    def __init__(
        self,
        masks: Masks,
        *,
        annotate: Callable[[str, str], bool] | None = None,
        guard: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self.masks = masks
        self.warnings: list[str] = []
        self._annotate = annotate
        self._guard = guard
        self._held: list[str] | None = None
        self._is_piped = False
        self._lock = threading.Lock()
        # While children talk, our own lines go their way, which keeps the order; the mark tells them apart.
        self._mark = f"\x00{os.urandom(8).hex()}\x00"
        self._since = time.monotonic()

    def line(self, text: str) -> None:
        """Writes one line (or several, as they are). What the repository names is never a command of the runner's."""
        safe = COMMAND.sub("\\g<0>" + INVISIBLE, self.masks.mask(text))
        with self._lock, suppress(OSError):  # whoever read the log is gone; the work goes on
            mark = self._mark if self._is_piped else ""
            sys.stderr.write("".join(f"{mark}{line}\n" for line in safe.split("\n")))
            sys.stderr.flush()

    def note(self, text: str) -> None:
        """Writes a line that belongs to the step under way."""
        self.line(f"{'':<10} {text}")

    def step(self, name: str, decision: str) -> None:
        """Writes what a step decided, with the seconds since the line before it."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        self.line(f"{name:<10} {decision} ({seconds:.1f} s)")

    def warning(self, text: str) -> None:
        """Keeps a warning for the report and shows it, once."""
        text = self.masks.mask(text)
        if text in self.warnings:
            return
        self.warnings.append(text)
        if self._held is not None:
            self._held.append(text)
        self._show("warning", text)

    def error(self, text: str) -> None:
        self._show("error", self.masks.mask(text))

    def _show(self, kind: str, text: str) -> None:
        if self._held is not None or not (self._annotate and self._annotate(kind, text)):
            self.line(f"{kind}: {text}")

    @contextmanager
    def children(self, title: str) -> Iterator[Tail]:
        """While inside, what this process and its children write to stdout and stderr is shown live and masked, under
        `title` where the place folds its log; the last lines are kept in the Tail, masked too, for the report of a
        failure.
        """
        with self._guard(title):
            self._held = []
            try:
                with self._piped() as tail:
                    yield tail
            finally:
                held, self._held = self._held, None
        if self._annotate:
            for text in held or ():
                self._annotate("warning", text)

    @contextmanager
    def _piped(self) -> Iterator[Tail]:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        shown = os.dup(2)
        saved = os.dup(1), os.dup(2)
        reader, writer = os.pipe()
        tail = Tail()
        pump = threading.Thread(target=_pump, args=(reader, shown, tail, self.masks, self._mark), daemon=True)
        with self._lock:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            self._is_piped = True
        os.close(writer)
        pump.start()
        try:
            yield tail
        finally:
            with self._lock, suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            with self._lock:
                for number, copy in enumerate(saved, start=1):
                    os.dup2(copy, number)
                    os.close(copy)
                self._is_piped = False
            # A process that a stage left behind holds the pipe open: what it still says is not waited for.
            pump.join(timeout=1.0)


class Tail:
    """The last lines that children wrote, without our own."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: str) -> None:
        self._lines.append(line)

    @property
    def text(self) -> str:
        return "\n".join(self._lines)


def _pump(reader: int, shown: int, tail: Tail, masks: Masks, mark: str) -> None:
    rest = b""
    while True:
        ready, _, _ = select.select([reader], [], [], PARTIAL_LINE_SECONDS if rest else None)
        data = os.read(reader, 65536) if ready else b""
        if ready and not data:
            break
        rest += data
        # A progress bar redraws itself with \r and a prompt ends without \n: shown after a moment all the same.
        end = max(rest.rfind(b"\n"), rest.rfind(b"\r")) + 1 if ready and len(rest) < LONGEST_LINE else len(rest)
        if end:
            _show(rest[:end], shown, tail, masks, mark)
            rest = rest[end:]
    if rest:
        _show(rest, shown, tail, masks, mark)
    os.close(reader)
    os.close(shown)


def _show(data: bytes, shown: int, tail: Tail, masks: Masks, mark: str) -> None:
    text = masks.mask(data.decode("utf-8", "replace"))
    for line in text.splitlines():
        if mark not in line:
            tail.add(line)
    view = memoryview(text.replace(mark, "").encode())
    with suppress(OSError):  # whoever read the log is gone; the children must not be held up
        while view:
            view = view[os.write(shown, view) :]
