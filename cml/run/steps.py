"""The work itself, step by step: setup, pull, reproduce, save. A step that fails raises WorkFailed."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cml.dvc.logging import one_line
from cml.dvc.reproduce import StageFailed
from cml.errors import WorkFailed
from cml.git.command import REMOTE, GitFailed
from cml.process.signals import in_background, run_in_thread
from cml.remotes.errors import StorageError, explain
from cml.run.context import Session
from cml.run.preflight import AUTO, uncommitted
from cml.run.save import (
    Saved,
    check_existing_results,
    check_history,
    may_push,
    refused,
    save_commit,
    save_data,
    unreachable,
)

if TYPE_CHECKING:
    from cml.dvc.project import Project
    from cml.run.state import Work


class ForeignStorage(Exception):
    """On a fork's pull request the storage cannot be read."""


@contextlib.contextmanager
def asking_origin(here: Session, work: Work) -> Iterator[None]:
    """Inside, origin is being asked whether the push will be allowed, beside the forge's API; `ask_push` takes the
    answer.
    """
    if not (branch := work.branch):
        yield
        return
    with in_background(lambda: may_push(here.repository, head=work.head, branch=branch)) as work.push_answer:
        yield


def ask_push(here: Session, _: Project, work: Work) -> None:
    """Refuses a push that will not be allowed, before anything costs time. Raises AlreadySaved where a twin has pushed
    the results.
    """
    if work.branch and work.push_answer:
        context = here.forge.context
        if reason := here.forge.push_refusal(work.branch):
            raise refused(reason, work.branch, context.push_advice)
        outcome = work.push_answer()
        if outcome.is_behind:
            tip = check_history(here.repository, branch=work.branch, head=work.head)
            if not context.is_requested:
                check_existing_results(here.repository, head=work.head, tip=tip, key=work.key)
        elif outcome.is_new and context.push_branch:
            raise WorkFailed(f"{work.branch} is gone from {REMOTE}, so the results have no place to go", step="push")
        elif not outcome.is_done:
            raise refused(outcome.reason, work.branch, context.push_advice)
        work.is_new_branch = outcome.is_new


def set_up(here: Session, project: Project, _: Work | None = None) -> None:
    """Runs the user's own lines."""
    if not here.settings.setup:
        return
    with here.log.capture_output("setup") as tail:
        command = ["sh", "-e", "-c", here.settings.setup]
        code = run_in_thread(lambda: subprocess.run(command, stdin=subprocess.DEVNULL).returncode)
    if code:
        raise WorkFailed(f"a line of setup ended with exit code {code}", step="setup", log_tail=tail.text)
    project.reload()
    here.log.step("setup", "done")


def pull(here: Session, project: Project, work: Work) -> None:
    targets = work.pulled
    if targets is None:
        decision = "left out by `-`"
    elif not project.has_cached_outputs():
        decision = "every output lives in git: nothing to pull"
    elif targets == AUTO:
        decision = "auto: only what stages that must run need"
    elif _is_all_here(project, work):
        decision = "all data is already in the work tree"
    else:
        context = here.forge.context
        try:
            with transfers(here, step="pull"):
                decision = run_in_thread(lambda: project.pull(targets, may_overwrite=context.is_ci))
        except WorkFailed as error:
            if is_fork(here):
                raise ForeignStorage(str(error)) from error
            raise
    here.log.step("pull", decision)


def _is_all_here(project: Project, work: Work) -> bool:
    """Whether the whole project is up to date with its data in place: the look that a reproduction of it begins with
    shows that nothing is to be pulled either, so it is taken once and first.
    """
    if work.targets == ():
        work.is_up_to_date = run_in_thread(lambda: project.is_up_to_date((), allow_missing=False))
    return work.is_up_to_date


@contextlib.contextmanager
def transfers(here: Session, *, step: str) -> Iterator[None]:
    """What storages' libraries print while inside goes through the masks; trouble of theirs is WorkFailed."""
    try:
        with here.log.capture_output(step):
            yield
    except StorageError as error:
        raise _explained(here, error, step=step) from error


def _explained(here: Session, error: StorageError, *, step: str) -> WorkFailed:
    return WorkFailed(explain(error.remote, here.credentials.check(error.remote), error.problem), step=step)


def reproduce(here: Session, project: Project, work: Work) -> None:
    targets, is_auto = work.targets, work.pulled == AUTO
    if targets is None:
        return here.log.step("reproduce", "left out by `-`")
    if is_auto and project.is_up_to_date(targets, allow_missing=True):
        return here.log.step("reproduce", "every stage is up to date, and nothing was pulled")
    if work.is_up_to_date:
        return _tell_runs(here, project)
    return run_stages(here, project, targets, pull_missing=is_auto)


def run_stages(
    here: Session, project: Project, targets: tuple[str, ...], *, pull_missing: bool, alone: bool = False
) -> None:
    """Reproduces targets, `alone` without what they need; output goes to the log, live. Raises WorkFailed."""
    with here.log.capture_output("reproduce") as tail:
        try:
            run_in_thread(lambda: project.reproduce(targets, pull_missing=pull_missing, alone=alone))
        except Exception as error:
            # With `auto` it is here that a fork's run meets a storage it has no credentials for.
            if pull_missing and is_fork(here) and not any(run.status == "failed" for run in project.runs):
                raise ForeignStorage(one_line(error)) from error
            if isinstance(error, StorageError):
                raise _explained(here, error, step="pull") from error
            if not isinstance(error, StageFailed):
                raise
            message = f"the stage {error.stage} failed: {error.reason}{_what_helps(tail.text)}"
            raise WorkFailed(message, step="reproduce", log_tail=tail.text) from error
    _tell_runs(here, project)


def _tell_runs(here: Session, project: Project) -> None:
    counts = {
        words: sum(run.status == status for run in project.runs)
        for status, words in {
            "ran": "ran",
            "restored": "restored from the run cache",
            "up to date": "up to date",
            "frozen": "frozen",
        }.items()
    }
    told = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    here.log.step("reproduce", told or "the project has no stages")


def _what_helps(log_tail: str) -> str:
    """Returns advice for a stage that lacks a package: CML's own packages, DVC among them, are not the stages'."""
    missing = re.search(r"ModuleNotFoundError: No module named '([\w.-]{1,80})'", log_tail)
    if not missing:
        return ""
    name = missing[1].partition(".")[0]
    return f". It lacks the Python package {name}: put it into your requirements, and install those in `setup`"


def is_fork(here: Session) -> bool:
    pull = here.forge.context.pull
    return pull is not None and pull.is_fork


def save(here: Session, project: Project, work: Work) -> None:
    changed = here.repository.changed_files()
    work.changed_paths = project.written_by_dvc(changed, lambda path: here.repository.read_file(work.head, path))
    if not work.changed_paths:
        if work.branch:
            # A commit made by hand may name what no DVC remote has: what HEAD names is asked for as well.
            has_news = any(stage.status in ("ran", "restored") for stage in project.runs)
            with transfers(here, step="push"):
                run_in_thread(
                    lambda: save_data(project, here.log, head=work.head, sends=has_news and not work.is_gathered)
                )
        return here.log.step("save", "nothing changed, so there is nothing to commit")
    if not work.branch:
        return here.log.step("save", f"{', '.join(work.changed_paths[:5])} changed and stay here: {work.no_push}")
    if edited := [path for path in uncommitted(here, project) if path not in work.changed_paths]:
        raise WorkFailed(
            f"{', '.join(edited[:10])} changed during the run, and stages depend on it: no commit holds what the "
            "results were made from. Commit it and run again",
            step="push",
        )
    with transfers(here, step="push"):
        run_in_thread(lambda: save_data(project, here.log, head=work.head, sends=not work.is_gathered))
    try:
        work.saved = _commit(here, project, work, work.branch)
    except (GitFailed, subprocess.TimeoutExpired) as error:
        raise unreachable(error) from error
    return None


def _commit(here: Session, project: Project, work: Work, branch: str) -> Saved:
    return save_commit(
        here.repository,
        project,
        here.log,
        head=work.head,
        paths=work.changed_paths,
        branch=branch,
        is_new_branch=work.is_new_branch,
        tag_prefix=here.settings.tag_prefix,
        subject=here.settings.commit_message,
        key=work.key,
        scope=here.settings.scope,
        may_follow=not here.forge.context.is_requested,
        identity=here.forge.context.identity,
        advice=here.forge.context.push_advice,
    )


STEPS = (ask_push, set_up, pull, reproduce, save)
