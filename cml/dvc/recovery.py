"""What a killed run leaves of DVC's, taken away by the next one: nobody has to clean by hand.

A mark in `.dvc/tmp` stands while a run is at work. Where it still stands, that run was killed. It names the data that
was being put into the work tree: half of it is not the user's own change, and no stage may run on it.
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

from cml.dvc.patches.atomic_write import half_written
from cml.errors import BadInput

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

MARK = "cml-run"
OLD_SECONDS = 3600  # in a cache that others share, what is younger may be in the making
TEMPORARY = re.compile(r".*\.[\w-]{22}\.tmp")  # dvc_objects.fs.utils.tmp_fname


def drop_stale_lock(path: Path) -> None:
    """Removes what a `kill -9` left: an rwlock that is no JSON (dvc #7615), or one whose processes are all gone. In a
    container every run has the same pid, so our own is one of the gone.
    """
    import psutil

    try:
        held = json.loads(path.read_text() or "?")
        holders = [
            *held.get("write", {}).values(),
            *(reader for each in held.get("read", {}).values() for reader in each),
        ]
        pids = {int(holder["pid"]) for holder in holders}
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError, AttributeError):
        pids = set()
    if not any(pid != os.getpid() and psutil.pid_exists(pid) for pid in pids):
        path.unlink(missing_ok=True)


def begin(repo: Repo) -> None:
    """Sweeps after a run that was killed, and sets the mark. Raises BadInput for half of some data that cannot be told
    from the user's own change.
    """
    mark = _mark(repo)
    if mark.exists():
        sweep(repo)
    with contextlib.suppress(OSError):
        mark.touch()


def end(repo: Repo) -> None:
    """Takes the mark away, unless data is still half in place."""
    with contextlib.suppress(OSError):
        if not _half_placed(repo):
            _mark(repo).unlink(missing_ok=True)


@contextlib.contextmanager
def placing(repo: Repo, paths: Iterable[str]) -> Iterator[None]:
    """Inside, data is put at these places of the work tree; what ends it early leaves them in the mark."""
    with contextlib.suppress(OSError):
        _mark(repo).write_text(json.dumps(sorted({*_half_placed(repo), *paths})))
    yield
    with contextlib.suppress(OSError):
        _mark(repo).write_text("")


def sweep(repo: Repo) -> None:
    """Removes half-made files of DVC beside and inside outputs, where they would be taken for data, and in the cache;
    data that is half in place and whole in the cache, so that it is put there anew; and entries of the run cache
    without anything in them, at which DVC breaks. While another DVC works here, nothing. Raises BadInput.
    """
    from dvc.lock import LockError

    with contextlib.suppress(LockError, OSError), repo.lock:
        for path in (*_half_made(repo), *half_written(Path(repo.tmp_dir))):
            with contextlib.suppress(OSError):
                path.unlink()
        places = _half_placed(repo)
        halves = [out for out in repo.index.outs if any(_overlap(out.fs_path, place) for place in places)]
        if unsure := sorted(str(out) for out in halves if not _is_cached(out)):
            raise BadInput(
                f"{', '.join(unsure[:5])}: a run was killed while this was put in place, and what is there is neither "
                f"whole nor in the cache. To have it anew: dvc checkout --force {unsure[0]}; to keep it: dvc commit"
            )
        for out in halves:
            out.remove()
        _mark(repo).write_text("")
        for folder in _empty(Path(repo.stage_cache.cache_dir), repo):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _mark(repo: Repo) -> Path:
    return Path(repo.tmp_dir, MARK)


def _half_placed(repo: Repo) -> list[str]:
    try:
        return [str(path) for path in json.loads(_mark(repo).read_text() or "[]")]
    except (OSError, ValueError, TypeError):
        return []


def _overlap(one: str, other: str) -> bool:
    return Path(one).is_relative_to(other) or Path(other).is_relative_to(one)


def _is_cached(out: Output) -> bool:
    """Whether the cache has every file that stands there and is not empty, so that nothing is lost with them."""
    from dvc_data.hashfile.hash import hash_file

    place = Path(out.fs_path)
    files = [path for path in ([place] if place.is_file() else _files(place)) if path.stat().st_size]
    hashes = (str(hash_file(str(path), out.fs, out.hash_name)[1].value) for path in files)
    return bool(out.use_cache) and all(out.cache.exists(each) for each in hashes)


def _half_made(repo: Repo) -> Iterator[Path]:
    outs = [Path(out.fs_path) for out in repo.index.outs if out.is_in_repo]
    for folder in {out.parent for out in outs}:
        with contextlib.suppress(OSError):
            yield from _temporary(folder.iterdir())
    for out in (out for out in outs if out.is_dir() and not out.is_symlink()):
        yield from _below(out)
    cache = Path(repo.cache.local.path)
    yield from (path for path in _below(cache) if _is_ours(path, repo))


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def _below(folder: Path) -> Iterator[Path]:
    yield from _temporary(_files(folder))


def _temporary(paths: Iterable[Path]) -> Iterator[Path]:
    yield from (path for path in paths if TEMPORARY.fullmatch(path.name))


def _empty(cache: Path, repo: Repo) -> Iterator[Path]:
    """Yields folders without anything in them, the inner ones first."""
    for place, _, _ in os.walk(cache, topdown=False):
        if _is_ours(Path(place), repo) and not any(os.scandir(place)):
            yield Path(place)


def _is_ours(path: Path, repo: Repo) -> bool:
    """Whether nobody but this project writes there, or nobody is at it any more."""
    if path.is_relative_to(repo.dvc_dir):
        return True
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > OLD_SECONDS
    return False
