"""Tokens of git and of the forges: removed from the environment before any child process starts."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Collection

from cml.errors import BadInput

# The variables that may hold the token for a forge; the first one that is not empty is used.
TOKEN_ORDER = {
    "github": ("repo_token", "INPUT_REPO_TOKEN", "GITHUB_TOKEN"),
    "gitlab": ("repo_token", "INPUT_REPO_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN"),
    "local": ("repo_token",),
}
ADVICE = {
    "github": "pass the token of the job: `repo_token: ${{ github.token }}` under `env:`",
    "gitlab": "set the CI/CD variable GITLAB_TOKEN",
}
# GitLab puts a copy of the job token into these variables too.
JOB_TOKEN_COPIES = ("CI_REPOSITORY_URL", "CI_REGISTRY_PASSWORD", "CI_DEPENDENCY_PROXY_PASSWORD")
TOKEN_VARIABLES = (
    *("repo_token", "INPUT_REPO_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN"),
    *JOB_TOKEN_COPIES,
)


class Tokens:
    """The values of TOKEN_VARIABLES, by name."""

    def __init__(self, by_name: dict[str, str]) -> None:
        self.by_name = by_name

    def values(self) -> list[str]:
        """Returns all values, for the masks."""
        return list(self.by_name.values())

    def is_job_token(self, token: str | None) -> bool:
        """Whether a token is the CI_JOB_TOKEN of GitLab, also when it was passed as `repo_token`."""
        return token is not None and token == self.by_name.get("CI_JOB_TOKEN")

    def for_forge(self, forge: str) -> str | None:
        """Returns the token for a forge; None for a local run without one. Raises BadInput if a CI job has none."""
        names = TOKEN_ORDER[forge]
        for name in names:
            if value := self.by_name.get(name):
                return value
        if forge == "local":
            return None
        others = names[2:]  # `repo_token` and INPUT_REPO_TOKEN are one and the same for users
        raise BadInput(
            f"no token: repo_token is empty, and {' and '.join(others)} {'is' if len(others) == 1 else 'are'} too; "
            f"{ADVICE[forge]}"
        )


def take_tokens() -> Tokens:
    """Removes the tokens from the environment of this process and returns them."""
    _overwrite_initial_environment(TOKEN_VARIABLES)
    return Tokens({name: value for name in TOKEN_VARIABLES if (value := os.environ.pop(name, "").strip())})


def _overwrite_initial_environment(names: Collection[str]) -> None:
    """Overwrites the values in the memory that this process was started with.

    /proc/PID/environ shows that memory to every process of the same user for as long as this process lives; unsetting
    a variable does not change it.
    """
    wanted = {os.fsencode(name) for name in names}
    with contextlib.suppress(ValueError):  # macOS has no such symbol, and no /proc either
        entries = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
        index = 0
        while entry := entries[index]:
            name, _, value = ctypes.string_at(entry).partition(b"=")
            # The length stays the same: the next variable follows in the same block of memory.
            if name in wanted:
                ctypes.memset(entry + len(name) + 1, ord("*"), len(value))
            index += 1
