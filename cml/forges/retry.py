"""Calls to a forge's API: retried while the problem may pass, for two minutes in a whole run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from cml.process.retry import Budget, retry

RUN_SECONDS = 120.0  # for failed calls and their pauses, in a whole run
CALL_SECONDS = 20  # for one answer
OPTIONAL_SECONDS = 20.0  # for an answer before the work that a run can do without
LONGEST_PAUSE_SECONDS = 20.0
TEMPORARY_STATUSES = (429, 500, 502, 503, 504)
T = TypeVar("T")


class ApiProblem(NamedTuple):
    """Why a call failed: the status (0 without an answer), the message, and the seconds that the API asks to wait.

    A final problem is not retried.
    """

    status: int
    message: str
    wait: float | None = None
    is_final: bool = False

    def __str__(self) -> str:
        message = self.message.rstrip(".")  # a message of ours goes on after it
        return f"{self.status} {message}".strip() if self.status else message


class ApiCalls:
    """Makes the calls of a run. `read_error` turns an exception of the API's library into a problem; `problems` are the
    calls that failed, by what they were for.
    """

    def __init__(self, read_error: Callable[[Exception], ApiProblem]) -> None:
        self._read_error = read_error
        self._budget = Budget(RUN_SECONDS)
        self.problems: dict[str, ApiProblem] = {}

    def hurry(self, seconds: float) -> None:
        """Leaves at most this many seconds for the rest of the run."""
        self._budget.lower_to(seconds)

    def call(self, subject: str, work: Callable[[], T], *, at_most: float = RUN_SECONDS) -> T | None:
        """Returns what `work` returns, or None after a problem. `work` is retried as a whole, for at most the given
        seconds: a request that was answered with an error may have been done.
        """
        try:
            budget = Budget(at_most, of=self._budget)
            return retry(work, pause_after=self._pause_after, pauses=_growing_pauses(), budget=budget)
        except Exception as error:
            self.problems[subject] = self._read_error(error)
            return None

    def _pause_after(self, error: Exception, pause: float) -> float | None:
        problem = self._read_error(error)
        # Never less than our own pause: a server in trouble may ask for a wait of 0 seconds.
        return None if problem.is_final else max(pause, problem.wait or 0.0)


def _growing_pauses() -> Iterator[float]:
    pause = 1.0
    while True:
        yield pause
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def read_connection_error(error: Exception) -> ApiProblem:
    """Returns the problem of a call that got no answer which its library could read.

    It may pass if the network or a proxy is the cause. A certificate that is not trusted is final, and so is a defect
    of our own.
    """
    # "Max retries exceeded with url: ..." is of urllib3 and hides the cause behind a long address.
    text = re.sub(r"Max retries exceeded with url: \S+ ", "", " ".join(str(error).split()))[:300]
    # An answer that is not JSON, such as the error page of a proxy, is a ValueError. The SSLError of requests is an
    # OSError too. It is recognised by its name, because nothing here imports an HTTP library.
    may_pass = isinstance(error, (OSError, ValueError)) and "SSL" not in type(error).__name__
    return ApiProblem(status=0, message=f"{type(error).__name__}: {text}".removesuffix(": "), is_final=not may_pass)
