"""`cml gather`: the last job of a plan. It collects the results of all jobs, saves them and reports them as `cml run`
does. It runs no stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cml.dvc.project import Project
from cml.dvc.records import Records
from cml.errors import WorkFailed
from cml.model.records import StageResult
from cml.plan.messages import count, describe_missing
from cml.plan.stale_stages import read_stale_stages
from cml.process.signals import run_in_thread
from cml.run.context import Command
from cml.run.origin import ResultsExist, check_existing_results, fetch_descendant
from cml.run.plan_job import open_records
from cml.run.preflight import Preparation
from cml.run.run import Run
from cml.run.steps import NoRemoteAccess, is_fork
from cml.run.workflow import run


def gather(command: Command) -> int:
    """Collects, saves and reports the results of a plan. Returns the exit code. Raises BadInput."""
    return run(command, Gather)


class Gather(Run):
    """A run whose results come from other jobs."""

    _makes_data = False

    def __init__(self, command: Command, project: Project, preparation: Preparation) -> None:
        super().__init__(command, project, preparation)
        if preparation.targets is not None and not is_fork(self._context):
            self._records()  # so that a remote that cannot have records is bad input, and not a failure

    @property
    def steps(self) -> Sequence[Callable[[], None]]:
        return (self.check_push, self.collect_results, self.save, self.remove_records)

    def check_push(self) -> None:
        try:
            super().check_push()
        except ResultsExist:
            # Another gather has saved the results, and was killed before it could remove the records.
            self._records().remove()
            raise

    def collect_results(self) -> None:
        """Takes the results of all jobs. Raises WorkFailed if one is missing."""
        if is_fork(self._context):
            raise NoRemoteAccess("the jobs of a plan exchange their results on the DVC remote")
        targets = self._preparation.targets
        if targets is None:
            self._log.step("gather", "skipped: repro_targets is `-`")
            return
        stale = run_in_thread(lambda: read_stale_stages(self._project.stale_stages(targets)))
        with self._transfer("gather"):
            record = self._records().read()
            taken = run_in_thread(lambda: self._project.take_results([stage.name for stage in stale], record))
            if taken.missing:
                # Another gather may have saved the results in the meantime, and removed the records with them.
                self._check_existing_results()
                text = describe_missing(
                    taken.missing,
                    stages=stale,
                    refused=taken.refused,
                    failures=record.failures,
                    consequence="so nothing was committed",
                )
                raise WorkFailed(text, step="gather")
            # Not the data: the commit contains only hashes, and `save` checks on the remote that the data is there.
            fetched = run_in_thread(self._project.pull_for_report)
        self._project.set_runs(targets, {name: result.run for name, result in taken.results.items()})
        self._log.step("gather", _describe(taken.results, fetched) if stale else "all stages are up to date")

    def remove_records(self) -> None:
        """Removes the records when their results are in git. A gather that saves nothing leaves them."""
        is_saved = self._saved or (self._preparation.branch and not self._changed_paths)
        if self._preparation.targets is not None and is_saved:
            self._records().remove()

    def _records(self) -> Records:
        return open_records(self._command, self._project, self._preparation.head)

    def _check_existing_results(self) -> None:
        """Raises ResultsExist if another gather has saved the results, and has removed the records."""
        branch, head = self._preparation.branch, self._preparation.head
        if not branch or self._context.is_requested:
            return
        if tip := fetch_descendant(self._repository, branch=branch, sha=head):
            check_existing_results(self._repository, head=head, tip=tip, key=self._preparation.key)


def _describe(results: Mapping[str, StageResult], fetched: int) -> str:
    jobs = {result.run.job for result in results.values()} - {""}
    source = f" of {count(len(jobs), 'job')}" if jobs else ""
    return f"{count(len(results), 'result')}{source} collected, {count(fetched, 'file')} fetched; nothing was run"
