"""The log of a run on stderr: one line for each step with its result and its time, and the output of subprocesses.

Everything is masked. Warnings are kept for the report.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from cml.process.capture import OutputCapture, OutputTail
from cml.process.masking import Masks

# What GitHub's runner executes as a command: `::` at the start of a line, `##[` anywhere in it. An invisible space
# prevents that.
WORKFLOW_COMMAND = re.compile(r"^\s*:(?=:)|##(?=\[)", re.MULTILINE)
ZERO_WIDTH_SPACE = "\u200b"


class Log:
    """The log of one command.

    `annotate` shows a ("warning" | "error", text) in the way of the forge and returns False when it has none.
    `around_output` is entered around captured output, with its title: GitHub and GitLab fold it.
    """

    def __init__(
        self,
        masks: Masks,
        *,
        annotate: Callable[[str, str], bool] | None = None,
        around_output: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self.masks = masks
        self.warnings: list[str] = []
        self._annotate = annotate
        self._around_output = around_output
        self._capture = OutputCapture(masks)
        self._delayed_annotations: list[str] | None = None  # None while no output is captured
        self._last_step = time.monotonic()

    def line(self, text: str) -> None:
        """Writes one line (or several, as they are). Text from the repository is never executed by GitHub's runner."""
        safe = WORKFLOW_COMMAND.sub("\\g<0>" + ZERO_WIDTH_SPACE, self.masks.mask(text))
        with self._capture.lock, suppress(OSError):  # the reader of the log is gone; the work goes on
            # Before each line: the capture looks at lines, and could not tell the later ones from those of a stage.
            marker = self._capture.marker if self._capture.is_active else ""
            sys.stderr.write("".join(f"{marker}{line}\n" for line in safe.split("\n")))
            sys.stderr.flush()

    def note(self, text: str) -> None:
        """Writes a line that belongs to the current step."""
        self.line(f"{'':<10} {text}")

    def step(self, name: str, result: str) -> None:
        """Writes the result of a step, with the seconds since the previous step."""
        now = time.monotonic()
        seconds, self._last_step = now - self._last_step, now
        self.line(f"{name:<10} {result} ({seconds:.1f} s)")

    def warning(self, text: str) -> None:
        """Shows a warning and keeps it for the report. A repeated warning is ignored."""
        text = self.masks.mask(text)
        # The same file may be read for several sections and sides.
        if text in self.warnings:
            return
        self.warnings.append(text)
        if self._delayed_annotations is not None:
            self._delayed_annotations.append(text)
        self._show("warning", text)

    def error(self, text: str) -> None:
        self._show("error", self.masks.mask(text))

    def _show(self, kind: str, text: str) -> None:
        # While output is captured, GitHub's runner is told to execute no commands, annotations included.
        is_shown = self._annotate is not None and self._delayed_annotations is None and self._annotate(kind, text)
        if not is_shown:
            self.line(f"{kind}: {text}")

    @contextmanager
    def capture_output(self, title: str) -> Iterator[OutputTail]:
        """Shows what this process and its children write to stdout and stderr live and masked, under `title`.

        Yields the last lines of it, for the report of a failure.
        """
        with self._around_output(title):
            self._delayed_annotations = []
            try:
                with self._capture.active() as tail:
                    yield tail
            finally:
                delayed, self._delayed_annotations = self._delayed_annotations, None
        if self._annotate:
            for text in delayed or ():
                self._annotate("warning", text)
