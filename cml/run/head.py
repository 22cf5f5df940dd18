"""The head commit: which commit a run is for, whether that commit asks for no run, and how it is checked out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from cml.config.settings import Settings
from cml.errors import BadInput
from cml.forges.base import Context
from cml.git.command import REMOTE
from cml.git.repository import Repository
from cml.git.trailers import head_of_results, scope_of_results, skip_reason

DEEPENING_COMMITS = 50


class Skip(NamedTuple):
    """Why a run ends before any work. `results` is the commit that already contains its results, if there is one."""

    reason: str
    results: str | None


def find_head(repository: Repository, context: Context) -> str:
    """Returns the commit that the run is for, and fetches it if this clone lacks it. Raises BadInput."""
    head = context.head or repository.head()
    if head is None:
        raise BadInput("the repository has no commits: create the first commit, then run again")
    if repository.resolve(head) is None:
        # The workspace of a pull request contains only the merge commit, which the forge made.
        refs = [context.pull.fetch_ref, head] if context.pull else [head]
        for ref in refs:
            repository.fetch(ref, tip_only=True)
    if repository.resolve(head) is None:
        raise BadInput(
            f"cannot find the commit {head[:7]}, which this run is for, in this clone or on {REMOTE}: "
            "was it removed by a force push?"
        )
    return head


def find_skip(repository: Repository, context: Context, settings: Settings, head: str) -> Skip | None:
    """Returns why the run for a commit is skipped, or None if it is not."""
    if not context.is_ci:
        return None
    message = repository.commit(head).message
    reason = skip_reason(message, is_requested=context.is_requested)
    if not reason:
        return None
    results = _find_own_results(repository, settings, head)
    # A results commit of another job does not skip this job's run.
    if results is None and head_of_results(message):
        return None
    return Skip(reason, results)


def _find_own_results(repository: Repository, settings: Settings, head: str) -> str | None:
    """Returns the commit with the results of this job (of its scope): `head` or one of its ancestors, where all
    commits in between are results of other jobs. Returns None if this job still has to process the commit below them.
    """
    sha = head
    while head_of_results((commit := repository.commit(sha)).message):
        if scope_of_results(commit.message) in (None, settings.scope):
            return sha
        if not commit.parents and repository.is_shallow():
            repository.fetch(deepen=DEEPENING_COMMITS)
            commit = repository.commit(sha)
        if not commit.parents:
            # The history cannot be fetched. Without an answer the run is skipped: results that start a run for
            # themselves, again and again, would be worse.
            return head
        sha = commit.parents[0]
    return None


def find_previous_head(repository: Repository, head: str) -> str | None:
    """Returns the head commit of the previous run, if `head` or its parent is a results commit.

    No run is started for results that were pushed with the job's own token, so this run is the next one after it.
    """
    commit = repository.commit(head)
    for candidate in [commit, *repository.commits(commit.parents[:1])]:
        if previous := head_of_results(candidate.message):
            return previous
    return None


@contextlib.contextmanager
def checked_out(repository: Repository, head: str) -> Iterator[None]:
    """Checks out the head commit of a pull request instead of its merge commit. On BadInput the previous commit or
    branch is checked out again, so that nothing has changed.
    """
    # The merge commit is made by the forge and belongs to nobody: results for it could not be pushed to the branch.
    now = repository.head()
    if now in (head, None):
        yield
        return
    before = repository.current_branch() or now
    if not repository.check_out(head):
        raise BadInput(
            f"cannot check out {head[:7]}, the commit that this run is for: the work tree has changes to the same files"
        )
    try:
        yield
    except BadInput:
        repository.check_out(before)
        raise
