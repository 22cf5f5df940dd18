"""The params: their values on both sides."""

from __future__ import annotations

from dataclasses import dataclass

from cml.model.report import ParamRow, Report
from cml.report.formatting import Formatter, sort_key
from cml.report.sections.base import DASH, Section, comparison_of
from cml.report.sections.rows import VISIBLE_ROWS, ValueRow, select_rows, split_rows


@dataclass(frozen=True, kw_only=True)
class ParamsView(Section):
    """`params` are the first rows that changed, `params_more` the others; with no diff, all rows are among them."""

    has_params: bool
    params: tuple[ValueRow, ...]
    params_more: tuple[ValueRow, ...]
    params_unchanged: tuple[ValueRow, ...]


def build_params(report: Report, formatter: Formatter) -> ParamsView:
    changed, unchanged = split_rows(report.params or (), comparison_of(report))
    shown, shown_unchanged = select_rows(changed, unchanged)
    rows = tuple(_param_row(row, formatter) for row in shown)
    return ParamsView(
        has_params=bool(report.params),
        params=rows[:VISIBLE_ROWS],
        params_more=rows[VISIBLE_ROWS:],
        params_unchanged=tuple(_param_row(row, formatter) for row in shown_unchanged),
        unlisted={
            "params_more": len(changed) - len(shown),
            "params_unchanged": len(unchanged) - len(shown_unchanged),
        },
    )


def _param_row(row: ParamRow, formatter: Formatter) -> ValueRow:
    return ValueRow(
        path=row.path,
        name=row.name or '""',
        old=DASH if row.status == "added" else formatter.param(row.old),
        new=DASH if row.status == "removed" else formatter.param(row.new),
        status=row.status,
        keys=(sort_key(row.old), sort_key(row.new), ""),
    )
