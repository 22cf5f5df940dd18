"""Links of a report: its run, the comparison with the baseline, the commits of its experiments."""

from __future__ import annotations

from dataclasses import replace

from cml.forges.base import Context
from cml.model.report import Experiment, Report


def add_links(report: Report, context: Context) -> Report:
    """Returns the report with the addresses that the forge has for it."""
    if not context.project_url:
        return report
    baseline = report.baseline

    def has_commit(experiment: Experiment) -> bool:
        # Results that are only in the work tree have no page on the forge.
        return not (experiment.is_current and report.has_workspace_changes)

    has_comparison = baseline is not None and baseline.sha != report.sha
    return replace(
        report,
        run_url=context.run_url,
        compare_url=context.compare_url(baseline.sha, report.sha) if baseline and has_comparison else None,
        experiments=tuple(
            replace(each, url=context.commit_url(each.sha)) if has_commit(each) else each for each in report.experiments
        ),
    )
