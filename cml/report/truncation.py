"""Fits Markdown into a size limit: whole rows are removed, the least important first."""

from __future__ import annotations

import re
from collections.abc import Callable

from cml.report import escape
from cml.report.jinja import NAME_WIDTH, render
from cml.report.view import View

# The lists whose rows are removed, the least important first. The headline and the footer stay.
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
INDIVISIBLE = frozenset({"graph"})  # half a graph is of no use


def fit(view: View, write: Callable[[View], str], limit: int | None) -> str:
    """Returns what `write` makes of the view, cleaned up, in at most `limit` bytes of UTF-8."""
    complete = _clean_up(write(view))
    return complete if limit is None or _size(complete) <= limit else _shorten(view, write, limit)


def _shorten(view: View, write: Callable[[View], str], limit: int) -> str:
    """Removes list after list until the rest fits, and of the last one no more rows than necessary."""

    def fits(view: View) -> bool:
        return _size(_clean_up(write(view))) <= limit

    # A list is removed completely before a row of a more important list is.
    for name in LEAST_IMPORTANT_FIRST:
        count = len(view.rows(name))
        if not count:
            continue
        if not fits(view.without(name, count)):
            view = view.without(name, count)
            continue
        # Without this list the report fits. A binary search finds how many rows can stay: each try renders the report.
        too_few, enough = 0, count
        while enough - too_few > 1 and name not in INDIVISIBLE:
            middle = (too_few + enough) // 2
            if fits(view.without(name, middle)):
                enough = middle
            else:
                too_few = middle
        return _clean_up(write(view.without(name, enough)))
    return _smallest(view, limit)


def _smallest(view: View, limit: int) -> str:
    """Returns the headline and a link to the report, for names that are very long or a template that adds much."""
    for name_width in (NAME_WIDTH, 30, 15, 5):
        text = _clean_up(render("smallest.md.j2", view.context(), kind="md", name_width=name_width))
        if _size(text) <= limit:
            break
    return text


def _clean_up(rendered: str) -> str:
    """Removes trailing spaces and repeated empty lines, and breaks the commands of CI runners."""
    text = re.sub(r"[ \t]+$", "", rendered, flags=re.MULTILINE)
    text = re.sub(r"\n{3,}", "\n\n", text)
    return escape.guard_commands(text.strip()) + "\n"


def _size(text: str) -> int:
    return len(text.encode("utf-8"))
