"""A laptop, or any machine that no forge told about: the terminal and the files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cml.forges.base import Context, DuplicateRun, Outputs, Published

if TYPE_CHECKING:
    from cml.model.report import Report


class Local:
    """Shows the report on a terminal."""

    def __init__(self, context: Context, terminal: TextIO, *, show: Callable[[Report], str]) -> None:
        self.context = context
        self._terminal = terminal
        self._show = show

    def annotate(self, kind: str, text: str) -> bool:
        return False

    def children(self, title: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def no_push(self) -> str | None:
        return self.context.no_push

    def refusal(self, branch: str) -> str | None:
        return None

    def begin(self, key: str) -> DuplicateRun | None:
        return None

    def done(self, sha: str) -> DuplicateRun | None:
        return None

    def end_abandoned(self, sha: str) -> None:
        return None

    def publish(
        self,
        report: Report,
        *,
        markdown: Callable[[int, Mapping[str, str]], str],
        folder: Path,
        outputs: Outputs,
        exit_code: int,
        is_done: bool,
    ) -> Published:
        with contextlib.suppress(OSError):  # the reader of the terminal is gone; the files are there
            self._terminal.write(self._show(report))
            self._terminal.flush()
        return Published(url=(folder / "report.html").resolve().as_uri())

    def is_told(self) -> bool:
        return True

    def adopt(self, duplicate: DuplicateRun) -> Published:
        return Published(url=duplicate.url)

    def comment(self, text: str) -> Published:
        self._terminal.write(text)
        self._terminal.flush()
        return Published()

    def set_outputs(self, outputs: Outputs) -> None:
        return None

    def close(self) -> None:
        return None


def read_context() -> Context:
    """Returns the context of a run that no forge started."""
    return Context(place="local", event="local")
