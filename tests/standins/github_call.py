"""One call of the stand-in's GitHub API: who calls, which commit, which page."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from standins.github_rules import refuse
from standins.github_state import Repository, State, Token
from standins.web import Request, Response, json_response

T = TypeVar("T")
PER_PAGE, MOST_PER_PAGE = 30, 100


@dataclass
class Call:
    """The argument of a route's function; `parameters` are the named parts of the path."""

    state: State
    request: Request
    token: Token | None
    repository_or_none: Repository | None
    parameters: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def repository(self) -> Repository:
        assert self.repository_or_none
        return self.repository_or_none

    @property
    def login(self) -> str:
        assert self.token
        return self.token.login

    @property
    def app_id(self) -> int | None:
        """The app of an installation token; None for the token of a person."""
        return self.token.app_id if self.token and self.token.kind == "installation" else None

    def commit(self, ref: str) -> str:
        """Returns the sha of a commit, branch or tag. Raises Refused (422, as GitHub answers) if there is none."""
        sha = self.repository.resolve(ref)
        if sha is None:
            raise refuse(422, f"No commit found for SHA: {ref}")
        return sha


def found(item: T | None, message: str = "Not Found") -> T:
    """Returns the item. Raises Refused (404) if it is None."""
    if item is None:
        raise refuse(404, message)
    return item


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() and int(text) else default


def page(
    call: Call, items: Sequence[T], show: Callable[[T], Any] = lambda item: item, *, key: str | None = None
) -> Response:
    """Returns one page of a list, with links to the others. With `key`, the list is under it, beside the total count."""
    query = call.request.query
    size = min(_number(query.get("per_page", ""), PER_PAGE), MOST_PER_PAGE)
    number = _number(query.get("page", ""), 1)
    last = max(1, -(-len(items) // size))
    links: dict[str, int] = {}
    if number < last:
        links |= {"next": number + 1, "last": last}
    if number > 1:
        links |= {"first": 1, "prev": min(number - 1, last)}
    base = f"{call.state.base}{call.request.path}"
    link = ", ".join(
        f'<{base}?{urllib.parse.urlencode({**query, "page": to})}>; rel="{name}"' for name, to in links.items()
    )
    data = [show(item) for item in items[(number - 1) * size : number * size]]
    wrapped = {"total_count": len(items), key: data} if key else data
    return json_response(wrapped, headers={"Link": link} if link else None)
