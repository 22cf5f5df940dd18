"""The event that started a GitHub job: what to work on, and where to push. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cml.errors import BadInput
from cml.forges.base import Context, PullRequest
from cml.git.commits import Identity

# The number is the id of the bot's user: by it, GitHub shows the bot's picture and profile at the commits.
BOT = Identity(name="github-actions[bot]", email="41898282+github-actions[bot]@users.noreply.github.com")
PUSH_ADVICE = (
    "add `contents: write` under `permissions:` of the job; for a protected branch set repo_token to the token of an "
    "app that may bypass its rules"
)
# These events have a privileged token, but the commit may be anybody's: no code of it is executed, only reported on.
PRIVILEGED_EVENTS = ("pull_request_target", "workflow_run", "issue_comment")
BRANCH_EVENTS = ("push", "schedule", "workflow_dispatch", "repository_dispatch")


class GitHubJob(NamedTuple):
    """What the runner says about the job: the address of the API, its numbers, the files for outputs and summary."""

    api_url: str
    run_id: str
    attempt: int
    output_file: str | None
    summary_file: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> GitHubJob:
        attempt = environment.get("GITHUB_RUN_ATTEMPT", "1")
        return cls(
            api_url=environment.get("GITHUB_API_URL", "").rstrip("/"),
            run_id=environment.get("GITHUB_RUN_ID", ""),
            attempt=int(attempt) if attempt.isdecimal() else 1,
            output_file=environment.get("GITHUB_OUTPUT") or None,
            summary_file=environment.get("GITHUB_STEP_SUMMARY") or None,
        )


def read_context(environment: Mapping[str, str], event_text: str) -> Context:
    """Returns the context of a GitHub Actions job. Raises BadInput if the event file is not a JSON object."""
    event = _parse(event_text, environment)
    name = environment.get("GITHUB_EVENT_NAME", "")
    repository = environment.get("GITHUB_REPOSITORY", "")
    # It becomes a part of addresses.
    if repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise BadInput(f"GITHUB_REPOSITORY is {repository!r}: expected OWNER/NAME, as GitHub's runner sets it")
    project = f"{environment.get('GITHUB_SERVER_URL', '').rstrip('/')}/{repository}" if repository else None
    pull = _pull_request(event, name, repository)
    return Context(
        forge_name="github",
        event=name,
        # For a pull request GITHUB_SHA is a merge commit that GitHub made, and that is on no branch.
        head=pull.head if pull else _head(event, name) or environment.get("GITHUB_SHA") or None,
        push_branch=_push_branch(environment, name, pull),
        no_push=_no_push(environment, name, pull),
        reproduces=name not in PRIVILEGED_EVENTS,
        target_branch=pull.target if pull else None,
        default_branch=_text(event, "repository", "default_branch") or None,
        identity=BOT,
        push_advice=PUSH_ADVICE,
        pull_query=_pull_query(environment, event, name, repository),
        pull=pull,
        run=environment.get("GITHUB_RUN_ID", ""),
        machine=environment.get("RUNNER_NAME", ""),
        slug=repository,
        project_url=project,
        run_url=f"{project}/actions/runs/{environment.get('GITHUB_RUN_ID', '')}" if project else None,
    )


def _parse(text: str, environment: Mapping[str, str]) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        path = environment.get("GITHUB_EVENT_PATH", "")
        raise BadInput(f"GITHUB_EVENT_PATH is {path!r}: expected a file with one complete JSON object")
    return event


def _text(event: Mapping[str, Any], *path: str) -> str:
    value: Any = event
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _pull_request(event: Mapping[str, Any], name: str, repository: str) -> PullRequest | None:
    if name not in ("pull_request", "pull_request_target"):
        return None
    pull = event.get("pull_request")
    number = pull.get("number") if isinstance(pull, dict) else None
    head, target = _text(event, "pull_request", "head", "sha"), _text(event, "pull_request", "base", "ref")
    # bool is a kind of int, and `true` must not become pull request 1.
    if not isinstance(number, int) or isinstance(number, bool) or not head or not target:
        raise BadInput("GITHUB_EVENT_PATH: the event file has no pull_request.number, head.sha or base.ref")
    return PullRequest(
        number=number,
        head=head,
        branch=_text(event, "pull_request", "head", "ref"),
        target=target,
        # GitHub sends null for a fork that was deleted, so what is not known to be this repository is a fork.
        is_fork=_text(event, "pull_request", "head", "repo", "full_name") != repository,
        is_open=_text(event, "pull_request", "state") != "closed",
        fetch_ref=f"refs/pull/{number}/head",
    )


def _head(event: Mapping[str, Any], name: str) -> str:
    # For this event GITHUB_SHA is the tip of the default branch, not the commit that the other workflow ran for.
    return _text(event, "workflow_run", "head_sha") if name == "workflow_run" else ""


def _push_branch(environment: Mapping[str, str], name: str, pull: PullRequest | None) -> str | None:
    if pull:
        return pull.branch
    ref = environment.get("GITHUB_REF", "")
    if name in BRANCH_EVENTS and ref.startswith("refs/heads/"):
        return ref.removeprefix("refs/heads/")
    return None


def _pull_query(environment: Mapping[str, str], event: Mapping[str, Any], name: str, repository: str) -> str:
    """Returns OWNER:BRANCH of the branch that the event is for, or "" if it is for none."""
    if name == "workflow_run":
        owner = _text(event, "workflow_run", "head_repository", "owner", "login")
        branch = _text(event, "workflow_run", "head_branch")
        return f"{owner}:{branch}" if owner and branch else ""
    branch = _push_branch(environment, name, None) or ""
    return f"{repository.partition('/')[0]}:{branch}" if branch else ""


def _no_push(environment: Mapping[str, str], name: str, pull: PullRequest | None) -> str | None:
    """Returns why nothing is pushed for this kind of event, or None if results are pushed."""
    if name in PRIVILEGED_EVENTS or name == "merge_group":
        return f"{name} never pushes"
    if pull and pull.is_fork:
        return "the pull request comes from a fork"
    if pull and not pull.is_open:
        return "the pull request is closed"
    if pull:
        return None
    if environment.get("GITHUB_REF", "").startswith("refs/tags/"):
        return "the run is for a tag, not for a branch"
    if name in BRANCH_EVENTS:
        return None
    return f"{name} never pushes" if name else None
