"""What DVC and the libraries below it say: DVC's warnings become lines of our log, and errors one line each."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cml.process.log import Log

DVC = ("dvc", "dvc_data", "dvc_objects")


def one_line(error: BaseException) -> str:
    """Returns an exception's text as one line; its type where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(kw_only=True)
class Heard:
    """What was said while something was transferred: DVC's warnings, the errors below them, the ids of objects that
    were not transferred, and whether some were nowhere.
    """

    warnings: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    failed_objects: list[str] = field(default_factory=list)
    is_something_missing: bool = False


class _Forward(logging.Handler):
    def __init__(self, log: Log, level: int) -> None:
        super().__init__(level)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.note(f"{record.name.partition('.')[0]}: {' '.join(record.getMessage().split())}")


class _Listen(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard = Heard()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] == "dvc":
            self.heard.warnings.append(" ".join(record.getMessage().split()))
        if record.exc_info and record.exc_info[1]:
            self.heard.errors.append(record.exc_info[1])
        if record.msg == "failed to transfer '%s'" and isinstance(record.args, tuple):
            self.heard.failed_objects.append(str(record.args[0]))
        if "Missing cache files" in str(record.msg):
            self.heard.is_something_missing = True


class _Collect(logging.Handler):
    def __init__(self, log: Log, on_start: Callable[[], None]) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._log = log
        self._on_start = on_start

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(" ".join(record.getMessage().split()))
        self._log.note(self.messages[-1])
        self._on_start()


def forward_warnings(log: Log) -> None:
    """Shows DVC's warnings in our log, and nothing else that it or a storage's library would print; with CML_DEBUG=1
    what those warn of, too.
    """
    forward = _Forward(log, logging.WARNING)
    for name in DVC:
        logger = logging.getLogger(name)
        logger.handlers[:] = [forward if name == "dvc" else logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(forward if os.environ.get("CML_DEBUG") == "1" else logging.NullHandler())


@contextlib.contextmanager
def listening() -> Iterator[Heard]:
    """Yields what DVC says from now on of a transfer."""
    handler = _Listen()
    for name in DVC:
        logging.getLogger(name).addHandler(handler)
    try:
        yield handler.heard
    finally:
        for name in DVC:
            logging.getLogger(name).removeHandler(handler)


@contextlib.contextmanager
def started_commands(log: Log, on_start: Callable[[], None] = lambda: None) -> Iterator[list[str]]:
    """Yields a list that fills with what DVC says of the commands it starts, shown in our log too: a stage that is
    restored from the run cache starts none. `on_start` is called before each of them.
    """
    logger, handler = logging.getLogger("dvc.stage.run"), _Collect(log, on_start)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
