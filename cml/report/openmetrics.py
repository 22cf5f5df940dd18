"""The report as OpenMetrics text: metrics.txt, which GitLab shows as a metrics report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import cast

from cml.model.json import encodable
from cml.model.report import MetricRow, Report, is_number


def render_openmetrics(report: Report) -> Iterator[str]:
    """Yields the numbers among the metrics of this run, one line each, all of them as one gauge."""
    yield "# TYPE cml_metric gauge\n# HELP cml_metric Metrics of the DVC project, as of this run.\n"
    # Text has no place in this format, and a removed metric has no value in this run.
    rows = [row for row in report.metrics or () if row.status != "removed" and is_number(row.new)]
    # By file, so that only the names of one file are remembered at a time.
    for path, group in groupby(sorted(rows, key=_path_label), key=_path_label):
        written = set()
        for row in group:
            name = _label(row.name)
            if name in written:  # two samples of the same labels would make the whole file invalid
                continue
            written.add(name)
            yield f'cml_metric{{path="{path}",name="{name}"}} {_sample(cast("float", row.new))}\n'
    yield "# EOF\n"


def _path_label(row: MetricRow) -> str:
    return _label(row.path)


def _label(text: str) -> str:
    # The backslash first: the others add backslashes of their own.
    return encodable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _sample(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return "NaN"
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
