"""A laptop, or any machine that no forge told about: the terminal and the files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from cml.forges.base import Context, Outputs, Published, Twin
from cml.report.model import Report
from cml.report.numbers import NumberFormat
from cml.repository import Identity


class Local:
    """Shows the report on a terminal."""

    def __init__(self, context: Context, terminal: TextIO, *, number_format: NumberFormat, locale: str) -> None:
        self.context = context
        self._terminal = terminal
        self._number_format = number_format
        self._locale = locale

    def annotate(self, kind: str, text: str) -> bool:
        return False

    def children(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def begin(self, key: str) -> Twin | None:
        return None

    def done(self, sha: str) -> Twin | None:
        return None

    def publish(
        self, report: Report, *, markdown: Callable[[int], str], folder: Path, outputs: Outputs, exit_code: int
    ) -> Published:
        from cml.report.render import render_terminal

        with contextlib.suppress(OSError):  # the reader of the terminal is gone; the files are there
            self._terminal.write(render_terminal(report, number_format=self._number_format, locale=self._locale))
            self._terminal.flush()
        return Published(url=(folder / "report.html").resolve().as_uri())

    def adopt(self, twin: Twin) -> Published:
        return Published(url=twin.url)

    def comment(self, text: str) -> Published:
        self._terminal.write(text)
        self._terminal.flush()
        return Published()

    def set_outputs(self, outputs: Outputs) -> None:
        return None

    def close(self) -> None:
        return None


def read_context(environment: Mapping[str, str]) -> Context:
    """Returns the context of a laptop, or of a GitLab job, which is not connected yet and behaves as one."""
    if environment.get("GITLAB_CI") != "true":
        return Context(place="local", event="local")
    name = environment.get("GITLAB_USER_NAME")
    return Context(
        place="gitlab",
        event=environment.get("CI_PIPELINE_SOURCE", ""),
        push_branch=environment.get("CI_COMMIT_BRANCH"),
        default_branch=environment.get("CI_DEFAULT_BRANCH") or None,
        identity=Identity(name=name, email=environment.get("GITLAB_USER_EMAIL", "")) if name else None,
    )
