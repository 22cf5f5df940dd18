"""Errors of GitLab's API: what they mean, and what the user can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gitlab import GitlabError, RedirectError

from cml.forges.retry import TEMPORARY_STATUSES, ApiProblem, read_connection_error

ACCESS_ADVICE = (
    "set the CI/CD variable GITLAB_TOKEN to a project access token with the role Developer and the scopes api and "
    "write_repository"
)


def read_error(error: Exception, *, wait: float | None) -> ApiProblem:
    """Returns the problem that an exception of python-gitlab means; `wait` is what the answer asked for."""
    if not isinstance(error, GitlabError):
        return read_connection_error(error)
    message = _message_of(error)
    status = error.response_code
    if not status:  # not JSON: the page of a proxy, which may pass, or of a redirect
        return ApiProblem(status=0, message=message, is_final=isinstance(error, RedirectError))
    return ApiProblem(
        status=status,
        # Many messages begin with the status ("403 Forbidden"), which ApiProblem prints too.
        message=message.removeprefix(f"{status} "),
        wait=wait,
        is_final=status not in TEMPORARY_STATUSES,
    )


def _message_of(error: GitlabError) -> str:
    """Returns the message of an answer in one line. GitLab sends text, a list, or both by the name of a field."""
    message: Any = error.error_message
    if isinstance(message, dict):
        return "; ".join(f"{field}: {_one_line(text)}" for field, text in message.items())
    return _one_line(message)


def _one_line(message: object) -> str:
    text = " ".join(map(str, message)) if isinstance(message, list) else str(message)
    return " ".join(text.split())[:300]


def warnings_of(problems: Mapping[str, ApiProblem], left_out: Iterable[str]) -> tuple[str, ...]:
    """Returns one warning for each kind of problem. `left_out` was not tried, since the token is only a job token."""
    warnings = [
        f"the request to GitLab for the {subject} failed, also after retries: {problem}. Run the job again later"
        for subject, problem in problems.items()
        if not problem.is_final
    ]
    # A role or a scope that is missing refuses several things in the same words: one warning for all of them.
    refused: dict[ApiProblem, list[str]] = {}
    for subject, problem in problems.items():
        if problem.is_final:
            refused.setdefault(problem, []).append(subject)
    warnings += [_refusal(" and the ".join(subjects), problem) for problem, subjects in refused.items()]
    if names := " and ".join(sorted(left_out)):
        warnings.append(f"the job token cannot write {names}: {ACCESS_ADVICE}")
    return tuple(warnings)


def _refusal(subjects: str, problem: ApiProblem) -> str:
    if problem.status == 401:
        return (
            f"GitLab rejects the token ({problem}): it is invalid or expired, or it belongs to another host. "
            "Set GITLAB_TOKEN to a valid one"
        )
    if problem.status == 403:
        return (
            f"GitLab refuses the {subjects} ({problem}): {ACCESS_ADVICE}; for protected branches and tags the token "
            "needs a role that may change them"
        )
    if problem.status == 404:
        return f"GitLab does not show the {subjects} to this token ({problem}): {ACCESS_ADVICE}, of this very project"
    return f"GitLab refuses the {subjects}: {problem}"
