"""Whether a commit asks for no run. Pure."""

from __future__ import annotations

import re

SKIP_WORDS = ("[ci skip]", "[skip ci]", "[no ci]", "[skip actions]", "[actions skip]")
TRAILER = "CML-Run"
# A subject and trailers, no more: a squash merge quotes our message below others, and is not ours.
OTHERS = r"(?:[\w-]+: [^\n]*\n)*"
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
    if own_head(message) and not is_asked_for:
        return f"the commit holds results of a run already ({TRAILER} trailer)"
    return None


def own_head(message: str) -> str | None:
    """Returns the sha that a results commit holds the results of, or None where the message is of another commit."""
    found = OWN_COMMIT.fullmatch(message.strip())
    return found[1] if found else None
