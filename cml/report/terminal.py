"""The report for a laptop's terminal: what changed, in aligned plain text without colours. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from unicodedata import combining, east_asian_width

from cml.report.markup import guard_commands, shorten, visible
from cml.report.model import Report
from cml.report.numbers import NumberFormat
from cml.report.view import Row, View
from cml.report.words import view_of

ROWS = 40
NAME, VALUE, LINE = 44, 24, 300  # characters of a name, a value, a sentence


def render_terminal(report: Report, *, number_format: NumberFormat, locale: str) -> str:
    """Returns title, verdict and baseline, the metrics and params that changed, gates, warnings and the failure."""
    view = view_of(report, number_format=number_format, locale=locale)
    blocks = [_head(view), _metrics(view), _params(view), _gates(view), _work(view), _warnings(view), _failure(view)]
    return guard_commands("\n\n".join("\n".join(block) for block in blocks if block)) + "\n"


def _head(view: View) -> list[str]:
    title = _plain(view.name, LINE)
    verdict = ". ".join(_plain(part, LINE) for part in (view.title, *view.details))
    lines = [title, "=" * max(1, _width(title)), verdict]
    if view.baseline is None:
        return [*lines, "No baseline: there is no commit before this one."]
    lines.append(f"Baseline: {_plain(view.baseline.name, NAME)} ({view.baseline.sha} vs {view.current.sha})")
    if view.reason:
        lines.append(f"  {_plain(view.reason, LINE)}")
    if view.comparison == "same":
        lines.append("This compares a revision with itself: there is no diff, only values.")
    return lines


def _metrics(view: View) -> list[str]:
    if not view.has_metrics:
        return []
    rows = (*view.metrics, *view.metrics_more)
    if view.comparison == "diff":
        lines = _table(_cells(rows, view), ("metric", "old", "new", "diff", ""), "lrrrl")
    else:
        lines = _table(_cells(rows, view), ("metric", "value", ""), "lrl")
    for file in view.unreadable:
        lines.append(f"  {_plain(file.path, NAME)} ({file.side}) cannot be read: {_plain(file.reason, LINE)}")
    if view.metrics_unchanged:
        lines.append(f"  {len(view.metrics_unchanged)} unchanged")
    return ["Metrics", *(lines or ["  none"])]


def _params(view: View) -> list[str]:
    rows = (*view.params, *view.params_more)
    if not rows or view.comparison != "diff":
        return []
    return ["Params", *_table(_cells(rows, view), ("param", "old", "new", "", ""), "lrrrl")]


def _cells(rows: Iterable[Row], view: View) -> list[tuple[str, ...]]:
    """Only the sides there are; paths only where more than one file has rows."""
    rows = tuple(rows)
    has_paths = len({row.path for row in rows}) > 1
    cells = []
    for row in rows:
        name = _plain(f"{row.path}:{row.name}" if has_paths else row.name, NAME)
        sides = (row.old, row.new, row.diff) if view.comparison == "diff" else (row.new,)
        cells.append((name, *(_plain(side, VALUE) for side in sides), row.mark))
    return cells


def _gates(view: View) -> list[str]:
    words = {"passed": "passed ", "failed": "FAILED ", "unmatched": "no match"}
    gates = (*view.gates, *view.gates_passed)
    lines = [
        f"  {words[gate.state]} {_plain(gate.rule, LINE)}"
        + (f"  ({_plain(gate.metric, NAME)} is {gate.value})" if gate.metric else "")
        for gate in gates
    ]
    return ["Gates", *lines] if lines else []


def _work(view: View) -> list[str]:
    lines = []
    if view.has_data:
        changed = [f"{each.count} {each.kind.lower()}" for each in view.data_counts if each.count]
        lines.append(f"Data: {', '.join(changed) or 'no change'}")
    if view.has_pipeline:
        lines.append(f"Pipeline: {', '.join(view.pipeline_counts)}")
    return lines


def _warnings(view: View) -> list[str]:
    return ["Warnings", *(f"  {_plain(each, LINE)}" for each in view.warnings)] if view.warnings else []


def _failure(view: View) -> list[str]:
    return ["The log's end", *(f"  {line}" for line in view.log)] if view.log else []


def _table(rows: Sequence[tuple[str, ...]], heads: tuple[str, ...], align: str) -> list[str]:
    """Columns, each aligned to the (l)eft or the (r)ight; empty ones are left out."""
    if not rows:
        return []
    shown = rows[:ROWS]
    columns = []
    for head, side, cells in zip(heads, align, zip(*shown, strict=True), strict=True):
        if any(cells):
            width = max(map(_width, (head, *cells)))
            columns.append([_pad(cell, width, right=side == "r") for cell in (head, *cells)])
    lines = ["  " + "  ".join(line).rstrip() for line in zip(*columns, strict=True)]
    return [*lines, f"  {len(rows) - ROWS} more in the report"] if len(rows) > ROWS else lines


def _pad(text: str, width: int, *, right: bool) -> str:
    gap = " " * (width - _width(text))
    return gap + text if right else text + gap


def _width(text: str) -> int:
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def _plain(text: str, width: int) -> str:
    return visible(shorten(text, width))
