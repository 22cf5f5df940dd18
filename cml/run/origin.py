"""Questions to origin about the branch of the results: may we push, what is on it, whose results does it contain?

A server in trouble gives no answer, so each question is retried. "No answer" never means "no".
"""

from __future__ import annotations

import re

from cml.errors import WorkFailed
from cml.git.command import REMOTE, GitFailed
from cml.git.remote import PushOutcome
from cml.git.repository import Repository
from cml.git.trailers import head_of_results, key_of_results
from cml.process.retry import retry, retry_until

# What git and the servers print for a token that they do not know.
REJECTED_TOKEN = re.compile(r"Access denied|Authentication failed|error: 401|invalid username", re.IGNORECASE)


class ResultsExist(Exception):
    """Another run has pushed the results of this run already, in the commit `sha`."""

    def __init__(self, sha: str) -> None:
        super().__init__(sha)
        self.sha = sha


def ask_push(repository: Repository, *, head: str, branch: str) -> PushOutcome:
    """Returns how a push would end (a dry run). Retried while origin does not answer."""
    return retry_until(lambda outcome: not outcome.is_unanswered, lambda: repository.try_push(head, branch))


def find_tip(repository: Repository, branch: str) -> str | None:
    """Returns the newest commit of origin's branch, None if there is no such branch. Retried while origin does not
    answer. Raises WorkFailed.
    """
    try:
        return retry(lambda: repository.remote_tip(branch), pause_after=_pause_after_git_error)
    except GitFailed as error:
        raise unreachable(error) from error


def _pause_after_git_error(error: Exception, pause: float) -> float | None:
    return pause if isinstance(error, GitFailed) else None


def fetch_branch(repository: Repository, *, branch: str, head: str) -> str:
    """Fetches origin's branch and returns its newest commit, which must have `head` in its history.

    Raises WorkFailed if it does not: the results of a commit must not be pushed to a branch without that commit.
    """
    tracking = f"refs/remotes/{REMOTE}/{branch}"
    refspec = f"+refs/heads/{branch}:{tracking}"
    if not repository.fetch(refspec):
        # Git gives the same error for a missing branch and for a broken connection, so origin is asked which it is.
        if find_tip(repository, branch) is None:
            raise branch_missing(branch)
        if not repository.fetch(refspec):
            raise WorkFailed(f"cannot fetch the branch {branch} from {REMOTE}: run again", step="push")
    tip = repository.resolve(tracking)
    if tip is None or not repository.is_ancestor(head, tip):
        raise WorkFailed(
            f"the branch {branch} on {REMOTE} does not contain {head[:7]}, the commit that this run is for: "
            f"git pull --rebase {REMOTE} {branch}, then run again",
            step="push",
        )
    return tip


def fetch_descendant(repository: Repository, *, branch: str, sha: str) -> str | None:
    """Fetches origin's branch, and returns its newest commit if it is `sha` or a descendant of it, else None."""
    tracking = f"refs/remotes/{REMOTE}/{branch}"
    repository.fetch(f"+refs/heads/{branch}:{tracking}")
    tip = repository.resolve(tracking)
    return tip if tip and repository.is_ancestor(sha, tip) else None


def check_existing_results(repository: Repository, *, head: str, tip: str, key: str) -> None:
    """Raises ResultsExist if a commit between the two contains the results of a run for `head` with the same key."""
    # Known from git alone: what a forge's API says about other runs may be forged, or out of date.
    for commit in repository.commits_between(head, tip):
        if head_of_results(commit.message) == head and key_of_results(commit.message) == key:
            raise ResultsExist(commit.sha)


def branch_missing(branch: str) -> WorkFailed:
    """Returns the error for a branch that was deleted during the run."""
    return WorkFailed(f"the branch {branch} no longer exists on {REMOTE}, so nothing was pushed", step="push")


def push_refused(reason: str, branch: str, advice: str) -> WorkFailed:
    """Returns the error for a push that origin refuses; `advice` is what the forge recommends."""
    # The forge's advice is about permissions, which do not help if the token itself is not accepted.
    if REJECTED_TOKEN.search(reason):
        advice = "use a valid token (this one may have expired, or may be for another host)"
    return WorkFailed(
        f"{REMOTE} refuses the push to {branch}: {reason.rstrip('.')}. To solve this, {advice}; or set push to false "
        "to get a report only",
        step="push",
    )


def unreachable(error: Exception) -> WorkFailed:
    """Returns the error for an origin that gives no answer while the results are saved."""
    message = f"{REMOTE} cannot be reached: {error}. The data is on the DVC remote, so the next run is quick"
    return WorkFailed(message, step="push")
