"""Takes the results of other jobs into the work tree: their dvc.lock entries, and only the data that is needed.

No stage runs here. The record of a plan has the runs that the other jobs used; for stages without a record, the run
cache has the runs on the inputs that the stage has now.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.dependency.param import ParamsDependency
from dvc.exceptions import CheckoutError
from dvc.stage.loader import StageLoader

from cml.dvc.lockfile import put_entries
from cml.dvc.patches.locking import OneCommand, OneLock
from cml.dvc.pull import fetch_objects, pull_paths
from cml.dvc.push import lock_entry
from cml.dvc.run_cache import cached_runs
from cml.dvc.staleness import OutputIndex, is_stale
from cml.dvc.targets import stages_by_name
from cml.model.records import Entry, JobRecord, StageResult
from cml.model.report import StageRun
from cml.process.log import Log

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage


OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True, kw_only=True)
class TakenResults:
    """The results that are in the work tree now; the stages without one; and of those, the stages whose recorded result
    does not fit their inputs.
    """

    results: dict[str, StageResult]
    missing: list[str]
    refused: list[str]


def take_results(repo: Repo, names: Sequence[str], record: JobRecord, log: Log) -> TakenResults:
    """Writes the results of stages into their dvc.lock. `names` are in an order in which the stages can run.

    Outputs with `cache: false` are checked out, others only where the work tree has older ones. Raises StorageError and
    WorkFailed.
    """
    stages = stages_by_name(repo, names)
    outputs = OutputIndex(repo.index.outs)
    found: dict[str, StageResult] = {}
    # In order: the result of a stage fits only if the stages before it have theirs.
    for name, stage in stages.items():
        if result := _fitting_result(stage, record.results.get(name), outputs, log):
            found[name] = result
            _prepare_folders(stage)
            _check_out_git_outputs(stage, log)
    _write({stages[name]: result.entry for name, result in found.items()})
    repo._reset()  # dvc.lock has changed
    stages = stages_by_name(repo, found)
    # An older output in the work tree would make its stage stale; one that is not there does not.
    older = [out.fs_path for stage in stages.values() for out in stage.outs if out.use_cache and _is_older(out)]
    if older:
        pull_paths(repo, older, log=log)
    outputs = OutputIndex(repo.index.outs)
    with OneLock(repo, stages.values()):
        # Stages that DVC runs each time have been run, by another job.
        done = {name for name, stage in stages.items() if not is_stale(stage, outputs, with_always_changed=False)}
    missing = [name for name in names if name not in done]
    return TakenResults(
        results={name: result for name, result in found.items() if name in done},
        missing=missing,
        refused=[name for name in missing if name in found or name in record.results],
    )


def is_valid_entry(entry: Entry, stage: Stage) -> bool:
    """Whether an entry of dvc.lock from a remote belongs to this stage and names nothing but objects of the cache.

    Everybody who can write to the remote can write an entry.
    """
    for kind, items in (("deps", stage.deps), ("outs", stage.outs)):
        known = {item.def_path for item in items if not isinstance(item, ParamsDependency)}
        rows = entry.get(kind) or []
        if {row.get("path") for row in rows} != known:
            return False
        # A dependency that is not a file of the project, such as a URL, has other keys and no object.
        objects = [row for row in rows if kind == "outs" or "md5" in row]
        if not all(_names_object(row) for row in objects):
            return False
    return bool(entry.get("cmd") == stage.cmd)


def _names_object(row: Mapping[str, object]) -> bool:
    """Whether a row names an object by its hash, and has no other key that DVC could take for a location."""
    known = {"path", "hash", "md5", "size", "nfiles", "isexec"}
    return row.keys() <= known and bool(OBJECT.fullmatch(str(row.get("md5")))) and row.get("hash") in (None, "md5")


def _fitting_result(stage: Stage, recorded: StageResult | None, outputs: OutputIndex, log: Log) -> StageResult | None:
    """Returns the result that fits a stage's inputs. The stage gets it too, so that the stages after it know it."""
    for result in _candidates(stage, recorded, outputs, log):
        if is_valid_entry(result.entry, stage) and _has_inputs(result.entry, stage, outputs):
            StageLoader.fill_from_lock(stage, result.entry)
            return result
    return None


def _candidates(stage: Stage, recorded: StageResult | None, outputs: OutputIndex, log: Log) -> Iterator[StageResult]:
    """Yields the recorded result first. The run cache is only read if that one does not fit."""
    if recorded:
        yield recorded
    for entry in cached_runs(stage, outputs, log):
        yield StageResult(entry=entry, run=StageRun(name=stage.addressing, status="restored"))


def _has_inputs(entry: Entry, stage: Stage, outputs: OutputIndex) -> bool:
    """Whether an entry was made from the outputs that the stages before it have now."""
    # Only what other stages make: `is_stale` compares all other inputs with the work tree later.
    hashes = {dep["path"]: dep.get("md5") for dep in entry.get("deps", ())}
    now = ((dep.def_path, outputs.hash_of(dep)) for dep in stage.deps)
    return all(hashes.get(path) == value for path, value in now if value is not None)


def _write(entries: Mapping[Stage, Entry]) -> None:
    """Writes entries into their dvc.lock files, each file once."""
    by_lock: dict[str, dict[str, Entry]] = {}
    for stage, entry in entries.items():
        # The lock file of a dvc.yaml has the entries of all its stages.
        by_lock.setdefault(f"{os.path.splitext(stage.path)[0]}.lock", {})[str(stage.name)] = entry
    for path, stages in by_lock.items():
        put_entries(path, stages)


def _is_older(out: Output) -> bool:
    return bool(out.exists and out.changed_checksum())


def _prepare_folders(stage: Stage) -> None:
    """Does what a run of a stage does besides its outputs: makes folders, and adds lines to .gitignore. Stages that
    depend on a whole folder depend on these too.
    """
    with OneCommand(stage.repo):
        for out in stage.outs:
            # git shows other outputs, so they are not in .gitignore.
            if out.use_cache:
                Path(out.fs_path).parent.mkdir(parents=True, exist_ok=True)
                out.ignore()


def _check_out_git_outputs(stage: Stage, log: Log) -> None:
    """Checks out the outputs with `cache: false`. One whose objects are missing stays as it is: its stage is stale."""
    if all(out.use_cache for out in stage.outs):
        return
    repo = stage.repo
    # As cached outputs: DVC's run cache has them. Made anew each time, as a checkout changes them.
    outputs = partial(repo.stage_cache._uncached_outs, stage, lock_entry(stage))
    wanted = {out.fs_path for out in outputs() if not out.exists or out.changed_checksum()}
    fetch_objects(repo, [out for out in outputs() if out.fs_path in wanted], log=log)
    for out in outputs():
        if out.fs_path in wanted:
            with contextlib.suppress(CheckoutError):
                out.checkout(force=True)


def paths_to_pull(repo: Repo, names: Iterable[str]) -> list[str]:
    """Returns the paths that stages need before they can run: outputs of other stages, tracked data, and their own
    outputs with `persist`.
    """
    stages = list(stages_by_name(repo, names).values())
    own = {out.fs_path for stage in stages for out in stage.outs}
    outputs = OutputIndex(out for out in repo.index.outs if out.use_cache and out.fs_path not in own)
    found = {out.fs_path for stage in stages for out in stage.outs if out.persist and out.use_cache and out.hash_info}
    for path in {dep.fs_path for stage in stages for dep in stage.deps if dep.protocol == "local"}:
        if path in outputs.by_path or outputs.above(path):
            found.add(path)
        found |= {out.fs_path for out in outputs.inside(path)}
    return sorted(found)
