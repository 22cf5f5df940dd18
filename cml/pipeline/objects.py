"""The objects behind the workspace's lock files: pushed, then asked for one by one, mended where a remote lies."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cml.errors import WorkFailed
from cml.pipeline.messages import one_line
from cml.pipeline.project import Pipeline, is_saved
from cml.pipeline.revisions import at_revision

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo

LEGACY = "md5-dos2unix"  # the hash of DVC 2, kept at another place of a remote


@dataclass(frozen=True, kw_only=True)
class Verified:
    """How many objects were asked for and how many were put there; `lost` are paths whose objects nobody has, and
    nobody had before this run.
    """

    asked: int
    mended: int
    lost: tuple[str, ...]


def push(pipeline: Pipeline) -> int:
    """Pushes the workspace's outputs and the run cache; returns the number of files sent. Raises WorkFailed."""
    if not any(is_saved(out) for out in pipeline.repo.index.outs):
        return 0  # nothing that a remote takes, so there need not be one
    try:
        return int(pipeline.repo.push(run_cache=True))
    except Exception as error:
        raise WorkFailed(f"the DVC remote does not take the results: {one_line(error)}", step="push") from error


def verify(pipeline: Pipeline, head: str) -> Verified:
    """Asks the remotes for EVERY object that the workspace names, children of directories included: DVC believes a
    `.dir` object and skips its children (dvc #10977). Raises WorkFailed for what stays missing and `head` did not name.
    """
    repo = pipeline.repo
    asked = mended = 0
    lost: set[str] = set()
    try:
        for (remote, hash_name), objects in _named(repo).items():
            odb = repo.cloud.get_remote_odb(remote, "push", hash_name=hash_name)
            cache = repo.cache.legacy if hash_name == LEGACY else repo.cache.local
            asked += len(objects)
            absent = set(objects) - set(odb.oids_exist(list(objects)))
            here = [oid for oid in absent if cache.exists(oid)]
            # Children before the directory that names them, so that whoever sees it finds them.
            for oid in sorted(here, key=lambda oid: (oid.endswith(".dir"), oid)):
                odb.add(cache.oid_to_path(oid), cache.fs, oid, check_exists=False)
            gone = absent - set(odb.oids_exist(here)) if here else absent
            mended += len(absent) - len(gone)
            lost |= {objects[oid] for oid in gone}
    except WorkFailed:
        raise
    except Exception as error:
        raise WorkFailed(f"the DVC remote cannot be asked for the results: {one_line(error)}", step="push") from error
    if lost:
        with at_revision(repo, head):
            before = {(path, oid) for objects in _named(repo).values() for oid, path in objects.items()}
        named_now = {(path, oid) for objects in _named(repo).values() for oid, path in objects.items() if path in lost}
        if new := sorted({path for path, _ in named_now - before}):
            raise WorkFailed(
                f"the DVC remote lacks objects of {', '.join(new[:5])}, and so does the cache here: nothing was pushed "
                "to git. Run again, and the stages that make them run again",
                step="push",
            )
    return Verified(asked=asked, mended=mended, lost=tuple(sorted(lost)))


def _named(repo: Repo) -> dict[tuple[str | None, str], dict[str, str]]:
    """Returns (remote or None, hash name) -> object id -> path of the output that names it."""
    named: dict[tuple[str | None, str], dict[str, str]] = {}
    for out in repo.index.outs:
        if not is_saved(out) or not out.hash_info or _is_cloud_versioned(out):
            continue
        objects = named.setdefault((out.remote, out.hash_info.name), {})
        objects[out.hash_info.value] = str(out)
        if out.hash_info.isdir and (tree := _tree(repo, out)) is not None:
            objects.update({info.value: str(out) for _, _, info in tree})
    return named


def _tree(repo: Repo, out: Output) -> Any:
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.errors import ObjectFormatError

    odbs = [out.cache]
    with contextlib.suppress(Exception):
        odbs.append(repo.cloud.get_remote_odb(out.remote, "push", hash_name=out.hash_info.name))
    for odb in odbs:
        with contextlib.suppress(FileNotFoundError, ObjectFormatError):
            return Tree.load(odb, out.hash_info, hash_name=out.hash_info.name)
    return None


def _is_cloud_versioned(out: Output) -> bool:
    """Such a remote keeps files by their own names and the version ids that the push wrote; it has no objects."""
    config = out.repo.config
    remote = config["remote"].get(out.remote or config["core"].get("remote"), {})
    return bool(remote.get("worktree") or remote.get("version_aware"))
