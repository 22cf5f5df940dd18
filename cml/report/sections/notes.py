"""The notes: a failure with the end of its log, warnings, and links."""

from __future__ import annotations

from dataclasses import dataclass

from cml.model.report import Report
from cml.report.escape import log_lines
from cml.report.sections.base import Section


@dataclass(frozen=True, kw_only=True)
class NotesView(Section):
    """`failure` is a message of one line, `log` are the last lines of the log; both are empty after a success."""

    failure: str
    log: tuple[str, ...]
    warnings: tuple[str, ...]
    run_url: str | None
    compare_url: str | None


def build_notes(report: Report) -> NotesView:
    failure = report.failure
    return NotesView(
        failure=failure.message if failure else "",
        log=log_lines(failure.log_tail) if failure else (),
        warnings=report.warnings,
        run_url=report.run_url,
        compare_url=report.compare_url,
    )
