"""GitHub as a forge: annotations, the check run, the comment, the job summary and the outputs of a step.

Everything is looked up by its hidden marker and then written, as one step that can be repeated as a whole: a request
that was answered with 5xx may have worked.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from actions_toolkit import core

from cml.forges.base import Context, DuplicateRun, Forge, Outputs, Publication, Published
from cml.forges.github.context import GitHubJob
from cml.forges.github.results import write_results
from cml.forges.retry import OPTIONAL_SECONDS

if TYPE_CHECKING:
    from github.CheckRun import CheckRun

    from cml.forges.github.api import GitHubApi

CLOSING_SECONDS = 3.0  # a cancelled job is killed soon after


class GitHub(Forge):
    """A job on GitHub Actions or on a GitHub Enterprise Server. Host names come from the environment alone."""

    comment_limit = 58_000
    page_limit = 1_000_000  # a job summary may have 1 MiB

    def __init__(self, context: Context, job: GitHubJob, token: str, *, report_name: str, comment: str) -> None:
        super().__init__(context)
        self._job = job
        self._token = token
        self._name = report_name
        self._comment_mode = comment
        self._connected: GitHubApi | None = None

    @property
    def _api(self) -> GitHubApi:
        if self._connected is None:
            # A run that is skipped does not need PyGithub, which takes half a second to import.
            from cml.forges.github.api import GitHubApi

            self._connected = GitHubApi(
                self.context, self._job, self._token, report_name=self._name, comment_mode=self._comment_mode
            )
        return self._connected

    # The log and the outputs

    def annotate(self, kind: str, text: str) -> bool:
        # The toolkit prints to stdout, which is for the report. The runner reads commands from both.
        with contextlib.redirect_stdout(sys.stderr):
            (core.error if kind == "error" else core.warning)(text)
        return True

    @contextlib.contextmanager
    def log_group(self, title: str) -> Iterator[None]:
        # The runner executes commands in everything that a job prints, also in the output of stages. They must not know
        # the token that turns this on again.
        token = os.urandom(16).hex()
        _print_command(f"stop-commands::{token}")
        try:
            yield
        finally:
            _print_command(f"{token}::")

    def set_outputs(self, outputs: Outputs) -> None:
        if not self._job.output_file:
            return
        for name, value in outputs.pairs().items():
            core.set_output(name, value)

    # The start of a run

    def start(self, key: str) -> DuplicateRun | None:
        """Creates the check run on the head commit, unless there is a duplicate run."""
        head = self.context.head
        if head is None:
            return None
        api = self._api
        api.check_runs.key = key
        may_use_results = not self.context.is_requested
        started = api.calls.call("check run", lambda: api.check_runs.start(head, may_use_results=may_use_results))
        if started is None:
            return None
        self._end(started.abandoned)
        if started.duplicate or api.check_runs.own is None:
            return started.duplicate
        # Two runs that start together may each find no other check run. The older one goes on.
        older = api.calls.call("check run", lambda: api.check_runs.find_older_duplicate(head))
        if older:
            api.calls.call("check run", lambda: api.check_runs.complete_own(conclusion="skipped"))
            api.check_runs.own = None
        return older

    def find_results(self, sha: str) -> DuplicateRun | None:
        return self._api.calls.call("check run", lambda: self._api.check_runs.find_results(sha))

    def end_abandoned(self, sha: str) -> None:
        api = self._api
        if api.statuses.are_used or "check run" in api.calls.problems:
            return
        find = partial(api.check_runs.find_abandoned, sha)
        self._end(api.calls.call("check run", find, at_most=OPTIONAL_SECONDS) or ())

    def _end(self, checks: Iterable[CheckRun]) -> None:
        for check in checks:
            complete = partial(self._api.check_runs.complete, check, conclusion="cancelled")
            self._api.calls.call("check run", complete, at_most=OPTIONAL_SECONDS)

    def close(self) -> None:
        """Ends the check run, or the status, of a run that was cancelled or failed before it published."""
        api = self._connected
        if api is None or not (api.check_runs.own or api.statuses.pending):
            return
        check, pending = api.check_runs.own, api.statuses.pending
        api.check_runs.own = api.statuses.pending = None
        api.calls.hurry(CLOSING_SECONDS)

        def end() -> None:
            if check:
                self._end([check])
            if pending:
                api.calls.call("commit status", lambda: api.statuses.set([pending], "error", "cancelled"))

        # A cancelled job is killed soon. An answer that does not arrive must not use up the time of the other cleanup.
        thread = threading.Thread(target=end, daemon=True)
        thread.start()
        thread.join(timeout=CLOSING_SECONDS)

    # The end of a run

    def publish(self, publication: Publication) -> Published:
        """Publishes the check run, the comment and the job summary, in this order."""
        self._api.calls.problems.clear()
        url = self._publish_check(publication) or self.context.run_url or ""
        url = self._publish_comment(publication.comment, publication.outputs.sha) or url
        return self._published(url, *self._write_summary(publication.page))

    def has_report(self) -> bool:
        api = self._api
        return not api.comments.are_enabled or api.calls.call("comment", api.comments.is_reported) is not False

    def publish_existing_results(self, duplicate: DuplicateRun) -> Published:
        """Publishes the comment and the job summary; the duplicate run itself published the check run."""
        self._api.calls.problems.clear()
        sha = duplicate.outputs.sha if duplicate.outputs else ""
        url = self._publish_comment(duplicate.markdown, sha) if duplicate.markdown else None
        return self._published(url or duplicate.url, *self._write_summary(duplicate.markdown))

    def comment(self, text: str) -> Published:
        """Posts a saved report as a comment, never as a check run: a check run could allow a merge."""
        self._api.calls.problems.clear()
        published = self._published(self._publish_comment(text, "") or "")
        if not published.url and not published.warnings:
            return Published(warnings=("nothing was posted: no open pull request has the commit of this event",))
        return published

    def _published(self, url: str, *warnings: str) -> Published:
        return Published(url=url, warnings=(*self._api.warnings(), *warnings))

    def _publish_check(self, publication: Publication) -> str | None:
        """Completes the check run on the head commit, and one on the results commit; returns the page of the last."""
        api, outputs = self._api, publication.outputs
        conclusion = "failure" if outputs.verdict == "failed" else "success"
        output = {"title": publication.headline, "summary": publication.comment}
        own, url = api.check_runs.own, None
        if own:
            on_head = {**output, "text": write_results(publication)}
            api.calls.call("check run", lambda: api.check_runs.complete_own(conclusion=conclusion, output=on_head))
            url = own.html_url
        if own is None or outputs.sha != own.head_sha:
            # If the check run on the head commit could not be completed, a later run does that.
            has_open_check = api.check_runs.own is not None
            on_results = {**output, "text": write_results(publication, has_open_check=has_open_check)}
            complete = partial(api.check_runs.complete_on, outputs.sha, conclusion=conclusion, output=on_results)
            created = api.calls.call("check run", complete)
            url = created.html_url if created else url
        # Asked only now: the requests above find out that this token may not create check runs.
        if api.statuses.are_used:
            shas = list(dict.fromkeys([outputs.sha, self.context.head or outputs.sha]))
            set_statuses = partial(api.statuses.set, shas, conclusion, publication.headline)
            api.calls.call("commit status", set_statuses)
        return url

    def _publish_comment(self, text: str, sha: str) -> str | None:
        api = self._api
        if not api.comments.are_enabled:
            return None
        number = api.calls.call("comment", api.comments.find_pull)
        if number is None:
            return None
        comment = api.calls.call("comment", lambda: api.comments.write(number, text, sha))
        return comment.html_url if comment else None

    def _write_summary(self, text: str) -> tuple[str, ...]:
        """Appends to the job summary; returns its warnings."""
        if not self._job.summary_file:
            return ()
        try:
            # The file belongs to the step, which may have written to it, or may run `cml` again.
            with Path(self._job.summary_file).open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            return (f"cannot write the job summary: {error}",)
        return ()


def _print_command(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads the log any more
        sys.stderr.write(f"::{text}\n")
        sys.stderr.flush()
