"""Renders a report with the user's settings: the Markdown for people, and the files of `cml-report/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cml.config.settings import Settings
from cml.errors import BadInput
from cml.model.json import render_json
from cml.model.report import Report
from cml.process.log import Log
from cml.report.html import render_html
from cml.report.jinja import TemplateProblem
from cml.report.markdown import check_template, render_markdown
from cml.report.openmetrics import render_openmetrics
from cml.run.report_folder import remove_plots

LARGEST_TEMPLATE = 1 << 20  # bytes


def read_template(settings: Settings) -> str | None:
    """Returns the user's own template, tested with an empty report. Raises BadInput if it is missing or broken."""
    if not settings.template:
        return None
    path = Path(settings.template)
    try:
        # A device such as /dev/zero has no end, so it must not be read.
        if path.exists() and (not path.is_file() or path.stat().st_size > LARGEST_TEMPLATE):
            raise BadInput(f"template is {settings.template!r}: expected a file of at most {LARGEST_TEMPLATE} bytes")
        text = path.read_text(encoding="utf-8")
        check_template(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"template is {settings.template!r}, which cannot be read: {reason}") from None
    except TemplateProblem as error:
        raise BadInput(f"template {settings.template}: {error}") from None
    return text


def render_report(
    report: Report,
    *,
    settings: Settings,
    template: str | None,
    log: Log,
    limit: int | None = None,
    image_urls: Mapping[str, str] | None = None,
) -> str:
    """Returns the report as Markdown of at most `limit` bytes of UTF-8.

    It shows the images whose addresses are in `image_urls` (by `PlotImage.file`). If the user's template fails, that is
    a warning, and CML's own template is used.
    """

    def render(user_template: str | None) -> str:
        return render_markdown(
            report,
            number_format=settings.number_format,
            locale=settings.locale,
            user_template=user_template,
            limit=limit,
            image_urls=image_urls,
        )

    try:
        return render(template)
    except TemplateProblem as error:
        log.warning(f"template {settings.template}: {error}; CML's own template is used")
        return render(None)


def write_report(report: Report, folder: Path, *, settings: Settings, template: str | None, log: Log) -> str:
    """Writes all files of the report, and returns the Markdown."""
    folder.mkdir(exist_ok=True)
    text = render_report(report, settings=settings, template=template, log=log)
    images = {image.file: (folder / image.file).read_bytes() for plot in report.plots or () for image in plot.images}
    remove_plots(folder, keep=images)
    (folder / "report.md").write_text(text, encoding="utf-8")
    page = render_html(report, number_format=settings.number_format, locale=settings.locale, images=images)
    # In pieces: with many metrics the whole text would take as much memory again.
    pieces = {"report.html": page, "report.json": render_json(report), "metrics.txt": render_openmetrics(report)}
    for name, chunks in pieces.items():
        with (folder / name).open("w", encoding="utf-8") as file:
            file.writelines(chunks)
    return text
