"""Before the work: what a run needs is found, and what cannot end well is refused, with nothing touched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cml import __version__
from cml.config.settings import Settings
from cml.config.variables import BY_NAME
from cml.errors import BadInput
from cml.git.command import REMOTE
from cml.git.trailers import head_of_results, scope_of_results
from cml.run import report_folder

if TYPE_CHECKING:
    from cml.dvc.project import Project
    from cml.run.context import Session
    from cml.run.state import Work

AUTO = ("auto",)
DEEPENINGS, DEEPENING_COMMITS = 4, 50


def head_of(here: Session) -> str:
    context, repository = here.forge.context, here.repository
    head = context.head or repository.head()
    if head is None:
        raise BadInput("the repository has no commit yet: make the first one, then run again")
    if repository.resolve(head) is None:
        # A pull request's workspace holds its merge commit alone.
        for ref in ([context.pull.fetch_ref] if context.pull else []) + [head]:
            repository.fetch(ref, tip_only=True)
    if repository.resolve(head) is None:
        raise BadInput(f"{head[:7]}, the commit this run is for, is neither here nor on {REMOTE}: was it pushed over?")
    return head


def own_results(here: Session, head: str) -> str | None:
    """Returns the commit with this very work's results that `head` is, or has below it with nothing but results of
    other jobs between; None where this job has yet to work on what is below them.
    """
    repository, sha = here.repository, head
    while head_of_results((commit := repository.commit(sha)).message):
        if scope_of_results(commit.message) in (None, here.settings.scope):
            return sha
        if not commit.parents and repository.is_shallow():
            repository.fetch(deepen=DEEPENING_COMMITS)
            commit = repository.commit(sha)
        if not commit.parents:
            return head  # its history cannot be had, and a loop must not be
        sha = commit.parents[0]
    return None


def trained_before(here: Session, sha: str) -> str | None:
    """Returns the commit whose results a commit holds or stands on: where the job's own token pushed them, no run was
    started for them, so that this is the next one.
    """
    commit = here.repository.commit(sha)
    found = [commit, *here.repository.commits(commit.parents[:1])]
    return next(filter(None, (head_of_results(each.message) for each in found)), None)


@contextlib.contextmanager
def checked_out(here: Session, head: str) -> Iterator[None]:
    """Stands on the head commit of a pull request instead of its merge commit; back again on bad input."""
    repository = here.repository
    now = repository.head()
    if now in (head, None):
        yield
        return
    before = repository.current_branch() or now
    if not repository.check_out(head):
        raise BadInput(f"the work tree has changes that stand in the way of {head[:7]}, the commit this run is for")
    try:
        yield
    except BadInput:
        repository.check_out(before)
        raise


def prepare(here: Session, project: Project, head: str) -> Work:
    """Finds what the run will need before any work is done, and refuses what cannot end well."""
    from cml.run.baseline import find_baseline
    from cml.run.state import Work

    settings = here.settings
    targets = targets_of(here, project)
    pulled = settings.dvc_pull
    if pulled and pulled != AUTO:
        pulled = project.check_targets(pulled, variable="dvc_pull")
    if (settings.push or pulled is not None) and (homeless := project.outputs_without_remote()):
        raise BadInput(
            f"these outputs have nowhere to go, since no DVC remote is set for them: {', '.join(homeless[:10])}. "
            "Add a default one (dvc remote add -d NAME URL), or work without: push=false dvc_pull=-"
        )
    no_push = here.forge.no_push() or ("" if settings.push else "push is off")
    branch = None if no_push else _push_branch(here)
    if branch:
        refuse_edits(here, project, "push is on", "set push to false")
    report_folder.check_folder(is_tracked=here.repository.has_tracked_files(report_folder.FOLDER))
    template = template_of(settings)
    _introduce(here, f"results go to {branch}" if branch else f"results stay here, {no_push}")
    baseline = find_baseline(here.repository, settings, here.forge.context, head)
    here.repository.exclude(f"{report_folder.FOLDER}/")
    here.log.step("baseline", f"{baseline.name}, {baseline.reason}" if baseline else "none: no commit is before this")
    _fetch_experiments(here, head)
    return Work(
        head=head,
        baseline=baseline,
        branch=branch,
        targets=targets,
        pulled=pulled,
        template=template,
        no_push=no_push,
        key=_key(here, branch),
    )


def targets_of(here: Session, project: Project) -> tuple[str, ...] | None:
    """Returns what is to be reproduced, as DVC knows it: all when empty, nothing when None. Raises BadInput."""
    targets = () if here.settings.is_whole_project else here.settings.repro_targets
    return project.check_targets(targets, variable="repro_targets") if targets else targets


def _key(here: Session, branch: str | None) -> str:
    """Returns what the work is known by: runs of one commit with the same key come to the same, in the same place."""
    import hashlib

    parts = (here.settings.key, branch or "", here.forge.context.job)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def report_only(here: Session, head: str) -> Work:
    """For events whose code must not be run: a report of what git holds."""
    from cml.run.baseline import find_baseline
    from cml.run.state import Work

    report_folder.check_folder(is_tracked=here.repository.has_tracked_files(report_folder.FOLDER))
    template = template_of(here.settings)
    here.log.line(f"start      cml {__version__} for {here.forge.context.event}; nothing is run or pushed for it")
    baseline = find_baseline(here.repository, here.settings, here.forge.context, head)
    here.repository.exclude(f"{report_folder.FOLDER}/")
    here.log.step("baseline", f"{baseline.name}, {baseline.reason}" if baseline else "none: no commit is before this")
    return Work(
        head=head, baseline=baseline, branch=None, targets=None, pulled=None, template=template, is_report_only=True
    )


def _fetch_experiments(here: Session, head: str) -> None:
    """Deepens a shallow clone, a bounded number of times, until it holds the experiments that the report lists."""
    repository, settings, context = here.repository, here.settings, here.forge.context
    branch = None if context.pull and context.pull.is_fork else context.push_branch
    if not settings.tag_prefix or not settings.experiments or not branch:
        return

    def has_enough() -> bool:
        return len(repository.tagged_commits(head, settings.tag_prefix, settings.experiments)) >= settings.experiments

    for _ in range(DEEPENINGS):
        if not repository.is_shallow() or has_enough() or not repository.deepen(branch, DEEPENING_COMMITS):
            break
    if repository.is_shallow() and not has_enough():
        here.log.warning(
            f"history was cut after {DEEPENINGS * DEEPENING_COMMITS} commits, and older experiments are not listed"
        )


def _introduce(here: Session, results: str) -> None:
    context = here.forge.context
    place = {"local": "a laptop", "github": "GitHub", "gitlab": "GitLab"}[context.forge_name]
    here.log.line(f"start      cml {__version__} on {place}; {results}")
    if context.is_ci and not context.slug:
        here.log.warning(f"{place} is not connected, so the report is in this log and in {report_folder.FOLDER}/ alone")


def template_of(settings: Settings) -> str | None:
    """Tries what the report will be written with, before any work: the locale, and the user's own template."""
    try:
        if settings.locale != BY_NAME["locale"].default:
            settings.number_format.value(0.0, locale=settings.locale)
    except ValueError:
        raise BadInput(
            f"locale is {settings.locale!r}, which Babel does not know: expected one such as en, de or pt_BR"
        ) from None
    return report_folder.read_template(settings)


def _push_branch(here: Session) -> str:
    context, repository = here.forge.context, here.repository
    if repository.origin_url() is None:
        raise BadInput(f"push is on, and the repository has no remote {REMOTE}: git remote add {REMOTE} URL")
    branch = context.push_branch or repository.current_branch()
    if branch is None:
        raise BadInput("push is on, and HEAD is on no branch: git switch BRANCH, or set push to false")
    if context.identity is None and not repository.has_identity():
        raise BadInput("push is on, and git knows no author: git config user.name NAME, git config user.email MAIL")
    return branch


def refuse_edits(here: Session, project: Project, why: str, otherwise: str) -> None:
    """Raises BadInput where stages depend on what no commit holds, so that nobody could say what results are of."""
    if edited := uncommitted(here, project):
        files = ", ".join(edited[:10])
        raise BadInput(f"{why}, and stages depend on what no commit holds: {files}. Commit it, or {otherwise}")


def uncommitted(here: Session, project: Project) -> list[str]:
    """Returns the files that stages depend on and that differ from every commit's, as git names them."""
    return _of_sources(here.repository.changed_files(), project)


def _of_sources(changed: set[str], project: Project) -> list[str]:
    sources = project.sources()
    return sorted(
        path for path in changed if path in sources or sources & {str(parent) for parent in Path(path).parents}
    )


def is_edited(here: Session, project: Project) -> bool:
    """Whether the work tree differs from HEAD in what the report shows."""
    changed = here.repository.changed_files()
    return bool(
        _of_sources(changed, project)
        or project.written_by_dvc(changed, lambda path: here.repository.read_file("HEAD", path))
    )
