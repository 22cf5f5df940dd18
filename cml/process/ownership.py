"""Gives files back to their owner: a container runs as root in the work tree of another user."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def restore_ownership(top: Path) -> Iterator[None]:
    """On exit, gives every file below `top` that root wrote during the block to the owner of `.git/HEAD`."""
    head = top / ".git" / "HEAD"
    owner = head.stat() if head.exists() else top.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    started = _file_system_time(top)
    try:
        yield
    finally:
        for folder, folders, files in os.walk(top):
            for name in (*folders, *files):
                _give_back(os.path.join(folder, name), owner, since=started)


def _give_back(path: str, owner: os.stat_result, *, since: int) -> None:
    with contextlib.suppress(OSError):  # removed meanwhile, or a file system without owners
        # ctime, because DVC, tar and rsync set the mtime of what they write. A link is changed itself, not its target.
        found = os.lstat(path)
        if found.st_uid == 0 and found.st_ctime_ns >= since:
            os.lchown(path, owner.st_uid, owner.st_gid)


def _file_system_time(top: Path) -> int:
    """The current time of the file system, in ns: on a network disk, ctimes come from the clock of the server."""
    git = top / ".git"
    probe = (git if git.is_dir() else top) / f".cml-{os.getpid()}"  # in a worktree or submodule .git is a file
    try:
        probe.touch()
        return probe.stat().st_ctime_ns
    except OSError:
        return 0
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
