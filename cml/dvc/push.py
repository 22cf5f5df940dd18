"""The objects behind the workspace's lock files: pushed, then asked for one by one, mended where a remote lies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cml.dvc.logging import listening
from cml.dvc.patches.caching import at_revision, one_command
from cml.dvc.project import Project, is_saved
from cml.dvc.pull import LEGACY
from cml.errors import WorkFailed
from cml.process.log import Log
from cml.remotes.errors import StorageError
from cml.remotes.probe import attribute_error, existing_objects, retry_remote

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Verified:
    """How many objects were asked for and how many were put there; `lost` are paths whose objects nobody has, and
    nobody had before this run.
    """

    asked: int
    mended: int
    lost: tuple[str, ...]


def push(project: Project, log: Log) -> int:
    """Pushes the workspace's outputs and the run cache; returns the number of files sent. Raises StorageTrouble."""
    repo = project.repo
    saved = [out for out in repo.index.outs if is_saved(out)]
    if not saved:
        return 0  # nothing that a remote takes, so there need not be one
    default = repo.config["core"].get("remote")
    remotes = sorted({out.remote or default for out in saved}, key=lambda name: (name != default, name))
    return retry_remote(lambda: _push(repo, remotes), log)


def hand_on(project: Project, names: Iterable[str], log: Log) -> int:
    """Puts what these stages have made on the DVC remotes, the run cache and the outputs that git holds among it, and
    makes sure of every object; returns the number of files sent. Raises StorageTrouble, and WorkFailed for what stays
    missing.
    """
    repo = project.repo
    stages = list(project.stages(names).values())
    outs = [out for stage in stages for out in stage.outs if is_saved(out)]
    default = repo.config["core"].get("remote", "")
    remotes = sorted({out.remote or default for out in outs}, key=lambda name: (name != default, name))
    targets = sorted({out.stage.addressing for out in outs})
    sent = retry_remote(lambda: _push(repo, remotes or [default], targets=targets), log) if stages else 0
    named = _named([*outs, *(out for stage in stages for out in kept_git_outputs(stage))])
    for (remote, hash_name), objects in named.items():
        gone, put = retry_remote(lambda: _mend(repo, remote, hash_name, objects, name=remote or default), log)  # noqa: B023
        sent += put
        if gone:
            lost = sorted({objects[oid] for oid in gone})
            raise WorkFailed(f"{', '.join(lost[:5])} cannot be handed on: its objects are gone from here", step="push")
    return sent


def are_there(stage: Stage, entry: Mapping[str, Any], log: Log) -> bool:
    """Whether all objects that an entry of dvc.lock names are on the DVC remotes. Raises StorageTrouble."""
    repo = stage.repo
    default = repo.config["core"].get("remote", "")
    if not entry.get("outs"):
        return True
    outs = list(repo.stage_cache._create_stage(entry, wdir=stage.wdir).outs)
    own = {out.fs_path: out for out in stage.outs}
    for out in (out for out in outs if out.fs_path in own):
        out.remote, out.can_push = own[out.fs_path].remote, own[out.fs_path].can_push
        if not out.can_push and not out.cache.exists(out.hash_info.value):
            return False  # it never leaves the machine that made it
        if out.hash_info.isdir:
            out.get_dir_cache()
    for (remote, hash_name), objects in _named(out for out in outs if is_saved(out)).items():
        gone, _ = retry_remote(lambda: _mend(repo, remote, hash_name, objects, name=remote or default), log)  # noqa: B023
        if gone:
            return False
    return True


def kept_git_outputs(stage: Stage) -> list[Output]:
    """Returns a stage's outputs that git holds, as outputs of the cache, and puts them there. DVC does that for stages
    that its run cache takes; it never sends them to a remote.
    """
    if all(out.use_cache for out in stage.outs):
        return []
    kept = []
    for out in stage.repo.stage_cache._uncached_outs(stage, entry_of(stage)):
        out.commit()
        kept.append(out)
    return kept


def entry_of(stage: Stage) -> dict[str, Any]:
    """Returns a stage's entry of dvc.lock, as it is now."""
    from dvc.stage.serialize import to_single_stage_lockfile

    return dict(to_single_stage_lockfile(stage))


def _push(repo: Repo, remotes: list[str], *, targets: list[str] | None = None, is_swept: bool = False) -> int:
    from dvc_objects.errors import ObjectFormatError

    with listening() as heard, one_command(repo):
        try:
            if targets == []:
                return len(repo.stage_cache.push(None))
            return int(repo.push(targets, run_cache=True))
        except Exception as error:  # each storage's library raises its own
            errors = heard.errors or [error]
    if any(isinstance(error, ObjectFormatError) for error in errors) and not is_swept:
        with contextlib.suppress(Exception):  # what is wrong, the second try says as well
            _drop_broken(repo)
        return _push(repo, remotes, targets=targets, is_swept=True)
    raise attribute_error(repo, remotes, errors, is_sure=len(remotes) == 1) from errors[0]


def _drop_broken(repo: Repo) -> None:
    """Removes from remotes that are folders here what a killed push left empty under an object's own name: DVC does
    that when it asks for an object, but of a directory it reads the listing first, and fails.
    """
    for (remote, hash_name), objects in _named(repo.index.outs).items():
        odb = repo.cloud.get_remote_odb(remote, "push", hash_name=hash_name)
        if odb.fs.protocol == "local":
            existing_objects(odb, objects)


def verify(project: Project, head: str, log: Log) -> Verified:
    """Asks the remotes for EVERY object that the workspace names, children of directories included: DVC believes a
    `.dir` object and skips its children (dvc #10977). Raises StorageTrouble, and WorkFailed for what stays missing and
    `head` did not name.
    """
    repo = project.repo
    default = repo.config["core"].get("remote", "")
    asked = mended = 0
    lost: set[str] = set()
    for (remote, hash_name), objects in _named(repo.index.outs).items():
        gone, put = retry_remote(lambda: _mend(repo, remote, hash_name, objects, name=remote or default), log)  # noqa: B023
        asked, mended = asked + len(objects), mended + put
        lost |= {objects[oid] for oid in gone}
    if lost:
        with at_revision(repo, head):
            before = {(path, oid) for objects in _named(repo.index.outs).values() for oid, path in objects.items()}
        named_now = {
            (path, oid) for objects in _named(repo.index.outs).values() for oid, path in objects.items() if path in lost
        }
        if new := sorted({path for path, _ in named_now - before}):
            raise WorkFailed(
                f"the DVC remote lacks objects of {', '.join(new[:5])}, and so does the cache here: nothing was pushed "
                "to git. Run again, and the stages that make them run again",
                step="push",
            )
    return Verified(asked=asked, mended=mended, lost=tuple(sorted(lost)))


def _mend(
    repo: Repo, remote: str | None, hash_name: str, objects: dict[str, str], *, name: str
) -> tuple[set[str], int]:
    """Returns the objects that a remote lacks for good, and how many were put there."""
    cache = repo.cache.legacy if hash_name == LEGACY else repo.cache.local
    try:
        odb = repo.cloud.get_remote_odb(remote, "push", hash_name=hash_name)
        absent = set(objects) - existing_objects(odb, objects)
        here = [oid for oid in absent if cache.exists(oid)]
        # Children before the directory that names them, so that whoever sees it finds them.
        for oid in sorted(here, key=lambda oid: (oid.endswith(".dir"), oid)):
            odb.add(cache.oid_to_path(oid), cache.fs, oid, check_exists=False)
        gone = absent - existing_objects(odb, here)
    except StorageError as error:
        raise StorageError(error.problem, remote=name) from error
    except Exception as error:  # each storage's library raises its own
        raise attribute_error(repo, [name], [error], is_sure=True) from error
    return gone, len(absent) - len(gone)


def _named(outs: Iterable[Output]) -> dict[tuple[str | None, str], dict[str, str]]:
    """Returns (remote or None, hash name) -> object id -> path of the output that names it."""
    named: dict[tuple[str | None, str], dict[str, str]] = {}
    for out in outs:
        if not is_saved(out) or not out.hash_info or _is_cloud_versioned(out):
            continue
        objects = named.setdefault((out.remote, out.hash_info.name), {})
        name = str(out)
        objects[out.hash_info.value] = name
        if out.hash_info.isdir and (tree := _tree(out)) is not None:
            objects.update({info.value: name for _, _, info in tree})
    return named


def _tree(out: Output) -> Any:
    """Returns a directory's listing. One that the cache lacks was not made here: who named it vouched for it."""
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.errors import ObjectFormatError

    with contextlib.suppress(FileNotFoundError, ObjectFormatError):
        return Tree.load(out.cache, out.hash_info, hash_name=out.hash_info.name)
    return None


def _is_cloud_versioned(out: Output) -> bool:
    """Such a remote keeps files by their own names and the version ids that the push wrote; it has no objects."""
    config = out.repo.config
    remote = config["remote"].get(out.remote or config["core"].get("remote"), {})
    return bool(remote.get("worktree") or remote.get("version_aware"))
