"""Puts a report on paper, and cuts whole rows where a place is too small for all of them.

What it says is worded in `words`, how it looks stands in the templates. Pure, but for reading our own templates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cml.report import markup
from cml.report.environment import SHORT, TemplateProblem, render, render_user_template
from cml.report.exports import render_json, render_openmetrics
from cml.report.model import Report
from cml.report.numbers import DEFAULT, NumberFormat
from cml.report.terminal import render_terminal
from cml.report.view import View
from cml.report.words import view_of

__all__ = [
    "TemplateProblem",
    "check_template",
    "render_html",
    "render_json",
    "render_markdown",
    "render_openmetrics",
    "render_terminal",
]

# What a limit takes away, the least important first. The headline and the footer stay.
LEAST_IMPORTANT_FIRST = (
    "charts",
    "data",
    "graph",
    "pipeline_idle",
    "experiments",
    "params_unchanged",
    "metrics_unchanged",
    "params_more",
    "params",
    "plots",
    "pipeline",
    "gates_passed",
    "metrics_more",
    "warnings",
    "log",
    "unreadable",
    "metrics",
    "gates",
)
WHOLE = frozenset({"graph"})  # half of it would be of no use


def render_markdown(
    report: Report,
    *,
    number_format: NumberFormat,
    locale: str,
    user_template: str | None = None,
    limit: int | None = None,
) -> str:
    """Returns the report as Markdown, of at most `limit` bytes of UTF-8: GitHub says characters and counts bytes.

    `user_template` is the text of a Jinja template, which may extend `report.md.j2`. Raises TemplateProblem.
    """
    view = view_of(report, number_format=number_format, locale=locale)
    whole = _markdown(view, user_template)
    return whole if limit is None or _size(whole) <= limit else _cut(view, user_template, limit)


def check_template(text: str) -> None:
    """Renders an empty report with the user's template, so that errors show before any work. Raises TemplateProblem."""
    empty = Report(name="DVC Report", verdict="none", sha="0" * 40, baseline=None)
    render_markdown(empty, number_format=NumberFormat.parse(DEFAULT), locale="en", user_template=text)


def render_html(report: Report, *, number_format: NumberFormat, locale: str, images: Mapping[str, bytes]) -> str:
    """Returns the report as one page that asks nothing of the network; `images` are PNG files by `PlotImage.file`."""
    from cml.report.page import page_context

    view = view_of(report, number_format=number_format, locale=locale)
    return render("report.html.j2", view.context() | page_context(view, images=images), kind="html")


def _cut(view: View, user_template: str | None, limit: int) -> str:
    """Takes away section after section until the rest fits; of the last one as many rows come back as have room."""

    def fits(view: View) -> bool:
        return _size(_markdown(view, user_template)) <= limit

    for name in LEAST_IMPORTANT_FIRST:
        count = len(getattr(view, name))
        if not count:
            continue
        if not fits(view.without(name, count)):
            view = view.without(name, count)
            continue
        too_few, enough = 0, count
        while enough - too_few > 1 and name not in WHOLE:
            middle = (too_few + enough) // 2
            too_few, enough = (too_few, middle) if fits(view.without(name, middle)) else (middle, enough)
        return _markdown(view.without(name, enough), user_template)
    for short in (SHORT, 30, 15, 5):  # only long names, or what a user's template adds, can be left to cut
        smallest = _tidy(render("smallest.md.j2", view.context(), kind="md", short=short))
        if _size(smallest) <= limit:
            break
    return smallest


def _markdown(view: View, user_template: str | None) -> str:
    if user_template is None:
        return _tidy(render("report.md.j2", view.context(), kind="md"))
    return _tidy(render_user_template(user_template, view.context()))


def _tidy(rendered: str) -> str:
    """No trailing spaces, no second empty line, nothing that a runner obeys where a report is printed in a log."""
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+$", "", rendered, flags=re.MULTILINE))
    return markup.guard_commands(text.strip()) + "\n"


def _size(text: str) -> int:
    return len(text.encode("utf-8"))
