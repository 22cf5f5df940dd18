"""The comment on the pull request, found again by its hidden marker and its author."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cml.forges.base import Context, is_marked, marker_of
from cml.forges.github.client import GitHubClient, checked
from cml.forges.github.context import GitHubJob
from cml.forges.github.errors import WRONG_ANSWER

if TYPE_CHECKING:
    from github.IssueComment import IssueComment


class Comments:
    """The comments of one report name. `mode` is the variable `comment`: with "new", each run has its own comment.
    Methods raise the errors of the API; each can be repeated as a whole.
    """

    def __init__(self, client: GitHubClient, context: Context, job: GitHubJob, *, name: str, mode: str) -> None:
        self._client = client
        self._context = context
        self._name = name
        self._marker = marker_of(name, f"{job.run_id}.{job.attempt}" if mode == "new" else "")
        self.are_enabled = mode != "off"

    def find_pull(self) -> int | None:
        """Returns the number of the pull request that gets the comment."""
        context = self._context
        if context.pull:
            return context.pull.number
        if not context.pull_query:
            return None
        for pull in self._client.repository.get_pulls(state="open", head=context.pull_query):
            # The branch may have newer commits than the workflow run that the event is about.
            if context.event != "workflow_run" or pull.head.sha == context.head:
                return int(pull.number)
        return None

    def is_reported(self) -> bool:
        """Whether the pull request has a comment of this report name."""
        number = self.find_pull()
        comments = self._client.repository.get_issue(number).get_comments() if number else ()
        return any(is_marked(comment.body, self._name) and self._is_own(comment) for comment in comments)

    def write(self, number: int, text: str, sha: str) -> IssueComment:
        """Updates the comment, or creates it.

        An existing comment is only updated while the head of the pull request is this run's head commit or its results
        commit `sha`; otherwise the comment is for a newer commit, or will be.
        """
        body = f"{self._marker}\n{text}"
        issue = self._client.repository.get_issue(number)
        for comment in issue.get_comments():
            if comment.body.startswith(self._marker) and self._is_own(comment):
                if comment.body != body and self._is_current(number, sha):
                    _edit(comment, body)
                return comment
        return checked(issue.create_comment(body))

    def _is_current(self, number: int, sha: str) -> bool:
        return self._client.repository.get_pull(number).head.sha in (sha, self._context.head)

    def _is_own(self, comment: IssueComment) -> bool:
        # Anybody can write a comment with the marker: only comments of the token's own user count.
        return self._client.is_own_login(comment.user.login)


def _edit(comment: IssueComment, body: str) -> None:
    """Edits a comment. Raises ValueError if the answer still has the old text, apart from white space, which GitHub
    may tidy.
    """
    before = comment.body
    comment.edit(body)
    if comment.body == before and before.split() != body.split():
        raise ValueError(WRONG_ANSWER)
