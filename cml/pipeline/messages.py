"""What DVC says: its warnings become lines of our log, and its errors one line each."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from cml.log import Log


def one_line(error: BaseException) -> str:
    """Returns an exception's text as one line; its type where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


class _Forward(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.note(f"dvc: {' '.join(record.getMessage().split())}")


class _Collect(logging.Handler):
    def __init__(self, log: Log | None = None) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(" ".join(record.getMessage().split()))
        if self._log:
            self._log.note(self.messages[-1])


def forward_warnings(log: Log) -> None:
    """Shows DVC's warnings in our log, and nothing else of what it would print."""
    logger = logging.getLogger("dvc")
    logger.handlers[:] = [_Forward(log)]
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    # The libraries below it warn of every output that was never made yet.
    logging.getLogger("dvc_data").setLevel(logging.ERROR)
    logging.getLogger("dvc_objects").setLevel(logging.ERROR)


@contextlib.contextmanager
def started_commands(log: Log) -> Iterator[list[str]]:
    """Yields a list that fills with what DVC says of the commands it starts, shown in our log too: a stage that is
    restored from the run cache starts none.
    """
    with _listening("dvc.stage.run", logging.INFO, _Collect(log)) as messages:
        yield messages


@contextlib.contextmanager
def collected(name: str, level: int) -> Iterator[list[str]]:
    """Yields a list that fills with what the named logger of DVC says at a level or above."""
    with _listening(name, level, _Collect()) as messages:
        yield messages


@contextlib.contextmanager
def _listening(name: str, level: int, handler: _Collect) -> Iterator[list[str]]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
