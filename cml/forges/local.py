"""A laptop, or any machine that no forge told about: the terminal and the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from cml.forges.base import Context, Outputs, Place, Published
from cml.report.model import Report
from cml.report.numbers import NumberFormat
from cml.repository import Identity

BOT = Identity(name="github-actions[bot]", email="41898282+github-actions[bot]@users.noreply.github.com")


class Local:
    """Shows the report on a terminal."""

    def __init__(self, context: Context, terminal: TextIO, *, number_format: NumberFormat, locale: str) -> None:
        self.context = context
        self._terminal = terminal
        self._number_format = number_format
        self._locale = locale

    def annotate(self, kind: str, text: str) -> bool:
        return False

    def publish(self, report: Report, *, folder: Path) -> Published:
        from cml.report.render import render_terminal

        self._terminal.write(render_terminal(report, number_format=self._number_format, locale=self._locale))
        self._terminal.flush()
        page = folder / "report.html"
        return Published(url=page.resolve().as_uri() if page.exists() else "")

    def set_outputs(self, outputs: Outputs) -> None:
        return None


def read_context(environment: Mapping[str, str]) -> Context:
    """Returns the context of a machine whose forge is not connected: its branch is what is checked out."""
    place: Place = "local"
    branch = identity = None
    if environment.get("GITHUB_ACTIONS") == "true":
        place, identity = "github", BOT
        branch = environment.get("GITHUB_HEAD_REF") or _branch(environment.get("GITHUB_REF", ""))
    elif environment.get("GITLAB_CI") == "true":
        place = "gitlab"
        branch = environment.get("CI_COMMIT_BRANCH")
        if name := environment.get("GITLAB_USER_NAME"):
            identity = Identity(name=name, email=environment.get("GITLAB_USER_EMAIL", ""))
    return Context(
        place=place,
        event=environment.get("GITHUB_EVENT_NAME") or environment.get("CI_PIPELINE_SOURCE") or "local",
        push_branch=branch,
        default_branch=environment.get("CI_DEFAULT_BRANCH") or None,
        identity=identity,
    )


def _branch(ref: str) -> str | None:
    return ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else None
