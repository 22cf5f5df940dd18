"""Rows of values, as metrics and params have them, and which of them a page shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

from cml.model.report import MetricRow, ParamRow
from cml.report.sections.base import Comparison

MAX_ROWS = 1000  # of a table on a page: nobody reads more, and report.json has all of them
VISIBLE_ROWS = 20  # of a table; the others are folded

Mark = Literal["better", "worse", ""]
AnyRow = TypeVar("AnyRow", MetricRow, ParamRow)


@dataclass(frozen=True, kw_only=True)
class ValueRow:
    """A metric or param.

    `keys` are old, new and diff as plain numbers, for sorting; a value that is not a number has an empty one.
    """

    path: str
    name: str
    old: str
    new: str
    diff: str = ""
    mark: Mark = ""
    status: str = "unchanged"
    keys: tuple[str, str, str] = ("", "", "")


def split_rows(rows: Iterable[AnyRow], comparison: Comparison) -> tuple[list[AnyRow], list[AnyRow]]:
    """Returns the rows that changed and those that did not. Without a comparison all of them are in the first list."""
    changed: list[AnyRow] = []
    unchanged: list[AnyRow] = []
    for row in rows:
        is_unchanged = comparison == "diff" and row.status == "unchanged"
        (unchanged if is_unchanged else changed).append(row)
    return changed, unchanged


def select_rows(
    changed: list[AnyRow], unchanged: list[AnyRow], *, required: Collection[tuple[str | None, str | None]] = ()
) -> tuple[list[AnyRow], list[AnyRow]]:
    """Returns the rows that a page shows: the first `MAX_ROWS`, with every (path, name) in `required` among them."""
    shown = _first(changed, MAX_ROWS, required)
    return shown, _first(unchanged, MAX_ROWS - len(shown), required)


def _first(rows: list[AnyRow], room: int, required: Collection[tuple[str | None, str | None]]) -> list[AnyRow]:
    # Required rows take the places of the last ones, so that the number of rows stays the same.
    late = [row for row in rows[room:] if (row.path, row.name) in required]
    return rows[: max(0, room - len(late))] + late
