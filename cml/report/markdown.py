"""The report as Markdown, from our template or from a user's."""

from __future__ import annotations

from collections.abc import Mapping

from cml.config.number_format import DEFAULT, NumberFormat
from cml.model.report import Report
from cml.report.escape import image_address
from cml.report.jinja import TemplateProblem, render
from cml.report.sandbox import render_in_sandbox
from cml.report.truncation import fit
from cml.report.view import View
from cml.report.view_builder import build_view

__all__ = ["TemplateProblem", "check_template", "render_markdown"]


def render_markdown(
    report: Report,
    *,
    number_format: NumberFormat,
    locale: str,
    user_template: str | None = None,
    limit: int | None = None,
    image_urls: Mapping[str, str] | None = None,
) -> str:
    """Returns the report as Markdown of at most `limit` bytes of UTF-8 (GitHub documents characters, but counts bytes).

    `user_template` is the text of a Jinja template, which may extend `report.md.j2`. `image_urls` are the addresses of
    images by `PlotImage.file`: web addresses, or paths on the forge itself (`/uploads/...`). Raises TemplateProblem.
    """
    # An address that is not safe is dropped: the plot is then shown without its image.
    addresses = {file: image_address(url) for file, url in (image_urls or {}).items()}
    sources = {file: address for file, address in addresses.items() if address}
    view = build_view(report, number_format=number_format, locale=locale, sources=sources)
    if user_template is None:
        return fit(view, _render_view, limit)
    return render_in_sandbox(user_template, view, limit)


def check_template(text: str) -> None:
    """Renders an empty report with a user's template, to find errors before the run. Raises TemplateProblem."""
    empty = Report(name="DVC Report", verdict="none", sha="0" * 40, baseline=None)
    render_markdown(empty, number_format=NumberFormat.parse(DEFAULT), locale="en", user_template=text)


def _render_view(view: View) -> str:
    return render("report.md.j2", view.context(), kind="md")
