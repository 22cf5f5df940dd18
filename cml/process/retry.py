"""Retries work that failed for a reason that may pass. The caller decides which reasons may pass."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

PAUSES = (1.0, 3.0, 9.0)  # seconds between tries
T = TypeVar("T")


class Budget:
    """The seconds that failed tries and the pauses after them may take. Several calls of `retry` can share a budget; a
    budget inside another one (`of`) spends both.
    """

    def __init__(self, seconds: float, *, of: Budget | None = None) -> None:
        self._seconds = seconds
        self._of = of

    @property
    def left(self) -> float:
        return min(self._seconds, self._of.left) if self._of else self._seconds

    def spend(self, seconds: float) -> None:
        self._seconds -= seconds
        if self._of:
            self._of.spend(seconds)

    def lower_to(self, seconds: float) -> None:
        """Leaves at most this many seconds."""
        self._seconds = min(self._seconds, seconds)


def retry(
    work: Callable[[], T],
    *,
    pause_after: Callable[[Exception, float], float | None],
    pauses: Iterable[float] = PAUSES,
    budget: Budget | None = None,
) -> T:
    """Returns what `work` returns. Raises its last error.

    `pause_after(error, pause)` returns how many seconds to wait after an error, usually the given pause, or None if
    another try is of no use.
    """
    budget = budget or Budget(math.inf)
    for pause in pauses:
        started = time.monotonic()
        try:
            return work()
        except Exception as error:
            budget.spend(time.monotonic() - started)
            wait = pause_after(error, pause)
            if wait is None or wait > budget.left:
                raise
        budget.spend(wait)
        time.sleep(wait)
    # The last try is outside of the loop: no pause follows, so its error needs no decision.
    return work()


def retry_until(is_done: Callable[[T], bool], work: Callable[[], T]) -> T:
    """Returns the first result of `work` that is done, else its last one."""
    for pause in PAUSES:
        result = work()
        if is_done(result):
            return result
        time.sleep(pause)
    return work()
