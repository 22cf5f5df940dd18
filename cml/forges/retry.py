"""How a forge's API is asked: again while it is in trouble, and for two minutes in a whole run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

WAIT_SECONDS = 120.0  # for the API, in a whole run
REQUEST_SECONDS = 20
BEFORE_WORK_SECONDS = 20.0  # for what a run can do without, so that it starts
LONGEST_PAUSE_SECONDS = 20.0
TRANSIENT = (429, 500, 502, 503, 504)
T = TypeVar("T")


class ApiError(NamedTuple):
    """Why a request failed: the status (0 where no answer came) and the words; `wait` are the seconds that the API asks
    for. What `is_final` is not tried again.
    """

    status: int
    words: str
    wait: float | None = None
    is_final: bool = False

    def __str__(self) -> str:
        return f"{self.status} {self.words}".strip() if self.status else self.words


class ApiRetry:
    """Asks an API. `read` tells what an exception of its library means. `troubles` are what came to nothing, by what
    was being done.
    """

    def __init__(self, read: Callable[[Exception], ApiError]) -> None:
        self._read = read
        self._seconds = WAIT_SECONDS
        self.troubles: dict[str, ApiError] = {}

    def hurry(self, seconds: float) -> None:
        """Leaves no more than so many seconds."""
        self._seconds = min(self._seconds, seconds)

    def ask(self, what: str, work: Callable[[], T], *, at_most: float = WAIT_SECONDS) -> T | None:
        """Returns what `work` returns, tried again as a whole while the API is in trouble and time is left, `at_most`
        so many seconds of it; None where it came to nothing.
        """
        pause, left = 1.0, min(at_most, self._seconds)
        while True:
            started = time.monotonic()
            try:
                return work()
            except Exception as error:
                trouble = self._read(error)
            wait = max(pause, trouble.wait or 0.0)
            spent = time.monotonic() - started
            if trouble.is_final or wait > left - spent:
                self._seconds -= spent
                self.troubles[what] = trouble
                return None
            time.sleep(wait)
            self._seconds -= spent + wait
            left -= spent + wait
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def unanswered(error: Exception) -> ApiError:
    """Returns the trouble of a request that got no answer that its library could read. It passes where the network or
    a proxy may be the reason; a certificate that is not trusted, or a defect of ours, stays.
    """
    words = " ".join(str(error).split())[:300]
    is_passing = isinstance(error, (OSError, ValueError)) and "SSL" not in type(error).__name__
    return ApiError(status=0, words=f"{type(error).__name__}: {words}".removesuffix(": "), is_final=not is_passing)
