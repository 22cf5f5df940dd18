"""Data from the DVC remotes into the work tree: everything that was asked for, or what one stage needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dvc.exceptions import CheckoutError, DownloadError, DvcException
from dvc_data.hashfile.hash import hash_file

from cml.dvc.logging import TransferMessages, captured_messages, one_line
from cml.dvc.patches.fetch_by_stage import FetchByStage
from cml.dvc.patches.locking import OneCommand
from cml.dvc.recovery import checking_out
from cml.dvc.run_cache import fetch_runs_of
from cml.errors import WorkFailed
from cml.process.log import Log
from cml.remotes.errors import StorageError, classify
from cml.remotes.probe import attribute_error, probe, retry_remote

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage


def pull(repo: Repo, targets: tuple[str, ...], *, log: Log, may_overwrite: bool) -> str:
    """Pulls targets (everything without targets) and the run cache; returns in a few words what was done.

    Data in the work tree that no cache has is kept, unless `may_overwrite`. An output of a stage that the remote does
    not have is a warning. Raises WorkFailed where the data of a `.dvc` file is missing from the cache and from the
    remote, and StorageError where a remote refuses or cannot be reached.
    """
    names = list(targets) or None
    # Not `Repo.pull`, which overwrites changes that no cache has.
    fetched, notes = fetch(repo, names, log=log, run_cache=True)
    kept = set() if may_overwrite else _unsaved_outputs(repo, names)
    outs = [out for out in _outputs(repo, names) if out.use_cache]
    wanted = [out for out in outs if out.hash_info and str(out) not in kept]
    # By their paths only where necessary: DVC does not find each name again (a line break, a backslash).
    paths = names if len(wanted) == len(outs) else [out.fs_path for out in wanted]
    try:
        if wanted:
            with checking_out(repo, [out.fs_path for out in wanted]), OneCommand(repo):
                repo.checkout(paths, force=True, allow_missing=True)
    except CheckoutError:
        pass  # what is missing is found below, by name
    except DvcException as error:
        raise WorkFailed(f"cannot check out the data: {one_line(error)}", step="pull") from error
    for path in sorted(kept):
        log.note(f"kept your change of {path}: no cache has it yet")
    _check_missing(repo, names, notes, log)
    if fetched:
        return f"{fetched} files fetched"
    has_results = any(out.hash_info for out in _outputs(repo, names))
    return "all data is already in the work tree" if has_results else "nothing to pull yet"


def _check_missing(repo: Repo, names: list[str] | None, notes: list[str], log: Log) -> None:
    # DVC's errors name objects, and not always all of them. What is not in the work tree now was not found anywhere.
    missing = [out for out in _outputs(repo, names) if out.use_cache and out.hash_info and not out.exists]
    if sources := sorted(str(out) for out in missing if not out.stage.cmd):
        raise WorkFailed(
            f"{', '.join(sources[:5])}: missing from the cache and from the DVC remote{_in_brackets(notes)}: run "
            "`dvc push` where the data is, or check the credentials",
            step="pull",
        )
    for out in missing:
        log.warning(f"{out} of {out.stage.addressing} is not on the DVC remote: the stage runs again")


def pull_paths(repo: Repo, paths: list[str], *, log: Log) -> int:
    """Pulls exactly these outputs, or parts of them; returns the number of files fetched. Raises WorkFailed for what is
    missing from the cache and from the remote, and StorageError.
    """
    try:
        fetched, notes = fetch(repo, paths, log=log, run_cache=False)
        with checking_out(repo, paths), OneCommand(repo):
            repo.checkout(paths, force=True)
    except CheckoutError as error:
        missing = ", ".join(sorted(error.target_infos)[:5])
        raise WorkFailed(
            f"cannot check out {missing}: objects are missing from the cache and from the DVC remote"
            f"{_in_brackets(notes)}. Run `dvc push` where the data is, or `cml run` to make it again",
            step="pull",
        ) from error
    except DvcException as error:
        raise WorkFailed(f"cannot check out the data: {one_line(error)}", step="pull") from error
    return fetched


def _in_brackets(notes: list[str]) -> str:
    return f" ({notes[-1]})" if notes else ""


def fetch(repo: Repo, names: list[str] | None, *, log: Log, run_cache: bool) -> tuple[int, list[str]]:
    """Fetches what the cache does not have; returns the number of files, and notes to show. Raises StorageError."""
    return retry_remote(lambda: _fetch(repo, names, run_cache=run_cache), log)


@contextlib.contextmanager
def fetch_by_stage(repo: Repo, log: Log) -> Iterator[None]:
    """Inside, a reproduction fetches for each stage that must run its missing inputs and its runs in the run cache."""

    def fetch_missing(stage: Stage) -> None:
        absent = [dep.def_path for dep in stage.deps if dep.protocol == "local" and dep.def_path and not dep.exists]
        try:
            if absent:
                fetch(repo, absent, log=log, run_cache=False)
        except StorageError as error:
            if error.remote:
                raise
            # An import whose source cannot be read: DVC's own pull reports it below.
        with checking_out(repo, [dep.fs_path for dep in stage.deps if dep.def_path in absent]):
            patch.pull_as_dvc(stage)
        retry_remote(lambda: fetch_runs_of(stage), log)

    patch = FetchByStage(repo, fetch=fetch_missing, guard=lambda: whole_objects(repo))
    with patch:
        yield


def fetch_objects(repo: Repo, outs: Iterable[Output], *, log: Log) -> None:
    """Fetches what the cache does not have of outputs that DVC does not look for itself. Objects that the remote does
    not have stay missing. Raises StorageError.
    """
    wanted = [objects for out in outs for objects in out.get_used_objs().values() if objects]

    def download() -> None:
        with whole_objects(repo) as messages:
            for objects in wanted:
                repo.cloud.pull(objects)
        # DVC logs the errors of single objects, and raises nothing.
        if messages.errors and (problem := classify(messages.errors)).kind != "missing":
            raise StorageError(problem, remote=str(repo.config["core"].get("remote", "")))

    retry_remote(download, log)


def _fetch(repo: Repo, names: list[str] | None, *, run_cache: bool) -> tuple[int, list[str]]:
    fetched = 0
    with whole_objects(repo) as messages:
        try:
            with OneCommand(repo):
                fetched = int(repo.fetch(names, run_cache=run_cache))
        except DownloadError:  # it only has the number of files; the captured messages have the reasons
            messages.is_something_missing = True
        except Exception as error:  # each storage's library raises its own
            messages.errors.append(error)
    remotes = _remotes_of(repo, names)
    if messages.errors and classify(messages.errors).kind != "missing":
        has_imports = any(out.stage.is_import or out.stage.is_repo_import for out in _outputs(repo, names))
        # An import comes from another place than the remotes, so its errors say nothing about them.
        is_sure = len(remotes) == 1 and not has_imports
        raise attribute_error(repo, remotes, messages.errors, is_sure=is_sure) from messages.errors[0]
    notes = messages.warnings
    if messages.errors or messages.is_something_missing:
        # Some storages answer "not found" where they mean "refused": a probe finds out.
        for name in remotes:
            if problem := probe(repo, name):
                if problem.kind != "not_created":
                    raise StorageError(problem, remote=name)
                notes.append(problem.message)
    return fetched, notes


@contextlib.contextmanager
def whole_objects(repo: Repo) -> Iterator[TransferMessages]:
    """Yields what DVC logs about downloads inside. At the end, objects of which DVC has only a part are removed.

    DVC keeps the part of an object whose download was interrupted in the cache, as if it were complete.
    """
    with captured_messages() as messages:
        try:
            yield messages
        finally:
            # DVC names the objects, and not the cache that they are for.
            for odb in (repo.cache.local, repo.cache.legacy):
                for oid in messages.failed_objects:
                    if "/" in oid or not odb.exists(oid):
                        continue
                    path = odb.oid_to_path(oid)
                    # Some failures leave a complete object: only the hash tells.
                    if hash_file(path, odb.fs, odb.hash_name)[1].value != oid.removesuffix(".dir"):
                        # Objects in the cache are read-only.
                        odb.unprotect(path)
                        odb.delete(oid)


def _remotes_of(repo: Repo, names: list[str] | None) -> list[str]:
    """Returns the remotes that the outputs of the targets come from, the default one first."""
    default = repo.config["core"].get("remote")
    wanted = {out.remote or default for out in _outputs(repo, names) if out.use_cache}
    known = [name for name in wanted if name in repo.config["remote"]]
    return sorted(known, key=lambda name: (name != default, name))


def _outputs(repo: Repo, targets: list[str] | None) -> list[Output]:
    return list(repo.index.targets_view(targets).outs)


def _unsaved_outputs(repo: Repo, targets: list[str] | None) -> set[str]:
    """Returns the outputs whose content in the work tree no cache has."""
    unsaved = set()
    for out in _outputs(repo, targets):
        is_changed = out.use_cache and out.exists and out.changed_checksum()
        if is_changed and not out.cache.exists(str(out.get_hash().value)):
            unsaved.add(str(out))
    return unsaved
