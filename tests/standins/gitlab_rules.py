"""Who may do what on the stand-in GitLab. Refusals have GitLab's status and text.

Not modelled: OAuth and deploy tokens, two-factor rules, admins, internal projects, confidential notes, custom roles, and
the allow list for job tokens of other projects.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from standins.base import Refused, basic_credentials
from standins.gitlab_model import LEVELS, Project, Role, Token, Window
from standins.gitlab_state import State
from standins.web import Request, Response, json_response

TOO_MANY = "This endpoint has been requested too many times. Try again later."
Ability = Literal[
    "read_project",
    "read_code",
    "read_merge_request",
    "create_note",
    "read_release",
    "write_release",
    "read_status",
    "write_status",
    "read_job",
    "upload",
]
# The least role for an ability in a private project, and in a public one (None: no role).
ABILITIES: dict[Ability, tuple[Role, Role | None]] = {
    "read_project": ("guest", None),
    "read_code": ("reporter", None),
    "read_merge_request": ("reporter", None),
    "create_note": ("reporter", None),
    "read_release": ("reporter", None),
    "write_release": ("developer", "developer"),
    "read_status": ("reporter", None),
    "write_status": ("developer", "developer"),
    "read_job": ("reporter", None),
    "upload": ("guest", None),
}


def refuse(status: int, message: Any, *, key: str = "message", note: str = "") -> Refused:
    return Refused(json_response({key: message}, status=status), note)


def unauthorized() -> Refused:
    return refuse(401, "401 Unauthorized")


def forbidden(reason: str = "") -> Refused:
    return refuse(403, f"403 Forbidden - {reason}" if reason else "403 Forbidden")


def not_found(what: str = "", *, note: str = "") -> Refused:
    return refuse(404, f"404 {what} Not Found" if what else "404 Not Found", note=note)


def missing_record() -> Refused:
    """GitLab's answer for an unknown id. It differs from that for an unknown path."""
    return refuse(404, "404 Not found")


# Tokens


def basic(request: Request) -> tuple[str, str] | None:
    """Returns the user and the password of the Authorization header; None without one."""
    if not request.authorizations:
        return None
    scheme, _, value = request.authorizations[0].partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    return basic_credentials(value) or ("", "")


def is_over(state: State, token: Token) -> bool:
    """Whether the token is that of a job that has ended: GitLab does not accept it any more."""
    if token.kind != "job":
        return False
    assert token.project
    return state.projects[token.project].jobs[token.job or 0].status != "running"


def kind(state: State, request: Request) -> str:
    """Returns what the record says about a request's credential: none, several, unknown, expired, or the kind."""
    if len(request.authorizations) > 1:
        return "several"
    value = credential(request)
    if value is None:
        return "none"
    token = state.tokens.get(value)
    if token is None or token.is_revoked or is_over(state, token):
        return "unknown"
    return "expired" if token.is_expired else token.kind


def credential(request: Request) -> str | None:
    """Returns the token of a request, from any header; None without one."""
    for name in ("PRIVATE-TOKEN", "JOB-TOKEN"):
        if value := request.headers.get(name):
            return value
    scheme, _, value = (request.authorizations or [""])[0].partition(" ")
    if scheme.lower() == "bearer":
        return value
    pair = basic(request)
    return pair[1] if pair else None


def authenticate(state: State, request: Request, *, takes_jobs: bool) -> Token | None:
    """Returns the token of an API request. None without one, and for a job token where that is not accepted.

    Raises Refused for a bad token.
    """
    private = request.headers.get("PRIVATE-TOKEN") or _bearer(request)
    if private and not private.startswith("glcbt-"):
        token = state.tokens.get(private)
        if token is None:
            raise unauthorized()
        if token.is_expired or token.is_revoked:
            why = (
                "Token is expired. You can either do re-authorization or token refresh."
                if token.is_expired
                else "Token was revoked. You have to re-authorize from the user."
            )
            data = {"error": "invalid_token", "error_description": why}
            raise Refused(json_response(data, status=401, headers={"WWW-Authenticate": 'Bearer realm="The API"'}))
        return token
    job = request.headers.get("JOB-TOKEN")
    if not job or not takes_jobs:
        return None
    token = state.tokens.get(job)
    if token is None or token.kind != "job" or is_over(state, token):
        raise unauthorized()
    return token


def _bearer(request: Request) -> str | None:
    scheme, _, value = (request.authorizations or [""])[0].partition(" ")
    return value if scheme.lower() == "bearer" else None


def check_scope(token: Token | None, method: str, extra: tuple[str, ...]) -> None:
    """Raises Refused unless the token has the scope "api", or for reading "read_api" or an extra one."""
    if token is None or token.kind == "job":
        return
    taken = ("api", "read_api", *extra) if method in ("GET", "HEAD") else ("api",)
    if not set(taken) & set(token.scopes):
        why = "The request requires higher privileges than provided by the access token."
        data = {"error": "insufficient_scope", "error_description": why, "scope": " ".join(taken)}
        raise Refused(json_response(data, status=403))


# Projects


def sees(token: Token | None, project: Project) -> bool:
    """Whether the project exists for this token."""
    return not project.private or (token is not None and token.role_in(project.path) is not None)


def allows(token: Token | None, project: Project, ability: Ability) -> bool:
    private, public = ABILITIES[ability]
    needed = private if project.private else public
    return LEVELS[token.role_in(project.path) if token else None] >= LEVELS[needed]


def find_project(state: State, token: Token | None, project: Project | None) -> Project:
    """Returns the project if the token sees it. Else raises Refused: 404, for the job of another project 403."""
    if project is None:
        raise not_found("Project")
    if sees(token, project):
        return project
    if token and token.kind == "job":
        here = state.projects[token.project or ""].name
        raise forbidden(f"Authentication by CI/CD job token not allowed from {here} to {project.name}.")
    raise not_found("Project")


# Limits


def count(window: Window, now: float, *, name: str, body: Response) -> None:
    """Counts a request. Raises Refused (429) with headers that say how long to wait."""
    if window.count(now):
        wait = max(1, math.ceil(window.start + window.seconds - now))
        body.status = 429
        body.headers |= {**limit_headers(window, name=name), "Retry-After": str(wait)}
        raise Refused(body)


def limit_headers(window: Window, *, name: str) -> dict[str, str]:
    reset = math.ceil(window.start + window.seconds)
    return {
        "RateLimit-Name": name,
        "RateLimit-Limit": str(window.limit),
        "RateLimit-Observed": str(window.observed),
        "RateLimit-Remaining": str(max(0, window.limit - window.observed)),
        "RateLimit-Reset": str(reset),
    }
