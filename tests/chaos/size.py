"""How much is tried: a seeded part in `make test-chaos`, everything in `make chaos` (CML_CHAOS=full)."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")
IS_FULL = os.environ.get("CML_CHAOS") == "full"
SEED = int(os.environ.get("CML_CHAOS_SEED", "8"))


def sized(small: int, full: int) -> int:
    return full if IS_FULL else small


def dice(name: str) -> random.Random:
    """Returns the dice of a test, which fall the same for the same seed."""
    return random.Random(f"{SEED} {name}")


def some(cases: Iterable[T], small: int, *, name: str) -> list[T]:
    """Returns the cases in their order: all at full size, else so many drawn by the seed."""
    everything = list(cases)
    if IS_FULL or len(everything) <= small:
        return everything
    return [everything[at] for at in sorted(dice(name).sample(range(len(everything)), small))]
