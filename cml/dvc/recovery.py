"""Recovery after a killed run: removes what it left behind in the DVC project, so that nobody has to do it by hand.

While a run works, the file `.dvc/tmp/cml-run` exists. If a run finds it, the run before was killed. The file names the
data that was being checked out: a half of it is not the user's own change, and no stage may use it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from dvc.lock import LockError
from dvc_data.hashfile.hash import hash_file

from cml.dvc.patches.atomic_write import unfinished_files
from cml.errors import BadInput

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

RUN_FILE = "cml-run"
OLD_SECONDS = 3600  # in a cache that others use too, a younger file may be one that they are writing
TEMPORARY = re.compile(r".*\.[\w-]{22}\.tmp")  # as dvc_objects.fs.utils.tmp_fname names them


def remove_stale_lock(path: Path) -> None:
    """Removes DVC's rwlock that a `kill -9` left: one that is not JSON (dvc #7615), or whose processes have all ended.

    In a container each run has the same pid, so an entry with our own pid is from an earlier run.
    """
    try:
        locks = json.loads(path.read_text() or "?")
        holders = list(locks.get("write", {}).values())
        for readers in locks.get("read", {}).values():
            holders += readers
        pids = {int(holder["pid"]) for holder in holders}
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError, AttributeError):
        pids = set()
    if not any(pid != os.getpid() and psutil.pid_exists(pid) for pid in pids):
        path.unlink(missing_ok=True)


def begin(repo: Repo) -> None:
    """Recovers from a killed run, and marks that a run is at work. Raises BadInput for half-written data that may be
    the user's own change.
    """
    run_file = _run_file(repo)
    if run_file.exists():
        recover(repo)
    # A project on a read-only disk can still be reported on.
    with contextlib.suppress(OSError):
        run_file.touch()


def end(repo: Repo) -> None:
    """Marks that the run has ended, unless data is still only partly checked out."""
    with contextlib.suppress(OSError):
        # Otherwise the next run would take the half that is there for the user's own change.
        if not _unfinished_checkouts(repo):
            _run_file(repo).unlink(missing_ok=True)


@contextlib.contextmanager
def checking_out(repo: Repo, paths: Iterable[str]) -> Iterator[None]:
    """Inside, data is written to these paths of the work tree. If that ends early, the next run knows the paths."""
    # On a disk that is full or read-only the run itself fails with a better message.
    with contextlib.suppress(OSError):
        _run_file(repo).write_text(json.dumps(sorted({*_unfinished_checkouts(repo), *paths})))
    yield
    with contextlib.suppress(OSError):
        _run_file(repo).write_text("")


def recover(repo: Repo) -> None:
    """Removes, unless another DVC process works here:

    - temporary files of DVC beside and inside outputs, where they would be taken for data, and in the cache;
    - data that is partly checked out and complete in the cache, so that it is checked out again;
    - empty entries of the run cache, with which DVC fails.

    Raises BadInput for data that is neither complete nor in the cache.
    """
    # A DVC process that works here holds the lock, and then the temporary files are its own.
    with contextlib.suppress(LockError, OSError), repo.lock:
        for path in (*_temporary_files(repo), *unfinished_files(Path(repo.tmp_dir))):
            with contextlib.suppress(OSError):
                path.unlink()
        paths = _unfinished_checkouts(repo)
        unfinished = [out for out in repo.index.outs if any(_overlap(out.fs_path, path) for path in paths)]
        # They may have been changed by the user, and the run must not decide that: it stops.
        if unknown := sorted(str(out) for out in unfinished if not _is_cached(out)):
            raise BadInput(
                f"{', '.join(unknown[:5])}: a run was killed while this was being checked out. What is there now is "
                f"neither complete nor in the cache. To check it out again: dvc checkout --force {unknown[0]}; to keep "
                "what is there: dvc commit"
            )
        # The cache has all of it, so a pull or a checkout puts it back.
        for out in unfinished:
            out.remove()
        _run_file(repo).write_text("")
        for folder in _empty_folders(Path(repo.stage_cache.cache_dir), repo):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _run_file(repo: Repo) -> Path:
    return Path(repo.tmp_dir, RUN_FILE)


def _unfinished_checkouts(repo: Repo) -> list[str]:
    try:
        return [str(path) for path in json.loads(_run_file(repo).read_text() or "[]")]
    except (OSError, ValueError, TypeError):
        return []


def _overlap(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


def _is_cached(out: Output) -> bool:
    """Whether the cache has each file of an output that is there and not empty, so that nothing can be lost."""
    # A checkout creates a file before it fills it; an empty one has no content that could be lost.
    path = Path(out.fs_path)
    files = [file for file in ([path] if path.is_file() else _files(path)) if file.stat().st_size]
    hashes = (str(hash_file(str(file), out.fs, out.hash_name)[1].value) for file in files)
    return bool(out.use_cache) and all(out.cache.exists(each) for each in hashes)


def _temporary_files(repo: Repo) -> Iterator[Path]:
    outs = [Path(out.fs_path) for out in repo.index.outs if out.is_in_repo]
    for folder in {out.parent for out in outs}:
        with contextlib.suppress(OSError):
            yield from _only_temporary(folder.iterdir())
    for out in outs:
        # Not through a link, which may lead out of the project.
        if out.is_dir() and not out.is_symlink():
            yield from _only_temporary(_files(out))
    for path in _only_temporary(_files(Path(repo.cache.local.path))):
        if _may_remove(path, repo):
            yield path


def _files(folder: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(folder):
        yield from (Path(directory, name) for name in names)


def _only_temporary(paths: Iterable[Path]) -> Iterator[Path]:
    yield from (path for path in paths if TEMPORARY.fullmatch(path.name))


def _empty_folders(cache: Path, repo: Repo) -> Iterator[Path]:
    """Yields empty folders, the inner ones first."""
    for directory, _, _ in os.walk(cache, topdown=False):
        if _may_remove(Path(directory), repo) and not any(os.scandir(directory)):
            yield Path(directory)


def _may_remove(path: Path, repo: Repo) -> bool:
    """Whether only this project writes there, or nobody has written there for an hour."""
    if path.is_relative_to(repo.dvc_dir):
        return True
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > OLD_SECONDS
    return False
