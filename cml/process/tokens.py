"""Git and forge tokens: taken out of the environment before any child is started, so that none can see them."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Collection

from cml.errors import BadInput

# GitLab hands the job's token out under these names as well.
COPIES = ("CI_REGISTRY_PASSWORD", "CI_DEPENDENCY_PROXY_PASSWORD")
NAMES = ("repo_token", "INPUT_REPO_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN", "CI_REPOSITORY_URL", *COPIES)


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


def take_tokens() -> Tokens:
    """Returns the tokens and removes them from the environment of this process, also from what the kernel shows of it
    (/proc/PID/environ), which is the memory that it was started with.
    """
    _blank(NAMES)
    return Tokens({name: value for name in NAMES if (value := os.environ.pop(name, "").strip())})


def _blank(names: Collection[str]) -> None:
    wanted, at = {os.fsencode(name) for name in names}, 0
    with contextlib.suppress(ValueError):  # no such symbol on macOS, whose kernel has no such file either
        entries = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
        while entry := entries[at]:
            name, _, value = ctypes.string_at(entry).partition(b"=")
            if name in wanted:
                ctypes.memset(entry + len(name) + 1, ord("*"), len(value))
            at += 1
