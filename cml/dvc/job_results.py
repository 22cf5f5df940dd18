"""Results that other jobs have made, taken into this work tree: their dvc.lock entries, and no more data than is asked
for. Nothing is run.

A plan's record says which run of a stage the other jobs went on from; where there is none, the run cache has the runs
on the very inputs that the stage has now.
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

from cml.dvc.lockfile import put_entries
from cml.dvc.patches.caching import one_command, reading_of
from cml.dvc.project import Project
from cml.dvc.pull import cached_runs, fetch_objects, pull_paths
from cml.dvc.push import entry_of
from cml.dvc.records import Entry, Record, Result
from cml.dvc.staleness import OutputIndex, is_stale
from cml.model.report import StageRun
from cml.process.log import Log

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.stage import Stage


OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """The results that are here now; the stages that have none, and of those the ones whose result is not for what is
    here now.
    """

    results: dict[str, Result]
    missing: list[str]
    refused: list[str]


def adopt(project: Project, names: Sequence[str], record: Record, log: Log) -> Adopted:
    """Writes the results of stages into their dvc.lock, in the order given, in which they can run. Outputs that git
    holds are put in place, others only where older ones are. Raises StorageTrouble and WorkFailed.
    """
    repo = project.repo
    stages = project.stages(names)
    outputs = OutputIndex(repo.index.outs)
    found: dict[str, Result] = {}
    for name, stage in stages.items():
        if result := _result(stage, record.results.get(name), outputs, log):
            found[name] = result
            _prepare_place(stage)
            _place_git_outputs(stage, log)
    _write({stages[name]: result.entry for name, result in found.items()})
    project.reload()
    stages = project.stages(found)
    older = [out.fs_path for stage in stages.values() for out in stage.outs if out.use_cache and _is_older(out)]
    if older:
        pull_paths(repo, older, log=log)
    outputs = OutputIndex(repo.index.outs)
    with reading_of(repo, stages.values()):
        # What DVC runs each time has been run, by another job.
        done = {name for name, stage in stages.items() if not is_stale(stage, outputs, each_time=False)}
    missing = [name for name in names if name not in done]
    return Adopted(
        results={name: result for name, result in found.items() if name in done},
        missing=missing,
        refused=[name for name in missing if name in found or name in record.results],
    )


def is_sound(entry: Entry, stage: Stage) -> bool:
    """Whether an entry of dvc.lock that lay on a remote is of this stage and names nothing but objects of the cache:
    whoever can write there can write one.
    """
    for kind, items in (("deps", stage.deps), ("outs", stage.outs)):
        known = {item.def_path for item in items if not isinstance(item, _params())}
        rows = entry.get(kind) or []
        # What is no file of the project's, such as an address, has marks of other kinds, and no object.
        plain = [row for row in rows if kind == "outs" or "md5" in row]
        if {row.get("path") for row in rows} != known or not all(_is_plain(row) for row in plain):
            return False
    return bool(entry.get("cmd") == stage.cmd)


def _params() -> type:
    from dvc.dependency.param import ParamsDependency

    return ParamsDependency  # type: ignore[no-any-return]  # DVC has no types


def _is_plain(row: Mapping[str, object]) -> bool:
    """Whether a row names an object by its hash, and nothing besides that DVC could take for a place."""
    known = {"path", "hash", "md5", "size", "nfiles", "isexec"}
    return row.keys() <= known and bool(OBJECT.fullmatch(str(row.get("md5")))) and row.get("hash") in (None, "md5")


def _result(stage: Stage, recorded: Result | None, outputs: OutputIndex, log: Log) -> Result | None:
    """Returns the result that fits a stage's inputs, and fills the stage from it, so that those after it see it."""
    from dvc.stage.loader import StageLoader

    for result in _candidates(stage, recorded, outputs, log):
        if is_sound(result.entry, stage) and _is_from(result.entry, stage, outputs):
            StageLoader.fill_from_lock(stage, result.entry)
            return result
    return None


def _candidates(stage: Stage, recorded: Result | None, outputs: OutputIndex, log: Log) -> Iterator[Result]:
    """Yields what has been recorded, and then what the run cache has, which is not asked before."""
    if recorded:
        yield recorded
    for entry in cached_runs(stage, outputs, log):
        yield Result(entry=entry, run=StageRun(name=stage.addressing, status="restored"))


def _is_from(entry: Entry, stage: Stage, outputs: OutputIndex) -> bool:
    """Whether a result was made from the outputs that the stages before it have here."""
    hashes = {dep["path"]: dep.get("md5") for dep in entry.get("deps", ())}
    now = ((dep.def_path, outputs.hash_of(dep)) for dep in stage.deps)
    return all(hashes.get(path) == value for path, value in now if value is not None)


def _write(entries: Mapping[Stage, Entry]) -> None:
    """Writes entries into their dvc.lock files, each file once."""
    by_lock: dict[str, dict[str, Entry]] = {}
    for stage, entry in entries.items():
        by_lock.setdefault(f"{os.path.splitext(stage.path)[0]}.lock", {})[str(stage.name)] = entry
    for path, stages in by_lock.items():
        put_entries(path, stages)


def _is_older(out: Output) -> bool:
    return bool(out.exists and out.changed_checksum())


def _prepare_place(stage: Stage) -> None:
    """Leaves in the work tree what a run of a stage does besides its outputs: folders, and lines of .gitignore, which
    stages that take a whole folder depend on as well.
    """
    with one_command(stage.repo):
        for out in (out for out in stage.outs if out.use_cache):
            Path(out.fs_path).parent.mkdir(parents=True, exist_ok=True)
            out.ignore()


def _place_git_outputs(stage: Stage, log: Log) -> None:
    """Puts the outputs that git holds in place. One whose objects are nowhere stays as it is, which shows later."""
    from dvc.exceptions import CheckoutError

    if all(out.use_cache for out in stage.outs):
        return
    repo = stage.repo
    outputs = partial(repo.stage_cache._uncached_outs, stage, entry_of(stage))
    wanted = {out.fs_path for out in outputs() if not out.exists or out.changed_checksum()}
    fetch_objects(repo, [out for out in outputs() if out.fs_path in wanted], log=log)
    for out in outputs():
        if out.fs_path in wanted:
            with contextlib.suppress(CheckoutError):
                out.checkout(force=True)


def inputs_of(project: Project, names: Iterable[str]) -> list[str]:
    """Returns the paths of what the stages take from other stages, or from tracked data, and of what they go on from
    themselves (`persist`).
    """
    stages = list(project.stages(names).values())
    own = {out.fs_path for stage in stages for out in stage.outs}
    outputs = OutputIndex(out for out in project.repo.index.outs if out.use_cache and out.fs_path not in own)
    found = {out.fs_path for stage in stages for out in stage.outs if out.persist and out.use_cache and out.hash_info}
    for path in {dep.fs_path for stage in stages for dep in stage.deps if dep.protocol == "local"}:
        if path in outputs.by_path or outputs.above(path):
            found.add(path)
        found |= {out.fs_path for out in outputs.inside(path)}
    return sorted(found)
