"""The REST API of the stand-in GitHub: the table of routes, and their functions.

Not modelled: GraphQL, reviews, releases, reactions, creating or merging pull requests, ETags, and what no test
needs: an unknown route is a 404, which the record notes.
"""

from __future__ import annotations

import functools
import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from standins import github_checks as checks
from standins import github_json as write
from standins import github_pulls as pulls
from standins import github_statuses as statuses
from standins.base import Refused
from standins.git_http import git
from standins.github_call import Call, found, page
from standins.github_rules import (
    authenticate,
    authorize,
    check_shape,
    limits,
    not_found,
    parse,
    refuse,
)
from standins.github_state import State
from standins.web import Exchange, Request, Response, json_response

READ_TALK = ("issues:read", "pull_requests:read")
WRITE_TALK = ("issues:write", "pull_requests:write")


@dataclass(frozen=True, kw_only=True)
class Route:
    """`needs`: one of these permissions is enough. `fields`: those of the body (see github_rules.check_shape)."""

    method: str
    pattern: re.Pattern[str]
    act: Callable[[Call], Response]
    needs: Sequence[str]
    fields: Mapping[str, Any] | None = field(default=None)


def _route(line: str, act: Callable[[Call], Response], *needs: str, fields: Mapping[str, Any] | None = None) -> Route:
    """{name} is a part of the path, {name*} may contain slashes; all but /user and /rate_limit are under a repository."""
    method, path = line.split(" ")
    path = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", path)
    path = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
    return Route(method=method, pattern=re.compile(path), act=act, needs=needs, fields=fields)


@functools.cache
def routes() -> list[Route]:
    """The first match counts. Paths are relative to /repos/OWNER/NAME, or absolute if they begin with //."""
    return [
        _route("GET //user", get_user),
        _route("GET //rate_limit", get_rate_limit),
        _route("GET ", get_repository),
        _route("GET /branches", list_branches, "contents:read"),
        _route("GET /branches/{branch*}/protection", get_protection, "administration:read"),
        _route("GET /branches/{branch*}", get_branch, "contents:read"),
        _route("GET /git/ref/{ref*}", get_ref, "contents:read"),
        _route("GET /git/refs/{ref*}", get_ref, "contents:read"),
        _route("GET /git/commits/{sha}", get_git_commit, "contents:read"),
        _route("GET /commits", list_commits, "contents:read"),
        _route("GET /commits/{ref*}/pulls", pulls.list_commit_pulls, "pull_requests:read"),
        _route("GET /commits/{ref*}/check-runs", checks.list_for_ref, "checks:read"),
        _route("GET /commits/{ref*}/statuses", statuses.list_for_ref, "statuses:read"),
        _route("GET /commits/{ref*}/status", statuses.get_combined, "statuses:read"),
        _route("GET /commits/{ref*}", get_commit, "contents:read"),
        _route("GET /statuses/{ref*}", statuses.list_for_ref, "statuses:read"),
        _route("POST /statuses/{sha}", statuses.create, "statuses:write", fields=statuses.FIELDS),
        _route("GET /pulls", pulls.list_pulls, "pull_requests:read"),
        _route("GET /pulls/{number}", pulls.get_pull, "pull_requests:read"),
        _route("GET /issues/{number}", pulls.get_issue, *READ_TALK),
        _route("GET /issues/{number}/comments", pulls.list_comments, *READ_TALK),
        _route("POST /issues/{number}/comments", pulls.create_comment, *WRITE_TALK, fields=pulls.COMMENT_FIELDS),
        _route("GET /issues/comments/{id}", pulls.get_comment, *READ_TALK),
        _route("PATCH /issues/comments/{id}", pulls.update_comment, *WRITE_TALK, fields=pulls.COMMENT_FIELDS),
        _route("DELETE /issues/comments/{id}", pulls.delete_comment, *WRITE_TALK),
        _route("POST /check-runs", checks.create, "checks:write", fields=checks.CREATE),
        _route("GET /check-runs/{id}", checks.get, "checks:read"),
        _route("PATCH /check-runs/{id}", checks.update, "checks:write", fields=checks.UPDATE),
        _route("GET /check-runs/{id}/annotations", checks.list_annotations, "checks:read"),
        _route("GET /actions/runs", statuses.list_runs, "actions:read"),
        _route("GET /actions/runs/{id}", statuses.get_run, "actions:read"),
        _route("GET /actions/runs/{id}/jobs", statuses.list_jobs, "actions:read"),
        _route("GET /actions/runs/{id}/attempts/{attempt}/jobs", statuses.list_jobs, "actions:read"),
        _route("GET /actions/jobs/{id}", statuses.get_job, "actions:read"),
    ]


def answer(state: State, request: Request, exchange: Exchange) -> Response:
    """Answers a request to the API, and notes mistakes of the client in the record."""
    token = None
    accepted: Sequence[str] = ()
    try:
        token = authenticate(state, request)
        call, route = _dispatch(state, request, token)
        accepted = route.needs
        if request.method in ("POST", "PATCH", "PUT"):
            call.body = exchange.json = parse(request.body.read_all())
        if call.repository_or_none:
            authorize(token, call.repository, route.needs)
            state.refresh(call.repository)
        if route.fields is not None:
            check_shape(call.body, route.fields)
        with state.lock:
            response = route.act(call)
    except Refused as refused:
        exchange.note = refused.note
        response = refused.response
    headers = {"x-github-media-type": "github.v3; format=json", "x-github-request-id": f"{state.next_id():X}:0:0:0:0"}
    headers |= limits(state, token)
    if token and token.kind == "personal":
        headers |= {"x-oauth-scopes": ", ".join(token.scopes), "x-accepted-oauth-scopes": "repo"}
    elif accepted and "x-accepted-github-permissions" not in response.headers:
        headers["x-accepted-github-permissions"] = "; ".join(need.replace(":", "=") for need in accepted)
    response.headers = {**headers, **response.headers}
    return response


def _dispatch(state: State, request: Request, token: Any) -> tuple[Call, Route]:
    path = request.path.removeprefix("/api/v3")
    if by_id := re.fullmatch(r"/repositories/(\d+)(/.*|)", path):
        named = {str(repo.id): name for name, repo in state.repositories.items()}
        path = f"/repos/{named.get(by_id[1], '-/-')}{by_id[2]}"
    split = re.fullmatch(r"/repos/([^/]+/[^/]+)(/.*|)", path)
    rest = split[2] if split else f"/{path}"
    name = urllib.parse.unquote(split[1]) if split else ""
    for route in routes():
        if route.method == request.method and (match := route.pattern.fullmatch(rest)):
            parameters = {key: urllib.parse.unquote(value) for key, value in match.groupdict().items()}
            if split and name not in state.repositories:
                raise not_found()
            repository = state.repositories[name] if split else None
            return Call(state, request, token, repository, parameters), route
    raise not_found(f"unknown route: {request.method} {path}")


# The token, and the repository


def get_user(call: Call) -> Response:
    if call.token is None:
        raise refuse(401, "Requires authentication")
    if call.token.kind == "installation":
        raise refuse(403, "Resource not accessible by integration")
    return json_response(write.user(call.state, call.token.login))


def get_rate_limit(call: Call) -> Response:
    headers = limits(call.state, call.token)
    core = {name: int(headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset", "used")}
    return json_response({"resources": {"core": {**core, "resource": "core"}}, "rate": core})


def get_repository(call: Call) -> Response:
    return json_response(write.repository(call.state, call.repository, call.token))


def list_branches(call: Call) -> Response:
    names = call.repository.branches().items()
    return page(call, [write.branch(call.state, call.repository, name, sha) for name, sha in names])


def get_branch(call: Call) -> Response:
    name = call.parameters["branch"]
    sha = found(call.repository.branches().get(name), "Branch not found")
    commit = write.commit(call.state, call.repository, sha)
    return json_response({**write.branch(call.state, call.repository, name, sha), "commit": commit})


def get_protection(call: Call) -> Response:
    found(call.repository.protected.get(call.parameters["branch"]), "Branch not protected")
    return json_response({"enforce_admins": {"enabled": True}, "required_pull_request_reviews": {}})


def get_ref(call: Call) -> Response:
    ref = f"refs/{call.parameters['ref']}"
    listed = git("for-each-ref", "--format=%(refname) %(objecttype) %(objectname)", ref, cwd=call.repository.bare)
    line = next((line.split(" ") for line in listed.splitlines() if line.split(" ")[0] == ref), None)
    _, kind, sha = found(line)
    url = f"{call.state.api}/repos/{call.repository.full_name}/git"
    thing = {"type": kind, "sha": sha, "url": f"{url}/{kind}s/{sha}"}
    return json_response({"ref": ref, "node_id": f"REF_{ref}", "url": f"{url}/{ref}", "object": thing})


def get_git_commit(call: Call) -> Response:
    sha = found(call.repository.resolve(call.parameters["sha"]))
    return json_response(write.git_commit(call.state, call.repository, sha))


def list_commits(call: Call) -> Response:
    start = call.request.query.get("sha", call.repository.default_branch)
    shas = git("rev-list", found(call.repository.resolve(start)), cwd=call.repository.bare).split()
    return page(call, shas, lambda sha: write.commit(call.state, call.repository, sha))


def get_commit(call: Call) -> Response:
    return json_response(write.commit(call.state, call.repository, call.commit(call.parameters["ref"])))
