"""Data to the DVC remotes: pushes it, checks that every object is there, and uploads the missing ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dvc.stage.serialize import to_single_stage_lockfile
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError

from cml.dvc.files import is_saved
from cml.dvc.logging import captured_messages
from cml.dvc.patches.locking import OneCommand
from cml.dvc.run_cache import LEGACY
from cml.dvc.switching import at_revision
from cml.errors import WorkFailed
from cml.process.log import Log
from cml.remotes.errors import StorageError
from cml.remotes.probe import attribute_error, existing_objects, retry_remote

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

# (remote or None for the default one, hash name) -> id of an object -> path of the output that names it
Objects = dict[tuple[str | None, str], dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Verified:
    """How many objects were checked, and how many were uploaded because they were missing. `lost` are the paths of
    outputs whose objects are missing from the cache and from the remote, and were missing before this run.
    """

    checked: int
    uploaded: int
    lost: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Upload:
    """Objects that stay missing on a remote, and how many were uploaded."""

    missing: set[str]
    uploaded: int


def push(repo: Repo, log: Log) -> int:
    """Pushes all outputs and the run cache; returns the number of files sent. Raises StorageError."""
    saved = [out for out in repo.index.outs if is_saved(out)]
    if not saved:
        return 0  # so no remote is needed
    return retry_remote(lambda: _push(repo, _remotes_of(repo, saved)), log)


def push_stages(repo: Repo, stages: list[Stage], log: Log) -> int:
    """Pushes the outputs of stages, those with `cache: false` too, and the run cache; checks every object, and returns
    the number of files sent. Raises StorageError, and WorkFailed for objects that stay missing.
    """
    if not stages:
        return 0
    outs = [out for stage in stages for out in stage.outs if is_saved(out)]
    targets = sorted({out.stage.addressing for out in outs})
    remotes = _remotes_of(repo, outs) or [_default_remote(repo)]
    sent = retry_remote(lambda: _push(repo, remotes, targets=targets), log)
    in_git = [out for stage in stages for out in cache_git_outputs(stage)]
    for (remote, hash_name), objects in _objects_of([*outs, *in_git]).items():
        upload = _upload_missing(repo, remote, hash_name, objects, log)
        sent += upload.uploaded
        if upload.missing:
            lost = sorted({objects[oid] for oid in upload.missing})
            raise WorkFailed(
                f"cannot push {', '.join(lost[:5])}: its objects are missing from the cache and from the DVC remote",
                step="push",
            )
    return sent


def is_entry_on_remotes(stage: Stage, entry: Mapping[str, Any], log: Log) -> bool:
    """Whether all objects that an entry of dvc.lock names are on the DVC remotes. Raises StorageError."""
    if not entry.get("outs"):
        return True
    own = {out.fs_path: out for out in stage.outs}
    # DVC's own way to make outputs from an entry; remote and `push` are not in it.
    outs = list(stage.repo.stage_cache._create_stage(entry, wdir=stage.wdir).outs)
    for out in outs:
        if out.fs_path not in own:
            continue
        out.remote, out.can_push = own[out.fs_path].remote, own[out.fs_path].can_push
        if not out.can_push and not out.cache.exists(out.hash_info.value):
            return False  # it never leaves the machine that made it
        # The listing of a directory, fetched if necessary: its files must be on the remote too.
        if out.hash_info.isdir:
            out.get_dir_cache()
    objects_of = _objects_of(out for out in outs if is_saved(out))
    return not any(
        _upload_missing(stage.repo, remote, hash_name, objects, log).missing
        for (remote, hash_name), objects in objects_of.items()
    )


def cache_git_outputs(stage: Stage) -> list[Output]:
    """Puts a stage's outputs with `cache: false` into the cache, and returns them as cached outputs.

    DVC does that for a stage that it puts into its run cache, and never pushes them.
    """
    if all(out.use_cache for out in stage.outs):
        return []
    outs = list(stage.repo.stage_cache._uncached_outs(stage, lock_entry(stage)))
    for out in outs:
        out.commit()
    return outs


def lock_entry(stage: Stage) -> dict[str, Any]:
    """Returns a stage's entry of dvc.lock, as it is now."""
    return dict(to_single_stage_lockfile(stage))


def verify(repo: Repo, head: str, log: Log) -> Verified:
    """Checks that EVERY object that the work tree names is on the remotes, and uploads those that are missing.

    DVC does not look at the files of a directory if its `.dir` object is there (dvc #10977), and believes what its site
    cache remembers of a remote. Raises StorageError, and WorkFailed for objects that stay missing and that the commit
    `head` does not name.
    """
    checked = uploaded = 0
    lost: set[str] = set()
    for (remote, hash_name), objects in _objects_of(repo.index.outs).items():
        upload = _upload_missing(repo, remote, hash_name, objects, log)
        checked, uploaded = checked + len(objects), uploaded + upload.uploaded
        lost |= {objects[oid] for oid in upload.missing}
    # What the commit before this run names already is the loss of somebody else: it must not block new results.
    if lost:
        with at_revision(repo, head):
            before = _pairs(_objects_of(repo.index.outs))
        now = {(path, oid) for path, oid in _pairs(_objects_of(repo.index.outs)) if path in lost}
        if new := sorted({path for path, _ in now - before}):
            raise WorkFailed(
                f"objects of {', '.join(new[:5])} are missing from the cache and from the DVC remote, so nothing was "
                "pushed to git. Run again: the stages that make them will run again",
                step="push",
            )
    return Verified(checked=checked, uploaded=uploaded, lost=tuple(sorted(lost)))


def _push(repo: Repo, remotes: list[str], *, targets: list[str] | None = None, may_retry: bool = True) -> int:
    with captured_messages() as messages, OneCommand(repo):
        try:
            if targets == []:  # DVC would take it for "everything"
                return len(repo.stage_cache.push(None))
            return int(repo.push(targets, run_cache=True))
        except Exception as error:  # each storage's library raises its own
            # DVC's own exception has only the number of failed files; its log has the reasons.
            errors = messages.errors or [error]
    if may_retry and any(isinstance(error, ObjectFormatError) for error in errors):
        with contextlib.suppress(Exception):  # if that fails, the second push fails with the same error
            _remove_broken(repo)
        return _push(repo, remotes, targets=targets, may_retry=False)
    raise attribute_error(repo, remotes, errors, is_sure=len(remotes) == 1) from errors[0]


def _remove_broken(repo: Repo) -> None:
    """Removes empty objects that a killed push left on remotes that are local directories.

    DVC removes a broken object when it checks whether it exists. But it reads the listing of a directory first, and
    fails.
    """
    for (remote, hash_name), objects in _objects_of(repo.index.outs).items():
        odb = repo.cloud.get_remote_odb(remote, "push", hash_name=hash_name)
        if odb.fs.protocol == "local":
            existing_objects(odb, objects)


def _upload_missing(repo: Repo, remote: str | None, hash_name: str, objects: dict[str, str], log: Log) -> _Upload:
    """Uploads the objects that a remote does not have and the cache has. Raises StorageError."""
    return retry_remote(lambda: _try_upload(repo, remote, hash_name, objects), log)


def _try_upload(repo: Repo, remote: str | None, hash_name: str, objects: dict[str, str]) -> _Upload:
    name = remote or _default_remote(repo)
    # Each hash name has a cache and a place on the remote of its own.
    cache = repo.cache.legacy if hash_name == LEGACY else repo.cache.local
    try:
        odb = repo.cloud.get_remote_odb(remote, "push", hash_name=hash_name)
        absent = set(objects) - existing_objects(odb, objects)
        cached = [oid for oid in absent if cache.exists(oid)]
        # The files of a directory before its listing: who sees the listing must find them.
        for oid in sorted(cached, key=lambda oid: (oid.endswith(".dir"), oid)):
            odb.add(cache.oid_to_path(oid), cache.fs, oid, check_exists=False)
        # Checked again: an upload counts only if the object is there afterwards.
        missing = absent - existing_objects(odb, cached)
    except StorageError as error:
        raise StorageError(error.problem, remote=name) from error
    except Exception as error:  # each storage's library raises its own
        raise attribute_error(repo, [name], [error], is_sure=True) from error
    return _Upload(missing=missing, uploaded=len(absent) - len(missing))


def _default_remote(repo: Repo) -> str:
    return str(repo.config["core"].get("remote", ""))


def _remotes_of(repo: Repo, outs: Iterable[Output]) -> list[str]:
    """Returns the remotes of outputs, the default one first."""
    default = _default_remote(repo)
    return sorted({out.remote or default for out in outs}, key=lambda name: (name != default, name))


def _objects_of(outs: Iterable[Output]) -> Objects:
    """Returns the objects that belong on each remote."""
    found: Objects = {}
    for out in outs:
        # An output without a hash was never made.
        if not is_saved(out) or not out.hash_info or _is_cloud_versioned(out):
            continue
        objects = found.setdefault((out.remote, out.hash_info.name), {})
        objects[out.hash_info.value] = str(out)
        if out.hash_info.isdir and (tree := _listing(out)) is not None:
            objects.update({info.value: str(out) for _, _, info in tree})
    return found


def _pairs(found: Objects) -> set[tuple[str, str]]:
    return {(path, oid) for objects in found.values() for oid, path in objects.items()}


def _listing(out: Output) -> Any:
    """Returns the listing of a directory; None if it is not in the cache: then it was not made in this run."""
    with contextlib.suppress(FileNotFoundError, ObjectFormatError):
        return Tree.load(out.cache, out.hash_info, hash_name=out.hash_info.name)
    return None


def _is_cloud_versioned(out: Output) -> bool:
    """Whether the remote of an output keeps files by their own names and version ids, so that it has no objects."""
    config = out.repo.config
    remote = config["remote"].get(out.remote or config["core"].get("remote"), {})
    return bool(remote.get("worktree") or remote.get("version_aware"))
