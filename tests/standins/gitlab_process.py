"""A stand-in GitLab as a process of its own, with a door for tests in another one: `python -m standins.gitlab`."""

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
from standins.gitlab import Forge
from standins.web import Exchange, Request, Response

KEPT = ("merge_requests", "notes", "releases", "statuses", "pipelines", "jobs", "uploads")


class ServedForge(Forge):
    """A forge with its door."""

    def _answer(self, request: Request, exchange: Exchange) -> Response:
        if is_at_the_door(request):
            return open_door(self, request, self.dump)
        return super()._answer(request, exchange)

    def dump(self) -> dict[str, Any]:
        """Returns everything that can be read."""
        projects = {
            path: {kind: getattr(project, kind) for kind in KEPT} for path, project in self.state.projects.items()
        }
        more = {"exchanges": self.exchanges, "errors": self.errors, "pipelines_started": self.pipelines_started}
        return {"projects": projects, **more}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves FOLDER/GROUP/NAME.git until INT or TERM; the first line on stdout says where, and the tokens made."""
    parser = argparse.ArgumentParser(prog="python -m standins.gitlab", description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--path", default="", help="where it lies on its host, as /gitlab")
    parser.add_argument("--public", action="store_true")
    parser.add_argument("--job-token-may-push", action="store_true")
    parser.add_argument("--token", action="append", default=[], help="KIND or KIND:ROLE")
    options = parser.parse_args(arguments)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with ServedForge(options.folder, port=options.port, path=options.path) as forge:
        for bare in sorted(place for place in options.folder.glob("**/*.git") if place.name != ".git"):
            forge.create_project(
                str(bare.relative_to(options.folder).with_suffix("")),
                bare=bare,
                private=not options.public,
                default_branch=git("symbolic-ref", "--short", "HEAD", cwd=bare),
                job_token_may_push=options.job_token_may_push,
            )
        asked = [text.partition(":") for text in options.token]
        tokens = [forge.token(kind, role=role or "maintainer") for kind, _, role in asked]
        print(json.dumps({"url": forge.url, "api": forge.api, "tokens": tokens}), flush=True)
        done.wait()
