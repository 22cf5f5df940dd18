"""Which event a GitHub job answers, as plain facts: what to work on, where results may go, and why not. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from cml.errors import BadInput
from cml.forges.base import Context, PullRequest
from cml.git.commits import Identity

BOT = Identity(name="github-actions[bot]", email="41898282+github-actions[bot]@users.noreply.github.com")
PUSH_ADVICE = (
    "add `contents: write` under `permissions:` of the job; a protected branch takes only the token of an app that may "
    "bypass its rules, as repo_token"
)
# The code these events would run is not what their token was given for: they report on what git holds.
FOREIGN_CODE = ("pull_request_target", "workflow_run", "issue_comment")
BRANCH_EVENTS = ("push", "schedule", "workflow_dispatch", "repository_dispatch")


def read_context(environment: Mapping[str, str], event_text: str) -> Context:
    """Returns the context of a GitHub Actions job. Raises BadInput where the event file is no JSON object."""
    event = _parse(event_text, environment)
    name = environment.get("GITHUB_EVENT_NAME", "")
    repository = environment.get("GITHUB_REPOSITORY", "")
    if repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise BadInput(f"GITHUB_REPOSITORY is {repository!r}: expected OWNER/NAME, as the runner sets it")
    project = f"{environment.get('GITHUB_SERVER_URL', '').rstrip('/')}/{repository}" if repository else None
    pull = _pull_request(event, name, repository)
    return Context(
        forge_name="github",
        event=name,
        head=pull.head if pull else _head(event, name) or environment.get("GITHUB_SHA") or None,
        push_branch=_push_branch(environment, name, pull),
        no_push=_no_push(environment, name, pull),
        reproduces=name not in FOREIGN_CODE,
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
        raise BadInput(f"GITHUB_EVENT_PATH names {path!r}, which is no whole JSON object: was the file cut short?")
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
    if not isinstance(number, int) or isinstance(number, bool) or not head or not target:
        raise BadInput("GITHUB_EVENT_PATH: the event lacks pull_request.number, head.sha or base.ref")
    return PullRequest(
        number=number,
        head=head,
        branch=_text(event, "pull_request", "head", "ref"),
        target=target,
        is_fork=_text(event, "pull_request", "head", "repo", "full_name") != repository,
        is_open=_text(event, "pull_request", "state") != "closed",
        fetch_ref=f"refs/pull/{number}/head",
    )


def _head(event: Mapping[str, Any], name: str) -> str:
    return _text(event, "workflow_run", "head_sha") if name == "workflow_run" else ""


def _push_branch(environment: Mapping[str, str], name: str, pull: PullRequest | None) -> str | None:
    if pull:
        return pull.branch
    ref = environment.get("GITHUB_REF", "")
    if name in BRANCH_EVENTS and ref.startswith("refs/heads/"):
        return ref.removeprefix("refs/heads/")
    return None


def _pull_query(environment: Mapping[str, str], event: Mapping[str, Any], name: str, repository: str) -> str:
    """Returns OWNER:BRANCH of the branch whose open pull request the event belongs to, or "" where there is none."""
    if name == "workflow_run":
        owner = _text(event, "workflow_run", "head_repository", "owner", "login")
        branch = _text(event, "workflow_run", "head_branch")
        return f"{owner}:{branch}" if owner and branch else ""
    branch = _push_branch(environment, name, None) or ""
    return f"{repository.partition('/')[0]}:{branch}" if branch else ""


def _no_push(environment: Mapping[str, str], name: str, pull: PullRequest | None) -> str | None:
    """Returns why nothing is pushed for this kind of event, or None where it is."""
    if name in FOREIGN_CODE or name == "merge_group":
        return f"{name} never pushes"
    if pull and pull.is_fork:
        return "the pull request comes from a fork"
    if pull and not pull.is_open:
        return "the pull request is closed"
    if pull:
        return None
    if environment.get("GITHUB_REF", "").startswith("refs/tags/"):
        return "a tag is no branch"
    if name in BRANCH_EVENTS:
        return None
    return f"{name} never pushes" if name else None
