"""Asks DVC remotes: can they be read, can they be written, which objects do they have."""

from __future__ import annotations

import contextlib
import hashlib
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dvc.exceptions import DvcException
from dvc_objects.fs.local import localfs

from cml.process.log import Log
from cml.process.retry import retry
from cml.remotes.errors import StorageError, StorageProblem, classify

if TYPE_CHECKING:
    from dvc.data_cloud import Remote
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

PROBE_CONTENT = b"cml doctor was here\n"
UNUSED_OBJECT_ID = "0" * 32
RETRY_TIMEOUT_SECONDS = 30.0  # since the first failure
# On these, a push creates the folder of the remote.
FOLDER_PROTOCOLS = ("local", "ssh", "hdfs", "webhdfs")
# On these, the parent of a remote is a folder; on all others it is a bucket, which contains no folders.
TREE_PROTOCOLS = ("webdav", "webdavs", "gdrive")
T = TypeVar("T")


def probe(repo: Repo, name: str, *, with_write: bool = False) -> StorageProblem | None:
    """Returns why a remote cannot be read (or written); None when it can."""
    try:
        remote = repo.cloud.get_remote(name)
        problem = _read(remote)
        if with_write:
            _write(remote.odb)  # which creates the folder, if that was the problem
            return None
    except StorageError as error:
        return error.problem
    except Exception as error:  # the library of each storage raises its own
        return classify([error])
    return problem


def attribute_error(repo: Repo, names: list[str], errors: list[BaseException], *, is_sure: bool) -> StorageError:
    """Finds out which of the remotes `errors` came from: the first one (with `is_sure`), or one that fails now."""
    problem = classify(errors)
    # Only an error that says nothing is worth a question to each remote.
    if is_sure and problem.kind != "other":
        return StorageError(problem, remote=names[0])
    for name in names:
        found = probe(repo, name)
        if found and found.kind != "not_created":
            return StorageError(found, remote=name)
    # DVC's own exceptions need not be about the remote.
    is_of_remote = is_sure and not any(isinstance(error, DvcException) for error in errors)
    return StorageError(problem, remote=names[0] if is_of_remote else "")


def retry_remote(work: Callable[[], T], log: Log) -> T:
    """Returns the result of `work`, with a few retries after temporary problems. Raises StorageError."""
    deadline: float | None = None

    def pause_after(error: Exception, pause: float) -> float | None:
        """Returns the seconds to wait before the next try, None to give up."""
        nonlocal deadline
        now = time.monotonic()
        deadline = deadline or now + RETRY_TIMEOUT_SECONDS
        if not isinstance(error, StorageError) or error.problem.kind != "temporary" or now + pause > deadline:
            return None
        log.note(f"the DVC remote {error.remote}: {error.problem.message}; retry in {pause:.0f} s")
        return pause * random.uniform(0.8, 1.2)

    return retry(work, pause_after=pause_after)


def existing_objects(odb: HashFileDB, oids: Iterable[str]) -> set[str]:
    """Returns which of the objects a remote has now. Raises what the library of the storage raises."""
    wanted = list(oids)
    with contextlib.suppress(AttributeError, NotImplementedError):
        odb.fs.fs.invalidate_cache()  # fsspec caches listings, from before the push for example
    return set(odb.oids_exist(wanted)) if wanted else set()


def _read(remote: Remote) -> StorageProblem | None:
    """One small read. Returns a problem that the first push solves, raises on all others."""
    fs = remote.fs
    if fs.protocol in ("http", "https"):  # HTTP has no folders
        existing_objects(remote.odb, [UNUSED_OBJECT_ID])
        return None
    # Signs in, outside the `suppress` below: FileNotFoundError of a key file says nothing about the storage.
    _ = fs.fs
    with contextlib.suppress(FileNotFoundError):
        fs.info(remote.odb.path)
        return None
    if fs.protocol in FOLDER_PROTOCOLS:
        return _check_folder(remote)
    parent = remote.path
    if fs.protocol not in TREE_PROTOCOLS:
        parent = parent.strip("/").partition("/")[0]  # the bucket; nothing in it has to be created first
    try:
        fs.ls(parent, detail=False)
    except FileNotFoundError:
        message = f"there is no {parent or 'such folder'}"
        raise StorageError(StorageProblem(kind="missing", message=message), remote="") from None
    return None


def _check_folder(remote: Remote) -> StorageProblem | None:
    with contextlib.suppress(FileNotFoundError):
        remote.fs.info(remote.path)
        return None
    on_a_share = "; is it on a share that is not mounted?" if remote.fs.protocol == "local" else ""
    message = f"the folder {remote.path} does not exist yet; the first push creates it{on_a_share}"
    return StorageProblem(kind="not_created", message=message)


def _write(odb: HashFileDB) -> None:
    """Writes a small object and removes it again, if the user of the remote may remove objects."""
    oid = hashlib.md5(PROBE_CONTENT, usedforsecurity=False).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / oid
        file.write_bytes(PROBE_CONTENT)
        # Without a check: an object that an earlier probe could not remove would be taken for the new one.
        odb.add(str(file), localfs, oid, check_exists=False)
    if oid not in existing_objects(odb, [oid]):
        message = "it accepted a file, but does not have it afterwards"
        raise StorageError(StorageProblem(kind="other", message=message), remote="")
    with contextlib.suppress(Exception):  # DVC never removes objects, so the permission to remove may be missing
        odb.delete(oid)
