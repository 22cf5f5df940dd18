"""Who may do what on the stand-in GitHub, and what a body may contain. Refusals have GitHub's status and text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from standins.base import Refused, basic_credentials
from standins.github_state import Repository, State, Token
from standins.web import Request, Response, json_response

DOCS = "https://docs.github.com/rest"
LIMIT_SECONDS = 3600


def refuse(status: int, message: str, *, errors: Any = None, note: str = "", headers: Any = None) -> Refused:
    data = {"message": message, "documentation_url": DOCS, "status": str(status)}
    if errors is not None:
        data = {"message": message, "errors": errors, "documentation_url": DOCS, "status": str(status)}
    return Refused(json_response(data, status=status, headers=headers), note)


def not_found(note: str = "") -> Refused:
    return refuse(404, "Not Found", note=note)


def invalid(resource: str, field: str, message: str, *, code: str = "custom") -> Refused:
    error = {"resource": resource, "code": code, "field": field, "message": message}
    return refuse(422, "Validation Failed", errors=[error])


def malformed(reason: str, *, note: str = "") -> Refused:
    return refuse(422, f"Invalid request.\n\n{reason}", note=note)


# Tokens


def credential(request: Request) -> str | None:
    """Returns the token of the Authorization header, or None without one."""
    if not request.authorizations:
        return None
    scheme, _, value = request.authorizations[0].partition(" ")
    if scheme.lower() != "basic":
        return value.strip()
    pair = basic_credentials(value)
    if pair is None:
        return ""
    user, password = pair
    return user if password in ("", "x-oauth-basic") else password


def kind(state: State, request: Request) -> str:
    """Returns what the record says about a request's credential: none, several, unknown, expired, or the kind."""
    if len(request.authorizations) > 1:
        return "several"
    value = credential(request)
    if value is None:
        return "none"
    token = state.tokens.get(value)
    return "unknown" if token is None else "expired" if token.is_expired else token.kind


def sees(token: Token | None, repository: Repository) -> bool:
    """Whether the repository exists for this token."""
    if not repository.private:
        return True
    if token is None or token.repository not in (None, repository.full_name):
        return False
    return token.kind != "personal" or "repo" in token.scopes


def may_push(token: Token, repository: Repository) -> bool:
    if token.repository not in (None, repository.full_name):
        return False
    if token.kind == "personal":
        scopes = {"repo"} if repository.private else {"repo", "public_repo"}
        return token.access != "read" and bool(scopes & set(token.scopes))
    return token.grants("contents:write")


def authenticate(state: State, request: Request) -> Token | None:
    """Returns the token of an API request, None without one. Raises Refused for a bad token and after too many requests."""
    if len(request.authorizations) > 1:
        raise Refused(Response(status=400, body=b"Bad Request"), "two Authorization headers")
    if not request.headers.get("User-Agent"):
        text = b"Request forbidden by administrative rules. Please make sure your request has a User-Agent header"
        raise Refused(Response(status=403, body=text), "no User-Agent")
    value = credential(request)
    if value is None:
        return None
    token = state.tokens.get(value)
    if token is None or token.is_expired:
        raise refuse(401, "Bad credentials")
    token.used += 1
    if token.used > token.limit:
        of = f"installation ID {token.app_id}" if token.kind == "installation" else f"user {token.login}"
        raise refuse(403, f"API rate limit exceeded for {of}.", headers=limits(state, token))
    return token


def limits(state: State, token: Token | None) -> dict[str, str]:
    """Returns the headers about the requests that are left in this hour."""
    limit, used = (token.limit, token.used) if token else (60, 1)
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(max(0, limit - used)),
        "x-ratelimit-used": str(min(used, limit)),
        "x-ratelimit-reset": str(int(state.clock().timestamp()) + LIMIT_SECONDS),
        "x-ratelimit-resource": "core",
    }


def authorize(token: Token | None, repository: Repository, needs: Sequence[str]) -> None:
    """Raises Refused unless the token has one of the permissions ("checks:write"), or sees the repository if none is needed."""
    if not sees(token, repository):
        raise not_found()
    writes = any(need.endswith(":write") for need in needs)
    if not needs or (not writes and not repository.private):
        return
    if token is None:
        raise refuse(401, "Requires authentication")
    if token.kind == "personal":
        _authorize_person(token, repository, needs)
        return
    forbidden = token.kind == "fine-grained" and needs[0] == "checks:write"
    bound = token.repository in (None, repository.full_name)
    if forbidden or not bound or not any(token.grants(need) for need in needs):
        whom = "integration" if token.kind == "installation" else "personal access token"
        accepted = "; ".join(need.replace(":", "=") for need in needs)
        raise refuse(403, f"Resource not accessible by {whom}", headers={"x-accepted-github-permissions": accepted})


def _authorize_person(token: Token, repository: Repository, needs: Sequence[str]) -> None:
    if needs[0] == "checks:write":
        raise refuse(403, "You must authenticate via a GitHub App.")
    if needs[0] == "statuses:write" and not may_push(token, repository):
        raise not_found()
    if needs[0] == "administration:read" and token.access != "admin":
        raise not_found()
    if not set(token.scopes) & {"repo", "public_repo"}:
        raise refuse(403, "Resource not accessible by personal access token")


# Bodies

TYPES = {str: "string", int: "integer", bool: "boolean", list: "array", dict: "object"}


def parse(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data or b"{}")
    except ValueError:
        raise refuse(400, "Problems parsing JSON") from None
    if not isinstance(body, dict):
        raise refuse(400, "Body should be a JSON object")
    return body


def check_shape(value: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Raises Refused for a missing field, an unknown one, or one of a wrong type.

    `fields`: a name (with "!" where required) and its type: a class, a tuple of values, a list of one type, or fields.
    GitHub ignores some unknown fields; here all are refused, so that a typing error fails a test.
    """
    known = {name.rstrip("!"): kind for name, kind in fields.items()}
    if unknown := [name for name in value if name not in known]:
        listed = ", ".join(f'"{name}"' for name in unknown)
        verb = "are not permitted keys" if len(unknown) > 1 else "is not a permitted key"
        raise malformed(f"{listed} {verb}.", note=f"unknown field: {listed}")
    if missing := [name[:-1] for name in fields if name.endswith("!") and name[:-1] not in value]:
        listed = ", ".join(f'"{name}"' for name in missing)
        raise malformed(f"{listed} {'weren' if len(missing) > 1 else 'wasn'}'t supplied.", note=f"missing: {listed}")
    for name, item in value.items():
        _check_type(name, item, known[name])


def _check_type(name: str, item: Any, wanted: Any) -> None:
    shown = "nil" if item is None else json.dumps(item)[:80]
    if isinstance(wanted, tuple):
        if item not in wanted:
            raise malformed(f"For 'properties/{name}', {shown} is not a member of {json.dumps(wanted)}.", note=name)
        return
    base: Any = type(wanted) if isinstance(wanted, (dict, list)) else wanted
    if not isinstance(item, base) or (isinstance(item, bool) and base is not bool):
        article = "an" if TYPES[base][0] in "aio" else "a"
        raise malformed(f"For 'properties/{name}', {shown} is not {article} {TYPES[base]}.", note=f"wrong type: {name}")
    if isinstance(wanted, dict):
        check_shape(item, wanted)
    elif isinstance(wanted, list):
        for one in item:
            _check_type(name, one, wanted[0])


def check_length(text: str, limit: int) -> None:
    if len(text) > limit:
        raise malformed(f"Only {limit} characters are allowed; {len(text)} were supplied.", note="too long")
