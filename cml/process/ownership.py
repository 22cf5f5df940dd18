"""A container's root gives back what it wrote in another user's work tree."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def restore_ownership(top: Path) -> Iterator[None]:
    """On exit every file below `top` that root wrote meanwhile belongs to the owner of `.git/HEAD`."""
    head = top / ".git" / "HEAD"
    owner = head.stat() if head.exists() else top.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        yield
        return
    since = _now(top)
    try:
        yield
    finally:
        for folder, folders, files in os.walk(top):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                with contextlib.suppress(OSError):
                    seen = os.lstat(path)
                    if seen.st_uid == 0 and seen.st_ctime_ns >= since:
                        os.lchown(path, owner.st_uid, owner.st_gid)


def _now(top: Path) -> int:
    """The file system's own time, which its ctimes are of."""
    git = top / ".git"
    probe = (git if git.is_dir() else top) / f".cml-{os.getpid()}"  # in a worktree .git is a file
    try:
        probe.touch()
        return probe.stat().st_ctime_ns
    except OSError:
        return 0
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
