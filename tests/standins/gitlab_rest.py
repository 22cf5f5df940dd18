"""The REST API of the stand-in GitLab: the table of routes, and the smaller functions of them.

Not modelled: GraphQL, issues, discussions, approvals, creating or merging merge requests, keyset pagination, and what no
test needs: an unknown route is a 404, which the record notes.
"""

from __future__ import annotations

import functools
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from standins import gitlab_jobs as jobs
from standins import gitlab_json as write
from standins import gitlab_merge_requests as requests
from standins import gitlab_notes as notes
from standins import gitlab_releases as releases
from standins import gitlab_statuses as statuses
from standins import gitlab_uploads as uploads
from standins.base import Refused
from standins.gitlab_call import Call, check_fields, page, read_body
from standins.gitlab_model import Project, Token
from standins.gitlab_rules import (
    Ability,
    authenticate,
    check_scope,
    count,
    find_project,
    limit_headers,
    not_found,
    refuse,
    unauthorized,
)
from standins.gitlab_state import State
from standins.web import Exchange, Request, Response, json_response


@dataclass(frozen=True, kw_only=True)
class Route:
    """`needs`: the ability that the token's role must have. `takes`: who is accepted besides persons: "nobody" (a request
    without a token), "job" (a job token, which elsewhere counts as nobody). `scopes`: those that may read besides the
    API's. `fields` of the body; `filters` of the query, besides pages.
    """

    method: str
    pattern: re.Pattern[str]
    act: Callable[[Call], Response]
    needs: Ability = "read_project"
    takes: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    filters: tuple[str, ...] = ()


def _route(line: str, act: Callable[[Call], Response], needs: Ability = "read_project", **facts: Any) -> Route:
    """{name} is a part of the path; all paths but those that begin with // are under a project."""
    method, path = line.split(" ")
    pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
    return Route(method=method, pattern=pattern, act=act, needs=needs, **facts)


@functools.cache
def routes() -> list[Route]:
    """The first match counts. Paths are relative to /projects/ID, or absolute if they begin with //."""
    code: Ability = "read_code"
    talk: Ability = "read_merge_request"
    release: Ability = "read_release"
    both, nobody, job = ("nobody", "job"), ("nobody",), ("job",)
    note, one = "/merge_requests/{iid}/notes", "/merge_requests/{iid}/notes/{id}"
    return [
        _route("GET //user", get_user, scopes=("read_user",)),
        _route("GET //version", get_version, scopes=("read_user",)),
        _route("GET //personal_access_tokens/self", get_own_token, scopes=("self_rotate",)),
        _route("GET //job", jobs.get_own_job, takes=job),
        _route("GET ", get_project, takes=nobody),
        _route("GET /repository/branches", list_branches, code, takes=both, filters=("search",)),
        _route("GET /repository/branches/{branch}", get_branch, code, takes=nobody),
        _route("GET /repository/tags", releases.list_tags, code, takes=both),
        _route("GET /repository/tags/{tag}", releases.get_tag, code, takes=nobody),
        _route("GET /repository/commits/{sha}", get_commit, code, takes=both),
        _route("GET /repository/commits/{sha}/merge_requests", requests.list_of_commit, talk, takes=both),
        _route(
            "GET /repository/commits/{sha}/statuses", statuses.list_statuses, "read_status", filters=statuses.FILTERS
        ),
        _route("POST /statuses/{sha}", statuses.create_status, "write_status", fields=statuses.FIELDS),
        _route("GET /merge_requests", requests.list_all, talk, takes=both, filters=requests.FILTERS),
        _route("GET /merge_requests/{iid}", requests.get, talk, takes=both),
        _route(f"GET {note}", notes.list_notes, talk, takes=job, filters=notes.FILTERS),
        _route(f"GET {one}", notes.get_note, talk, takes=job),
        _route(f"POST {note}", notes.create_note, "create_note", fields=notes.FIELDS),
        _route(f"PUT {one}", notes.update_note, talk, fields=notes.UPDATE),
        _route(f"DELETE {one}", notes.delete_note, talk),
        _route("GET /releases", releases.list_releases, release, takes=both),
        _route("GET /releases/{tag}", releases.get_release, release, takes=both),
        _route("POST /releases", releases.create_release, "write_release", takes=job, fields=releases.CREATE),
        _route("PUT /releases/{tag}", releases.update_release, "write_release", takes=job, fields=releases.UPDATE),
        _route("GET /pipelines", jobs.list_pipelines, "read_job", takes=nobody, filters=jobs.PIPELINE_FILTERS),
        _route("GET /pipelines/{id}", jobs.get_pipeline, "read_job", takes=nobody),
        _route("GET /pipelines/{id}/jobs", jobs.list_pipeline_jobs, "read_job", filters=("include_retried",)),
        _route("GET /jobs", jobs.list_jobs, "read_job", filters=jobs.JOB_FILTERS),
        _route("GET /jobs/{id}", jobs.get_job, "read_job"),
        _route("POST /uploads", uploads.create_upload, "upload", fields=uploads.FIELDS),
    ]


def answer(state: State, request: Request, exchange: Exchange) -> Response:
    """Answers a request to the API, and notes mistakes of the client in the record."""
    token = None
    try:
        route, identifier, parameters = _match(request, urlsplit(state.api).path)
        token = authenticate(state, request, takes_jobs="job" in route.takes)
        if token:
            later = Response(body=b"Retry later\n", headers={"Content-Type": "text/plain"})
            count(token.window, state.clock().timestamp(), name="throttle_authenticated_api", body=later)
        elif "nobody" not in route.takes:
            raise unauthorized()
        check_scope(token, request.method, route.scopes)
        with state.lock:
            response = _act(Call(state, request, token, None, parameters), route, identifier, exchange)
    except Refused as refused:
        exchange.note = refused.note
        response = refused.response
    headers = {"X-Request-Id": f"{state.next_id():X}", "Vary": "Origin"}
    if token:
        headers |= limit_headers(token.window, name="throttle_authenticated_api")
    response.headers = {**headers, **response.headers}
    return response


def _act(call: Call, route: Route, identifier: str | None, exchange: Exchange) -> Response:
    known = {"page", "per_page", *route.filters}
    note = ", ".join(f"unknown parameter: {name}" for name in call.request.query if name not in known)
    if call.request.method in ("POST", "PUT"):
        call.body, call.files = read_body(call.request)
        exchange.json = call.body
        note = check_fields(call.body, route.fields) or note
    if identifier is not None:
        call.project_or_none = find_project(call.state, call.token, _project(call.state, identifier))
        call.authorize(route.needs)
        call.state.refresh(call.project)
    response = route.act(call)
    exchange.note = note
    return response


def _match(request: Request, root: str) -> tuple[Route, str | None, dict[str, str]]:
    """Returns the route of a request, its project (an id or a path), and the other parts of the path."""
    path = request.path.removeprefix(root)
    split = re.fullmatch(r"/projects/([^/]+)(/.*|)", path)
    rest = split[2] if split else f"/{path}"
    for route in routes():
        if route.method == request.method and (match := route.pattern.fullmatch(rest)):
            parts = {key: urllib.parse.unquote(value) for key, value in match.groupdict().items()}
            return route, urllib.parse.unquote(split[1]) if split else None, parts
    note = f"unknown route: {request.method} {path}"
    raise refuse(404, "404 Not Found", key="error", note=note)


def _project(state: State, identifier: str) -> Project | None:
    return state.project_of_id(int(identifier)) if identifier.isdecimal() else state.projects.get(identifier)


def _person(call: Call) -> Token:
    if call.token is None or call.token.kind == "job":
        raise unauthorized()
    return call.token


def get_user(call: Call) -> Response:
    return json_response(write.me(call.state, _person(call)))


def get_version(call: Call) -> Response:
    _person(call)
    return json_response({"version": "18.6.0", "revision": "stand-in"})


def get_own_token(call: Call) -> Response:
    token = _person(call)
    data = {"id": 1, "name": "stand-in", "scopes": list(token.scopes), "user_id": call.state.user_id(token.login)}
    return json_response({**data, "active": True, "revoked": False, "expires_at": None})


def get_project(call: Call) -> Response:
    return json_response(write.project(call.state, call.project, call.token))


def list_branches(call: Call) -> Response:
    prefix = call.request.query.get("search", "^").removeprefix("^")  # other searches are not modelled
    branches = [(name, sha) for name, sha in call.project.branches().items() if name.startswith(prefix)]
    return page(call, branches, lambda pair: write.branch(call.state, call.project, *pair, call.token))


def get_branch(call: Call) -> Response:
    name = call.parameters["branch"]
    sha = call.project.branches().get(name)
    if sha is None:
        raise not_found("Branch")
    return json_response(write.branch(call.state, call.project, name, sha, call.token))


def get_commit(call: Call) -> Response:
    sha = call.commit(call.parameters["sha"])
    return json_response({**write.commit(call.state, call.project, sha), "status": None, "project_id": call.project.id})
