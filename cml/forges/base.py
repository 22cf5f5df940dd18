"""What a run knows of the place it runs in, and what every place must be able to do. No forge is imported here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cml.report.model import Report
from cml.repository import Identity

Place = Literal["github", "gitlab", "local"]


@dataclass(frozen=True, kw_only=True)
class PullRequest:
    """A pull or merge request: its head commit and branch, its target branch, and the ref that fetches its head."""

    number: int
    head: str
    branch: str
    target: str
    is_fork: bool
    is_open: bool
    fetch_ref: str


@dataclass(frozen=True, kw_only=True)
class Context:
    """The event a run answers, as plain facts.

    `head` is the commit the run is for where the place says so, else the one that is checked out. `push_branch` is
    where results go; `no_push` says why they never go anywhere for this kind of event. Without `reproduces` nothing of
    the repository is run. `pull_query` is OWNER:BRANCH, whose open pull request gets the comment. `slug` is the
    project's path on its forge, `project_url` its page.
    """

    place: Place
    event: str
    head: str | None = None
    push_branch: str | None = None
    no_push: str | None = None
    reproduces: bool = True
    target_branch: str | None = None
    default_branch: str | None = None
    identity: Identity | None = None
    pull: PullRequest | None = None
    pull_query: str = ""
    slug: str = ""
    project_url: str | None = None
    run_url: str | None = None
    push_advice: str = "let this user write to the branch"

    @property
    def is_asked_for(self) -> bool:
        """Whether a clock or a person asked for the run, perhaps because something outside git has changed."""
        return self.event in ("schedule", "workflow_dispatch", "repository_dispatch", "web", "trigger")

    @property
    def is_ci(self) -> bool:
        return self.place != "local"


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a job's later steps can read, the same on every path that is not bad input."""

    skipped: bool = False
    changed: bool = False
    sha: str = ""
    tag: str = ""
    verdict: str = "none"
    report: str = ""
    report_url: str = ""

    def pairs(self) -> dict[str, str]:
        """Returns name -> text, booleans as true and false."""
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in vars(self).items()
        }


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was shown: where people find it, and what could not be (each a warning)."""

    url: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Twin:
    """Another run for the same work: under way where `outputs` is None, else what it came to."""

    url: str
    outputs: Outputs | None = None
    exit_code: int = 0
    markdown: str = ""


class Forge(Protocol):
    """A place that shows reports. Nothing but `begin` and `publish` talks to its API, and neither ever raises: their
    troubles are warnings.
    """

    context: Context

    def annotate(self, kind: str, text: str) -> bool:
        """Shows a "warning" or "error" in the place's own way; returns whether it has one."""

    def children(self) -> AbstractContextManager[None]:
        """Inside, what children print cannot command the place."""

    def begin(self, key: str) -> Twin | None:
        """Marks the work, known by its key, as begun; returns the twin that has done it or is at it, if any."""

    def done(self, sha: str) -> Twin | None:
        """Returns what an earlier run came to whose results commit is `sha`, where the place keeps that."""

    def publish(
        self, report: Report, *, markdown: Callable[[int], str], folder: Path, outputs: Outputs, exit_code: int
    ) -> Published:
        """Shows a report whose files lie in `folder`; `markdown` writes it within a number of characters."""

    def adopt(self, twin: Twin) -> Published:
        """Shows what a twin came to where it is not shown yet."""

    def comment(self, text: str) -> Published:
        """Shows a saved report on the pull request that the event is about, and nowhere else."""

    def set_outputs(self, outputs: Outputs) -> None:
        """Hands the outputs to later steps."""

    def close(self) -> None:
        """Ends what was begun and not published."""
