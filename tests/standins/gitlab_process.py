"""The stand-in GitLab as a process of its own, controlled by tests in another one: `python -m standins.gitlab`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from standins.base import ControlledForge, parser_of, serve_until_signal
from standins.git_http import git
from standins.gitlab import Forge

KEPT = ("merge_requests", "notes", "releases", "statuses", "pipelines", "jobs", "uploads")


class ServedForge(ControlledForge, Forge):
    def dump(self) -> dict[str, Any]:
        projects = {
            path: {kind: getattr(project, kind) for kind in KEPT} for path, project in self.state.projects.items()
        }
        more = {"exchanges": self.exchanges, "errors": self.errors, "pipelines_started": self.pipelines_started}
        return {"projects": projects, **more}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves FOLDER/GROUP/NAME.git until INT or TERM; the first line on stdout has the addresses and the tokens."""
    parser = parser_of("standins.gitlab", main.__doc__, token_help="KIND or KIND:ROLE")
    parser.add_argument("--path", default="", help="the path of its addresses, such as /gitlab")
    parser.add_argument("--job-token-may-push", action="store_true")
    options = parser.parse_args(arguments)
    forge = ServedForge(options.folder, port=options.port, path=options.path)

    def set_up() -> list[str]:
        for bare in sorted(place for place in options.folder.glob("**/*.git") if place.name != ".git"):
            forge.create_project(
                str(bare.relative_to(options.folder).with_suffix("")),
                bare=bare,
                private=not options.public,
                default_branch=git("symbolic-ref", "--short", "HEAD", cwd=bare),
                job_token_may_push=options.job_token_may_push,
            )
        return [_create_token(forge, text) for text in options.token]

    serve_until_signal(forge, set_up)


def _create_token(forge: Forge, text: str) -> str:
    kind, _, role = text.partition(":")
    return forge.token(kind, role=role or "maintainer")  # type: ignore[arg-type]
