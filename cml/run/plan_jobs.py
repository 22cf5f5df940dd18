"""One pipeline over the jobs of a CI: the plan, one job's part of it, and the end, where all comes together.

The engine is the CI's own. The DVC remote takes results from job to job; git sees one commit, by the last of them.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from cml import __version__
from cml.errors import BadInput, WorkFailed
from cml.forges.base import Outputs
from cml.git.command import REMOTE
from cml.git.trailers import head_of_results, scope_of_results, skip_reason
from cml.model.plan import Plan, StaleStage
from cml.model.records import JobRecord, StageResult
from cml.model.report import StageRun
from cml.plan import formats
from cml.plan.grouping import NoPlan, jobs_of
from cml.plan.stale_stages import read_stale_stages
from cml.process.signals import run_in_thread
from cml.run.preflight import checked_out, head_of, own_results, refuse_edits, targets_of
from cml.run.publish import hand_on
from cml.run.save import AlreadySaved, check_existing_results
from cml.run.steps import ForeignStorage, ask_push, is_fork, run_stages, save, set_up, transfers
from cml.run.workflow import run

if TYPE_CHECKING:
    from cml.dvc.job_results import TakenResults
    from cml.dvc.project import Project
    from cml.dvc.records import Records
    from cml.run.context import Session
    from cml.run.state import Work

LISTED = 10  # stages that a message names


def plan(here: Session, *, wanted: str, max_jobs: int, max_waves: int | None, defaults: formats.GitLabDefaults) -> int:
    """`cml plan`: writes the jobs that must run to stdout, `wanted` for one of `formats`. Raises BadInput."""
    found = _planned(here, max_jobs=max_jobs, max_waves=max_waves)
    stages = sum(len(job.stages) for job in found.jobs)
    if stages:
        jobs, waves = _count(len(found.jobs), "job"), _count(len(found.waves), "wave")
        here.log.step("plan", f"{_count(stages, 'stage')} in {jobs}, {waves}")
    image = defaults.image or os.environ.get("CI_JOB_IMAGE", "")
    gpu_image = defaults.gpu_image or (f"{image}-gpu" if image else "")
    defaults = replace(defaults, image=image, gpu_image=gpu_image)
    write: dict[str, Callable[[Plan], str]] = {
        "json": formats.as_json,
        "github": formats.as_github,
        "mermaid": formats.as_mermaid,
        "dvc": formats.as_dvc,
        "gitlab": partial(
            formats.as_gitlab, given=here.settings.given, source=here.forge.context.event, defaults=defaults
        ),
    }
    here.stdout.write(write[wanted](found))
    here.stdout.flush()
    return 0


def _planned(here: Session, *, max_jobs: int, max_waves: int | None) -> Plan:
    head = head_of(here)
    if reason := _nothing(here, head):
        here.log.step("plan", f"nothing: {reason}")
        return Plan(head=head)
    with checked_out(here, head):
        project = here.open_project()
        targets = targets_of(here, project)
        due = [] if targets is None else run_in_thread(lambda: _stale_stages(project, targets))
        if not due:
            here.log.step("plan", "nothing: every stage is up to date")
        try:
            jobs = jobs_of(due, max_jobs=max_jobs, max_waves=max_waves)
        except NoPlan as error:
            raise BadInput(str(error)) from None
    edges = tuple((need, stage.name) for stage in due for need in stage.needs)
    return Plan(head=head, jobs=jobs, edges=edges)


def _stale_stages(project: Project, targets: tuple[str, ...]) -> list[StaleStage]:
    return read_stale_stages(project.stale_stages(targets))


def _nothing(here: Session, head: str) -> str | None:
    """Returns why no job is to run for a commit, whatever its pipeline looks like."""
    context = here.forge.context
    if reason := _skipped(here, head):
        return reason
    if not context.reproduces:
        return f"nothing is run for {context.event}"
    if is_fork(here):
        return "a fork's run gets no secrets, so its jobs have no storage in common"
    if context.is_ci and not context.is_requested and (results := _saved(here, head)):
        return f"{results[:7]} holds the results for {head[:7]}"
    return None


def _skipped(here: Session, head: str) -> str | None:
    context, message = here.forge.context, here.repository.commit(head).message
    reason = skip_reason(message, is_asked_for=context.is_requested) if context.is_ci else None
    return reason if reason and (own_results(here, head) or not head_of_results(message)) else None


def _saved(here: Session, head: str) -> str | None:
    """Returns the commit on origin's branch that holds this very work's results already."""
    repository, branch = here.repository, here.forge.context.push_branch
    if not branch or repository.remote_tip(branch) in (head, None):
        return None
    tracking = f"refs/remotes/{REMOTE}/{branch}"
    repository.fetch(f"+refs/heads/{branch}:{tracking}")
    tip = repository.resolve(tracking)
    if tip is None or not repository.is_ancestor(head, tip):
        return None
    scope = here.settings.scope
    between = repository.commits_between(head, tip)
    return next(
        (
            each.sha
            for each in between
            if head_of_results(each.message) == head and scope_of_results(each.message) == scope
        ),
        None,
    )


# One job's part


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What one job does: its stages of the plan, and where its results are written down. `earlier` are
    the results that earlier tries of it have recorded, `done` those of its stages that are done without running.
    """

    head: str
    names: list[str]
    records: Records
    earlier: dict[str, StageResult] = field(default_factory=dict)
    done: dict[str, StageRun] = field(default_factory=dict)


def run_part(here: Session, names: list[str]) -> int:
    """`cml run --stages`: does these stages on what other jobs have made, hands the results on, commits nothing.
    Returns the exit code. Raises BadInput, with nothing touched.
    """
    head = head_of(here)
    if reason := _skipped(here, head):
        here.log.step("skip", reason)
        hand_on(here, Outputs(skipped=True, sha=head))
        return 0
    if not here.forge.context.reproduces:
        raise BadInput(f"nothing is run for {here.forge.context.event}, so there are no stages to run")
    with checked_out(here, head):
        project = here.open_project()
        part = _part(here, project, head, names)
    here.log.line(
        f"start      cml {__version__}, {_count(len(part.names), 'stage')} of {head[:7]}: {_listed(part.names)}"
    )
    failure = _tried(here, lambda: _do(here, project, part))
    # What was done before a failure is handed on as well, so that a second try goes on from there.
    failure = _tried(here, lambda: _hand_over(here, project, part, failure)) or failure
    hand_on(here, Outputs(sha=head, verdict="failed" if failure else "none"))
    return 1 if failure else 0


def _tried(here: Session, work: Callable[[], None]) -> WorkFailed | None:
    try:
        work()
    except WorkFailed as error:
        here.log.error(f"{error.step}: {error}")
        return error
    return None


def _part(here: Session, project: Project, head: str, names: list[str]) -> _Part:
    known = project.known_stages(names)
    for name in names:
        if name not in known:
            raise BadInput(f"--stages names {name!r}, which is no stage of the project: expected names by `cml plan`")
    if homeless := project.outputs_without_remote():
        raise BadInput(
            f"these outputs have nowhere to go, since no DVC remote is set for them: {_listed(homeless)}. Add a "
            "default one: dvc remote add -d NAME URL"
        )
    refuse_edits(here, project, "other jobs go on from the results", "run `dvc repro`")
    return _Part(head=head, names=known, records=project.records(_plan_id(here, head)))


def _plan_id(here: Session, head: str) -> str:
    """Returns what a plan is known by: the same in all its jobs, in a second try of one, and in no other run."""
    parts = (head, here.settings.scope, here.forge.context.run)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _do(here: Session, project: Project, part: _Part) -> None:
    with transfers(here, step="pull"):
        record = run_in_thread(part.records.read)
        part.earlier.update((name, record.results[name]) for name in part.names if name in record.results)
    set_up(here, project)
    with transfers(here, step="pull"):
        rest = run_in_thread(lambda: _take_inputs(here, project, part, record))
    if not rest:
        return here.log.step("reproduce", "nothing is left to do")
    return run_stages(here, project, tuple(rest), pull_missing=True, alone=True)


def _take_inputs(here: Session, project: Project, part: _Part, record: JobRecord) -> list[str]:
    """Takes what the stages need and other jobs have made, and what an earlier try of this job has done; returns the
    stages that are left to do.
    """
    due = _stale_stages(project, tuple(part.names))
    mine = [stage.name for stage in due if stage.name in part.names]
    before = project.take_results([stage.name for stage in due if stage.name not in part.names], record)
    if before.missing:
        what = "so this job has not all that it is to go on from"
        raise WorkFailed(_say_missing(before, due, record, what), step="pull")
    tried = [name for name in mine if name in part.earlier and project.has_pushed(name, part.earlier[name].entry)]
    part.done.update((name, result.run) for name, result in project.take_results(tried, record).results.items())
    rest = [name for name in mine if name not in part.done]
    for name in project.stages_with_new_entries(part.names, lambda path: here.repository.read_file(part.head, path)):
        if name not in mine:  # by a try that was killed before it could hand it on
            part.done[name] = StageRun(name=name, status="restored")
    fetched = project.pull_inputs(rest)
    again = f", {_count(len(part.done), 'stage')} done by an earlier try" if part.done else ""
    here.log.step(
        "pull", f"{_count(len(before.results), 'result')} of other jobs{again}, {_count(fetched, 'file')} fetched"
    )
    return rest


def _hand_over(here: Session, project: Project, part: _Part, failure: WorkFailed | None) -> None:
    """Sends what was made, then the record of it: data before words."""
    new = {run.name: run for run in project.runs if run.status in ("ran", "restored", "up to date")}
    done = {**part.done, **new}
    with transfers(here, step="push"):
        sent = run_in_thread(lambda: project.push_stages(done))
        job, machine = here.forge.context.job or part.names[0], _machine(here)
        runs = {name: run if run.job else replace(run, job=job, machine=machine) for name, run in done.items()}
        entries = project.lock_entries(done)
        results = {name: StageResult(entry=entry, run=runs[name]) for name, entry in entries.items()}
        record = JobRecord(results={**part.earlier, **results}, failures=_failures(here, project, part, failure))
        run_in_thread(lambda: part.records.write(part.names, record))
    here.log.step("hand on", f"{_count(len(results), 'result')}, {_count(sent, 'file')} sent to the DVC remote")


def _failures(here: Session, project: Project, part: _Part, failure: WorkFailed | None) -> dict[str, str]:
    """Returns of each stage that the job did not come to, why."""
    if not failure:
        return {}
    done = {*part.done, *(run.name for run in project.runs if run.status != "failed")}
    culprit = next((run.name for run in project.runs if run.status == "failed"), None)
    why = here.log.masks.mask(str(failure))
    behind = f"its job ended before it, when {culprit} failed" if culprit else why
    return {name: why if name == culprit else behind for name in part.names if name not in done}


def _machine(here: Session) -> str:
    name = here.forge.context.machine or socket.gethostname()
    return here.log.masks.mask(f"{name}, {os.cpu_count()} cores")


# The end


def gather(here: Session) -> int:
    """`cml gather`: takes all results of a plan's jobs, runs nothing, and saves and reports them as `cml run` does.
    Returns the exit code. Raises BadInput, with nothing touched.
    """
    return run(here, steps=(_ask_push, _take_all, save, _forget))


def _ask_push(here: Session, project: Project, work: Work) -> None:
    try:
        ask_push(here, project, work)
    except AlreadySaved:  # by a gather that was killed before it could take the records away
        _records(here, project, work).remove()
        raise


def _take_all(here: Session, project: Project, work: Work) -> None:
    work.is_gathered = True
    if is_fork(here):
        raise ForeignStorage("its jobs have no storage in common")
    if work.targets is None:
        return here.log.step("gather", "left out by `-`")
    due = run_in_thread(lambda: _stale_stages(project, work.targets or ()))
    with transfers(here, step="gather"):
        record = _records(here, project, work).read()
        adopted = run_in_thread(lambda: project.take_results([stage.name for stage in due], record))
        if adopted.missing:
            _check_existing_results(here, work)
            raise WorkFailed(_say_missing(adopted, due, record, "so nothing was committed"), step="gather")
        fetched = run_in_thread(project.pull_for_report)
    project.set_runs(work.targets, {name: result.run for name, result in adopted.results.items()})
    jobs = {result.run.job for result in adopted.results.values()} - {""}
    by = f" of {_count(len(jobs), 'job')}" if jobs else ""
    here.log.step(
        "gather",
        f"{_count(len(adopted.results), 'result')}{by} taken, {_count(fetched, 'file')} fetched, and nothing was run"
        if due
        else "every stage is up to date",
    )
    return None


def _records(here: Session, project: Project, work: Work) -> Records:
    return project.records(_plan_id(here, work.head))


def _check_existing_results(here: Session, work: Work) -> None:
    """Raises AlreadySaved where another gather has saved the results, and has taken the records with it."""
    if work.branch and not here.forge.context.is_requested:
        tracking = f"refs/remotes/{REMOTE}/{work.branch}"
        here.repository.fetch(f"+refs/heads/{work.branch}:{tracking}")
        tip = here.repository.resolve(tracking)
        if tip and here.repository.is_ancestor(work.head, tip):
            check_existing_results(here.repository, head=work.head, tip=tip, key=work.key)


def _forget(here: Session, project: Project, work: Work) -> None:
    """Takes the records away once their results are in git: a gather that saves nothing may be followed by one that
    does.
    """
    if work.targets is not None and (work.saved or (work.branch and not work.changed_paths)):
        _records(here, project, work).remove()


def _say_missing(adopted: TakenResults, due: Sequence[StaleStage], record: JobRecord, what: str) -> str:
    """Returns which stages have no result, and why, as far as their jobs have said."""
    missing, absent = adopted.missing, set(adopted.missing)
    failed = [name for name in missing if name in record.failures]
    behind = {stage.name for stage in due if absent & set(stage.needs)} - record.failures.keys()
    refused = [name for name in adopted.refused if name not in behind and name not in failed]
    lost = [name for name in missing if name not in {*failed, *behind, *refused}]
    parts = [f"{name}: {record.failures[name]}" for name in failed[:LISTED]]
    if refused:
        parts.append(f"what {_listed(refused)} came to is not of the inputs that stand: something changed meanwhile")
    if lost:
        parts.append(f"nothing from {_listed(lost)}: no job has done it, or its job was lost or is still at it")
    if waiting := [name for name in missing if name in behind]:
        parts.append(f"{_listed(waiting)} waited for them")
    return f"{len(missing)} of {len(due)} stages have no result, {what}. {'; '.join(parts)}. Run those jobs again first"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"
