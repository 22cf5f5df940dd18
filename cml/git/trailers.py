"""Whether a commit asks for no run. Pure."""

from __future__ import annotations

import re

SKIP_WORDS = ("[ci skip]", "[skip ci]", "[no ci]", "[skip actions]", "[actions skip]")
TRAILER = "CML-Run"
# What was done, since several jobs may each save results for one commit: its key, and which part of the repository.
WORK = "CML-Work"
# A subject and trailers, no more: a squash merge quotes our message below others, and is not ours.
OTHERS = r"(?:[\w-]+: [^\n]*\n)*"
KEY = re.compile(rf"^{WORK}: ([0-9a-f]+) ([0-9a-f]+)$", re.MULTILINE)
OWN_COMMIT = re.compile(rf"[^\n]+\n\n{OTHERS}{TRAILER}: ([0-9a-f]{{40,64}})(?:\n[\w-]+: [^\n]*)*")


def skip_reason(message: str, *, is_asked_for: bool = False) -> str | None:
    """Returns why a run for a commit with this message ends at once, or None.

    Our own results commit is known by its trailer, so that no token and no forge can make a loop of it. A run that a
    clock or a person asked for is no loop: data may have changed since.
    """
    lowered = message.lower()
    for word in SKIP_WORDS:
        if word in lowered:
            return f"{word} in the commit's message"
    if head_of_results(message) and not is_asked_for:
        return f"the commit holds results of a run already ({TRAILER} trailer)"
    return None


def results_message(subject: str, *, head: str, key: str, scope: str) -> str:
    """Returns the message of the commit that holds the results of the work known by `key` for `head`."""
    return f"{subject}\n\n{WORK}: {key} {scope}\n{TRAILER}: {head}\n"


def key_of_results(message: str) -> str | None:
    """Returns the key of the work whose results a commit holds."""
    found = KEY.search(message)
    return found[1] if found else None


def scope_of_results(message: str) -> str | None:
    """Returns which part of the repository a commit holds the results of, None where it does not say."""
    found = KEY.search(message)
    return found[2] if found else None


def head_of_results(message: str) -> str | None:
    """Returns the sha that a results commit holds the results of, or None where the message is of another commit."""
    found = OWN_COMMIT.fullmatch(message.strip())
    return found[1] if found else None
