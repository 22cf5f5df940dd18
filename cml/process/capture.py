"""Captures what this process and its children write to stdout and stderr: shows it live and masked, keeps the end."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cml.process.masking import Masks

TAIL_LINES = 40
PARTIAL_LINE_SECONDS = 0.2
MAXIMUM_LINE = 65_536  # bytes: a longer line is shown in pieces
JOIN_SECONDS = 1.0


class OutputTail:
    """The last lines of captured output, masked, without the lines of our own log."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: str) -> None:
        self._lines.append(line)

    @property
    def text(self) -> str:
        return "\n".join(self._lines)


class OutputCapture:
    """Redirects stdout and stderr of this process (and so of its children) into a pipe, whose reader shows the text.

    While output is captured, our own log lines go through the same pipe, which keeps them in order. `marker` is at
    the start of each of them, so that the reader can tell them apart; nobody else knows it.
    """

    def __init__(self, masks: Masks) -> None:
        self.lock = threading.Lock()  # for whoever writes to stderr while it may be redirected
        self.is_active = False
        self.marker = f"\x00{os.urandom(8).hex()}\x00"
        self._masks = masks

    @contextmanager
    def active(self) -> Iterator[OutputTail]:
        """Captures output until the end of the block."""
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        # Two copies: the pump closes its own when it ends, which may be after `saved` was restored.
        shown = os.dup(2)
        saved = os.dup(1), os.dup(2)
        reader, writer = os.pipe()
        tail = OutputTail()
        pump = threading.Thread(target=self._pump, args=(reader, shown, tail), daemon=True)
        with self.lock:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            self.is_active = True
        # The pump ends when nobody has the pipe open for writing: only the descriptors 1 and 2 may stay.
        os.close(writer)
        pump.start()
        try:
            yield tail
        finally:
            with self.lock, suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            with self.lock:
                for number, copy in enumerate(saved, start=1):
                    os.dup2(copy, number)
                    os.close(copy)
                self.is_active = False
            # A background process of a stage may keep the pipe open for ever: do not wait for the end of its output.
            pump.join(timeout=JOIN_SECONDS)

    def _pump(self, reader: int, shown: int, tail: OutputTail) -> None:
        """Copies the pipe to `shown`, a line at a time: a secret that arrives in two pieces must be masked as one."""
        rest = b""
        while True:
            ready, _, _ = select.select([reader], [], [], PARTIAL_LINE_SECONDS if rest else None)
            data = os.read(reader, 65536) if ready else b""
            if ready and not data:
                break
            rest += data
            if ready and len(rest) < MAXIMUM_LINE:
                end = max(rest.rfind(b"\n"), rest.rfind(b"\r")) + 1  # a progress bar ends its lines with \r
            else:
                end = len(rest)  # a prompt has no line end: show it after PARTIAL_LINE_SECONDS
            if end:
                self._show(rest[:end], shown, tail)
                rest = rest[end:]
        if rest:
            self._show(rest, shown, tail)
        os.close(reader)
        os.close(shown)

    def _show(self, data: bytes, shown: int, tail: OutputTail) -> None:
        text = self._masks.mask(data.decode("utf-8", "replace"))
        for line in text.splitlines():
            if self.marker not in line:
                tail.add(line)
        # os.write may write only a part of the text, to a pipe for example.
        view = memoryview(text.replace(self.marker, "").encode())
        with suppress(OSError):  # the reader of the log is gone; go on reading, or the children would block
            while view:
                view = view[os.write(shown, view) :]
