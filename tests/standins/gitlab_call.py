"""One call of the stand-in's GitLab API: who calls, what was sent, which page."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from standins.gitlab_model import MergeRequest, Project, Token
from standins.gitlab_rules import Ability, allows, forbidden, missing_record, not_found, refuse
from standins.gitlab_state import State
from standins.web import Request, Response, json_response

T = TypeVar("T")
PER_PAGE, MOST_PER_PAGE = 20, 100
TRUE = ("true", "1", "t", "on", "yes")


@dataclass
class Call:
    """The argument of a route's function; `parameters` are the named parts of the path, `files` those of a form."""

    state: State
    request: Request
    token: Token | None
    project_or_none: Project | None
    parameters: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    @property
    def project(self) -> Project:
        assert self.project_or_none
        return self.project_or_none

    @property
    def login(self) -> str:
        assert self.token
        return self.token.login

    def authorize(self, ability: Ability) -> None:
        """Raises Refused unless the token's role has the ability in the project."""
        if not allows(self.token, self.project, ability):
            raise forbidden()

    def commit(self, ref: str) -> str:
        """Returns the sha of a commit, branch or tag. Raises Refused if there is none."""
        sha = self.project.resolve(ref)
        if sha is None:
            raise not_found("Commit")
        return sha

    def order(self, *fields: str, sort: str = "desc") -> tuple[str, str]:
        """Returns the field that a list is ordered by (default: the first), and asc or desc."""
        query = self.request.query
        for name, default, known in (("order_by", fields[0], fields), ("sort", sort, ("asc", "desc"))):
            if query.get(name, default) not in known:
                raise refuse(400, f"{name} does not have a valid value", key="error", note=f"wrong {name}")
        return query.get("order_by", fields[0]), query.get("sort", sort)

    def merge_request(self) -> MergeRequest:
        """Returns the merge request of the path. Raises Refused if there is none."""
        iid = self.parameters["iid"]
        if not iid.isdecimal():
            raise refuse(400, "merge_request_iid is invalid", key="error")
        return found(self.project.merge_requests.get(int(iid)))


def found(item: T | None) -> T:
    """Returns the item. Raises Refused (404) if it is None."""
    if item is None:
        raise missing_record()
    return item


def page(
    call: Call, items: Sequence[T], show: Callable[[T], Any] = lambda item: item, *, is_counted: bool = True
) -> Response:
    """Returns one page of a list, with GitLab's headers about the others; GitLab does not count long lists."""
    query = call.request.query
    size = min(_number(query, "per_page", PER_PAGE), MOST_PER_PAGE)
    number = _number(query, "page", 1)
    last = max(1, -(-len(items) // size))
    links = {"prev": number - 1, "next": number + 1, "first": 1, **({"last": last} if is_counted else {})}
    base = f"{call.state.base.partition('://')[0]}://{call.request.headers['Host']}{call.request.path}"
    others = [pair for pair in call.request.pairs if pair[0] not in ("page", "per_page")]
    link = ", ".join(
        f'<{base}?{urllib.parse.urlencode([*others, ("page", to), ("per_page", size)])}>; rel="{name}"'
        for name, to in links.items()
        if 1 <= to <= last
    )
    headers = {
        "Link": link,
        "X-Page": str(number),
        "X-Per-Page": str(size),
        "X-Prev-Page": str(number - 1) if number > 1 else "",
        "X-Next-Page": str(number + 1) if number < last else "",
        **({"X-Total": str(len(items)), "X-Total-Pages": str(last)} if is_counted else {}),
    }
    return json_response([show(item) for item in items[(number - 1) * size : number * size]], headers=headers)


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal():
        raise refuse(400, f"{name} is invalid", key="error")
    if name == "per_page" and not int(text):
        raise refuse(400, "per_page does not have a valid value", key="error")
    return int(text) or 1


# Bodies


def read_body(request: Request) -> tuple[dict[str, Any], dict[str, tuple[str, bytes]]]:
    """Returns the fields and files (name -> file name, content) of a body. Raises Refused if it cannot be read."""
    data, kind = request.body.read_all(), request.headers.get("Content-Type", "")
    if kind.startswith("multipart/form-data"):
        return _read_form(data, kind)
    if kind.startswith("application/x-www-form-urlencoded"):
        return dict(urllib.parse.parse_qsl(data.decode(), keep_blank_values=True)), {}
    try:
        body = json.loads(data or b"{}")
    except ValueError:
        raise refuse(400, "Invalid json, must match schema", key="error", note="no JSON") from None
    if not isinstance(body, dict):
        raise refuse(400, "The request body must be an object", key="error", note="no object")
    return body, {}


def _read_form(data: bytes, kind: str) -> tuple[dict[str, Any], dict[str, tuple[str, bytes]]]:
    boundary = kind.partition("boundary=")[2].strip('"').encode()
    fields: dict[str, Any] = {}
    files: dict[str, tuple[str, bytes]] = {}
    for part in (b"\r\n" + data).split(b"\r\n--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        names = dict(re.findall(r'(name|filename)="([^"]*)"', head.decode()))
        if "filename" in names:
            files[names["name"]] = (names["filename"], content)
        else:
            fields[names["name"]] = content.decode()
    return fields, files


def check_fields(body: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """Raises Refused for a missing field or one of a wrong kind; returns a note of fields that GitLab would ignore.

    `fields`: a name (with "!" where required) and its kind: a class, or a tuple of values.
    """
    for name, kind in fields.items():
        plain, value = name.rstrip("!"), body.get(name.rstrip("!"))
        if value is None:
            if name.endswith("!"):
                raise refuse(400, f"{plain} is missing", key="error", note=f"missing: {plain}")
        elif isinstance(kind, tuple) and value not in kind:
            raise refuse(400, f"{plain} does not have a valid value", key="error", note=f"wrong value: {plain}")
        elif not isinstance(kind, tuple) and not _is(value, kind):
            raise refuse(400, f"{plain} is invalid", key="error", note=f"wrong kind: {plain}")
    known = {name.rstrip("!") for name in fields}
    unknown = [name for name in body if name not in known]
    return f"unknown field: {', '.join(unknown)}" if unknown else ""


def _is(value: Any, kind: type) -> bool:
    if kind is str:
        return not isinstance(value, (dict, list))
    if kind is int:
        return str(value).isdecimal()
    if kind is float:
        return str(value).replace(".", "", 1).isdecimal()
    return isinstance(value, kind)
