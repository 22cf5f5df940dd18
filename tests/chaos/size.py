"""How many cases are tried: a random part in `make test-chaos`, all of them in `make chaos` (CML_CHAOS=full).

CML_CHAOS=n draws n times as many cases. CML_CHAOS_SEED sets the seed, so that a failure can be repeated.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")
SIZE = os.environ.get("CML_CHAOS") or "1"
IS_FULL = SIZE == "full"
TIMES = 1 if IS_FULL else int(SIZE)
SEED = int(os.environ.get("CML_CHAOS_SEED", "8"))


def by_size(small: int, full: int) -> int:
    """Returns the second number at full size, else the first."""
    return full if IS_FULL else small


def seeded_random(name: str) -> random.Random:
    """Returns the random numbers of a test, which are the same for the same seed."""
    return random.Random(f"{SEED} {name}")


def draw(cases: Iterable[T], small: int, *, name: str) -> list[T]:
    """Returns all cases at full size, else `small` random ones (times CML_CHAOS), in their order."""
    everything = list(cases)
    drawn = small * TIMES
    if IS_FULL or len(everything) <= drawn:
        return everything
    return [everything[at] for at in sorted(seeded_random(name).sample(range(len(everything)), drawn))]
