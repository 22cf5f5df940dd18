"""The errors that end a command, one class for each exit code. Each message is one line: what failed, the likely cause,
what to do.
"""

from __future__ import annotations

import os
import sys


class CmlError(Exception):
    """Base class of our own errors. `exit_code` is the exit code of the process."""

    exit_code = 1


class BadInput(CmlError):
    """A variable, a file or a clone that a run cannot work with. Nothing has been changed."""

    exit_code = 2


class WorkFailed(CmlError):
    """Setup, pull, reproduce or push failed. A report follows.

    `step` is the name of the step in the log and in the report; `log_tail` are the last lines of its output.
    """

    def __init__(self, message: str, *, step: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.step = step
        self.log_tail = log_tail


class Cancelled(BaseException):
    """INT, TERM or HUP arrived. Not an Exception: no library may catch it."""

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name


def show_traceback(error: BaseException) -> None:
    """Prints the traceback of an error if CML_DEBUG=1, or if the runner's debug mode is on (RUNNER_DEBUG=1)."""
    if "1" in (os.environ.get("CML_DEBUG"), os.environ.get("RUNNER_DEBUG")):
        sys.excepthook(type(error), error, error.__traceback__)
