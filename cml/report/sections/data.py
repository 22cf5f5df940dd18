"""The data: files and directories that DVC tracks and that changed."""

from __future__ import annotations

from dataclasses import dataclass

from cml.model.report import DataChanges, DataEntry, Report
from cml.report.formatting import Formatter, sort_key
from cml.report.i18n import Translations, pnoop
from cml.report.sections.base import LabelledRow, Section, comparison_of

_HEADINGS = {
    "added": pnoop("heading", "Added"),
    "modified": pnoop("heading", "Modified"),
    "deleted": pnoop("heading", "Deleted"),
    "renamed": pnoop("heading", "Renamed"),
}
_KINDS = {
    "added": pnoop("file", "added"),
    "modified": pnoop("file", "modified"),
    "deleted": pnoop("file", "deleted"),
    "renamed": pnoop("file", "renamed"),
}


@dataclass(frozen=True, kw_only=True)
class DataCount(LabelledRow):
    """How many entries of one kind there are, and their size; `label` is the translation of `kind` as a heading."""

    kind: str
    count: int
    size: str


@dataclass(frozen=True, kw_only=True)
class DataRow(LabelledRow):
    """One entry. `kind` is "added", "modified", "deleted" or "renamed", `label` its translation.

    `key` is the size as a plain number, for sorting.
    """

    kind: str
    path: str
    old_path: str | None
    size: str
    key: str
    files: str
    biggest: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DataView(Section):
    has_data: bool
    data_counts: tuple[DataCount, ...]
    data: tuple[DataRow, ...]


def build_data(report: Report, formatter: Formatter) -> DataView:
    kinds = _by_kind(report.data)
    is_compared = comparison_of(report) == "diff"
    return DataView(
        has_data=report.data is not None and (is_compared or report.data != DataChanges()),
        data_counts=tuple(_count(kind, entries, formatter) for kind, entries in kinds.items()),
        data=tuple(_row(kind, entry, formatter) for kind, entries in kinds.items() for entry in entries),
    )


def _by_kind(data: DataChanges | None) -> dict[str, tuple[DataEntry, ...]]:
    if data is None:
        return {}
    return {"added": data.added, "modified": data.modified, "deleted": data.deleted, "renamed": data.renamed}


def _count(kind: str, entries: tuple[DataEntry, ...], formatter: Formatter) -> DataCount:
    label = formatter.translations.pgettext(*_HEADINGS[kind])
    return DataCount(kind=kind, label=label, count=len(entries), size=_total_size(kind, entries, formatter))


def _row(kind: str, entry: DataEntry, formatter: Formatter) -> DataRow:
    return DataRow(
        kind=kind,
        label=formatter.translations.pgettext(*_KINDS[kind]),
        path=entry.path,
        old_path=entry.old_path,
        size=formatter.size_change(entry.old_size, entry.new_size),
        key=sort_key(entry.old_size if entry.new_size is None else entry.new_size),
        files=_file_count(entry.files, formatter.translations),
        biggest=entry.biggest,
    )


def _file_count(count: int, translations: Translations) -> str:
    return translations.ngettext("%(count)s file", "%(count)s files", count) % {"count": count} if count else ""


def _total_size(kind: str, entries: tuple[DataEntry, ...], formatter: Formatter) -> str:
    """Returns how many bytes a kind of change adds or frees; nothing where a size is not known, or for a rename."""
    old_sizes = [entry.old_size for entry in entries if kind in ("modified", "deleted")]
    new_sizes = [entry.new_size for entry in entries if kind in ("modified", "added")]
    known_old = [size for size in old_sizes if size is not None]
    known_new = [size for size in new_sizes if size is not None]
    if not known_old and not known_new:
        return ""
    # A sum with an unknown size in it would be wrong.
    if len(known_old) < len(old_sizes) or len(known_new) < len(new_sizes):
        return ""
    total = sum(known_new) - sum(known_old)
    return f"{'+' if total > 0 else ''}{formatter.size(total)}"
