"""The story of one run, top to bottom. `run` is the table of contents."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from cml.errors import BadInput, WorkFailed, show_traceback
from cml.forges.base import Outputs, Published, Twin
from cml.pipeline.project import Pipeline
from cml.prepare import Work, head_of, is_edited, look_on, prepare, standing_on
from cml.report import files
from cml.report.collect import Subject, collect
from cml.report.gates import gates_failed
from cml.report.model import Failure
from cml.session import Session
from cml.skip import skip_reason
from cml.steps import ForeignStorage, pull, reproduce, save, set_up

FOLDER = Path(files.FOLDER)


def run(here: Session) -> int:
    """Does the main job and returns the exit code. Raises BadInput, with nothing touched."""
    head = head_of(here)
    context = here.forge.context
    message = here.repository.commit(head).message
    if context.is_ci and (reason := skip_reason(message, is_asked_for=context.is_asked_for)):
        return skip(here, head, reason)
    if not context.reproduces:
        return tell(here, here.open_pipeline(), look_on(here, head))
    with standing_on(here, head):
        pipeline = here.open_pipeline()
        work = prepare(here, pipeline, head)
    if twin := here.forge.begin(here.settings.key):
        return follow(here, twin, head)
    try:
        set_up(here, pipeline, work)
        pull(here, pipeline, work)
        reproduce(here, pipeline, work)
        save(here, pipeline, work)
    except WorkFailed as error:
        work.failure = Failure(step=error.step, message=here.log.masks.mask(str(error)), log_tail=error.log_tail)
        here.log.error(f"{error.step}: {error}")
    except ForeignStorage as error:
        here.log.warning(
            f"a fork's run gets no secrets, so nothing is reproduced; the report shows what git holds: {error}"
        )
        work.is_looking_on = True
    except Exception as error:  # a defect of ours, or of a library: people still get a report, and the job its outputs
        show_traceback(error)
        message = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
        work.failure = Failure(step="run", message=here.log.masks.mask(message))
        here.log.error(f"{message}. CML_DEBUG=1 shows where; please report it")
    return tell(here, pipeline, work)


def skip(here: Session, head: str, reason: str) -> int:
    here.log.step("skip", reason)
    # A pull request that was opened after its branch had its results has no report yet.
    if here.forge.context.pull and (twin := here.forge.done(head)):
        _warn(here, here.forge.adopt(twin))
    _hand_on(here, Outputs(skipped=True, sha=head))
    return 0


def follow(here: Session, twin: Twin, head: str) -> int:
    """Takes the result of a run that has done the same work, or leaves the work to the one that is at it."""
    if twin.outputs is None:
        here.log.step("twin", f"another run is at the same work: {twin.url}")
        _hand_on(here, Outputs(skipped=True, sha=head, report_url=twin.url))
        return 0
    here.log.step("twin", f"another run has done the same work, and its result stands: {twin.url}")
    _warn(here, here.forge.adopt(twin))
    _hand_on(here, replace(twin.outputs, report=_where(here)), markdown=twin.markdown)
    return twin.exit_code


def tell(here: Session, pipeline: Pipeline, work: Work) -> int:
    """Reports and publishes, whatever the work came to; returns the exit code."""
    is_changed = work.saved is None and (bool(work.changed_paths) or is_edited(here, pipeline))
    subject = Subject(
        sha=work.saved.sha if work.saved else work.head,
        revision=work.head if work.is_looking_on else None,
        has_workspace_changes=is_changed and not work.is_looking_on,
        pipeline=None if work.is_looking_on else pipeline.section(),
        failure=work.failure,
    )
    with contextlib.suppress(OSError):  # a full or read-only disk has failed the run already, or will say so below
        files.clear(FOLDER)
    report = collect(
        pipeline, here.repository, here.settings, here.log, subject=subject, baseline=work.baseline, folder=FOLDER
    )
    try:
        files.write_report(report, FOLDER, settings=here.settings, template=work.template, log=here.log)
        here.log.step("report", f"{FOLDER}/report.md and report.html")
    except OSError as error:
        here.log.warning(f"the report cannot be written to {FOLDER}: {error}")
    code = 1 if report.failure else 3 if report.verdict == "failed" else 0
    outputs = Outputs(
        changed=bool(work.changed_paths),
        sha=subject.sha,
        tag=work.saved.tag if work.saved else "",
        verdict=report.verdict,
        report=_where(here),
    )
    published = here.forge.publish(
        report,
        markdown=lambda limit: files.markdown(
            report, settings=here.settings, template=work.template, log=here.log, limit=limit
        ),
        folder=FOLDER,
        outputs=outputs,
        exit_code=code,
    )
    _warn(here, published)
    _hand_on(here, replace(outputs, report_url=published.url))
    if code == 3:
        here.log.error(gates_failed(report))
    return code


def _where(here: Session) -> str:
    return os.path.relpath(FOLDER.resolve() / "report.md", here.repository.top)


def _warn(here: Session, published: Published) -> None:
    for warning in published.warnings:
        here.log.warning(warning)


def _hand_on(here: Session, outputs: Outputs, *, markdown: str | None = None) -> None:
    """Hands the outputs on; `markdown` is the report of a run whose work was not done here."""
    with contextlib.suppress(OSError, BadInput):
        files.check_folder(is_tracked=here.repository.tracks(files.FOLDER))
        here.repository.exclude(f"{files.FOLDER}/")
        if outputs.skipped or markdown is not None:
            files.clear(FOLDER)  # a report of an earlier run in this workspace is not this one's
        files.write_outputs(outputs, FOLDER)
        if markdown is not None:
            (FOLDER / "report.md").write_text(markdown, encoding="utf-8")
    here.forge.set_outputs(outputs)
