"""Preflight: finds what a run needs and rejects bad input before any work is done, with nothing changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cml import __version__
from cml.config.settings import Settings
from cml.config.variables import BY_NAME
from cml.dvc.project import Project
from cml.errors import BadInput
from cml.git.command import REMOTE
from cml.git.repository import Repository
from cml.model.report import Baseline
from cml.plan.messages import list_names
from cml.process.log import Log
from cml.report.number_locale import number_locale
from cml.run import report_folder
from cml.run.baseline import find_baseline
from cml.run.context import Command
from cml.run.outcome import Outcome
from cml.run.render import read_template

AUTO = ("auto",)
DEEPENINGS, DEEPENING_COMMITS = 4, 50
PLACES = {"local": "this machine", "github": "GitHub", "gitlab": "GitLab"}


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What preflight found for a run.

    `branch` is where the results are pushed; None means that nothing is pushed, for the reason `no_push`. `targets` are
    the stages to reproduce, `pull_targets` the data to pull: () means all, None means that the step was switched off.
    `key` identifies the run: two runs of the same commit with the same key produce the same results.
    """

    head: str
    baseline: Baseline | None
    branch: str | None
    no_push: str
    targets: tuple[str, ...] | None
    pull_targets: tuple[str, ...] | None
    template: str | None
    key: str


def prepare(command: Command, project: Project, head: str) -> Preparation:
    """Finds what the run needs, and rejects what cannot work. Raises BadInput."""
    settings, repository = command.settings, command.repository
    targets = check_targets(settings, project)
    pull_targets = settings.dvc_pull
    if pull_targets and pull_targets != AUTO:
        pull_targets = project.check_targets(pull_targets, variable="dvc_pull")
    if settings.push or pull_targets is not None:
        require_remote(project, advice="; or run without a remote: push=false dvc_pull=-")
    # Cheap checks first; nothing is fetched or written before all of them have passed.
    no_push = command.forge.no_push() or ("" if settings.push else "push is off")
    branch = None if no_push else _find_push_branch(command)
    if branch:
        require_committed(repository, project, why="push is on", otherwise="set push to false")
    report_folder.check_folder(is_tracked=repository.has_tracked_files(report_folder.FOLDER))
    template = check_report_settings(settings)
    _log_start(command, f"results will be pushed to {branch}" if branch else f"nothing will be pushed: {no_push}")
    baseline = _find_baseline(command, head)
    _fetch_experiments(command, head)
    return Preparation(
        head=head,
        baseline=baseline,
        branch=branch,
        no_push=no_push,
        targets=targets,
        pull_targets=pull_targets,
        template=template,
        key=_key(settings, branch=branch, job=command.context.job),
    )


def prepare_report_only(command: Command, head: str) -> Outcome:
    """Prepares a report of what git contains for `head`, for events whose code must not be executed."""
    report_folder.check_folder(is_tracked=command.repository.has_tracked_files(report_folder.FOLDER))
    template = check_report_settings(command.settings)
    command.log.line(f"start      cml {__version__} for {command.context.event}: report only, nothing is run or pushed")
    baseline = _find_baseline(command, head)
    return Outcome(head=head, baseline=baseline, template=template, is_report_only=True)


def _find_baseline(command: Command, head: str) -> Baseline | None:
    baseline = find_baseline(command.repository, command.settings, command.context, head)
    command.repository.exclude(f"{report_folder.FOLDER}/")
    text = f"{baseline.name}, {baseline.reason}" if baseline else "none: this is the first commit"
    command.log.step("baseline", text)
    return baseline


def check_targets(settings: Settings, project: Project) -> tuple[str, ...] | None:
    """Returns what is to be reproduced, in DVC's names: () means all, None means nothing. Raises BadInput."""
    # The default target is the name of a file of DVC 0.x; it stands for the whole project.
    targets = () if settings.is_whole_project else settings.repro_targets
    return project.check_targets(targets, variable="repro_targets") if targets else targets


def check_report_settings(settings: Settings) -> str | None:
    """Tries what the report will be rendered with: the locale, and the user's own template, which is returned. Raises
    BadInput.
    """
    try:
        if settings.locale != BY_NAME["locale"].default:
            number_locale(settings.locale)
    except ValueError:
        raise BadInput(
            f"locale is {settings.locale!r}, which Babel does not know: expected one such as en, de or pt_BR"
        ) from None
    return read_template(settings)


def require_remote(project: Project, *, advice: str = "") -> None:
    """Raises BadInput if there are stage outputs without a DVC remote."""
    if outputs := project.outputs_without_remote():
        raise BadInput(
            f"no DVC remote is configured for these outputs: {list_names(outputs)}. "
            f"Add a default one (dvc remote add -d NAME URL){advice}"
        )


def require_committed(repository: Repository, project: Project, *, why: str, otherwise: str) -> None:
    """Raises BadInput if stages depend on uncommitted changes: nobody could tell what the results were made from."""
    if edited := find_uncommitted(repository, project):
        raise BadInput(
            f"{why}, and stages depend on uncommitted changes: {list_names(edited)}. Commit them, or {otherwise}"
        )


def find_uncommitted(repository: Repository, project: Project) -> list[str]:
    """Returns the files that stages depend on and that differ from HEAD, relative to the top of the repository."""
    return _filter_sources(repository.changed_files(), project)


def has_changes(repository: Repository, project: Project) -> bool:
    """Whether the work tree differs from HEAD in anything that the report shows."""
    changed = repository.changed_files()
    if _filter_sources(changed, project):
        return True
    return bool(project.written_by_dvc(changed, lambda path: repository.read_file("HEAD", path)))


def _filter_sources(paths: Iterable[str], project: Project) -> list[str]:
    """Returns those of the paths that stages depend on, by themselves or by a folder that contains them."""
    sources = project.sources()

    def is_source(path: str) -> bool:
        return path in sources or any(str(parent) in sources for parent in Path(path).parents)

    return sorted(path for path in paths if is_source(path))


def _find_push_branch(command: Command) -> str:
    context, repository = command.context, command.repository
    if repository.origin_url() is None:
        raise BadInput(f"push is on, and the repository has no remote {REMOTE}: git remote add {REMOTE} URL")
    branch = context.push_branch or repository.current_branch()
    if branch is None:
        raise BadInput("push is on, and HEAD is detached: git switch BRANCH, or set push to false")
    if context.identity is None and not repository.has_identity():
        raise BadInput(
            "push is on, and git does not know the author of the commit: git config user.name NAME, "
            "git config user.email EMAIL"
        )
    return branch


def _key(settings: Settings, *, branch: str | None, job: str) -> str:
    # Jobs of a matrix may differ only in their environment, which settings do not contain: so the job is part of it.
    parts = (settings.key, branch or "", job)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _log_start(command: Command, text: str) -> None:
    context = command.context
    place = PLACES[context.forge_name]
    command.log.line(f"start      cml {__version__} on {place}; {text}")
    if context.is_ci and not context.slug:
        command.log.warning(
            f"the variables of a {place} job are not set, so the report is only in this log and in "
            f"{report_folder.FOLDER}/"
        )


def _fetch_experiments(command: Command, head: str) -> None:
    """Deepens a shallow clone until it contains the experiments that the report lists, a limited number of times."""
    repository, settings, context = command.repository, command.settings, command.context
    # The branch of a fork is in another repository, which is not fetched from.
    branch = None if context.pull and context.pull.is_fork else context.push_branch
    if not settings.tag_prefix or not settings.experiments or not branch:
        return

    def has_enough() -> bool:
        return len(repository.tagged_commits(head, settings.tag_prefix, settings.experiments)) >= settings.experiments

    for _ in range(DEEPENINGS):
        if not repository.is_shallow() or has_enough() or not repository.deepen(branch, DEEPENING_COMMITS):
            break
    if repository.is_shallow() and not has_enough():
        _warn_of_short_history(command.log)


def _warn_of_short_history(log: Log) -> None:
    log.warning(
        f"only the last {DEEPENINGS * DEEPENING_COMMITS} commits were fetched, so older experiments are not listed"
    )
