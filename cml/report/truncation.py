"""Markdown of a View, with whole rows cut where a place is too small for all of them.

Pure, but for reading our own templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cml.report import escape
from cml.report.jinja import SHORT, render
from cml.report.view import View

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


def own(view: View) -> str:
    """Returns the Markdown that our own template makes."""
    return render("report.md.j2", view.context(), kind="md")


def fitted(view: View, write: Callable[[View], str], limit: int | None) -> str:
    """Returns what `write` makes of the view, tidy and of at most `limit` bytes of UTF-8."""
    whole = _tidy(write(view))
    return whole if limit is None or _size(whole) <= limit else _cut(view, write, limit)


def _cut(view: View, write: Callable[[View], str], limit: int) -> str:
    """Takes away section after section until the rest fits; of the last one as many rows come back as have room."""

    def fits(view: View) -> bool:
        return _size(_tidy(write(view))) <= limit

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
        return _tidy(write(view.without(name, enough)))
    for short in (SHORT, 30, 15, 5):  # only long names, or what a user's template adds, can be left to cut
        smallest = _tidy(render("smallest.md.j2", view.context(), kind="md", short=short))
        if _size(smallest) <= limit:
            break
    return smallest


def _tidy(rendered: str) -> str:
    """No trailing spaces, no second empty line, nothing that a runner obeys where a report is printed in a log."""
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+$", "", rendered, flags=re.MULTILINE))
    return escape.guard_commands(text.strip()) + "\n"


def _size(text: str) -> int:
    return len(text.encode("utf-8"))
