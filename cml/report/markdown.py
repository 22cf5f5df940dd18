"""Puts a report on paper: what it says is worded in `words`, how it looks stands in the templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cml.config.number_format import DEFAULT, NumberFormat
from cml.model.json import render_json, render_openmetrics
from cml.model.report import Report
from cml.report import escape
from cml.report.jinja import TemplateProblem, render_pieces
from cml.report.sandbox import render_contained
from cml.report.terminal import render_terminal
from cml.report.truncation import fitted, own
from cml.report.view_builder import view_of

__all__ = [
    "TemplateProblem",
    "check_template",
    "render_html",
    "render_json",
    "render_markdown",
    "render_openmetrics",
    "render_terminal",
]


def render_markdown(
    report: Report,
    *,
    number_format: NumberFormat,
    locale: str,
    user_template: str | None = None,
    limit: int | None = None,
    image_urls: Mapping[str, str] | None = None,
) -> str:
    """Returns the report as Markdown, of at most `limit` bytes of UTF-8: GitHub says characters and counts bytes.

    `user_template` is the text of a Jinja template, which may extend `report.md.j2`. `image_urls` are addresses by
    `PlotImage.file`, where images can be shown: of the web, or paths of the forge's own (`/uploads/...`). Raises
    TemplateProblem.
    """
    sources = {file: address for file, url in (image_urls or {}).items() if (address := escape.image_address(url))}
    view = view_of(report, number_format=number_format, locale=locale, sources=sources)
    return fitted(view, own, limit) if user_template is None else render_contained(user_template, view, limit)


def check_template(text: str) -> None:
    """Renders an empty report with the user's template, so that errors show before any work. Raises TemplateProblem."""
    empty = Report(name="DVC Report", verdict="none", sha="0" * 40, baseline=None)
    render_markdown(empty, number_format=NumberFormat.parse(DEFAULT), locale="en", user_template=text)


def render_html(
    report: Report, *, number_format: NumberFormat, locale: str, images: Mapping[str, bytes]
) -> Iterator[str]:
    """Yields the report as one page that asks nothing of the network; `images` are PNG files by `PlotImage.file`."""
    from cml.report.html import image_sources, page_context

    view = view_of(report, number_format=number_format, locale=locale, sources=image_sources(images))
    return render_pieces("report.html.j2", view.context() | page_context(view), kind="html")
