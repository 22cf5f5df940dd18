"""The stand-in GitHub as a process of its own, controlled by tests in another one: `python -m standins.github`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from standins.base import ControlledForge, parser_of, serve_until_signal
from standins.git_http import git
from standins.github import Forge

KEPT = ("pulls", "comments", "check_runs", "statuses", "runs")


class ServedForge(ControlledForge, Forge):
    def dump(self) -> dict[str, Any]:
        repositories = {
            name: {kind: getattr(repository, kind) for kind in KEPT}
            for name, repository in self.state.repositories.items()
        }
        return {"repositories": repositories, "requests": self.requests, "errors": self.errors}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves FOLDER/OWNER/NAME.git until INT or TERM; the first line on stdout has the addresses and the tokens."""
    parser = parser_of("standins.github", main.__doc__, token_help="KIND or KIND:name=level,name=level")
    options = parser.parse_args(arguments)
    forge = ServedForge(options.folder, port=options.port)

    def set_up() -> list[str]:
        for bare in sorted(options.folder.glob("*/*.git")):
            forge.create_repository(
                f"{bare.parent.name}/{bare.stem}",
                bare=bare,
                private=not options.public,
                default_branch=git("symbolic-ref", "--short", "HEAD", cwd=bare),
            )
        return [_create_token(forge, text) for text in options.token]

    serve_until_signal(forge, set_up)


def _create_token(forge: Forge, text: str) -> str:
    kind, _, levels = text.partition(":")
    permissions = dict(pair.split("=") for pair in levels.split(",")) if levels else None
    return forge.token(kind, permissions=permissions)  # type: ignore[arg-type]
