"""Which stages and files the targets of a run name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dvc.exceptions import DvcException
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

from cml.dvc.logging import one_line
from cml.errors import BadInput

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

    from cml.process.log import Log

TargetVariable = Literal["repro_targets", "dvc_pull"]


def check_targets(repo: Repo, targets: Iterable[str], *, variable: TargetVariable, log: Log) -> tuple[str, ...]:
    """Returns the targets as DVC 3 knows them. Raises BadInput for one that does not exist.

    DVC 0.x had a file NAME.dvc for each stage: where there is no such file, NAME.dvc is the stage NAME.
    """
    checked = []
    for target in targets:
        name = target
        stage = target.removesuffix(".dvc")
        if target != stage and not Path(target).exists() and _problem(repo, stage, variable) is None:
            name = stage
            log.warning(f"{variable}: there is no file {target}; the stage {stage} is used")
        if problem := _problem(repo, name, variable):
            raise BadInput(f"{variable} names {target!r}, which is not a stage or file of the project: {problem}")
        checked.append(name)
    return tuple(checked)


def _problem(repo: Repo, target: str, variable: TargetVariable) -> str | None:
    try:
        # `dvc pull` takes files inside outputs too, `dvc repro` takes only stages and .dvc files.
        if variable == "dvc_pull":
            repo.index.collect_targets([target])
        else:
            repo.stage.collect(target)
    except (DvcException, OSError) as error:
        return one_line(error)
    return None


def stages_in_order(repo: Repo, targets: Iterable[str]) -> tuple[list[Stage], Any]:
    """Returns the stages of the targets (all without targets) and those that they need, in the order in which DVC runs
    them, and DVC's graph. Its edges lead from a stage to one that it needs; a frozen stage needs none.
    """
    graph = get_active_graph(repo.index.graph)
    return plan_repro(graph, collect_stages(repo, targets) or None), graph


def stages_by_name(repo: Repo, names: Iterable[str]) -> dict[str, Stage]:
    """Returns stages of the pipeline by their addresses. Names that do not exist are left out."""
    known = {stage.addressing: stage for stage in repo.index.stages if stage.cmd}
    return {name: known[name] for name in names if name in known}
