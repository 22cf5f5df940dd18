"""One job of a plan (`cml run --stages`): runs its stages on the results of other jobs, and passes on its own results.

The results go to the DVC remote, with a record that names them. Nothing is committed: `cml gather` does that later.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from cml import __version__
from cml.dvc.project import Project
from cml.dvc.records import Records
from cml.errors import BadInput, WorkFailed
from cml.forges.base import Outputs
from cml.model.records import JobRecord, StageResult
from cml.model.report import StageRun
from cml.plan.messages import count, describe_missing, list_names
from cml.plan.stale_stages import read_stale_stages
from cml.process.signals import run_in_thread
from cml.run.context import Command
from cml.run.head import checked_out, find_head, find_skip
from cml.run.preflight import require_committed, require_remote
from cml.run.report_folder import set_outputs
from cml.run.steps import Steps


def run_plan_job(command: Command, names: list[str]) -> int:
    """Runs the stages with these names, and returns the exit code. Raises BadInput, with nothing changed."""
    repository, context = command.repository, command.context
    head = find_head(repository, context)
    if skip := find_skip(repository, context, command.settings, head):
        command.log.step("skip", skip.reason)
        set_outputs(repository, command.forge, Outputs(skipped=True, sha=head))
        return 0
    if not context.reproduces:
        raise BadInput(f"no stages are run for the event {context.event}")
    with checked_out(repository, head):
        project = command.open_project()
        stages = _check_stages(project, names)
        require_remote(project)
        require_committed(
            repository, project, why="other jobs use the results of this one", otherwise="use `dvc repro` instead"
        )
        job = PlanJob(command, project, head=head, stages=stages)
    # Nothing is pushed to git here, so nobody asks origin or the forge: `cml gather` does.
    failure = job.work()
    set_outputs(repository, command.forge, Outputs(sha=head, verdict="failed" if failure else "none"))
    return 1 if failure else 0


def open_records(command: Command, project: Project, head: str) -> Records:
    """Returns the records of a plan. All jobs of one pipeline or workflow run share them, with their retries; no other
    run does. Raises BadInput.
    """
    parts = (head, command.settings.scope, command.context.run)
    plan_id = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return project.records(plan_id)


def _check_stages(project: Project, names: list[str]) -> list[str]:
    known = project.known_stages(names)
    for name in names:
        if name not in known:
            raise BadInput(
                f"--stages names {name!r}, which is not a stage of the project: expected names that `cml plan` prints"
            )
    return known


class PlanJob(Steps):
    """One job of a plan for the commit `head`, with its `stages` in the order in which they run."""

    def __init__(self, command: Command, project: Project, *, head: str, stages: list[str]) -> None:
        super().__init__(command, project)
        self._head = head
        self._stages = stages
        self._records = open_records(command, project, head)
        self._earlier: dict[str, StageResult] = {}  # what earlier attempts of this job have recorded
        self._done: dict[str, StageRun] = {}  # stages of this job that need not run again

    def work(self) -> WorkFailed | None:
        """Runs the stages and passes on their results. Returns the error if a step failed."""
        self._log.line(
            f"start      cml {__version__} runs {count(len(self._stages), 'stage')} of the plan for {self._head[:7]}: "
            f"{list_names(self._stages)}"
        )
        failure = self._try(self._run)
        # What was done before a failure is passed on too: a retry of the job continues after it.
        return self._try(lambda: self._pass_on(failure)) or failure

    def _try(self, step: Callable[[], None]) -> WorkFailed | None:
        try:
            step()
        except WorkFailed as error:
            self._log.error(f"{error.step}: {error}")
            return error
        return None

    def _run(self) -> None:
        # Before setup, which may take minutes: without access to the remote the job cannot do anything.
        with self._transfer("pull"):
            record = run_in_thread(self._records.read)
        self._earlier.update((name, record.results[name]) for name in self._stages if name in record.results)
        self.set_up()
        with self._transfer("pull"):
            rest = run_in_thread(lambda: self._take_inputs(record))
        if rest:
            self.run_stages(tuple(rest), pull_missing=True, alone=True)
        else:
            self._log.step("reproduce", "no stage is left to run")

    def _take_inputs(self, record: JobRecord) -> list[str]:
        """Takes the results of other jobs that the stages need, and what earlier attempts of this job have done.
        Returns the stages that are left to run.
        """
        project, log = self._project, self._log
        stale = read_stale_stages(project.stale_stages(tuple(self._stages)))
        mine = [stage.name for stage in stale if stage.name in self._stages]
        others = [stage.name for stage in stale if stage.name not in self._stages]
        # Stages of other jobs are never run here: a second run may give other results than those that jobs use.
        taken = project.take_results(others, record)
        if taken.missing:
            text = describe_missing(
                taken.missing,
                stages=stale,
                refused=taken.refused,
                failures=record.failures,
                consequence="so this job lacks some of its inputs",
            )
            raise WorkFailed(text, step="pull")
        self._take_earlier(mine, record)
        rest = [name for name in mine if name not in self._done]
        at_head = partial(self._repository.read_file, self._head)
        for name in project.stages_with_new_entries(self._stages, at_head):
            if name not in mine:  # an earlier attempt ran it, and was killed before it could pass it on
                self._done[name] = StageRun(name=name, status="restored")
        fetched = project.pull_inputs(rest)
        again = f", {count(len(self._done), 'stage')} done by an earlier attempt" if self._done else ""
        log.step(
            "pull", f"{count(len(taken.results), 'result')} of other jobs{again}, {count(fetched, 'file')} fetched"
        )
        return rest

    def _take_earlier(self, names: list[str], record: JobRecord) -> None:
        """Takes those of the stages' results that earlier attempts of this job have recorded, if their data exists."""
        project, earlier = self._project, self._earlier
        complete = [name for name in names if name in earlier and project.has_pushed(name, earlier[name].entry)]
        taken = project.take_results(complete, record)
        self._done.update((name, result.run) for name, result in taken.results.items())

    def _pass_on(self, failure: WorkFailed | None) -> None:
        """Uploads the results, then the record that names them: other jobs never find a record without its data."""
        project = self._project
        ran = {run.name: run for run in project.runs if run.status in ("ran", "restored", "up to date")}
        done = {**self._done, **ran}  # what ran now is newer
        with self._transfer("push"):
            uploaded = run_in_thread(lambda: project.push_stages(done))
            results = self._results(done)
            record = JobRecord(results={**self._earlier, **results}, failures=self._failures(failure))
            run_in_thread(lambda: self._records.write(self._stages, record))
        self._log.step("upload", f"{count(len(results), 'result')}, {count(uploaded, 'file')} uploaded")

    def _results(self, done: dict[str, StageRun]) -> dict[str, StageResult]:
        job, machine = self._context.job or self._stages[0], self._machine()
        results = {}
        for name, entry in self._project.lock_entries(done).items():
            run = done[name]
            if not run.job:  # it ran here, not in an earlier attempt
                run = replace(run, job=job, machine=machine)
            results[name] = StageResult(entry=entry, run=run)
        return results

    def _machine(self) -> str:
        name = self._context.machine or socket.gethostname()
        return self._log.masks.mask(f"{name}, {os.cpu_count()} cores")

    def _failures(self, failure: WorkFailed | None) -> dict[str, str]:
        """Returns the reason for each stage that this job did not finish."""
        if not failure:
            return {}
        runs = self._project.runs
        done = {*self._done, *(run.name for run in runs if run.status != "failed")}
        failed = next((run.name for run in runs if run.status == "failed"), None)
        # The record goes to the DVC remote, where other people can read it.
        reason = self._log.masks.mask(str(failure))
        behind = f"its job ended before it, when {failed} failed" if failed else reason
        return {name: reason if name == failed else behind for name in self._stages if name not in done}
