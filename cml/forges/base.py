"""What a run knows of the place it runs in, and what every place must be able to do. No forge is imported here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol
from urllib.parse import quote

from cml.git.repository import Identity

if TYPE_CHECKING:
    from cml.model.report import Report

Place = Literal["github", "gitlab", "local"]
ASKED_FOR = ("schedule", "workflow_dispatch", "repository_dispatch", "web", "api", "trigger", "pipeline", "chat")
LIMIT = 58_000  # bytes of a message that every forge takes


class PullRequest(NamedTuple):
    """A pull or merge request: its head commit and branch, its target branch, and the ref that fetches its head."""

    number: int
    head: str
    branch: str
    target: str
    is_fork: bool
    is_open: bool
    fetch_ref: str


class Context(NamedTuple):
    """The event a run answers, as plain facts.

    `head` is the commit the run is for where the place says so, else the one that is checked out. `push_branch` is
    where results go; `no_push` says why they never go anywhere for this kind of event. Without `reproduces` nothing of
    the repository is run. `pull_query` is OWNER:BRANCH, whose open pull request gets the comment. `job` tells
    jobs apart that differ in their own environment alone, where the place names them. `run` is what its jobs have in
    common, also when one is tried again; `machine` the runner's name. `slug` is the project's path on its forge,
    `project_url` its page.
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
    job: str = ""
    run: str = ""
    machine: str = ""
    slug: str = ""
    project_url: str | None = None
    run_url: str | None = None
    push_advice: str = "let this user write to the branch"

    @property
    def is_asked_for(self) -> bool:
        """Whether a clock or a person asked for the run, perhaps because something outside git has changed."""
        return self.event in ASKED_FOR

    @property
    def is_ci(self) -> bool:
        return self.place != "local"

    def linked(self, report: Report) -> Report:
        """Returns a report with the addresses of its run, of the code that changed and of its experiments."""
        if not self.project_url:
            return report
        from dataclasses import replace

        pages = f"{self.project_url}/-" if self.place == "gitlab" else self.project_url
        baseline = report.baseline
        return replace(
            report,
            run_url=self.run_url,
            compare_url=f"{pages}/compare/{baseline.sha}...{report.sha}"
            if baseline and baseline.sha != report.sha
            else None,
            experiments=tuple(
                each
                if each.is_current and report.has_workspace_changes
                else replace(each, url=f"{pages}/commit/{each.sha}")
                for each in report.experiments
            ),
        )


class Outputs(NamedTuple):
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
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in self._asdict().items()
        }


class Published(NamedTuple):
    """What was shown: where people find it, and what could not be (each a warning)."""

    url: str = ""
    warnings: tuple[str, ...] = ()


class DuplicateRun(NamedTuple):
    """Another run for the same work: under way where `outputs` is None, else what it came to. `left_open`: it could not
    end what it had begun on the commit that its results are of.
    """

    url: str
    outputs: Outputs | None = None
    exit_code: int = 0
    markdown: str = ""
    left_open: bool = False


class Forge(Protocol):
    """A place that shows reports. What talks to its API never raises: troubles are warnings of what is published."""

    context: Context

    def annotate(self, kind: str, text: str) -> bool:
        """Shows a "warning" or "error" in the place's own way; returns whether it has one."""

    def children(self, title: str) -> AbstractContextManager[None]:
        """Inside, what children print cannot command the place; `title` says what they are at."""

    def no_push(self) -> str | None:
        """Returns why nothing is pushed for this kind of event, or None where results are."""

    def refusal(self, branch: str) -> str | None:
        """Returns why the place would refuse a push to a branch, where its API knows before git does."""

    def begin(self, key: str) -> DuplicateRun | None:
        """Marks the work, known by its key, as begun; returns the twin that has done it or is at it, if any."""

    def done(self, sha: str) -> DuplicateRun | None:
        """Returns what an earlier run came to whose results commit is `sha`, where the place keeps that."""

    def end_abandoned(self, sha: str) -> None:
        """Ends what runs that are over began on a commit and could not end."""

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
        """Shows a report whose files lie in `folder`; `markdown` writes it within a number of bytes, with the images
        that have an address (file -> address). `is_done`: the work of a twin is done, too.
        """

    def is_told(self) -> bool:
        """Whether the pull request shows a report of this name already, or could not show one."""

    def adopt(self, duplicate: DuplicateRun) -> Published:
        """Shows what a twin came to where it is not shown yet."""

    def comment(self, text: str) -> Published:
        """Shows a saved report on the pull request that the event is about, and nowhere else."""

    def set_outputs(self, outputs: Outputs) -> None:
        """Hands the outputs to later steps."""

    def close(self) -> None:
        """Ends what was begun and not published."""


def marker_of(name: str, run: str = "") -> str:
    """Returns the hidden first line that a report's message is looked up by; `run` where every run has its own."""
    return f"<!-- cml-report: {quote(name, safe=' ')}{f' {run}' if run else ''} -->"


def is_marked(text: str, name: str) -> bool:
    """Whether a message is a report of this name, of whichever run."""
    return re.match(re.escape(marker_of(name)[:-4]) + r"( [\d.]+)? -->", text) is not None


def headline(report: Report) -> str:
    """Returns the report in one plain line: what failed, or what got better and worse, and the gates."""
    if report.failure:
        return f"{report.failure.step} failed"
    counts = {
        word: sum(row.better is side for row in report.metrics or ())
        for word, side in (("better", True), ("worse", False))
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    gates = {"passed": "gates passed", "failed": "a gate failed", "none": ""}[report.verdict]
    return ": ".join(filter(None, (gates, told))) or "no metric better or worse"
