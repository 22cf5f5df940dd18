"""Builds the view of a report from its sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from cml.config.number_format import NumberFormat
from cml.model.report import Report
from cml.report.formatting import Formatter
from cml.report.i18n import language_of, translations_of
from cml.report.sections.data import build_data
from cml.report.sections.experiments import build_experiments
from cml.report.sections.gates import build_gates
from cml.report.sections.header import build_header
from cml.report.sections.metrics import build_metrics
from cml.report.sections.notes import build_notes
from cml.report.sections.params import build_params
from cml.report.sections.pipeline import build_pipeline
from cml.report.sections.plots import PlotsView, build_plots
from cml.report.view import View


def build_view(
    report: Report, *, number_format: NumberFormat, locale: str, sources: Mapping[str, str] | None = None
) -> View:
    """Returns the view of a report in the language of `locale`; `sources` are addresses of images by `PlotImage.file`.

    Raises ValueError for a locale that Babel does not know.
    """
    translations = translations_of(language_of(locale))
    formatter = Formatter(number_format=number_format, locale=locale, translations=translations)
    view = _without_plots(_IdentityKey(report), formatter)
    return replace(view, plots=build_plots(report, formatter, sources or {}))


class _IdentityKey:
    """A report as the key of a cache. It equals itself only: comparing two large reports would take too long."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _IdentityKey) and other.report is self.report

    def __hash__(self) -> int:
        return id(self.report)


# One report is rendered several times in a row: as Markdown for each place, as HTML, for the terminal. Everything but
# the plots is the same each time; these differ, since each place shows images in its own way.
@lru_cache(maxsize=1)
def _without_plots(key: _IdentityKey, formatter: Formatter) -> View:
    report = key.report
    return View(
        report=report,
        language=language_of(formatter.locale),
        header=build_header(report, formatter),
        gates=build_gates(report, formatter),
        metrics=build_metrics(report, formatter),
        params=build_params(report, formatter),
        plots=PlotsView(),
        data=build_data(report, formatter),
        pipeline=build_pipeline(report, formatter),
        experiments=build_experiments(report, formatter),
        notes=build_notes(report),
    )
