"""Chooses the rows of a plot that are drawn: an image of 960 pixels cannot show a hundred thousand points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def number_of(value: Any) -> float | None:
    """Returns a finite number, also from the text of a CSV cell, else None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def even_indices(count: int, room: int) -> list[int]:
    """Returns at most `room` (two or more) evenly spaced indices below `count`, with the first and the last."""
    if count <= room:
        return list(range(count))
    return [index * (count - 1) // (room - 1) for index in range(room)]


def sort_by(rows: list[Row], field: str) -> list[Row]:
    """Returns the rows in the order of a field; as they are where it is not a number in every row."""
    keys = [number for row in rows if (number := number_of(row.get(field))) is not None]
    if len(keys) < len(rows):
        return rows
    # With the index as a second key, as rows are mappings, which cannot be compared.
    return [rows[index] for _, index in sorted(zip(keys, range(len(rows)), strict=True))]


def outline(rows: list[Row], fields: Sequence[str], room: int) -> list[Row]:
    """Returns the rows that make a line look as it does: the first, the last, and the extremes of equal stretches."""
    if len(rows) <= room:
        return rows
    kept = {0, len(rows) - 1}
    for field in fields:
        values = [number_of(row.get(field)) for row in rows]
        borders = even_indices(len(rows), max(2, room // 2 // len(fields)))
        for start, end in itertools.pairwise(borders):
            # A stretch without a number keeps one row, so that a gap in the line remains.
            kept |= _extremes(values, start, end) or {start}
    return [rows[index] for index in sorted(kept)]


def spread(rows: list[Row], fields: Sequence[str], room: int) -> list[Row]:
    """Returns evenly chosen rows of a cloud of points, and its outermost points."""
    kept = set(even_indices(len(rows), room))
    for field in fields:
        values = [number_of(row.get(field)) for row in rows]
        kept |= _extremes(values, 0, len(values))
    return [rows[index] for index in sorted(kept)]


def _extremes(values: Sequence[float | None], start: int, end: int) -> set[int]:
    """Returns the indices of the smallest and of the largest number in a stretch; none where it has no number."""
    known = [(value, index) for index, value in enumerate(values[start:end], start) if value is not None]
    return {min(known)[1], max(known)[1]} if known else set()
