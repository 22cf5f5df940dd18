"""Results that other jobs have made, taken into this work tree: their dvc.lock entries, and no more data than is asked
for. Nothing is run.

A plan's record says which run of a stage the other jobs went on from; where there is none, the run cache has the runs
on the very inputs that the stage has now.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from cml.log import Log
from cml.pipeline.locks import put_entries
from cml.pipeline.objects import entry_of
from cml.pipeline.project import Pipeline
from cml.pipeline.pull import cached_runs, fetch_objects, pull_paths
from cml.pipeline.reading import one_command, reading_of
from cml.pipeline.records import Entry, Record, Result
from cml.report.model import StageRun

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """The results that are here now, and the stages that have none which is made from what is here now."""

    results: dict[str, Result]
    missing: list[str]


def adopt(pipeline: Pipeline, names: Sequence[str], record: Record, log: Log) -> Adopted:
    """Writes the results of stages into their dvc.lock, in the order given, in which they can run. Outputs that git
    holds are put in place, others only where older ones are. Raises StorageTrouble and WorkFailed.
    """
    repo = pipeline.repo
    stages = pipeline.stages(names)
    made = {out.fs_path: out for out in repo.index.outs}
    found: dict[str, Result] = {}
    for name, stage in stages.items():
        if result := _result(stage, record.results.get(name), made, log):
            found[name] = result
    _write({stages[name]: result.entry for name, result in found.items()})
    pipeline.reload()
    stages = pipeline.stages(found)
    _place_git_outputs(pipeline, stages.values(), log)
    older = [out.fs_path for stage in stages.values() for out in stage.outs if out.use_cache and _is_older(out)]
    if older:
        pull_paths(repo, older, log=log)
    with one_command(repo):
        for out in (out for stage in stages.values() for out in stage.outs if out.use_cache):
            Path(out.fs_path).parent.mkdir(parents=True, exist_ok=True)
            out.ignore()
    done = _up_to_date(pipeline, stages.values())
    return Adopted(
        results={name: result for name, result in found.items() if name in done},
        missing=[name for name in names if name not in done],
    )


def _result(stage: Stage, recorded: Result | None, made: Mapping[str, Output], log: Log) -> Result | None:
    """Returns the result that fits a stage's inputs, and fills the stage from it, so that those after it see it."""
    from dvc.stage.loader import StageLoader

    for result in _candidates(stage, recorded, made, log):
        if result.entry.get("cmd") == stage.cmd and _is_from(result.entry, stage, made):
            StageLoader.fill_from_lock(stage, result.entry)
            return result
    return None


def _candidates(stage: Stage, recorded: Result | None, made: Mapping[str, Output], log: Log) -> Iterator[Result]:
    """Yields what has been recorded, and then what the run cache has, which is not asked before."""
    if recorded:
        yield recorded
    for entry in cached_runs(stage, made, log):
        yield Result(entry=entry, run=StageRun(name=stage.addressing, status="restored"))


def _is_from(entry: Entry, stage: Stage, made: Mapping[str, Output]) -> bool:
    """Whether a result was made from the outputs that the stages before it have here."""
    hashes = {
        dep["path"]: next((dep[name] for name in ("md5", "etag", "checksum") if name in dep), None)
        for dep in entry.get("deps", ())
    }
    return all(
        hashes.get(dep.def_path) == made[dep.fs_path].hash_info.value
        for dep in stage.deps
        if dep.fs_path in made and made[dep.fs_path].hash_info
    )


def _write(entries: Mapping[Stage, Entry]) -> None:
    """Writes entries into their dvc.lock files, each file once."""
    by_lock: dict[str, dict[str, Entry]] = {}
    for stage, entry in entries.items():
        by_lock.setdefault(f"{os.path.splitext(stage.path)[0]}.lock", {})[str(stage.name)] = entry
    for path, stages in by_lock.items():
        put_entries(path, stages)


def _is_older(out: Output) -> bool:
    return bool(out.exists and out.changed_checksum())


def _up_to_date(pipeline: Pipeline, stages: Iterable[Stage]) -> set[str]:
    """Returns the stages that are what dvc.lock says, with all that they are made from. What DVC runs each time
    (`always_changed`, or no dependencies) has been run, by another job.
    """
    _, graph = pipeline.in_order(())
    stages = list(stages)
    with reading_of(pipeline.repo, stages):
        return {
            stage.addressing
            for stage in stages
            if not stage.changed_stage()
            and not stage._changed_deps(allow_missing=True, upstream=list(graph.successors(stage)))
            and not stage.changed_outs(allow_missing=True)
        }


def _place_git_outputs(pipeline: Pipeline, stages: Iterable[Stage], log: Log) -> None:
    """Puts the outputs that git holds in place. One whose objects are nowhere stays as it is, which shows later."""
    from dvc.exceptions import CheckoutError

    repo = pipeline.repo
    for stage in (stage for stage in stages if not all(out.use_cache for out in stage.outs)):
        outputs = partial(repo.stage_cache._uncached_outs, stage, entry_of(stage))
        wanted = {out.fs_path for out in outputs() if not out.exists or out.changed_checksum()}
        fetch_objects(repo, [out for out in outputs() if out.fs_path in wanted], log=log)
        for out in outputs():
            if out.fs_path in wanted:
                with contextlib.suppress(CheckoutError):
                    out.checkout(force=True)


def inputs_of(pipeline: Pipeline, names: Iterable[str]) -> list[str]:
    """Returns the paths of what the stages take from other stages, or from tracked data."""
    stages = list(pipeline.stages(names).values())
    own = {out.fs_path for stage in stages for out in stage.outs}
    made = {out.fs_path for out in pipeline.repo.index.outs if out.use_cache} - own
    in_order = sorted(made)
    found: set[str] = set()
    for path in {dep.fs_path for stage in stages for dep in stage.deps if dep.protocol == "local"}:
        if path in made or any(str(parent) in made for parent in PurePath(path).parents):
            found.add(path)
        inside = f"{path}{os.sep}"
        found |= set(takewhile(lambda out: out.startswith(inside), in_order[bisect_left(in_order, inside) :]))  # noqa: B023
    return sorted(found)
