"""How much is tried: a seeded part in `make test-chaos` (CML_CHAOS=n: n times as many of the cases that are drawn),
everything in `make chaos` (CML_CHAOS=full).
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


def sized(small: int, full: int) -> int:
    return full if IS_FULL else small


def dice(name: str) -> random.Random:
    """Returns the dice of a test, which fall the same for the same seed."""
    return random.Random(f"{SEED} {name}")


def some(cases: Iterable[T], small: int, *, name: str) -> list[T]:
    """Returns the cases in their order: all at full size, else so many drawn by the seed."""
    everything = list(cases)
    drawn = small * TIMES
    if IS_FULL or len(everything) <= drawn:
        return everything
    return [everything[at] for at in sorted(dice(name).sample(range(len(everything)), drawn))]
