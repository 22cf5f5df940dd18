"""What a run tells: the report, where people see it, and the outputs for later steps. Trouble here loses nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cml.errors import BadInput, show_traceback
from cml.forges.base import DuplicateRun, Outputs, Publication, Published
from cml.run import report_folder
from cml.run.preflight import is_edited, report_only

if TYPE_CHECKING:
    from cml.dvc.project import Project
    from cml.model.report import Report
    from cml.run.context import Session
    from cml.run.state import Work
    from cml.run.subject import Subject

FOLDER = Path(report_folder.FOLDER)


def tell(here: Session, project: Project, work: Work) -> int:
    """Reports and publishes, whatever the work came to; returns the exit code."""
    from cml.report.judgement import gates_failed
    from cml.run.subject import Subject

    is_changed = work.saved is None and (bool(work.changed_paths) or is_edited(here, project))
    subject = Subject(
        sha=work.saved.sha if work.saved else work.head,
        revision=work.head if work.is_report_only else None,
        has_workspace_changes=is_changed and not work.is_report_only,
        pipeline=None if work.is_report_only else project.section(),
        failure=work.failure,
    )
    with contextlib.suppress(OSError):  # a full or read-only disk has failed the run already, or will say so below
        report_folder.clear(FOLDER, keeps_drawings=True)
    report = _report(here, project, subject, work)
    try:
        report_folder.write_report(report, FOLDER, settings=here.settings, template=work.template, log=here.log)
        here.log.step("report", f"{FOLDER}/report.md and report.html")
    except OSError as error:
        here.log.warning(f"the report cannot be written to {FOLDER}: {error}")
    code = 1 if report.failure else 3 if report.verdict == "failed" else 0
    outputs = Outputs(
        changed=bool(work.changed_paths),
        sha=subject.sha,
        tag=work.saved.tag if work.saved else "",
        verdict=report.verdict,
        report=where(here),
    )
    images = [image.file for plot in report.plots or () for image in plot.images]
    addresses = here.forge.upload_images(images, FOLDER, tag=outputs.tag)
    published = here.forge.publish(_publication(here, report, work, outputs, addresses, exit_code=code))
    warn(here, published)
    if published.url not in ("", here.forge.context.run_url) and here.forge.context.is_ci:
        here.log.step("publish", published.url)
    hand_on(here, outputs._replace(report_url=published.url))
    if code == 3:
        here.log.error(gates_failed(report) + (". The results are saved all the same" if work.saved else ""))
    return code


def _report(here: Session, project: Project, subject: Subject, work: Work) -> Report:
    from cml.run.collect import collect
    from cml.run.links import add_links

    report = collect(
        project, here.repository, here.settings, here.log, subject=subject, baseline=work.baseline, folder=FOLDER
    )
    return add_links(report, here.forge.context)


def _publication(
    here: Session, report: Report, work: Work, outputs: Outputs, image_urls: Mapping[str, str], *, exit_code: int
) -> Publication:
    """Renders the texts that the forge shows, and no others: rendering a large report takes seconds."""
    from cml.report.headline import headline
    from cml.report.terminal import render_terminal

    forge, settings = here.forge, here.settings
    comment = _markdown(here, report, work, forge.comment_limit, image_urls) if forge.comment_limit else ""
    page = comment
    if forge.page_limit != forge.comment_limit:
        page = _markdown(here, report, work, forge.page_limit, image_urls)
    terminal = ""
    if forge.has_terminal:
        terminal = render_terminal(report, number_format=settings.number_format, locale=settings.locale)
    return Publication(
        headline=headline(report),
        comment=comment,
        page=page,
        terminal=terminal,
        outputs=outputs,
        exit_code=exit_code,
        is_complete=not report.failure and not work.is_report_only,
        folder=FOLDER,
    )


def _markdown(
    here: Session, report: Report, work: Work, limit: int | None, image_urls: Mapping[str, str] | None = None
) -> str:
    return report_folder.markdown(
        report, settings=here.settings, template=work.template, log=here.log, limit=limit, image_urls=image_urls
    )


def where(here: Session) -> str:
    return os.path.relpath(FOLDER.resolve() / "report.md", here.repository.top)


def warn(here: Session, published: Published) -> None:
    for warning in published.warnings:
        here.log.warning(warning)


def hand_on(here: Session, outputs: Outputs, *, markdown: str | None = None) -> None:
    """Hands the outputs on; `markdown` is the report of a run whose work was not done here."""
    with contextlib.suppress(OSError, BadInput):
        report_folder.check_folder(
            is_tracked=FOLDER.exists() and here.repository.has_tracked_files(report_folder.FOLDER)
        )
        here.repository.exclude(f"{report_folder.FOLDER}/")
        if outputs.skipped or markdown is not None:
            report_folder.clear(FOLDER)  # a report of an earlier run in this workspace is not this one's
        report_folder.write_outputs(outputs, FOLDER)
        if markdown is not None:
            (FOLDER / "report.md").write_text(markdown, encoding="utf-8")
    here.forge.set_outputs(outputs)


def with_report(here: Session, duplicate: DuplicateRun, sha: str) -> DuplicateRun:
    """Returns a twin with its report: where the place did not keep it, what git holds of its commit."""
    if duplicate.markdown or (here.repository.resolve(sha) is None and not here.repository.fetch(sha, tip_only=True)):
        return duplicate
    from cml.run.subject import Subject

    try:
        work = report_only(here, sha)
        report = _report(here, here.open_project(), Subject(sha=sha, revision=sha), work)
        return duplicate._replace(markdown=_markdown(here, report, work, here.forge.comment_limit or None))
    except Exception as error:  # what is told twice is not worth the job
        show_traceback(error)
        here.log.warning(f"the report of {sha[:7]} cannot be written: {' '.join(str(error).split())[:300]}")
        return duplicate
