"""Git and the pages of the stand-in GitHub: who may fetch and push, with GitHub's own messages."""

from __future__ import annotations

import urllib.parse
from pathlib import Path

from standins import github_rules as rules
from standins.base import git_refusal, html_page
from standins.git_http import SERVICES, serve
from standins.github_state import Repository, State, Token
from standins.web import Exchange, Request, Response

BAD_CREDENTIAL = "Invalid username or token. Password authentication is not supported for Git operations."


def answer(state: State, request: Request, exchange: Exchange, *, hooks: Path) -> Response:
    """Answers requests under BASE/OWNER/NAME, with or without .git."""
    service = next((service for service in SERVICES if request.path.endswith(service)), None)
    if not service:
        return _page(state, request, exchange)
    name = urllib.parse.unquote(request.path.removesuffix(service)).strip("/").removesuffix(".git")
    repository = state.repositories.get(name)
    token = state.tokens.get(rules.credential(request) or "")
    is_push = "git-receive-pack" in (service + request.query.get("service", ""))
    if refusal := _refusal(rules.kind(state, request), token, repository, name=name, is_push=is_push):
        return refusal
    assert repository
    state.refresh(repository)
    return serve(
        request,
        repository.bare,
        service,
        user=token.login if token else "",
        hooks=hooks,
        hidden=["refs/pull"],
        variables=_for_the_hook(repository, token),
        after_push=lambda: _follow(state, repository),
    )


def _refusal(
    kind: str, token: Token | None, repository: Repository | None, *, name: str, is_push: bool
) -> Response | None:
    if kind == "several":
        return _refuse(400, 'Duplicate header: "Authorization"')
    if kind in ("unknown", "expired"):
        return _refuse(401, BAD_CREDENTIAL)
    if token is None and (is_push or repository is None or repository.private):
        return _refuse(401, "No anonymous write access." if is_push else "Repository not found.")
    if repository is None or not rules.sees(token, repository):
        return _refuse(404, "Repository not found.")
    if token and token.kind != "personal" and repository.private and not token.grants("contents:read"):
        return _refuse(403, "Write access to repository not granted.")
    if token and is_push and not rules.may_push(token, repository):
        return _refuse(403, f"Permission to {name}.git denied to {token.login}.")
    return None


def _refuse(status: int, text: str) -> Response:
    return git_refusal(status, text, realm="GitHub")


def _for_the_hook(repository: Repository, token: Token | None) -> dict[str, str]:
    protected = [
        f"refs/heads/{branch} {rule.code}"
        for branch, rule in repository.protected.items()
        if not token or token.value not in rule.allowed
    ]
    is_app = token is not None and token.kind == "installation" and not token.grants("workflows:write")
    return {"STANDIN_PROTECTED": "\n".join(protected), "STANDIN_WORKFLOWS": "refused" if is_app else ""}


def _follow(state: State, pushed: Repository) -> None:
    for repository in state.repositories.values():
        if any(pull.head_repository == pushed.full_name for pull in repository.pulls.values()) or repository is pushed:
            state.refresh(repository)


def _page(state: State, request: Request, exchange: Exchange) -> Response:
    """Answers for the pages of a public repository. Nobody can sign in."""
    owner, name, *rest = [*urllib.parse.unquote(request.path).strip("/").split("/"), "", ""]
    repository = state.repositories.get(f"{owner}/{name}")
    is_public = repository is not None and not repository.private
    is_there = bool(repository and is_public and _has_page(repository, [part for part in rest if part]))
    return html_page(exchange, request.path, is_there=is_there)


def _has_page(repository: Repository, parts: list[str]) -> bool:
    match parts:
        case []:
            return True
        case ["commit" | "tree", *ref]:
            return repository.resolve("/".join(ref)) is not None
        case ["pull", number]:
            return number in map(str, repository.pulls)
        case ["runs", number] | ["actions", "runs", number]:
            ids = [*(run.id for run in repository.runs), *(check.id for check in repository.check_runs)]
            return number in map(str, ids)
        case ["actions", "runs", _, "job", number]:
            return any(number == str(job.id) for run in repository.runs for job in run.jobs)
    return False
