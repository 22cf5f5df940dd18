"""DVC's own log: its warnings become lines of our log, and its messages about a transfer are captured."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator

from cml.process.log import Log

LOGGERS = ("dvc", "dvc_data", "dvc_objects")


def one_line(error: BaseException) -> str:
    """Returns an exception's text as one line; its type where it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


class TransferMessages:
    """What DVC logs during a transfer: its warnings, the errors below them, the ids of objects that were not
    transferred, and whether objects are missing from the cache and from the remote.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.errors: list[BaseException] = []
        self.failed_objects: list[str] = []
        self.is_something_missing = False


class _Forward(logging.Handler):
    def __init__(self, log: Log, level: int) -> None:
        super().__init__(level)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.note(f"{record.name.partition('.')[0]}: {' '.join(record.getMessage().split())}")


class _Capture(logging.Handler):
    """Recognises DVC's messages by their texts: it has no other way to say which object failed, and why."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages = TransferMessages()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.partition(".")[0] == "dvc":
            self.messages.warnings.append(" ".join(record.getMessage().split()))
        if record.exc_info and record.exc_info[1]:
            self.messages.errors.append(record.exc_info[1])
        if record.msg == "failed to transfer '%s'" and isinstance(record.args, tuple):
            self.messages.failed_objects.append(str(record.args[0]))
        if "Missing cache files" in str(record.msg):
            self.messages.is_something_missing = True


class _Collect(logging.Handler):
    def __init__(self, log: Log, on_start: Callable[[], None]) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._log = log
        self._on_start = on_start

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(" ".join(record.getMessage().split()))
        self._log.note(self.texts[-1])
        self._on_start()


def forward_warnings(log: Log) -> None:
    """Shows DVC's warnings in our log, and nothing else that DVC or the library of a storage prints. With CML_DEBUG=1
    the warnings of those libraries are shown too.
    """
    forward = _Forward(log, logging.WARNING)
    # DVC's own handlers print to stdout and stderr, which are not our log.
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [forward if name == "dvc" else logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    # Without a handler, Python itself prints the warnings of other libraries.
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(forward if os.environ.get("CML_DEBUG") == "1" else logging.NullHandler())


@contextlib.contextmanager
def captured_messages() -> Iterator[TransferMessages]:
    """Yields what DVC logs about transfers inside."""
    handler = _Capture()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    try:
        yield handler.messages
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(handler)


@contextlib.contextmanager
def started_commands(log: Log, on_start: Callable[[], None] = lambda: None) -> Iterator[list[str]]:
    """Yields a list that fills with DVC's messages about the commands that it starts; our log shows them too.

    A stage that is restored from the run cache starts none. `on_start` is called before each command.
    """
    logger, handler = logging.getLogger("dvc.stage.run"), _Collect(log, on_start)
    before = logger.level
    logger.addHandler(handler)
    # DVC logs commands at this level, which is usually off: see `forward_warnings`.
    logger.setLevel(logging.INFO)
    try:
        yield handler.texts
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
