"""The report for a terminal: what changed, as plain text in aligned columns, without colors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from unicodedata import combining, east_asian_width

from cml.config.number_format import NumberFormat
from cml.model.report import Report
from cml.report.escape import guard_commands, shorten, visible
from cml.report.i18n import Translations, translations_of
from cml.report.sections.base import Comparison
from cml.report.sections.rows import ValueRow
from cml.report.view import View
from cml.report.view_builder import build_view

MAX_ROWS = 40
NAME_WIDTH, VALUE_WIDTH, TEXT_WIDTH = 44, 24, 300  # characters


def render_terminal(report: Report, *, number_format: NumberFormat, locale: str) -> str:
    """Returns title, verdict and baseline, what changed in each section, warnings and the end of the log."""
    view = build_view(report, number_format=number_format, locale=locale)
    translations = translations_of(view.language)
    sections = (_header, _metrics, _params, _gates, _data, _pipeline, _warnings, _failure)
    blocks = ["\n".join(section(view, translations)) for section in sections]
    # This is printed into the log of a CI job, where a name such as `::error::` would be a command.
    return guard_commands("\n\n".join(block for block in blocks if block)) + "\n"


def _header(view: View, translations: Translations) -> list[str]:
    header = view.header
    title = _plain(header.name, TEXT_WIDTH)
    verdict = ". ".join(_plain(part, TEXT_WIDTH) for part in (header.title, *header.details))
    lines = [title, "=" * max(1, _width(title)), verdict]
    if header.baseline is None:
        return [*lines, translations.gettext("No baseline: there is no commit before this one.")]
    sides = {"name": _plain(header.baseline.name, NAME_WIDTH), "old": header.baseline.sha, "new": header.current.sha}
    lines.append(translations.gettext("Baseline: %(name)s (%(old)s vs %(new)s)") % sides)
    if header.reason:
        lines.append(f"  {_plain(header.reason, TEXT_WIDTH)}")
    if header.comparison == "same":
        lines.append(translations.gettext("The baseline is this commit itself: values are shown without a diff."))
    return lines


def _metrics(view: View, translations: Translations) -> list[str]:
    section, comparison = view.metrics, view.header.comparison
    if not section.has_metrics:
        return []
    rows = _cells((*section.metrics, *section.metrics_more), comparison, translations)
    more = section.unlisted["metrics_more"]
    name = translations.gettext("metric")
    if comparison == "diff":
        headings = (name, *_sides(translations), translations.gettext("diff"), "")
        lines = _table(rows, headings, "lrrrl", translations, more=more)
    else:
        lines = _table(rows, (name, translations.gettext("value"), ""), "lrl", translations, more=more)
    for file in section.unreadable:
        text = translations.gettext("%(side)s cannot be read: %(reason)s")
        text %= {"side": file.label, "reason": _plain(file.reason, TEXT_WIDTH)}
        values = {"name": _plain(file.path, NAME_WIDTH), "value": text}
        lines.append("  " + translations.gettext("%(name)s: %(value)s") % values)
    unchanged = len(section.metrics_unchanged) + section.unlisted["metrics_unchanged"]
    if unchanged:
        text = translations.npgettext("metrics", "%(count)s unchanged", "%(count)s unchanged", unchanged)
        lines.append(f"  {text % {'count': unchanged}}")
    return [translations.gettext("Metrics"), *(lines or ["  " + translations.pgettext("metrics", "none")])]


def _params(view: View, translations: Translations) -> list[str]:
    section, comparison = view.params, view.header.comparison
    rows = (*section.params, *section.params_more)
    if not rows or comparison != "diff":
        return []
    headings = (translations.gettext("param"), *_sides(translations), "", "")
    cells = _cells(rows, comparison, translations)
    lines = _table(cells, headings, "lrrrl", translations, more=section.unlisted["params_more"])
    return [translations.gettext("Params"), *lines]


def _sides(translations: Translations) -> tuple[str, str]:
    return translations.pgettext("value", "old"), translations.pgettext("value", "new")


def _cells(rows: Iterable[ValueRow], comparison: Comparison, translations: Translations) -> list[tuple[str, ...]]:
    """Returns the cells of rows: both sides only if there are two, paths only if the rows are of several files."""
    rows = tuple(rows)
    marks = {"better": translations.pgettext("metric", "better"), "worse": translations.pgettext("metric", "worse")}
    # Most projects have one file: its path in each row would only take room.
    has_paths = len({row.path for row in rows}) > 1
    cells = []
    for row in rows:
        name = _plain(f"{row.path}:{row.name}" if has_paths else row.name, NAME_WIDTH)
        values = (row.old, row.new, row.diff) if comparison == "diff" else (row.new,)
        cells.append((name, *(_plain(value, VALUE_WIDTH) for value in values), marks.get(row.mark, "")))
    return cells


def _gates(view: View, translations: Translations) -> list[str]:
    section = view.gates
    states = {
        "failed": translations.pgettext("gate", "failed").upper(),
        "unmatched": translations.pgettext("gate", "no match"),
        "passed": translations.pgettext("gate", "passed"),
    }
    width = max(_width(state) for state in states.values())
    lines = []
    for gate in (*section.gates, *section.gates_passed):
        line = f"  {_pad(states[gate.state], width, right=False)}  {_plain(gate.rule, TEXT_WIDTH)}"
        if gate.metric:
            line += f"  ({_plain(gate.metric, NAME_WIDTH)} = {gate.value})"
        lines.append(line)
    if not lines:
        return []
    more = section.unlisted["gates"] + section.unlisted["gates_passed"]
    return [translations.gettext("Gates"), *lines, *_more(more, translations)]


def _data(view: View, translations: Translations) -> list[str]:
    if not view.data.has_data:
        return []
    counts = [{"name": each.label, "value": each.count} for each in view.data.data_counts if each.count]
    text = ", ".join(translations.gettext("%(name)s: %(value)s") % count for count in counts)
    return [translations.gettext("Data"), "  " + (text or translations.gettext("No tracked data changed."))]


def _pipeline(view: View, translations: Translations) -> list[str]:
    section = view.pipeline
    if not section.has_pipeline:
        return []
    headings = (translations.gettext("stage"), translations.gettext("GPU memory"), translations.gettext("GPU use"))
    gpu = [
        (_plain(stage.name, NAME_WIDTH), _plain(stage.memory, VALUE_WIDTH), stage.use)
        for stage in section.pipeline
        if stage.memory
    ]
    counts = f"  {', '.join(section.pipeline_counts)}"
    return [translations.gettext("Pipeline"), counts, *_table(gpu, headings, "lrr", translations)]


def _warnings(view: View, translations: Translations) -> list[str]:
    if not view.notes.warnings:
        return []
    return [translations.gettext("Warnings"), *(f"  {_plain(each, TEXT_WIDTH)}" for each in view.notes.warnings)]


def _failure(view: View, translations: Translations) -> list[str]:
    if not view.notes.log:
        return []
    return [translations.gettext("End of the log"), *(f"  {line}" for line in view.notes.log)]


def _table(
    rows: Sequence[tuple[str, ...]], headings: tuple[str, ...], align: str, translations: Translations, *, more: int = 0
) -> list[str]:
    """Returns columns that are aligned to the left (`l`) or to the right (`r`), without the empty ones.

    `more` is the number of rows that are not among `rows`.
    """
    if not rows:
        return []
    shown = rows[:MAX_ROWS]
    columns = []
    for heading, side, cells in zip(headings, align, zip(*shown, strict=True), strict=True):
        if any(cells):
            width = max(map(_width, (heading, *cells)))
            columns.append([_pad(cell, width, right=side == "r") for cell in (heading, *cells)])
    lines = ["  " + "  ".join(line).rstrip() for line in zip(*columns, strict=True)]
    return [*lines, *_more(len(rows) - len(shown) + more, translations)]


def _more(count: int, translations: Translations) -> list[str]:
    if not count:
        return []
    text = translations.ngettext("%(count)s more in the full report", "%(count)s more in the full report", count)
    return [f"  {text % {'count': count}}"]


def _pad(text: str, width: int, *, right: bool) -> str:
    gap = " " * (width - _width(text))
    return gap + text if right else text + gap


def _width(text: str) -> int:
    """Returns the number of columns that a text takes in a terminal."""
    # Characters of Chinese, Japanese and Korean take two columns, accents take none.
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def _plain(text: str, width: int) -> str:
    return visible(shorten(text, width))
