"""The story of one run, top to bottom. `run` is the table of contents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cml.errors import WorkFailed, show_traceback
from cml.forges.base import DuplicateRun, Outputs
from cml.git.command import REMOTE
from cml.git.trailers import head_of_results, skip_reason
from cml.run.preflight import checked_out, head_of, own_results, prepare, report_only, trained_before
from cml.run.publish import hand_on, tell, warn, where, with_report

if TYPE_CHECKING:
    from cml.dvc.project import Project
    from cml.run.context import Session
    from cml.run.state import Work


Step = Callable[["Session", "Project", "Work"], None]


def run(here: Session, steps: Sequence[Step] | None = None) -> int:
    """Does the main job and returns the exit code; other `steps` come to results in another way. Raises BadInput, with
    nothing touched.
    """
    head = head_of(here)
    context = here.forge.context
    message = here.repository.commit(head).message
    if context.is_ci and (reason := skip_reason(message, is_asked_for=context.is_requested)):
        results = own_results(here, head)
        if results or not head_of_results(message):
            return skip(here, head, reason, results)
    if not context.reproduces:
        return tell(here, here.open_project(), report_only(here, head))
    with checked_out(here, head):
        project = here.open_project()
        work = prepare(here, project, head)
    from cml.run.steps import asking_origin  # not before: a skipped run needs none of it

    with asking_origin(here, work):
        duplicate = here.forge.start(work.key)
        if context.is_ci and (before := trained_before(here, head)):
            here.forge.end_abandoned(before)
        if duplicate and stands(here, work, duplicate):
            return follow(here, duplicate, head)
        do(here, project, work, steps)
    return tell(here, project, work)


def do(here: Session, project: Project, work: Work, steps: Sequence[Step] | None) -> None:
    """The work itself; what it came to, also in failure, stands in `work`."""
    from cml.model.report import Failure
    from cml.run.save import AlreadySaved
    from cml.run.steps import STEPS, ForeignStorage

    try:
        for step in steps or STEPS:
            step(here, project, work)
    except WorkFailed as error:
        work.failure = Failure(step=error.step, message=here.log.masks.mask(str(error)), log_tail=error.log_tail)
        here.log.error(f"{error.step}: {error}")
    except AlreadySaved as found:
        use_existing_results(here, work, found.sha)
    except ForeignStorage as error:
        here.log.warning(
            f"a fork's run gets no secrets, so nothing is reproduced; the report shows what git holds: {error}"
        )
        work.is_report_only = True
    except Exception as error:  # a defect of ours, or of a library: people still get a report, and the job its outputs
        show_traceback(error)
        message = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
        work.failure = Failure(step="run", message=here.log.masks.mask(message))
        here.log.error(f"{message}. CML_DEBUG=1 shows where; please report it")


def skip(here: Session, head: str, reason: str, results: str | None) -> int:
    here.log.step("skip", reason)
    # A pull request that was opened after its branch had its results has no report yet.
    if here.forge.context.pull and results:
        duplicate = here.forge.find_results(results) or DuplicateRun(url="", has_open_check=True)
        if duplicate.has_open_check and (before := head_of_results(here.repository.commit(results).message)):
            here.forge.end_abandoned(before)
        if not duplicate.markdown and not here.forge.has_report():
            duplicate = with_report(here, duplicate, results)
        warn(here, here.forge.publish_existing_results(duplicate))
    hand_on(here, Outputs(skipped=True, sha=head))
    return 0


def follow(here: Session, duplicate: DuplicateRun, head: str) -> int:
    """Takes the result of a run that has done the same work, or leaves the work to the one that is at it."""
    if duplicate.outputs is None:
        here.log.step("twin", f"another run is at the same work: {duplicate.url}")
        hand_on(here, Outputs(skipped=True, sha=head, report_url=duplicate.url))
        return 0
    here.log.step("twin", f"another run has done the same work, and its result stands: {duplicate.url}")
    outputs = duplicate.outputs
    duplicate = with_report(here, duplicate, outputs.sha)
    published = here.forge.publish_existing_results(duplicate)
    warn(here, published)
    outputs = outputs._replace(report=where(here), report_url=published.url or outputs.report_url)
    hand_on(here, outputs, markdown=duplicate.markdown)
    return duplicate.exit_code


def stands(here: Session, work: Work, duplicate: DuplicateRun) -> bool:
    """Whether a twin's results are where this run's would go: the branch may have been set back since."""
    outputs, repository = duplicate.outputs, here.repository
    if outputs is None or not outputs.changed or not work.branch:
        return True
    tracking = f"refs/remotes/{REMOTE}/{work.branch}"
    repository.fetch(f"+refs/heads/{work.branch}:{tracking}")
    tip = repository.resolve(tracking)
    return tip is not None and repository.is_ancestor(outputs.sha, tip)


def use_existing_results(here: Session, work: Work, sha: str) -> None:
    """Takes the results that a twin has saved, or this very run before it was killed: the report is about them, and the
    work tree goes on from them where it can.
    """
    from cml.run.save import Saved

    repository, prefix = here.repository, here.settings.tag_prefix
    tag = f"{prefix}{repository.short_sha(sha)}" if prefix else ""
    changed = sorted(repository.changed_between(work.head, sha))
    same = repository.unchanged_in_work_tree(sha, changed)
    is_adopted = repository.move_head_to(sha, branch=work.branch or "", head=work.head, paths=same, tag=tag or None)
    rest = "" if is_adopted else "; your work tree stays behind them: git pull"
    here.log.step("twin", f"another run has saved the results of the same work in {sha[:7]}, and they stand{rest}")
    work.saved = Saved(sha=sha, tag=tag)
    work.changed_paths = changed
    work.head, work.is_report_only = sha, True
