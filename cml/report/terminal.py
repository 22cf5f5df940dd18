"""The report for a laptop's terminal: what changed, in aligned plain text without colours. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from unicodedata import combining, east_asian_width

from cml.config.number_format import NumberFormat
from cml.model.report import Report
from cml.report.escape import guard_commands, shorten, visible
from cml.report.i18n import Words, words_of
from cml.report.view import Row, View
from cml.report.view_builder import view_of

ROWS = 40
NAME, VALUE, LINE = 44, 24, 300  # characters of a name, a value, a sentence


def render_terminal(report: Report, *, number_format: NumberFormat, locale: str) -> str:
    """Returns title, verdict and baseline, the metrics and params that changed, gates, warnings and the failure."""
    view = view_of(report, number_format=number_format, locale=locale)
    words = words_of(view.language)
    parts = (_head, _metrics, _params, _gates, _data, _pipeline, _warnings, _failure)
    blocks = [part(view, words) for part in parts]
    return guard_commands("\n\n".join("\n".join(block) for block in blocks if block)) + "\n"


def _head(view: View, words: Words) -> list[str]:
    title = _plain(view.name, LINE)
    verdict = ". ".join(_plain(part, LINE) for part in (view.title, *view.details))
    lines = [title, "=" * max(1, _width(title)), verdict]
    if view.baseline is None:
        return [*lines, words.gettext("No baseline: there is no commit before this one.")]
    sides = {"name": _plain(view.baseline.name, NAME), "old": view.baseline.sha, "new": view.current.sha}
    lines.append(words.gettext("Baseline: %(name)s (%(old)s vs %(new)s)") % sides)
    if view.reason:
        lines.append(f"  {_plain(view.reason, LINE)}")
    if view.comparison == "same":
        lines.append(words.gettext("This compares a revision with itself: there is no diff, only values."))
    return lines


def _metrics(view: View, words: Words) -> list[str]:
    if not view.has_metrics:
        return []
    rows, unlisted = (*view.metrics, *view.metrics_more), view.unlisted.get("metrics_more", 0)
    if view.comparison == "diff":
        heads = (words.gettext("metric"), *_sides(words), words.gettext("diff"), "")
        lines = _table(_cells(rows, view, words), heads, "lrrrl", words, unlisted)
    else:
        one = (words.gettext("metric"), words.gettext("value"), "")
        lines = _table(_cells(rows, view, words), one, "lrl", words, unlisted)
    for file in view.unreadable:
        said = words.gettext("%(side)s cannot be read: %(reason)s")
        said %= {"side": file.said, "reason": _plain(file.reason, LINE)}
        lines.append("  " + words.gettext("%(name)s: %(value)s") % {"name": _plain(file.path, NAME), "value": said})
    if still := len(view.metrics_unchanged) + view.unlisted.get("metrics_unchanged", 0):
        said = words.npgettext("metrics", "%(count)s unchanged", "%(count)s unchanged", still)
        lines.append(f"  {said % {'count': still}}")
    return [words.gettext("Metrics"), *(lines or ["  " + words.pgettext("metrics", "none")])]


def _params(view: View, words: Words) -> list[str]:
    rows = (*view.params, *view.params_more)
    if not rows or view.comparison != "diff":
        return []
    heads = (words.gettext("param"), *_sides(words), "", "")
    unlisted = view.unlisted.get("params_more", 0)
    return [words.gettext("Params"), *_table(_cells(rows, view, words), heads, "lrrrl", words, unlisted)]


def _sides(words: Words) -> tuple[str, str]:
    return words.pgettext("value", "old"), words.pgettext("value", "new")


def _cells(rows: Iterable[Row], view: View, words: Words) -> list[tuple[str, ...]]:
    """Only the sides there are; paths only where more than one file has rows."""
    rows = tuple(rows)
    marks = {"better": words.pgettext("metric", "better"), "worse": words.pgettext("metric", "worse"), "": ""}
    has_paths = len({row.path for row in rows}) > 1
    cells = []
    for row in rows:
        name = _plain(f"{row.path}:{row.name}" if has_paths else row.name, NAME)
        sides = (row.old, row.new, row.diff) if view.comparison == "diff" else (row.new,)
        cells.append((name, *(_plain(side, VALUE) for side in sides), marks[row.mark]))
    return cells


def _gates(view: View, words: Words) -> list[str]:
    states = {
        "failed": words.pgettext("gate", "failed").upper(),
        "unmatched": words.pgettext("gate", "no match"),
        "passed": words.pgettext("gate", "passed"),
    }
    width = max(_width(state) for state in states.values())
    gates = (*view.gates, *view.gates_passed)
    lines = [
        f"  {_pad(states[gate.state], width, right=False)}  {_plain(gate.rule, LINE)}"
        + (f"  ({_plain(gate.metric, NAME)} = {gate.value})" if gate.metric else "")
        for gate in gates
    ]
    unlisted = view.unlisted.get("gates", 0) + view.unlisted.get("gates_passed", 0)
    return [words.gettext("Gates"), *lines, *_more(unlisted, words)] if lines else []


def _data(view: View, words: Words) -> list[str]:
    counts = [{"name": each.said, "value": each.count} for each in view.data_counts if each.count]
    changed = ", ".join(words.gettext("%(name)s: %(value)s") % count for count in counts)
    lines = ["  " + (changed or words.gettext("No tracked data changed."))]
    return [words.gettext("Data"), *lines] if view.has_data else []


def _pipeline(view: View, words: Words) -> list[str]:
    if not view.has_pipeline:
        return []
    heads = (words.gettext("stage"), words.gettext("GPU memory"), words.gettext("GPU use"))
    gpu = [
        (_plain(stage.name, NAME), _plain(stage.memory, VALUE), stage.use) for stage in view.pipeline if stage.memory
    ]
    return [words.gettext("Pipeline"), f"  {', '.join(view.pipeline_counts)}", *_table(gpu, heads, "lrr", words)]


def _warnings(view: View, words: Words) -> list[str]:
    return [words.gettext("Warnings"), *(f"  {_plain(each, LINE)}" for each in view.warnings)] if view.warnings else []


def _failure(view: View, words: Words) -> list[str]:
    return [words.gettext("The log's end"), *(f"  {line}" for line in view.log)] if view.log else []


def _table(
    rows: Sequence[tuple[str, ...]], heads: tuple[str, ...], align: str, words: Words, unlisted: int = 0
) -> list[str]:
    """Columns, each aligned to the (l)eft or the (r)ight; empty ones are left out. `unlisted` are rows not given."""
    if not rows:
        return []
    shown = rows[:ROWS]
    columns = []
    for head, side, cells in zip(heads, align, zip(*shown, strict=True), strict=True):
        if any(cells):
            width = max(map(_width, (head, *cells)))
            columns.append([_pad(cell, width, right=side == "r") for cell in (head, *cells)])
    lines = ["  " + "  ".join(line).rstrip() for line in zip(*columns, strict=True)]
    return [*lines, *_more(len(rows) - len(shown) + unlisted, words)]


def _more(count: int, words: Words) -> list[str]:
    said = words.ngettext("%(count)s more in the full report", "%(count)s more in the full report", count)
    return [f"  {said % {'count': count}}"] if count else []


def _pad(text: str, width: int, *, right: bool) -> str:
    gap = " " * (width - _width(text))
    return gap + text if right else text + gap


def _width(text: str) -> int:
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def _plain(text: str, width: int) -> str:
    return visible(shorten(text, width))
