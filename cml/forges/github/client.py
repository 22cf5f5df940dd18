"""The connection to GitHub's API, as the token of the job may use it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from github import Auth, Github, GithubException

from cml.forges.github.context import GitHubJob
from cml.forges.github.errors import WRONG_ANSWER
from cml.forges.retry import CALL_SECONDS

if TYPE_CHECKING:
    from github.CheckRun import CheckRun
    from github.CommitStatus import CommitStatus
    from github.IssueComment import IssueComment
    from github.Repository import Repository

Created = TypeVar("Created", "CheckRun", "CommitStatus", "IssueComment")


class GitHubClient:
    """Opens no connection before the first request."""

    def __init__(self, job: GitHubJob, slug: str, token: str) -> None:
        self._job = job
        self._slug = slug
        self._token = token
        self._app_login = "github-actions[bot]"

    # Not in __init__: PyGithub checks the address of the API, and `ApiCalls` must turn its errors into warnings.
    @cached_property
    def _github(self) -> Github:
        return Github(
            base_url=self._job.api_url,
            auth=Auth.Token(self._token),
            timeout=CALL_SECONDS,
            retry=None,  # a POST that was answered with 5xx may have worked: we look before we write again
            per_page=100,
            seconds_between_requests=None,  # reads need no pause; writes keep the second between them
            lazy=True,
        )

    @cached_property
    def repository(self) -> Repository:
        return self._github.get_repo(self._slug)

    def learn_app(self, check: CheckRun) -> None:
        """Remembers which app the token belongs to: the one that a check run was created for."""
        # For a workflow's token that is github-actions; an organisation may have its own app.
        if check.app:
            self._app_login = f"{check.app.slug}[bot]"

    def is_own_login(self, login: str) -> bool:
        """Whether the token belongs to this user. An app's token must not ask who it is: there the app decides."""
        try:
            own = self._github.get_user().login
        except GithubException as error:
            if error.status not in (401, 403, 404):
                raise
            own = self._app_login
        return bool(login == own)


def checked(created: Created) -> Created:
    """Returns what the API created. Raises ValueError if its answer was something else, such as a page of a proxy:
    PyGithub accepts any JSON object as an answer.
    """
    if "id" not in created.raw_data:
        raise ValueError(WRONG_ANSWER)
    return created
