"""`cml publish`: posts a report that another run saved. It reads no project, so it must not import DVC."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cml.errors import BadInput
from cml.model.json import read_report
from cml.run.context import Command
from cml.run.render import render_report


def publish(command: Command, folder: Path) -> int:
    """`cml publish DIR`: posts a report that another run saved to the pull request of the event. Returns the exit code.

    What it reads may have been written by a stranger: it is data, and no code of the pull request is executed.
    """
    path = folder / "report.json"
    try:
        saved = read_report(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read the saved report {path}: {' '.join(str(error).split())}") from None
    # The comment is found again by the name in the settings, so its title must have that name too.
    saved = replace(saved, name=command.settings.report_name)
    limit = command.forge.comment_limit or None
    text = render_report(saved, settings=command.settings, template=None, log=command.log, limit=limit)
    published = command.forge.comment(text)
    for warning in published.warnings:
        command.log.warning(warning)
    if published.url:
        command.log.step("publish", published.url)
    return 0
