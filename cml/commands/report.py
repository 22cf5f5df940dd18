"""The commands that only report: on what is here, on two revisions, on what another run saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cml.errors import BadInput
from cml.model.report import Baseline
from cml.report.judgement import gates_failed
from cml.run import report_folder
from cml.run.baseline import find_baseline
from cml.run.collect import collect
from cml.run.context import Session
from cml.run.links import add_links
from cml.run.preflight import head_of, is_edited, template_of
from cml.run.subject import Subject

if TYPE_CHECKING:
    from cml.dvc.project import Project

FOLDER = Path(report_folder.FOLDER)


def report(here: Session) -> int:
    """`cml report`: what is here against the baseline; no pull, reproduce, push or publishing."""
    head = head_of(here)
    project = here.open_project()
    template = template_of(here.settings)
    baseline = find_baseline(here.repository, here.settings, here.forge.context, head)
    is_changed = is_edited(here, project) or project.has_changed_outputs()
    subject = Subject(sha=head, has_workspace_changes=is_changed, hash_workspace=True)
    return _print(here, project, subject, baseline, template)


def compare(here: Session, old: str, new: str) -> int:
    """`cml compare A B`: two revisions; the work tree plays no part."""
    shas = []
    for revision in (old, new):
        sha = None if revision.startswith("-") else here.repository.resolve(revision)
        if sha is None:
            raise BadInput(f"{revision!r} is no commit here: expected a branch, a tag or a commit")
        shas.append(sha)
    project = here.open_project()
    template = template_of(here.settings)
    subject = Subject(sha=shas[1], revision=shas[1])
    return _print(here, project, subject, Baseline(name=old, sha=shas[0], reason=f"against {new}"), template)


def publish(here: Session, folder: Path) -> int:
    """`cml publish DIR`: posts a report that another run saved, to the pull request that the event is about."""
    from cml.model.json import read_report

    path = folder / "report.json"
    try:
        found = read_report(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is no saved report: {' '.join(str(error).split())}") from None
    found = replace(found, name=here.settings.report_name)
    limit = here.forge.comment_limit or None
    text = report_folder.markdown(found, settings=here.settings, template=None, log=here.log, limit=limit)
    published = here.forge.comment(text)
    for warning in published.warnings:
        here.log.warning(warning)
    if published.url:
        here.log.step("publish", published.url)
    return 0


def _print(here: Session, project: Project, subject: Subject, baseline: Baseline | None, template: str | None) -> int:
    report_folder.check_folder(is_tracked=here.repository.has_tracked_files(report_folder.FOLDER))
    here.repository.exclude(f"{report_folder.FOLDER}/")
    report_folder.clear(FOLDER, keeps_drawings=True)
    found = collect(
        project, here.repository, here.settings, here.log, subject=subject, baseline=baseline, folder=FOLDER
    )
    found = add_links(found, here.forge.context)
    here.stdout.write(
        report_folder.write_report(found, FOLDER, settings=here.settings, template=template, log=here.log)
    )
    here.stdout.flush()
    if found.verdict == "failed":
        here.log.error(gates_failed(found))
        return 3
    return 0
