"""The view: a report as templates see it, with every number formatted and every word translated.

Nothing in it is escaped yet. `view_builder` makes it; Markdown, HTML and the terminal share it, so that they cannot
contradict each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from cml.model.report import Report
from cml.report.sections.base import Section
from cml.report.sections.data import DataView
from cml.report.sections.experiments import ExperimentsView
from cml.report.sections.gates import GatesView
from cml.report.sections.header import HeaderView
from cml.report.sections.metrics import MetricsView
from cml.report.sections.notes import NotesView
from cml.report.sections.params import ParamsView
from cml.report.sections.pipeline import PipelineView
from cml.report.sections.plots import PlotsView


@dataclass(frozen=True, kw_only=True)
class View:
    """The sections of a report, in `language`. `omitted` counts, by field, the rows that a size limit removed."""

    report: Report
    language: str
    header: HeaderView
    gates: GatesView
    metrics: MetricsView
    params: ParamsView
    plots: PlotsView
    data: DataView
    pipeline: PipelineView
    experiments: ExperimentsView
    notes: NotesView
    omitted: Mapping[str, int] = field(default_factory=dict)

    def rows(self, name: str) -> tuple[Any, ...]:
        """Returns a list of rows by the name that templates know."""
        _, section = self._section_with(name)
        rows: tuple[Any, ...] = getattr(section, name)
        return rows

    def without(self, name: str, count: int) -> View:
        """Returns the view with `count` rows of a list removed: the last ones, but the first lines of a log."""
        rows = self.rows(name)
        # The end of a log says what failed; the first rows of any other list are the most important ones.
        rest = rows[count:] if name == "log" else rows[: len(rows) - count]
        section_name, section = self._section_with(name)
        field_change: dict[str, Any] = {name: rest}
        section_change: dict[str, Any] = {section_name: replace(section, **field_change)}
        return replace(self, omitted={**self.omitted, name: count}, **section_change)

    def context(self) -> dict[str, Any]:
        """Returns the names that a template may use: the fields of all sections.

        These names are a contract with the templates of users. `omitted` and `unlisted` are 0 for a complete list.
        """
        names: dict[str, Any] = {"report": self.report, "language": self.language}
        unlisted: Counter[str] = Counter()
        # Flat, although the view has sections: a template writes `metrics`, not `metrics.metrics`.
        for section in self._sections().values():
            names |= {each.name: getattr(section, each.name) for each in fields(section)}
            unlisted.update(section.unlisted)
        return names | {"omitted": Counter(self.omitted), "unlisted": unlisted}

    def _sections(self) -> dict[str, Section]:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Section)}

    def _section_with(self, name: str) -> tuple[str, Section]:
        for section_name, section in self._sections().items():
            if name in {each.name for each in fields(section)}:
                return section_name, section
        raise AttributeError(f"no section has the field {name!r}")
