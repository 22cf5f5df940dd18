"""Errors of GitHub's API: what they mean, and what the user can do."""

from __future__ import annotations

import time
from collections.abc import Mapping

from github import GithubException

from cml.forges.retry import TEMPORARY_STATUSES, ApiProblem, read_connection_error

WRONG_ANSWER = "the answer is not what was asked for"
PERMISSIONS = {
    "check run": "checks: write",
    "commit status": "statuses: write",
    "comment": "pull-requests: write",
}


def read_error(error: Exception) -> ApiProblem:
    """Returns the problem that an exception of PyGithub means."""
    if not isinstance(error, GithubException):
        return read_connection_error(error)
    message = message_of(error)
    # GitHub answers 403 to too many requests as well, which passes. Any other 403 stays: a permission is missing.
    is_rate_limit = error.status == 403 and "rate limit" in message.lower()
    return ApiProblem(
        status=error.status,
        message=message,
        wait=_seconds_to_wait(error),
        is_final=error.status not in TEMPORARY_STATUSES and not is_rate_limit,
    )


def message_of(error: GithubException) -> str:
    """Returns the message of GitHub's answer, in one line."""
    data = error.data
    message = data.get("message") if isinstance(data, dict) else None
    return " ".join(str(message or error.message or "").split())[:300]


def is_for_apps_only(error: GithubException) -> bool:
    """Whether GitHub refuses a check run because the token is not that of an app but of a person."""
    # "You must authenticate via a GitHub App.": only the message differs from that of a missing permission.
    return error.status == 403 and "app" in message_of(error).lower()


def _seconds_to_wait(error: GithubException) -> float | None:
    """Returns the wait that the answer asks for: `retry-after`, or the time until the rate limit is reset."""
    headers = {name.lower(): str(value) for name, value in (error.headers or {}).items()}
    retry_after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if retry_after.isdecimal():
        return float(retry_after)
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return max(0.0, float(reset) - time.time())
    return None


def warnings_of(problems: Mapping[str, ApiProblem]) -> tuple[str, ...]:
    """Returns one warning for each thing that could not be published."""
    return tuple(_warning(subject, problem) for subject, problem in problems.items())


def _warning(subject: str, problem: ApiProblem) -> str:
    if not problem.is_final:
        return f"the request to GitHub for the {subject} failed, also after retries: {problem}. Run the job again later"
    if problem.status == 401:
        return (
            f"GitHub rejects the token ({problem}): it is invalid or expired, or it belongs to another host. "
            "Set repo_token to a valid one"
        )
    if problem.status in (403, 404):
        permission = PERMISSIONS[subject]
        return f"GitHub refuses the {subject} ({problem}): add `{permission}` under `permissions:` of the job"
    return f"GitHub refuses the {subject}: {problem}"
