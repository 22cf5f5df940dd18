"""The project's DVC remotes as they answer: one small read, one write where asked, and which objects are there."""

from __future__ import annotations

import contextlib
import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cml.process.log import Log
from cml.process.retry import retry
from cml.remotes.errors import StorageError, StorageProblem, describe_problem

if TYPE_CHECKING:
    from dvc.data_cloud import Remote
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

PROBE = b"cml doctor was here\n"
NOWHERE = "0" * 32
RETRY_SECONDS = 30.0  # from the first failure on
MAKES_FOLDERS = ("local", "ssh", "hdfs", "webhdfs")  # a push makes the folder of such a remote
T = TypeVar("T")


def probe(repo: Repo, name: str, *, with_write: bool = False) -> StorageProblem | None:
    """Returns why a remote cannot be read (or written), or None where it can."""
    try:
        remote = repo.cloud.get_remote(name)
        unmade = _read(remote)
        if with_write:
            _write(remote.odb)
            return None
    except StorageError as error:
        return error.trouble
    except Exception as error:  # each storage's library raises its own
        return describe_problem([error])
    return unmade


def attribute_error(repo: Repo, names: list[str], errors: list[BaseException], *, is_sure: bool) -> StorageError:
    """Returns the trouble that one of the remotes had: the first (`is_sure`), or the one that answers badly now."""
    trouble = describe_problem(errors)
    if is_sure and trouble.kind != "other":
        return StorageError(trouble, remote=names[0])
    for name in names:
        if (found := probe(repo, name)) and found.kind != "unmade":
            return StorageError(found, remote=name)
    from dvc.exceptions import DvcException

    is_ours = is_sure and not any(isinstance(error, DvcException) for error in errors)
    return StorageError(trouble, remote=names[0] if is_ours else "")


def retry_remote(work: Callable[[], T], log: Log) -> T:
    """Returns what `work` returns; retried a few times if a remote's problem may pass. Raises StorageError."""
    deadline: float | None = None

    def pause_after(error: Exception, pause: float) -> float | None:
        nonlocal deadline
        now = time.monotonic()
        deadline = deadline or now + RETRY_SECONDS
        if not isinstance(error, StorageError) or error.trouble.kind != "passing" or now + pause > deadline:
            return None
        log.note(f"the DVC remote {error.remote}: {error.trouble.said}; again in {pause:.0f} s")
        return pause * random.uniform(0.8, 1.2)

    return retry(work, pause_after=pause_after)


def present(odb: HashFileDB, oids: Iterable[str]) -> set[str]:
    """Returns which objects a remote has now. Raises what the storage's library raises."""
    wanted = list(oids)
    with contextlib.suppress(AttributeError, NotImplementedError):
        odb.fs.fs.invalidate_cache()  # what was listed before the work is not what is there now
    return set(odb.oids_exist(wanted)) if wanted else set()


def _read(remote: Remote) -> StorageProblem | None:
    """One small read; returns trouble that a push would mend."""
    fs = remote.fs
    if fs.protocol in ("http", "https"):
        present(remote.odb, [NOWHERE])
        return None
    _ = fs.fs  # signs in; a key that is no file is no answer of the storage's
    with contextlib.suppress(FileNotFoundError):
        fs.info(remote.odb.path)
        return None
    base = remote.path
    if fs.protocol in MAKES_FOLDERS:
        with contextlib.suppress(FileNotFoundError):
            fs.info(base)
            return None
        share = ": is it on a share that is not mounted?" if fs.protocol == "local" else ""
        return StorageProblem(kind="unmade", said=f"there is no folder {base} yet, the first push makes it{share}")
    if fs.protocol not in ("webdav", "webdavs", "gdrive"):
        base = base.strip("/").partition("/")[0]  # a bucket; what is below it needs no making
    try:
        fs.ls(base, detail=False)
    except FileNotFoundError:
        raise StorageError(
            StorageProblem(kind="absent", said=f"there is no {base or 'such folder'}"), remote=""
        ) from None
    return None


def _write(odb: HashFileDB) -> None:
    """Writes a small object and removes it, where a remote's user may remove."""
    from dvc_objects.fs.local import localfs

    oid = hashlib.md5(PROBE, usedforsecurity=False).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / oid
        file.write_bytes(PROBE)
        odb.add(str(file), localfs, oid, check_exists=False)
    if oid not in present(odb, [oid]):
        said = "what was written is not there afterwards"
        raise StorageError(StorageProblem(kind="other", said=said), remote="")
    with contextlib.suppress(Exception):  # DVC itself never needs to remove
        odb.delete(oid)
