"""Git's lock files: marks of our own git commands, and removal of the locks that a killed one left behind.

A killed git leaves its lock files, and every later git command fails on them. While one of our commands runs, there is
a mark `cml-git-PID` in the git folder. If nobody holds a mark, its command was killed, and the locks that are as old as
the mark are its locks. Locks of other programs stay, unless they were made in the same moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

MARK_PREFIX = "cml-git-"
GIT_SECONDS = 600  # the time limit of one git command
EARLY_SECONDS = 10.0  # HEAD and index are locked soon after the start, for a short time


@contextlib.contextmanager
def held_mark(mark: Path) -> Iterator[list[int]]:
    """Creates a mark and holds it. Yields the descriptors that git must inherit, so that the mark is also held when the
    run is killed and git goes on alone.
    """
    with contextlib.ExitStack() as until_end:
        descriptors = []
        # Where nothing can be written, git itself reports it.
        with contextlib.suppress(OSError):
            file = until_end.enter_context(mark.open("w"))
            fcntl.flock(file, fcntl.LOCK_SH)
            descriptors.append(file.fileno())
        yield descriptors


def remove_mark(mark: Path) -> None:
    with contextlib.suppress(OSError):
        mark.unlink()


def remove_stale(own: Path, shared: Path) -> None:
    """Removes the locks of killed commands from a work tree's own git folder, and from the one that it shares."""
    for mark in own.glob(f"{MARK_PREFIX}*"):
        with contextlib.suppress(OSError), mark.open("r+") as file:
            # Fails while the run or its git command is alive.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            since = os.fstat(file.fileno()).st_mtime
            _remove([own / "HEAD.lock", own / "index.lock"], since=since, seconds=EARLY_SECONDS)
            refs = (shared / "refs").rglob("*.lock")
            _remove([shared / "packed-refs.lock", shared / "shallow.lock", *refs], since=since, seconds=GIT_SECONDS)
            mark.unlink()


def _remove(locks: Iterable[Path], *, since: float, seconds: float) -> None:
    """Removes the locks that were made in so many seconds since a time."""
    for lock in locks:
        if lock.exists() and since <= lock.stat().st_mtime <= since + seconds:
            lock.unlink()
