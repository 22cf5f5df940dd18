"""Which stages must run, decided without their data, and what kind of machine each asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cml.dvc.patches.caching import reading_of
from cml.dvc.project import Project
from cml.dvc.staleness import OutputIndex, is_stale
from cml.errors import BadInput
from cml.model.plan import DueStage, Runner
from cml.plan.grouping import LONGEST_TIMEOUT

if TYPE_CHECKING:
    from dvc.stage import Stage

# A job's name and `--stages` hold stages' names between commas.
NAMELESS = re.compile(r"[,\s'\"`$\\\x00-\x1f\x7f]")
LABEL = re.compile(r"[^\s,'\"\x00-\x1f\x7f]{1,200}")


def due_stages(project: Project, targets: tuple[str, ...]) -> list[DueStage]:
    """Returns the stages of the targets (of the whole project when empty) that are not up to date by dvc.lock, and all
    that need one of them, in an order in which they can run. Raises BadInput for a `meta` that cannot be read.
    """
    from dvc.exceptions import DvcException

    stages, graph = project.in_order(targets)
    due: dict[Stage, DueStage] = {}

    outputs = OutputIndex(project.repo.index.outs)

    def must_run(stage: Stage) -> bool:
        try:
            return any(need in due for need in graph.successors(stage)) or is_stale(stage, outputs)
        except DvcException:  # its run will say why
            return True

    with reading_of(project.repo, stages):
        for stage in stages:
            if not stage.cmd or stage.frozen or not must_run(stage):
                continue
            if NAMELESS.search(stage.addressing):
                raise BadInput(
                    f"the stage {stage.addressing!r} has a comma, a space or a quote in its name, which no job can name"
                )
            needs = tuple(due[need].name for need in graph.successors(stage) if need in due)
            due[stage] = _due(stage, needs)
    return list(due.values())


def _due(stage: Stage, needs: tuple[str, ...]) -> DueStage:
    asked = stage.meta.get("cml") if isinstance(stage.meta, dict) else None
    if asked is None:
        return DueStage(name=stage.addressing, needs=needs)
    if not isinstance(asked, dict):
        raise _unreadable(stage, "", asked, "a map with runs_on, tags, gpu or timeout")
    for name in asked.keys() - {"runs_on", "tags", "gpu", "timeout"}:
        raise _unreadable(stage, f".{name}", asked[name], "runs_on, tags, gpu or timeout")
    gpu, timeout = asked.get("gpu", False), asked.get("timeout")
    if not isinstance(gpu, bool):
        raise _unreadable(stage, ".gpu", gpu, "true or false")
    if timeout is not None and not (type(timeout) is int and 0 < timeout <= LONGEST_TIMEOUT):
        raise _unreadable(stage, ".timeout", timeout, f"whole minutes from 1 to {LONGEST_TIMEOUT:,}")
    runner = Runner(runs_on=_labels(stage, "runs_on", asked), tags=_labels(stage, "tags", asked), gpu=gpu)
    return DueStage(name=stage.addressing, needs=needs, runner=runner, timeout=timeout)


def _labels(stage: Stage, name: str, asked: dict[str, Any]) -> tuple[str, ...]:
    labels = asked.get(name, [])
    labels = [labels] if isinstance(labels, str) else labels
    if not isinstance(labels, list) or not all(isinstance(each, str) and LABEL.fullmatch(each) for each in labels):
        raise _unreadable(stage, f".{name}", asked[name], "a label or a list of labels")
    return tuple(labels)


def _unreadable(stage: Stage, where: str, value: object, expected: str) -> BadInput:
    return BadInput(f"{stage.addressing}: meta.cml{where} is {value!r}: expected {expected}")
