"""A stand-in GitHub as a process of its own, with a door for tests in another one: `python -m standins.github`."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from standins.door import is_at_the_door, open_door
from standins.git_http import git
from standins.github import Forge
from standins.web import Exchange, Request, Response


class ServedForge(Forge):
    """A forge with its door."""

    def _answer(self, request: Request, exchange: Exchange) -> Response:
        if is_at_the_door(request):
            return open_door(self, request, self.dump)
        return super()._answer(request, exchange)

    def dump(self) -> dict[str, Any]:
        """Returns everything that can be read."""
        kept = ("pulls", "comments", "check_runs", "statuses", "runs")
        repositories = {
            name: {kind: getattr(repo, kind) for kind in kept} for name, repo in self.state.repositories.items()
        }
        return {"repositories": repositories, "requests": self.requests, "errors": self.errors}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves FOLDER/OWNER/NAME.git until INT or TERM; the first line on stdout says where, and the tokens made."""
    parser = argparse.ArgumentParser(prog="python -m standins.github", description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--public", action="store_true")
    parser.add_argument("--token", action="append", default=[], help="KIND or KIND:name=level,name=level")
    options = parser.parse_args(arguments)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with ServedForge(options.folder, port=options.port) as forge:
        for bare in sorted(options.folder.glob("*/*.git")):
            head = git("symbolic-ref", "--short", "HEAD", cwd=bare)
            name = f"{bare.parent.name}/{bare.stem}"
            forge.create_repository(name, bare=bare, private=not options.public, default_branch=head)
        tokens = []
        for kind, _, levels in (text.partition(":") for text in options.token):
            permissions = dict(pair.split("=") for pair in levels.split(",")) if levels else None
            tokens.append(forge.token(kind, permissions=permissions))
        print(json.dumps({"url": forge.url, "api": forge.api, "tokens": tokens}), flush=True)
        done.wait()
