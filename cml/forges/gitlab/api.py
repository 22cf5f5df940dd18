"""GitLab's API, by its own library: nothing is asked before it is needed, and nothing is tried again here."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from cml.forges.gitlab.context import GitLabJob
from cml.forges.retry import CALL_SECONDS, TEMPORARY_STATUSES, ApiProblem, read_connection_error

if TYPE_CHECKING:
    from gitlab import Gitlab
    from gitlab.v4.objects import Project, ProjectCommitStatusManager, ProjectMergeRequestManager
    from requests import Response

AT_ONCE: dict[str, Any] = {"obey_rate_limit": False}  # Patience waits, and knows when to stop


class Api:
    """The API as a token may use it; `is_job_token` where it is the job's own, which opens other doors."""

    def __init__(self, job: GitLabJob, token: str, *, is_job_token: bool) -> None:
        self.job = job
        self.is_job_token = is_job_token
        self._token = token
        self._wait: float | None = None

    @cached_property
    def _client(self) -> Gitlab:
        from gitlab import Gitlab

        client = Gitlab(
            self.job.url,
            job_token=self._token if self.is_job_token else None,
            private_token=None if self.is_job_token else self._token,
            timeout=CALL_SECONDS,
            ssl_verify=self.job.ca_file or True,
            per_page=100,
            keep_base_url=True,
        )
        client.session.hooks["response"].append(self._read_wait)
        return client

    @property
    def project(self) -> Project:
        return self._client.projects.get(self.job.project, lazy=True)

    @property
    def merge_requests(self) -> ProjectMergeRequestManager:
        return self._client.projects.get(self.job.merge_project, lazy=True).mergerequests

    def statuses(self, sha: str) -> ProjectCommitStatusManager:
        return self.project.commits.get(sha, lazy=True).statuses

    @cached_property
    def user(self) -> int:
        """Who the token is."""
        answer: Any = self._client.http_get("/user", **AT_ONCE)
        return int(answer["id"])

    def trouble(self, error: Exception) -> ApiProblem:
        from gitlab import GitlabError, RedirectError

        if not isinstance(error, GitlabError):
            return read_connection_error(error)
        said: Any = error.error_message
        words = "; ".join(f"{key}: {_line(text)}" for key, text in said.items()) if isinstance(said, dict) else said
        if not error.response_code:  # a page that is no JSON: a proxy's, which may pass, or one that we were sent to
            return ApiProblem(status=0, message=_line(words), is_final=isinstance(error, RedirectError))
        return ApiProblem(
            status=error.response_code,
            message=_line(words).removeprefix(f"{error.response_code} "),
            wait=self._wait,
            is_final=error.response_code not in TEMPORARY_STATUSES,
        )

    def _read_wait(self, response: Response, *_: object, **__: object) -> None:
        # The library's exceptions do not carry the headers.
        text = response.headers.get("Retry-After", "") if response.status_code in TEMPORARY_STATUSES else ""
        self._wait = float(text) if text.isdecimal() else None


def _line(said: object) -> str:
    words = " ".join(map(str, said)) if isinstance(said, list) else str(said)
    return " ".join(words.split())[:300]
