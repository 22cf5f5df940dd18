"""Renders the report and publishes it. Trouble here is a warning: the results are saved already."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from cml.dvc.project import Project
from cml.errors import show_traceback
from cml.forges.base import DuplicateRun, Forge, Outputs, Publication
from cml.model.report import Report
from cml.report.headline import headline
from cml.report.judgement import gates_failed
from cml.report.terminal import render_terminal
from cml.run import report_folder
from cml.run.collect import collect
from cml.run.context import Command
from cml.run.links import add_links
from cml.run.outcome import Outcome, Subject
from cml.run.preflight import has_changes, prepare_report_only
from cml.run.render import render_report, write_report

FOLDER = Path(report_folder.FOLDER)
LONGEST_REASON = 300  # characters


def publish(command: Command, project: Project, outcome: Outcome) -> int:
    """Writes and publishes the report of an outcome, and sets the outputs. Returns the exit code."""
    log, forge = command.log, command.forge
    subject = _subject(command, project, outcome)
    with contextlib.suppress(OSError):  # a full or read-only disk has failed the run already, or write_report warns
        report_folder.clear(FOLDER, keep_plots=True)
    report = _collect(command, project, subject, outcome)
    _write_report(command, report, outcome)
    exit_code = _exit_code(report)
    outputs = Outputs(
        changed=bool(outcome.changed_paths),
        sha=subject.sha,
        tag=outcome.saved.tag if outcome.saved else "",
        verdict=report.verdict,
        report=report_folder.report_path(command.repository),
    )
    # Images first: the texts contain their addresses.
    images = [image.file for plot in report.plots or () for image in plot.images]
    image_urls = forge.upload_images(images, FOLDER, tag=outputs.tag)
    published = forge.publish(_render(command, report, outcome, outputs, image_urls, exit_code=exit_code))
    for warning in published.warnings:
        log.warning(warning)
    if command.context.is_ci and published.url not in ("", command.context.run_url):
        log.step("publish", published.url)
    # Outputs last: they contain the address of the report.
    outputs = outputs._replace(report_url=published.url)
    report_folder.set_outputs(command.repository, forge, outputs)
    if exit_code == 3:
        log.error(gates_failed(report) + (". The results are saved" if outcome.saved else ""))
    return exit_code


def add_report(command: Command, duplicate: DuplicateRun, sha: str) -> DuplicateRun:
    """Returns a duplicate run with its report: if the forge did not keep it, the report of its results commit."""
    repository, log = command.repository, command.log
    if duplicate.markdown or (repository.resolve(sha) is None and not repository.fetch(sha, tip_only=True)):
        return duplicate
    try:
        outcome = prepare_report_only(command, sha)
        report = _collect(command, command.open_project(), Subject(sha=sha, revision=sha), outcome)
        text = _render_markdown(command, report, outcome, limit=command.forge.comment_limit or None)
        return duplicate._replace(markdown=text)
    except Exception as error:  # the results exist: a report that is shown once more is not worth a failed job
        show_traceback(error)
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        log.warning(f"cannot write the report of {sha[:7]}: {reason}")
        return duplicate


def _subject(command: Command, project: Project, outcome: Outcome) -> Subject:
    if outcome.is_report_only:
        sha = outcome.saved.sha if outcome.saved else outcome.head
        return Subject(sha=sha, revision=outcome.head)
    if outcome.saved:
        return Subject(sha=outcome.saved.sha, pipeline=project.section(), failure=outcome.failure)
    return Subject(
        sha=outcome.head,
        has_workspace_changes=bool(outcome.changed_paths) or has_changes(command.repository, project),
        pipeline=project.section(),
        failure=outcome.failure,
    )


def _collect(command: Command, project: Project, subject: Subject, outcome: Outcome) -> Report:
    report = collect(
        project,
        command.repository,
        command.settings,
        command.log,
        subject=subject,
        baseline=outcome.baseline,
        folder=FOLDER,
    )
    return add_links(report, command.context)


def _write_report(command: Command, report: Report, outcome: Outcome) -> None:
    log = command.log
    try:
        write_report(report, FOLDER, settings=command.settings, template=outcome.template, log=log)
    except OSError as error:
        log.warning(f"cannot write the report to {FOLDER}: {error}")
    else:
        log.step("report", f"written to {FOLDER}/report.md and report.html")


def _exit_code(report: Report) -> int:
    if report.failure:
        return 1
    return 3 if report.verdict == "failed" else 0


def _render(
    command: Command,
    report: Report,
    outcome: Outcome,
    outputs: Outputs,
    image_urls: Mapping[str, str],
    *,
    exit_code: int,
) -> Publication:
    """Renders the texts that the forge shows, and no others: rendering a large report takes seconds."""
    forge: Forge = command.forge
    comment = page = ""
    if forge.comment_limit:
        comment = _render_markdown(command, report, outcome, limit=forge.comment_limit, image_urls=image_urls)
    # Most forges show one text in both places.
    if forge.page_limit == forge.comment_limit:
        page = comment
    elif forge.page_limit:
        page = _render_markdown(command, report, outcome, limit=forge.page_limit, image_urls=image_urls)
    terminal = ""
    if forge.has_terminal:
        settings = command.settings
        terminal = render_terminal(report, number_format=settings.number_format, locale=settings.locale)
    return Publication(
        headline=headline(report),
        comment=comment,
        page=page,
        terminal=terminal,
        outputs=outputs,
        exit_code=exit_code,
        is_complete=not report.failure and not outcome.is_report_only,
        folder=FOLDER,
    )


def _render_markdown(
    command: Command,
    report: Report,
    outcome: Outcome,
    *,
    limit: int | None,
    image_urls: Mapping[str, str] | None = None,
) -> str:
    return render_report(
        report,
        settings=command.settings,
        template=outcome.template,
        log=command.log,
        limit=limit,
        image_urls=image_urls,
    )
