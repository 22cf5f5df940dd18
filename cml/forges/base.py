"""The base class of the forges, and the data that a run exchanges with a forge. Nothing here belongs to one forge."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import quote

from cml.git.commits import Identity

ForgeName = Literal["github", "gitlab", "local"]
# Events that a schedule or a person started. Something outside git may have changed, so existing results do not count.
REQUESTED_EVENTS = (
    "schedule",
    "workflow_dispatch",
    "repository_dispatch",
    "web",
    "api",
    "trigger",
    "pipeline",
    "chat",
)


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
    """The event that started the run.

    `head` is the commit that the run is for, None for the commit that is checked out. `push_branch` is the branch that
    the results are pushed to; `no_push` says why this kind of event never pushes. If `reproduces` is false, no code of
    the repository is executed. `pull_query` finds the open pull request of a branch: OWNER:BRANCH on GitHub, the branch
    on GitLab. `job` is the name of the job, where the forge gives names that differ. `run` is the same for all jobs
    and retries of one workflow run or pipeline; `machine` is the name of the runner. `slug` is the path of the project
    on the forge, `project_url` its page.
    """

    forge_name: ForgeName
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
    push_advice: str = "give this user write access to the branch"

    @property
    def is_requested(self) -> bool:
        """Whether a schedule or a person started the run, perhaps because something outside git has changed."""
        return self.event in REQUESTED_EVENTS

    @property
    def is_ci(self) -> bool:
        return self.forge_name != "local"

    def commit_url(self, sha: str) -> str | None:
        """Returns the page of a commit."""
        return f"{self._pages}/commit/{sha}" if self._pages else None

    def compare_url(self, old: str, new: str) -> str | None:
        """Returns the page that compares two commits."""
        return f"{self._pages}/compare/{old}...{new}" if self._pages else None

    @property
    def _pages(self) -> str:
        if not self.project_url:
            return ""
        return f"{self.project_url}/-" if self.forge_name == "gitlab" else self.project_url


class Outputs(NamedTuple):
    """The outputs for later steps of the job. They are set on every path except bad input."""

    skipped: bool = False
    changed: bool = False
    sha: str = ""
    tag: str = ""
    verdict: str = "none"
    report: str = ""
    report_url: str = ""

    def pairs(self) -> dict[str, str]:
        """Returns name -> text; booleans are "true" and "false"."""
        return {
            # Conditions of workflows and shell scripts compare with "true", which Python would write as "True".
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in self._asdict().items()
        }


class Publication(NamedTuple):
    """A finished report. `is_complete`: a duplicate run may use these results in place of its own work."""

    headline: str
    """The report in one plain line."""
    comment: str
    """Markdown of at most `Forge.comment_limit` bytes."""
    page: str
    """Markdown of at most `Forge.page_limit` bytes."""
    terminal: str
    """Text for a terminal, empty unless `Forge.has_terminal`."""
    outputs: Outputs
    exit_code: int
    is_complete: bool
    folder: Path
    """The folder with the files of the report."""


class Published(NamedTuple):
    """The page of the published report, and a warning for each part that could not be published."""

    url: str = ""
    warnings: tuple[str, ...] = ()


class DuplicateRun(NamedTuple):
    """Another run for the same commit and settings. `outputs` is None while it is still running. `has_open_check`: it
    could not end the check run that it started on the head commit.
    """

    url: str
    outputs: Outputs | None = None
    exit_code: int = 0
    markdown: str = ""
    has_open_check: bool = False


class Forge:
    """A forge that has nothing: each forge overrides what it can do. No method raises an error of the forge's API;
    problems become warnings of what is published.
    """

    comment_limit = 0
    """Bytes of UTF-8 of a comment; 0 if the forge has no comments."""
    page_limit = 0
    """Bytes of UTF-8 of the longest page (job summary, release); 0 if the forge has none."""
    has_terminal = False
    """Whether `publish` prints the report."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def annotate(self, kind: str, text: str) -> bool:
        """Shows a "warning" or an "error" as an annotation of the job; returns false if the forge has none."""
        return False

    def log_group(self, title: str) -> AbstractContextManager[None]:
        """A group of lines in the job's log. Inside, the runner ignores commands in the output of subprocesses."""
        return nullcontext()

    def no_push(self) -> str | None:
        """Returns why nothing is pushed for this kind of event, or None if results are pushed."""
        return self.context.no_push

    def push_refusal(self, branch: str) -> str | None:
        """Returns why the forge would refuse a push to the branch, if its API tells more than `git push --dry-run`."""
        return None

    def start(self, key: str) -> DuplicateRun | None:
        """Marks the work with this key as started; returns the duplicate run that has done it or is doing it."""
        return None

    def find_results(self, sha: str) -> DuplicateRun | None:
        """Returns the run that pushed the results commit `sha`, if the forge has a record of it."""
        return None

    def end_abandoned(self, sha: str) -> None:
        """Ends the check runs that finished runs left open on a commit."""

    def upload_images(self, images: Sequence[str], folder: Path, *, tag: str) -> Mapping[str, str]:
        """Uploads images of the report, named relative to `folder`; returns name -> address of those that can be shown.

        The first step of publishing: called once before the texts are rendered, then `publish` is called.
        """
        return {}

    def publish(self, publication: Publication) -> Published:
        """Publishes a report."""
        return Published()

    def has_report(self) -> bool:
        """Whether the pull request has a report of this name already, or cannot have one."""
        return True

    def publish_existing_results(self, duplicate: DuplicateRun) -> Published:
        """Publishes the report of a duplicate run where it is not shown yet."""
        return Published(url=duplicate.url)

    def comment(self, text: str) -> Published:
        """Posts a saved report to the pull request of the event, and nowhere else."""
        return Published()

    def set_outputs(self, outputs: Outputs) -> None:
        """Sets the outputs for later steps of the job."""

    def close(self) -> None:
        """Ends what was started and not published."""


def marker_of(name: str, run: str = "") -> str:
    """Returns the hidden first line by which a comment is found again; with `run`, each run has its own comment."""
    # Quoted: a name that contains `-->` would end the HTML comment, and the rest of the marker would be visible.
    return f"<!-- cml-report: {quote(name, safe=' ')}{f' {run}' if run else ''} -->"


def is_marked(text: str, name: str) -> bool:
    """Whether a comment is a report of this name, of any run."""
    # The run is RUN_ID.ATTEMPT on GitHub and the id of the job on GitLab. Any will do: this asks whether people have a
    # report already, whichever value the variable `comment` had then.
    return re.match(re.escape(marker_of(name)[:-4]) + r"( [\d.]+)? -->", text) is not None
