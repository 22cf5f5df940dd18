"""Git and forge tokens: taken out of the environment before anything else runs, so that no child can inherit them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass

from cml.errors import BadInput

# GitLab hands the job's token out under these names as well.
COPIES = ("CI_REGISTRY_PASSWORD", "CI_DEPENDENCY_PROXY_PASSWORD")
NAMES = ("repo_token", "INPUT_REPO_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN", "CI_REPOSITORY_URL", *COPIES)
PIPE = "CML_TOKENS_FD"


@dataclass(frozen=True)
class Tokens:
    """What NAMES held, by name."""

    by_name: dict[str, str]

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
    """Returns the tokens and removes them from the environment.

    What the kernel shows of a process (/proc/PID/environ) is what it was started with. So a program that finds tokens
    starts itself again without them, and hands them over on a pipe.
    """
    if number := environment.pop(PIPE, None):
        with os.fdopen(int(number), encoding="utf-8") as pipe:
            return Tokens(json.load(pipe))
    found = {name: value for name in NAMES if (value := environment.pop(name, "").strip())}
    if not found:
        return Tokens({})
    reader, writer = os.pipe()
    os.write(writer, json.dumps(found).encode())
    os.close(writer)
    os.set_inheritable(reader, True)  # noqa: FBT003 - its only form
    environment[PIPE] = str(reader)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted
