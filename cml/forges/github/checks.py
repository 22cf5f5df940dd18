"""Check runs: this run's own, and those by which it finds duplicate runs.

The external id of a check run is KEY:RUN:ATTEMPT. The key says which work the run does, so that two runs with the same
key are duplicates; run id and attempt say which workflow run created it.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from github import GithubException

from cml.forges.base import DuplicateRun
from cml.forges.github.client import GitHubClient, checked
from cml.forges.github.context import GitHubJob
from cml.forges.github.errors import WRONG_ANSWER, is_for_apps_only
from cml.forges.github.results import read_results
from cml.forges.github.statuses import GitHubStatuses

if TYPE_CHECKING:
    from github.CheckRun import CheckRun

DUPLICATE_TIMEOUT_SECONDS = 6 * 3600  # the longest that a job may take


class Started(NamedTuple):
    """What is known at the start: the duplicate run, if any, and check runs that runs left open when they ended."""

    duplicate: DuplicateRun | None = None
    abandoned: tuple[CheckRun, ...] = ()


class CheckRuns:
    """The check runs of one report name. `own` is this run's while it is in progress. Methods raise the errors of the
    API; each can be repeated as a whole.
    """

    def __init__(
        self, client: GitHubClient, job: GitHubJob, statuses: GitHubStatuses, *, name: str, details_url: str
    ) -> None:
        self._client = client
        self._job = job
        self._statuses = statuses
        self._name = name
        self._details_url = details_url
        self.key = ""
        self.own: CheckRun | None = None

    @property
    def _external_id(self) -> str:
        return f"{self.key}:{self._job.run_id}:{self._job.attempt}"

    def start(self, head: str, *, may_use_results: bool) -> Started:
        """Creates this run's own check run, unless a duplicate run is found."""
        own: CheckRun | None = None
        running: DuplicateRun | None = None
        abandoned: list[CheckRun] = []
        for check in self._find(head):
            is_duplicate = check.external_id.startswith(f"{self.key}:")
            if check.external_id == self._external_id:
                own = check  # created by an earlier request whose answer did not arrive
            elif check.status == "completed":
                if is_duplicate and may_use_results and (results := read_results(check)):
                    return Started(duplicate=results, abandoned=tuple(abandoned))
            elif not self._is_running(check):
                abandoned.append(check)
            elif is_duplicate:
                # The search goes on: another check run may have the results already.
                running = DuplicateRun(url=check.html_url or "")
        if running is None:
            self.own = own or self._create(head, status="in_progress")
        return Started(duplicate=running, abandoned=tuple(abandoned))

    def find_older_duplicate(self, head: str) -> DuplicateRun | None:
        """Returns a duplicate run whose check run is older than this run's own: both were created at the same time."""
        if self.own is None:
            return None
        for check in self._find(head):
            is_duplicate = check.external_id.startswith(f"{self.key}:") and check.external_id != self._external_id
            # Ids grow, so runs that look at the same time agree which of them is the oldest.
            is_older = check.status != "completed" and check.id < self.own.id
            if is_duplicate and is_older and self._is_running(check):
                return DuplicateRun(url=check.html_url or "")
        return None

    def find_results(self, sha: str) -> DuplicateRun | None:
        """Returns the run that pushed the results commit `sha`."""
        for check in self._find(sha):
            results = read_results(check) if check.status == "completed" else None
            if results and results.outputs and results.outputs.sha == sha:
                return results
        return None

    def find_abandoned(self, sha: str) -> list[CheckRun]:
        """Returns the check runs that are not completed although their workflow run is over."""
        return [check for check in self._find(sha) if check.status != "completed" and not self._is_running(check)]

    def complete_own(self, **fields: Any) -> None:
        if self.own:
            self.complete(self.own, **fields)
            self.own = None

    @staticmethod
    def complete(check: CheckRun, **fields: Any) -> None:
        """Completes a check run. Raises ValueError if it is not completed afterwards: PyGithub accepts the page of a
        proxy and a redirect as an answer.
        """
        check.edit(status="completed", **fields)
        if check.status != "completed":
            raise ValueError(WRONG_ANSWER)

    def complete_on(self, sha: str, *, conclusion: str, output: dict[str, str]) -> CheckRun | None:
        """Completes this run's check run on another commit; creates it first if needed."""
        for check in self._find(sha):
            if check.external_id == self._external_id:
                self.complete(check, conclusion=conclusion, output=output)
                return check
        return self._create(sha, status="completed", conclusion=conclusion, output=output)

    def _find(self, sha: str) -> list[CheckRun]:
        # By default GitHub returns only the newest check run of a name, and those of duplicate runs have the same name.
        checks = self._client.repository.get_commit(sha).get_check_runs(check_name=self._name, filter="all")
        return [check for check in checks if check.external_id.count(":") == 2]

    def _is_running(self, check: CheckRun) -> bool:
        """Whether the workflow run of a check run is still running: one that was killed leaves its check run open."""
        _, run_id, attempt = check.external_id.rsplit(":", 2)
        if run_id == self._job.run_id and attempt.isdecimal() and int(attempt) < self._job.attempt:
            return False  # an earlier attempt of this very workflow run
        try:
            return bool(self._client.repository.get_workflow_run(int(run_id)).status != "completed")
        except Exception:  # the token cannot read workflow runs: the age decides
            age = datetime.now(timezone.utc) - check.started_at.replace(tzinfo=timezone.utc)
            return age.total_seconds() < DUPLICATE_TIMEOUT_SECONDS

    def _create(self, sha: str, **fields: str | dict[str, str]) -> CheckRun | None:
        """Returns the new check run, or None if this token has to use commit statuses."""
        if self._statuses.are_used:
            return None
        try:
            created = checked(
                self._client.repository.create_check_run(
                    name=self._name,
                    head_sha=sha,
                    external_id=self._external_id,
                    details_url=self._details_url,
                    **fields,  # type: ignore[arg-type]
                )
            )
        except GithubException as error:
            if not is_for_apps_only(error):
                raise
            self._statuses.are_used = True
            if fields["status"] == "in_progress":
                self._statuses.set_pending(sha)
            return None
        self._client.learn_app(created)
        return created
