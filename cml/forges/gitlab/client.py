"""The connection to GitLab's API, as the token of the job may use it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from gitlab import Gitlab

from cml.forges.gitlab.context import GitLabJob
from cml.forges.gitlab.errors import read_error
from cml.forges.retry import CALL_SECONDS, TEMPORARY_STATUSES, ApiProblem

if TYPE_CHECKING:
    from gitlab.v4.objects import Project, ProjectCommitStatusManager, ProjectMergeRequestManager
    from requests import Response

# For every request: ApiCalls waits when the API asks for it, and knows when to stop; the library does not.
NO_WAIT: dict[str, Any] = {"obey_rate_limit": False}


class GitLabClient:
    """Makes no request before it is needed."""

    def __init__(self, job: GitLabJob, token: str, *, is_job_token: bool) -> None:
        self.job = job
        self._token = token
        self._is_job_token = is_job_token
        self._wait: float | None = None

    @cached_property
    def _gitlab(self) -> Gitlab:
        client = Gitlab(
            self.job.url,
            job_token=self._token if self._is_job_token else None,
            private_token=None if self._is_job_token else self._token,
            timeout=CALL_SECONDS,
            ssl_verify=self.job.ca_file or True,
            per_page=100,
            # The next page of a list has GitLab's external address, which a runner inside a network may not reach.
            keep_base_url=True,
        )
        client.session.hooks["response"].append(self._remember_wait)
        return client

    @property
    def project(self) -> Project:
        return self._gitlab.projects.get(self.job.project, lazy=True)

    @property
    def merge_requests(self) -> ProjectMergeRequestManager:
        return self._gitlab.projects.get(self.job.merge_project, lazy=True).mergerequests

    def statuses(self, sha: str) -> ProjectCommitStatusManager:
        return self.project.commits.get(sha, lazy=True).statuses

    @cached_property
    def user(self) -> int:
        """The id of the token's user."""
        answer: Any = self._gitlab.http_get("/user", **NO_WAIT)
        return int(answer["id"])

    def read_error(self, error: Exception) -> ApiProblem:
        return read_error(error, wait=self._wait)

    def _remember_wait(self, response: Response, *_: object, **__: object) -> None:
        # The library's exceptions do not have the headers.
        text = response.headers.get("Retry-After", "") if response.status_code in TEMPORARY_STATUSES else ""
        self._wait = float(text) if text.isdecimal() else None
