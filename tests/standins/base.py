"""What the stand-ins for GitHub and GitLab share: the server, faults, state, refusals, and a process of their own."""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import json
import re
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from standins.git_http import git
from standins.remote_control import answer_control_request, is_control_request
from standins.web import Exchange, Fault, Request, Response, Site

if TYPE_CHECKING:
    from typing_extensions import Self

GENERIC_FAULTS = ("hang", "reset", "truncated", "html", "done-500", "done-502", "done-503", "done-reset", "done-hang")
HTML_HEADERS = {"Content-Type": "text/html; charset=utf-8"}


class BaseState:
    """Ids start at the same number in every stand-in. The clock can be set by a test."""

    def __init__(self, folder: Path, *, api_path: str) -> None:
        self.folder = folder
        self.base = ""
        self.clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
        self.lock = threading.RLock()
        self.api_path = api_path
        self._ids = itertools.count(1_000_001)

    @property
    def api(self) -> str:
        return f"{self.base}{self.api_path}"

    def next_id(self) -> int:
        return next(self._ids)

    def find_or_create_bare(self, path: str, bare: Path | None, *, fork_of: Path | None, default_branch: str) -> Path:
        """Returns the bare repository of a project. A new one is created under the folder; a fork starts as a copy."""
        place = bare or self.folder / f"{path}.git"
        if not place.exists() and fork_of:
            shutil.copytree(fork_of, place)
        elif not place.exists():
            place.mkdir(parents=True)
            git("init", "--quiet", "--bare", f"--initial-branch={default_branch}", cwd=place)
        return place.resolve()


def token_digest(number: int) -> str:
    """Returns the random-looking part of the Nth token; it is the same in every test."""
    return hashlib.sha256(f"token {number}".encode()).hexdigest()


class BaseForge:
    """A forge that serves HTTP in this process."""

    def __init__(self, state: BaseState, identify: Callable[[Request], str], *, port: int, path: str = "") -> None:
        self._base_state = state
        self._port = port
        self._path = path
        self._site = Site(self._answer, identify, prefix=f"{path}{state.api_path}")

    def start(self) -> Self:
        self._base_state.base = self._site.start(self._port) + self._path
        return self

    def stop(self) -> None:
        self._site.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            assert not self.errors, "\n".join(self.errors)

    @property
    def url(self) -> str:
        """GITHUB_SERVER_URL, or CI_SERVER_URL."""
        return self._base_state.base

    @property
    def api(self) -> str:
        """GITHUB_API_URL, or CI_API_V4_URL."""
        return self._base_state.api

    @property
    def errors(self) -> list[str]:
        """Tracebacks of the stand-in itself. Leaving the context fails if there is one."""
        return self._site.errors

    @property
    def exchanges(self) -> list[Exchange]:
        """All requests with their answers."""
        return self._site.exchanges

    @property
    def unknown(self) -> list[Exchange]:
        """The requests that no test should make: unknown routes, unknown or wrong fields."""
        return [one for one in self.exchanges if one.note]

    def add_fault(
        self, route: str, how: str, own: Callable[[str, int], Response], *, times: int | None, skip: int, seconds: float
    ) -> None:
        """Makes requests fail; `own` returns the answer for a fault that only this forge has."""
        answer = how if how in GENERIC_FAULTS or re.fullmatch(r"5\d\d", how) else own(how, int(seconds))
        self._site.faults.append(Fault(route=route, how=answer, times=times, skip=skip, seconds=seconds))

    def recover(self) -> None:
        """Ends all faults."""
        self._site.faults.clear()

    def _answer(self, request: Request, exchange: Exchange) -> Response:
        raise NotImplementedError


class Refused(Exception):
    """A request that the forge answers with an error; `response` is that answer, `note` what the record says about it."""

    def __init__(self, response: Response, note: str = "") -> None:
        super().__init__(response.status)
        self.response = response
        self.note = note


def basic_credentials(value: str) -> tuple[str, str] | None:
    """Returns the user and the password of a Basic Authorization header, or None if it cannot be decoded."""
    try:
        user, _, password = base64.b64decode(value).decode().partition(":")
    except ValueError:
        return None
    return user, password


def git_refusal(status: int, text: str, *, realm: str) -> Response:
    """Returns an answer to git, which shows its text as "remote: ..."."""
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    if status == 401:
        headers["WWW-Authenticate"] = f'Basic realm="{realm}"'
    return Response(status=status, body=text.encode(), headers=headers)


def html_page(exchange: Exchange, path: str, *, is_there: bool) -> Response:
    """Returns an empty page, so that a test can follow the links of a report; a page that is missing is noted."""
    if is_there:
        return Response(body=b"<!DOCTYPE html><title>A page</title>", headers=HTML_HEADERS)
    exchange.note = f"no such page: {path}"
    return Response(status=404, body=b"<!DOCTYPE html><title>Not found</title>", headers=HTML_HEADERS)


# A process of its own


class ControlledForge(BaseForge):
    """A forge that answers control requests, too. It comes before the forge's own class among the bases."""

    def _answer(self, request: Request, exchange: Exchange) -> Response:
        if is_control_request(request):
            return answer_control_request(self, request, self.dump)
        return super()._answer(request, exchange)

    def dump(self) -> dict[str, Any]:
        """Returns everything that can be read."""
        raise NotImplementedError


def parser_of(module: str, description: str | None, *, token_help: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--public", action="store_true")
    parser.add_argument("--token", action="append", default=[], help=token_help)
    return parser


def serve_until_signal(forge: BaseForge, set_up: Callable[[], Sequence[str]]) -> None:
    """Serves until INT or TERM. `set_up` returns the tokens; the first line on stdout says them, and the addresses."""
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with forge:
        tokens = set_up()
        print(json.dumps({"url": forge.url, "api": forge.api, "tokens": tokens}), flush=True)
        done.wait()
