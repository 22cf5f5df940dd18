"""Everything that a run does with GitLab's API. A run that needs no API does not import this module."""

from __future__ import annotations

from collections.abc import Callable

from cml.forges.base import Context, DuplicateRun
from cml.forges.gitlab.branches import find_push_refusal
from cml.forges.gitlab.client import NO_WAIT, GitLabClient
from cml.forges.gitlab.context import GitLabJob
from cml.forges.gitlab.errors import warnings_of
from cml.forges.gitlab.jobs import Jobs
from cml.forges.gitlab.notes import Notes
from cml.forges.gitlab.releases import Releases
from cml.forges.gitlab.statuses import FinishedRun, GitLabStatuses
from cml.forges.gitlab.uploads import Uploads
from cml.forges.retry import ApiCalls


class GitLabApi:
    """The notes, releases, statuses and images of one report name, and the calls to them, retried by `calls`.

    `left_out` is what was not tried, since the token is only a job token.
    """

    def __init__(
        self,
        context: Context,
        job: GitLabJob,
        token: str,
        *,
        is_job_token: bool,
        report_name: str,
        comment_mode: str,
    ) -> None:
        self._client = GitLabClient(job, token, is_job_token=is_job_token)
        self.calls = ApiCalls(self._client.read_error)
        self.jobs = Jobs(self._client)
        self.notes = Notes(self._client, context, name=report_name, is_new=comment_mode == "new")
        self.releases = Releases(self._client, name=report_name, project_url=context.project_url or "")
        self.statuses = GitLabStatuses(self._client, context, name=report_name)
        self.uploads = Uploads(self._client)
        self.left_out: set[str] = set()

    def merge_request_state(self, number: int) -> str:
        return str(self._client.merge_requests.get(number, **NO_WAIT).state)

    def push_refusal(self, branch: str) -> str | None:
        return find_push_refusal(self._client, branch)

    def find_finished(self, sha: str, is_wanted: Callable[[FinishedRun], bool]) -> DuplicateRun | None:
        """Returns the first wanted run that set a status on a commit, with the report that its release has."""
        for finished in self.statuses.find(sha):
            if is_wanted(finished):
                # A status has no room for the report. Without a tag there is no release, and so no report either.
                outputs = finished.run.outputs
                text = self.releases.find(outputs.tag) if outputs and outputs.tag else None
                return finished.run._replace(markdown=text or "")
        return None

    def warnings(self) -> tuple[str, ...]:
        return warnings_of(self.calls.problems, self.left_out)
