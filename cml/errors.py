"""The ways a run can end other than well. Each is one line for the user: what failed, why probably, what to do."""

from __future__ import annotations

import os


class CmlError(Exception):
    """Base of our own errors; `exit_code` is what `cli` exits with."""

    exit_code = 1


class BadInput(CmlError):
    """A variable, file or place that a run cannot start from. Nothing has been touched."""

    exit_code = 2


class WorkFailed(CmlError):
    """Setup, pull, reproduce or push failed: a report still follows.

    `step` is the name of the step in the log and in the report; `log_tail` its last lines.
    """

    def __init__(self, message: str, *, step: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.step = step
        self.log_tail = log_tail


def show_traceback(error: BaseException) -> None:
    """Prints where an error came from, for those who asked for it by CML_DEBUG=1 or the runner's own debug mode."""
    if "1" in (os.environ.get("CML_DEBUG"), os.environ.get("RUNNER_DEBUG")):
        import traceback

        traceback.print_exception(error)


class Cancelled(BaseException):
    """INT, TERM or HUP arrived. Not an Exception, so that no library swallows it on its way out."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name
