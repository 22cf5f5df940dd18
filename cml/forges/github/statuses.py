"""Commit statuses, for tokens that may not create check runs: GitHub keeps those for the tokens of apps."""

from __future__ import annotations

from collections.abc import Iterable

from cml.forges.github.client import GitHubClient, checked

DESCRIPTION_LIMIT = 140  # characters


class GitHubStatuses:
    """The commit statuses of one report name. `are_used` is set by the first check run that GitHub refuses; `pending`
    is the commit whose status says that a run is in progress. Methods raise the errors of the API.
    """

    def __init__(self, client: GitHubClient, *, name: str, target_url: str) -> None:
        self._client = client
        self._name = name
        self._target_url = target_url
        self.are_used = False
        self.pending: str | None = None

    def set_pending(self, sha: str) -> None:
        self.set([sha], "pending", "in progress")
        self.pending = sha

    def set(self, shas: Iterable[str], state: str, description: str) -> None:
        for sha in shas:
            status = self._client.repository.get_commit(sha).create_status(
                state=state,
                target_url=self._target_url,
                description=description[:DESCRIPTION_LIMIT],
                context=self._name,
            )
            checked(status)
            # It replaces the pending one, which had the same context.
            if sha == self.pending:
                self.pending = None
