"""Runs the stages of a pipeline through DVC, and records how each run went."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from dvc.exceptions import DvcException
from dvc.repo.reproduce import _reproduce_stage
from dvc.stage import run as stage_run

from cml.dvc.logging import one_line, started_commands
from cml.dvc.patches.locking import OneCommand, OneLock
from cml.dvc.patches.no_metric_check import NoMetricCheck
from cml.dvc.pull import fetch_by_stage
from cml.dvc.staleness import OutputIndex, is_stale, was_never_made
from cml.dvc.targets import stages_in_order
from cml.model.report import GpuUsage, StageRun
from cml.process.gpu import GpuMeasurement, GpuMonitor
from cml.remotes.errors import StorageError

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

    from cml.process.log import Log

RunStatus = Literal["ran", "restored", "up to date", "frozen", "failed"]
STATUS_TEXTS = {"restored": "restored from the run cache", "up to date": "is up to date", "frozen": "is frozen"}


class StageFailed(Exception):
    """A stage of the pipeline failed: its name, and DVC's message."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason


class Reproduction:
    """Reproductions of a project. `runs` has each stage of the last one, also after a failure."""

    def __init__(self, repo: Repo, log: Log) -> None:
        self.runs: list[StageRun] = []
        self._repo = repo
        self._log = log
        self._outputs: OutputIndex | None = None

    def is_up_to_date(self, targets: tuple[str, ...], *, allow_missing: bool) -> bool:
        """Whether a reproduction of the targets would do nothing. If so, `runs` is set.

        With `allow_missing` dvc.lock decides, without any data (for `dvc_pull: auto`). Otherwise all data of the
        targets, and of the stages that they need, must be in the work tree and in the cache too.
        """
        stages, graph = stages_in_order(self._repo, targets)
        outputs = OutputIndex(self._repo.index.outs)

        def must_run(stage: Stage) -> bool:
            if stage.cmd and allow_missing:
                return is_stale(stage, outputs)
            return bool(stage.changed(allow_missing=allow_missing, upstream=list(graph.successors(stage))))

        try:
            with OneLock(self._repo, stages):
                if any(must_run(stage) for stage in stages):
                    return False
        except DvcException:  # the reproduction gets the same error, and knows of which stage it is
            return False
        self.runs = [
            StageRun(name=stage.addressing, status="frozen" if stage.frozen else "up to date")
            for stage in stages
            if stage.cmd
        ]
        return True

    def reproduce(self, targets: tuple[str, ...], *, pull_missing: bool, alone: bool) -> bool:
        """Reproduces the targets (the whole project without targets); `alone`, without what they need, in their order.

        `pull_missing` fetches only what stages that must run need. Returns whether a stage ran. Raises StageFailed, and
        StorageError where needed data cannot be fetched.
        """
        self.runs.clear()
        # With `alone`, all inputs are in place, and the results of other jobs are not in DVC's cache.
        self._outputs = OutputIndex(self._repo.index.outs) if pull_missing and not alone else None
        # `fetch_by_stage` fetches the run cache stage by stage, so DVC must not fetch all of it first.
        options = {"pull": True, "allow_missing": True, "run_cache": False} if pull_missing else {}
        fetching = fetch_by_stage(self._repo, self._log) if pull_missing else contextlib.nullcontext()
        try:
            with fetching, OneCommand(self._repo):
                changed = self._repo.reproduce(
                    targets=list(targets) or None,
                    all_pipelines=not targets,
                    single_item=alone,
                    repro_fn=self._run_stage,
                    **options,
                )
        except DvcException as error:
            # DVC wraps whatever `_run_stage` raises in a ReproductionError.
            if isinstance(error.__cause__, (StageFailed, StorageError)):
                raise error.__cause__ from error
            failed = next((run.name for run in self.runs if run.status == "failed"), "the pipeline")
            raise StageFailed(failed, one_line(error.__cause__ or error)) from error
        return bool(changed)

    def _run_stage(self, stage: Stage, **options: Any) -> Stage | None:
        """Runs one stage: DVC calls this (`repro_fn`) in place of its own function."""
        # `Repo.reproduce` passes it on; `_reproduce_stage` would take it for "do not use the run cache".
        options.pop("run_cache", None)
        if not stage.cmd:
            return self._run_source(stage, **options)
        if options.get("pull") and not stage.frozen:
            self._force_stale(stage, options)
        # The monitor starts with the first command: a restored stage uses no GPU.
        started, monitor = time.monotonic(), GpuMonitor()
        with NoMetricCheck(stage), started_commands(self._log, monitor.start) as commands:
            try:
                result = _reproduce_stage(stage, **options)
            except StorageError:  # the stage did not start
                raise
            except BaseException:
                self._record(stage, "failed", started, gpu=monitor.stop())
                raise
        gpu = monitor.stop()
        if stage.frozen or result is None:
            self._record(stage, "frozen" if stage.frozen else "up to date", None)
        else:
            # DVC starts no command for a stage that it restores from the run cache.
            self._record(stage, "ran" if commands else "restored", started, gpu=gpu)
        return result

    def _force_stale(self, stage: Stage, options: dict[str, Any]) -> None:
        """Forces DVC to run a stale stage that it takes for unchanged since its inputs are not in the work tree."""
        outputs = self._outputs
        if not (is_stale(stage, outputs) if outputs else was_never_made(stage)):
            return
        upstream = options.get("upstream")
        if outputs and not stage.changed(allow_missing=True, upstream=upstream):
            stage_run._pull_missing_deps(stage)  # with `force` DVC would not
        options["force"] = not stage.changed(allow_missing=True, upstream=upstream)

    def _run_source(self, stage: Stage, **options: Any) -> Stage | None:
        """Updates a .dvc file whose data has changed in the work tree, and imports."""
        if not stage.is_import and not all(out.exists for out in stage.outs):
            return None  # it was not pulled; a stage that needs it fails with its own message
        try:
            return _reproduce_stage(stage, **options)
        except DvcException as error:
            raise StageFailed(stage.addressing, one_line(error)) from error

    def _record(
        self, stage: Stage, status: RunStatus, started: float | None, *, gpu: GpuMeasurement | None = None
    ) -> None:
        seconds = None if started is None else time.monotonic() - started
        usage = GpuUsage(**asdict(gpu)) if gpu else None
        self.runs.append(StageRun(name=stage.addressing, status=status, seconds=seconds, gpu=usage))
        duration = "" if seconds is None else f" in {seconds:.1f} s"
        self._log.note(f"{stage.addressing} {STATUS_TEXTS.get(status, status)}{duration}")
