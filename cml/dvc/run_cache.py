"""DVC's run cache: the runs of a stage on the inputs that it has now, here and on the default DVC remote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.exceptions import DvcException
from dvc.stage.cache import _can_hash, _get_stage_hash
from dvc_objects.fs.generic import copy

from cml.dvc.patches.known_hashes import KnownHashes
from cml.dvc.staleness import OutputIndex
from cml.remotes.probe import attribute_error, retry_remote

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

    from cml.process.log import Log

LEGACY = "md5-dos2unix"  # DVC 2's hash. Its objects, and the run cache, have a place of their own on a remote


def cached_runs(stage: Stage, outputs: OutputIndex, log: Log) -> list[dict[str, Any]]:
    """Returns the entries of dvc.lock of a stage's cached runs on the inputs that it has now, the newest first. Inputs
    that are not in the work tree are known by `outputs`. Raises StorageError.
    """
    key = _run_cache_key(stage, outputs)
    if not key:
        return []
    retry_remote(lambda: _fetch_runs(stage.repo, key), log)
    cache = stage.repo.stage_cache
    folder = Path(cache._get_cache_dir(key))
    files = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True) if folder.is_dir() else []
    return [entry for file in files if (entry := cache._load_cache(key, file.name))]


def fetch_runs_of(stage: Stage) -> None:
    """Fetches what the run cache of the default remote has of a stage's runs on the inputs that it has now. Raises
    StorageError.
    """
    if key := _run_cache_key(stage, OutputIndex(())):
        _fetch_runs(stage.repo, key)


def _fetch_runs(repo: Repo, key: str) -> None:
    try:
        remote = repo.cloud.get_remote_odb(None, "fetch --run-cache", hash_name=LEGACY)
    except DvcException:  # there is no default remote, or it has no run cache
        return
    # The run cache is beside the objects of DVC 2, here and on a remote.
    fs, cache = remote.fs, repo.cache.legacy
    if fs.protocol in ("http", "https"):  # DVC has no run cache on HTTP remotes
        return
    try:
        for entry in fs.find(fs.join(remote.path, "runs", key[:2], key)):
            target = cache.fs.join(cache.path, "runs", key[:2], key, fs.name(entry))
            # An entry never changes: its name is the hash of its content.
            if not cache.fs.exists(target):
                copy(fs, entry, cache.fs, target)
    except FileNotFoundError:
        pass
    except Exception as error:  # each storage's library raises its own
        raise attribute_error(repo, [repo.config["core"]["remote"]], [error], is_sure=True) from error


def _run_cache_key(stage: Stage, outputs: OutputIndex) -> str:
    """Returns the key of a stage's runs on the inputs that it has now; "" if the stage is never cached, or if an input
    is missing.
    """
    try:
        with KnownHashes(stage, outputs):
            return str(_get_stage_hash(stage)) if _can_hash(stage) else ""
    except DvcException:  # an input is missing
        return ""
