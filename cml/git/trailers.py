"""Which commits ask for no run, and the trailers of our results commits. No I/O."""

from __future__ import annotations

import re

SKIP_WORDS = ("[ci skip]", "[skip ci]", "[no ci]", "[skip actions]", "[actions skip]")
RUN_TRAILER = "CML-Run"  # the head commit that the results are for
# Several jobs may each push results for one commit: the key of the settings, and which part of the repository.
WORK_TRAILER = "CML-Work"
WORK = re.compile(rf"^{WORK_TRAILER}: ([0-9a-f]+) ([0-9a-f]+)$", re.MULTILINE)
# The whole message is a subject and trailers: a squash merge, which quotes our message below others, is not ours.
ANY_TRAILERS = r"(?:[\w-]+: [^\n]*\n)*"
RESULTS_COMMIT = re.compile(rf"[^\n]+\n\n{ANY_TRAILERS}{RUN_TRAILER}: ([0-9a-f]{{40,64}})(?:\n[\w-]+: [^\n]*)*")


def skip_reason(message: str, *, is_requested: bool = False) -> str | None:
    """Returns why a run for a commit with this message is skipped, or None.

    Our own results commit is recognised by its trailer, so it starts no endless loop, whatever the token and the forge.
    A run that a schedule or a person requested cannot make such a loop: data may have changed since.
    """
    lowered = message.lower()
    for word in SKIP_WORDS:
        if word in lowered:
            return f"{word} in the commit message"
    if head_of_results(message) and not is_requested:
        return f"the commit contains the results of another run ({RUN_TRAILER} trailer)"
    return None


def results_message(subject: str, *, head: str, key: str, scope: str) -> str:
    """Returns the message of a results commit for the commit `head`; `key` and `scope` are those of the settings."""
    return f"{subject}\n\n{WORK_TRAILER}: {key} {scope}\n{RUN_TRAILER}: {head}\n"


def key_of_results(message: str) -> str | None:
    """Returns the key of the settings with which the results of a commit were made, or None."""
    found = WORK.search(message)
    return found[1] if found else None


def scope_of_results(message: str) -> str | None:
    """Returns which part of the repository the results of a commit are for, or None."""
    found = WORK.search(message)
    return found[2] if found else None


def head_of_results(message: str) -> str | None:
    """Returns the sha of the commit that the results are for, or None where it is not a results commit."""
    found = RESULTS_COMMIT.fullmatch(message.strip())
    return found[1] if found else None
