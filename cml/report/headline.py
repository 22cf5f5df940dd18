"""The report in one plain line, for titles and descriptions."""

from __future__ import annotations

from cml.model.report import Report


def headline(report: Report) -> str:
    """Returns what failed, or the verdict of the gates and how many metrics got better and worse."""
    if report.failure:
        return f"{report.failure.step} failed"
    better = sum(row.better is True for row in report.metrics or ())
    worse = sum(row.better is False for row in report.metrics or ())
    counts = ", ".join(f"{count} {word}" for count, word in ((better, "better"), (worse, "worse")) if count)
    gates = {"passed": "gates passed", "failed": "a gate failed", "none": ""}[report.verdict]
    return ": ".join(filter(None, (gates, counts))) or "no metric better or worse"
