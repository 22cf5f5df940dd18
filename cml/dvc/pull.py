"""Data from the DVC remotes into the work tree: all that was asked for, or what one stage needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cml.dvc.logging import Heard, listening, one_line
from cml.dvc.patches.caching import one_command
from cml.dvc.recovery import placing
from cml.dvc.staleness import OutputIndex
from cml.errors import WorkFailed
from cml.process.log import Log
from cml.remotes.errors import StorageError, classify
from cml.remotes.probe import attribute_error, probe, retry_remote

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

LEGACY = "md5-dos2unix"  # the hash of DVC 2, kept at another place of a remote, where the run cache is too


def pull(repo: Repo, targets: tuple[str, ...], *, log: Log, may_overwrite: bool) -> str:
    """Pulls targets (all when empty) and the run cache; returns in a few words what happened.

    An output of a stage that the remote lacks is a warning. A `.dvc` source that is nowhere is WorkFailed, a remote
    that refuses or cannot be reached StorageTrouble. Data that no cache holds stays, unless `may_overwrite`.
    """
    from dvc.exceptions import CheckoutError, DvcException

    names = list(targets) or None
    fetched, notes = fetch(repo, names, log=log, run_cache=True)
    kept = set() if may_overwrite else _unsaved(repo, names)
    outs = [out for out in _outs(repo, names) if out.use_cache]
    wanted = [out for out in outs if out.hash_info and str(out) not in kept]
    # One by one only where it must be: DVC does not find back every name (a line break, a backslash).
    paths = names if len(wanted) == len(outs) else [out.fs_path for out in wanted]
    try:
        if wanted:
            with placing(repo, [out.fs_path for out in wanted]), one_command(repo):
                repo.checkout(paths, force=True, allow_missing=True)
    except CheckoutError:
        pass  # what is missing shows below, by name
    except DvcException as error:
        raise WorkFailed(f"the data cannot be put in place: {one_line(error)}", step="pull") from error
    for path in sorted(kept):
        log.note(f"kept your change of {path}, which no cache holds yet")
    missing = [out for out in _outs(repo, names) if out.use_cache and out.hash_info and not out.exists]
    if sources := sorted(str(out) for out in missing if not out.stage.cmd):
        raise WorkFailed(
            f"{', '.join(sources[:5])} {'is' if len(sources) == 1 else 'are'} neither here nor on the DVC remote"
            f"{f' ({notes[-1]})' if notes else ''}: run `dvc push` where the data is, or check the credentials",
            step="pull",
        )
    for out in missing:
        log.warning(f"{out} of {out.stage.addressing} is not on the DVC remote: the stage runs again")
    if fetched:
        return f"{fetched} files fetched"
    return "everything is here already" if any(out.hash_info for out in _outs(repo, names)) else "nothing to pull yet"


def pull_paths(repo: Repo, paths: list[str], *, log: Log) -> int:
    """Pulls exactly these outputs, or parts of them; returns the number of files fetched. Raises WorkFailed for what is
    nowhere, and StorageTrouble.
    """
    from dvc.exceptions import CheckoutError, DvcException

    try:
        fetched, notes = fetch(repo, paths, log=log, run_cache=False)
        with placing(repo, paths), one_command(repo):
            repo.checkout(paths, force=True)
    except CheckoutError as error:
        lost = ", ".join(sorted(error.target_infos)[:5])
        raise WorkFailed(
            f"{lost} cannot be put in place: neither the DVC remote nor the cache here has it whole"
            f"{f' ({notes[-1]})' if notes else ''}. `dvc push` where it still is, or let `cml run` make it anew",
            step="pull",
        ) from error
    except DvcException as error:
        raise WorkFailed(f"the data cannot be put in place: {one_line(error)}", step="pull") from error
    return fetched


def fetch(repo: Repo, names: list[str] | None, *, log: Log, run_cache: bool) -> tuple[int, list[str]]:
    """Fetches what the cache lacks; returns the number of files and what is to be said of it. Raises StorageTrouble."""
    return retry_remote(lambda: _fetch(repo, names, run_cache=run_cache), log)


@contextlib.contextmanager
def fetched_by_stage(repo: Repo, log: Log) -> Iterator[None]:
    """While inside, what a stage that must run lacks is fetched by `fetch`: its inputs, and of the run cache only what
    there is of its own runs. DVC would not try again, and would fetch the whole run cache first.
    """
    from dvc.stage import run

    def fetch_what_is_missing(stage: Stage) -> None:
        absent = [dep.def_path for dep in stage.deps if dep.protocol == "local" and dep.def_path and not dep.exists]
        try:
            if absent:
                fetch(repo, absent, log=log, run_cache=False)
        except StorageError as error:
            if error.remote:
                raise
        with placing(repo, [dep.fs_path for dep in stage.deps if dep.def_path in absent]):
            pull_missing_deps(stage)  # says what is in no remote
        retry_remote(lambda: _fetch_own_runs(stage), log)

    def pull_outputs(*args: Any, **options: Any) -> Any:  # those of a run that is taken from the run cache
        with whole_objects(repo):
            return pull_objects(*args, **options)

    pull_missing_deps, pull_objects = run._pull_missing_deps, repo.cloud.pull
    run._pull_missing_deps, repo.cloud.pull = fetch_what_is_missing, pull_outputs
    try:
        yield
    finally:
        run._pull_missing_deps, repo.cloud.pull = pull_missing_deps, pull_objects


def fetch_objects(repo: Repo, outs: Iterable[Output], *, log: Log) -> None:
    """Fetches what the cache lacks of outputs that DVC does not look for itself. What is nowhere stays away. Raises
    StorageTrouble.
    """
    wanted = [objects for out in outs for objects in out.get_used_objs().values() if objects]

    def ask() -> None:
        with whole_objects(repo) as heard:
            for objects in wanted:
                repo.cloud.pull(objects)
        if heard.errors and (problem := classify(heard.errors)).kind != "missing":
            raise StorageError(problem, remote=str(repo.config["core"].get("remote", "")))

    retry_remote(ask, log)


def cached_runs(stage: Stage, outputs: OutputIndex, log: Log) -> list[dict[str, Any]]:
    """Returns a stage's entries of dvc.lock for the inputs that it has now, the newest first, as the run caches here
    and on the default remote know them. `outputs` stand for what is not in the work tree. Raises StorageTrouble.
    """
    from dvc.exceptions import DvcException

    try:
        key = _run_cache_key(stage, outputs)
    except DvcException:  # an input is nowhere
        return []
    if not key:
        return []
    retry_remote(lambda: _fetch_runs(stage.repo, key), log)
    cache = stage.repo.stage_cache
    folder = Path(cache._get_cache_dir(key))
    values = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True) if folder.is_dir() else []
    return [entry for value in values if (entry := cache._load_cache(key, value.name))]


def _fetch_own_runs(stage: Stage) -> None:
    """Fetches what the default remote's run cache holds of a stage's runs on the inputs that it has now."""
    from dvc.exceptions import DvcException

    try:
        key = _run_cache_key(stage, OutputIndex(()))
    except DvcException:  # an input is nowhere
        return
    if key:
        _fetch_runs(stage.repo, key)


def _fetch_runs(repo: Repo, key: str) -> None:
    from dvc.exceptions import DvcException
    from dvc_objects.fs.generic import copy

    try:
        remote = repo.cloud.get_remote_odb(None, "fetch --run-cache", hash_name=LEGACY)
    except DvcException:  # the default remote keeps no run cache
        return
    fs, cache = remote.fs, repo.cache.legacy
    if fs.protocol in ("http", "https"):  # DVC keeps none there
        return
    try:
        for entry in fs.find(fs.join(remote.path, "runs", key[:2], key)):
            target = cache.fs.join(cache.path, "runs", key[:2], key, fs.name(entry))
            if not cache.fs.exists(target):
                copy(fs, entry, cache.fs, target)
    except FileNotFoundError:
        pass
    except Exception as error:  # each storage's library raises its own
        raise attribute_error(repo, [repo.config["core"]["remote"]], [error], is_sure=True) from error


def _run_cache_key(stage: Stage, outputs: OutputIndex) -> str:
    """Returns the key of a stage's runs on the inputs that it has now, "" for a stage that is never cached. The hashes
    of what the outputs stand for are taken from them.
    """
    from dvc.stage.cache import _can_hash, _get_stage_hash
    from dvc_data.hashfile.hash_info import HashInfo

    before = [(dep, dict(vars(dep))) for dep in stage.deps]
    try:
        for dep in stage.deps:
            if (value := outputs.hash_of(dep)) is None:
                dep.save()
                continue
            dep.hash_name, dep.hash_info = "md5", HashInfo("md5", value)
            vars(dep)["get_hash"] = partial(getattr, dep, "hash_info")  # DVC would look at the file once more
        return str(_get_stage_hash(stage)) if _can_hash(stage) else ""
    finally:
        for dep, state in before:  # DVC compares what dvc.lock says with what is there, later
            vars(dep).clear()
            vars(dep).update(state)


def _fetch(repo: Repo, names: list[str] | None, *, run_cache: bool) -> tuple[int, list[str]]:
    from dvc.exceptions import DownloadError

    fetched = 0
    with whole_objects(repo) as heard:
        try:
            with one_command(repo):
                fetched = int(repo.fetch(names, run_cache=run_cache))
        except DownloadError:  # it only counts what was heard
            heard.is_something_missing = True
        except Exception as error:  # each storage's library raises its own
            heard.errors.append(error)
    remotes = _remotes(repo, names)
    if heard.errors and classify(heard.errors).kind != "missing":
        is_import = any(out.stage.is_import or out.stage.is_repo_import for out in _outs(repo, names))
        raise attribute_error(
            repo, remotes, heard.errors, is_sure=len(remotes) == 1 and not is_import
        ) from heard.errors[0]
    notes = heard.warnings
    if heard.errors or heard.is_something_missing:  # or was it refused, and taken for missing?
        for name in remotes:
            if problem := probe(repo, name):
                if problem.kind != "not_created":
                    raise StorageError(problem, remote=name)
                notes.append(problem.message)
    return fetched, notes


@contextlib.contextmanager
def whole_objects(repo: Repo) -> Iterator[Heard]:
    """Yields what DVC says of downloads while inside. Where the download of the second of two objects breaks off, DVC
    keeps the half as if it were the whole: at the end it is removed from the cache.
    """
    from dvc_data.hashfile.hash import hash_file

    with listening() as heard:
        try:
            yield heard
        finally:
            for odb in (repo.cache.local, repo.cache.legacy):
                for oid in heard.failed_objects:
                    if "/" in oid or not odb.exists(oid):
                        continue
                    path = odb.oid_to_path(oid)
                    if hash_file(path, odb.fs, odb.hash_name)[1].value != oid.removesuffix(".dir"):
                        odb.unprotect(path)
                        odb.delete(oid)


def _remotes(repo: Repo, names: list[str] | None) -> list[str]:
    """Returns the remotes that the targets' outputs come from, the default one first."""
    default = repo.config["core"].get("remote")
    asked = {out.remote or default for out in _outs(repo, names) if out.use_cache}
    return sorted((name for name in asked if name in repo.config["remote"]), key=lambda name: (name != default, name))


def _outs(repo: Repo, targets: list[str] | None) -> list[Output]:
    return list(repo.index.targets_view(targets).outs)


def _unsaved(repo: Repo, targets: list[str] | None) -> set[str]:
    """Returns the outputs whose content in the work tree no cache holds."""
    unsaved = set()
    for out in _outs(repo, targets):
        is_changed = out.use_cache and out.exists and out.changed_checksum()
        if is_changed and not out.cache.exists(str(out.get_hash().value)):
            unsaved.add(str(out))
    return unsaved
