"""Which stages must run, decided without their data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvc.exceptions import DvcException

from cml.dvc.patches.locking import OneLock
from cml.dvc.staleness import OutputIndex, is_stale
from cml.dvc.targets import stages_in_order
from cml.model.plan import StageToRun

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage


def find_stale_stages(repo: Repo, targets: tuple[str, ...]) -> list[StageToRun]:
    """Returns the stages of the targets (of the whole project without targets) that are not up to date by dvc.lock, and
    all that need one of them, in an order in which they can run.
    """
    stages, graph = stages_in_order(repo, targets)
    stale: dict[Stage, StageToRun] = {}
    outputs = OutputIndex(repo.index.outs)

    def must_run(stage: Stage) -> bool:
        try:
            # First by the graph: a stage after a stale one must run, whatever its inputs look like now.
            return any(need in stale for need in graph.successors(stage)) or is_stale(stage, outputs)
        except DvcException:  # its run shows the reason
            return True

    with OneLock(repo, stages):
        for stage in stages:
            # A frozen stage does not run, so nothing that needs it must run because of it.
            if stage.cmd and not stage.frozen and must_run(stage):
                needs = tuple(stale[need].name for need in graph.successors(stage) if need in stale)
                stale[stage] = StageToRun(name=stage.addressing, needs=needs, meta=stage.meta)
    return list(stale.values())
