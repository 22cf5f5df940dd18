"""Git and forge tokens: taken out of the environment before anything else runs, so that no child can inherit them."""

from __future__ import annotations

import os
import sys

from cml.errors import BadInput

TYPE_CHECKING = False  # typing's own costs half as much as a bare Python to import
if TYPE_CHECKING:
    from collections.abc import MutableMapping

# GitLab hands the job's token out under these names as well.
COPIES = ("CI_REGISTRY_PASSWORD", "CI_DEPENDENCY_PROXY_PASSWORD")
NAMES = ("repo_token", "INPUT_REPO_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN", "CI_REPOSITORY_URL", *COPIES)
PIPE = "CML_TOKENS_FD"


class Tokens:
    """What NAMES held, by name."""

    def __init__(self, by_name: dict[str, str]) -> None:
        self.by_name = by_name

    def values(self) -> list[str]:
        """Returns every secret of them, for the masks."""
        return list(self.by_name.values())

    def is_job_token(self, token: str | None) -> bool:
        """Whether a token is the one that GitLab makes for each job, under whichever name it was passed."""
        return token is not None and token == self.by_name.get("CI_JOB_TOKEN")

    def for_place(self, place: str) -> str | None:
        """Returns the token of a place, by the contract's order. Raises BadInput for none at all in CI."""
        order = {
            "github": ("repo_token", "INPUT_REPO_TOKEN", "GITHUB_TOKEN"),
            "gitlab": ("repo_token", "INPUT_REPO_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN"),
            "local": ("repo_token",),
        }[place]
        for name in order:
            if value := self.by_name.get(name):
                return value
        if place != "local":
            raise BadInput(
                f"repo_token is empty, and so is {' and '.join(order[2:])}: pass the job's token as repo_token"
            )
        return None


def take_tokens(environment: MutableMapping[str, str]) -> Tokens:
    """Returns the tokens and removes them from the environment."""
    hand_over(environment)
    if number := environment.pop(PIPE, None):
        with os.fdopen(int(number), encoding="utf-8", errors="surrogateescape") as pipe:
            texts = pipe.read().split("\0")
        return Tokens(dict(zip(texts[::2], texts[1::2], strict=False)))
    return Tokens({})


def hand_over(environment: MutableMapping[str, str]) -> None:
    """Starts this program again without the tokens, where there are some, which it is handed on a pipe: what the kernel
    shows of a process (/proc/PID/environ) is what it was started with. The sooner, the less is done twice.
    """
    if PIPE in environment:
        return
    found = {name: value for name in NAMES if (value := environment.pop(name, "").strip())}
    if not found:
        return
    reader, writer = os.pipe()
    # No text of an environment holds a zero.
    os.write(writer, "\0".join(text for pair in found.items() for text in pair).encode("utf-8", "surrogateescape"))
    os.close(writer)
    os.set_inheritable(reader, True)  # noqa: FBT003 - its only form
    environment[PIPE] = str(reader)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted
