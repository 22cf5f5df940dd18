"""What kind of machine each stale stage asks for, from `meta.cml` of the stage in dvc.yaml. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from cml.errors import BadInput
from cml.model.plan import Runner, StageToRun, StaleStage
from cml.plan.grouping import LONGEST_TIMEOUT

# The name of a job, and `--stages`, list names of stages with commas between them.
NOT_IN_NAMES = re.compile(r"[,\s'\"`$\\\x00-\x1f\x7f]")
LABEL = re.compile(r"[^\s,'\"\x00-\x1f\x7f]{1,200}")
KEYS = ("runs_on", "tags", "gpu", "timeout")


def read_stale_stages(stages: Iterable[StageToRun]) -> list[StaleStage]:
    """Returns the stages with the machines that they ask for. Raises BadInput for a `meta.cml` that cannot be read, and
    for a name that a job cannot have.
    """
    return [_read_stale_stage(stage) for stage in stages]


def _read_stale_stage(stage: StageToRun) -> StaleStage:
    if NOT_IN_NAMES.search(stage.name):
        raise BadInput(
            f"the name of the stage {stage.name!r} contains a comma, a space or a quote, so no job can name it: "
            "rename the stage in dvc.yaml"
        )
    asked = stage.meta.get("cml") if isinstance(stage.meta, dict) else None
    if asked is None:
        return StaleStage(name=stage.name, needs=stage.needs)
    if not isinstance(asked, dict):
        raise _unreadable(stage, "", asked, "a map with runs_on, tags, gpu or timeout")
    for key in asked.keys() - set(KEYS):
        raise _unreadable(stage, f".{key}", asked[key], "runs_on, tags, gpu or timeout")
    gpu, timeout = asked.get("gpu", False), asked.get("timeout")
    if not isinstance(gpu, bool):
        raise _unreadable(stage, ".gpu", gpu, "true or false")
    # type() and not isinstance(): `timeout: true` in YAML is a bool, which is an int.
    if timeout is not None and not (type(timeout) is int and 0 < timeout <= LONGEST_TIMEOUT):
        raise _unreadable(stage, ".timeout", timeout, f"whole minutes from 1 to {LONGEST_TIMEOUT:,}")
    runner = Runner(runs_on=_labels(stage, "runs_on", asked), tags=_labels(stage, "tags", asked), gpu=gpu)
    return StaleStage(name=stage.name, needs=stage.needs, runner=runner, timeout=timeout)


def _labels(stage: StageToRun, key: str, asked: dict[str, Any]) -> tuple[str, ...]:
    labels = asked.get(key, [])
    if isinstance(labels, str):
        labels = [labels]
    if not isinstance(labels, list) or not all(isinstance(label, str) and LABEL.fullmatch(label) for label in labels):
        raise _unreadable(stage, f".{key}", asked[key], "a label or a list of labels")
    return tuple(labels)


def _unreadable(stage: StageToRun, key: str, value: object, expected: str) -> BadInput:
    return BadInput(f"{stage.name}: meta.cml{key} is {value!r}: expected {expected}")
