"""From what DVC and git say to the Report: the one place where the two are put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cml.log import Log
from cml.pipeline.project import Pipeline
from cml.pipeline.revisions import Snapshot, data_changes, snapshot
from cml.report import gates
from cml.report.model import (
    Baseline,
    DataChanges,
    Experiment,
    Failure,
    MetricRow,
    ParamRow,
    PipelineSection,
    Plot,
    Report,
    UnreadableFile,
    Value,
    status_of,
)
from cml.repository import Repository
from cml.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a report is about. `revision` is the commit whose values are shown, or None for the work tree; `sha` is the
    commit it is called by.
    """

    sha: str
    revision: str | None = None
    has_workspace_changes: bool = False
    hash_workspace: bool = False
    pipeline: PipelineSection | None = None
    failure: Failure | None = None


def collect(
    pipeline: Pipeline,
    repository: Repository,
    settings: Settings,
    log: Log,
    *,
    subject: Subject,
    baseline: Baseline | None,
    folder: Path,
) -> Report:
    """Returns the report of a subject against a baseline; draws its plots into `folder`."""
    is_same = baseline is not None and baseline.sha == subject.sha and not subject.has_workspace_changes
    new = snapshot(
        pipeline,
        subject.revision,
        metrics=settings.metrics_diff_targets,
        params=settings.params_diff_targets,
        with_data=True,
        hash_workspace=subject.hash_workspace,
    )
    if baseline is None:
        old = Snapshot()
    elif is_same:
        old = new
    else:
        old = snapshot(
            pipeline,
            baseline.sha,
            metrics=settings.metrics_diff_targets,
            params=settings.params_diff_targets,
            with_data=True,
        )
    unreadable = _unreadable(old, new, log)
    rows = gates.with_directions(_metric_rows(old, new), settings.metrics_gate)
    judgement = gates.judge(settings.metrics_gate, rows)
    for warning in judgement.warnings:
        log.warn(warning)
    experiments, hint = _experiments(pipeline, repository, settings, subject, new)
    return Report(
        name=settings.report_name,
        verdict="failed" if subject.failure else judgement.verdict,
        sha=subject.sha,
        baseline=baseline,
        has_workspace_changes=subject.has_workspace_changes,
        metrics=None if settings.metrics_diff_targets is None else rows,
        params=None if settings.params_diff_targets is None else _param_rows(old, new),
        unreadable=unreadable,
        gates=judgement.results,
        plots=None if settings.plots is None else _plots(pipeline, settings, subject, baseline, log, folder),
        data=DataChanges() if baseline is None or is_same else data_changes(old, new),
        pipeline=subject.pipeline,
        experiments=experiments,
        experiments_hint=hint,
        failure=subject.failure,
        warnings=tuple(log.warnings),
    )


def _pairs(
    old: dict[str, dict[str, Value]], new: dict[str, dict[str, Value]], skipped: Iterable[str]
) -> Iterable[tuple[str, str]]:
    for path in sorted((old.keys() | new.keys()) - set(skipped)):
        # In the order of the file, which its author chose; what only the baseline has comes last.
        yield from ((path, name) for name in dict.fromkeys([*new.get(path, {}), *old.get(path, {})]))


def _metric_rows(old: Snapshot, new: Snapshot) -> tuple[MetricRow, ...]:
    # A file that cannot be read on one side has no values there: no "removed" rows for it.
    skipped = old.unreadable.keys() | new.unreadable.keys()
    return tuple(
        MetricRow(
            path=path,
            name=name,
            old=old.metrics.get(path, {}).get(name),
            new=new.metrics.get(path, {}).get(name),
            status=_status(old.metrics, new.metrics, path, name),
        )
        for path, name in _pairs(old.metrics, new.metrics, skipped - new.metrics.keys())
    )


def _param_rows(old: Snapshot, new: Snapshot) -> tuple[ParamRow, ...]:
    return tuple(
        ParamRow(
            path=path,
            name=name,
            old=old.params.get(path, {}).get(name),
            new=new.params.get(path, {}).get(name),
            status=_status(old.params, new.params, path, name),
        )
        for path, name in _pairs(old.params, new.params, ())
    )


def _status(old: dict[str, dict[str, Value]], new: dict[str, dict[str, Value]], path: str, name: str):
    before, after = old.get(path, {}), new.get(path, {})
    return status_of(before.get(name), after.get(name), has_old=name in before, has_new=name in after)


def _unreadable(old: Snapshot, new: Snapshot, log: Log) -> tuple[UnreadableFile, ...]:
    found = [UnreadableFile(path=path, side="new", reason=reason) for path, reason in sorted(new.unreadable.items())]
    for file in found:
        log.warn(f"{file.path} cannot be read: {file.reason}")
    if old is not new:
        found += [UnreadableFile(path=path, side="old", reason=why) for path, why in sorted(old.unreadable.items())]
    return tuple(found)


def _experiments(
    pipeline: Pipeline, repository: Repository, settings: Settings, subject: Subject, new: Snapshot
) -> tuple[tuple[Experiment, ...], str | None]:
    if not settings.experiments:
        return (), None
    if not settings.tag_prefix:
        return (), "set tag_prefix (for example dvc_) to tag results and list the latest experiments here"
    tagged = repository.tagged_commits(subject.sha, settings.tag_prefix, settings.experiments)
    current = next((tag for tag, sha in tagged if sha == subject.sha), "")
    experiments = []
    if not current or subject.has_workspace_changes:
        name = "workspace" if subject.has_workspace_changes else repository.short(subject.sha)
        experiments.append(_experiment(repository, name, subject.sha, new, is_current=True))
    for tag, sha in tagged:
        is_current = not experiments and sha == subject.sha
        values = new if is_current else snapshot(pipeline, sha, metrics=settings.metrics_diff_targets)
        experiments.append(_experiment(repository, tag, sha, values, is_current=is_current))
    return tuple(experiments[: settings.experiments]), None


def _experiment(repository: Repository, name: str, sha: str, values: Snapshot, *, is_current: bool) -> Experiment:
    commit = repository.commit(sha)
    return Experiment(
        name=name,
        sha=sha,
        subject=commit.subject,
        author=commit.author,
        date=commit.date,
        url=None,
        is_current=is_current,
        metrics={(path, key): value for path, file in values.metrics.items() for key, value in file.items()},
    )


def _plots(
    pipeline: Pipeline,
    settings: Settings,
    subject: Subject,
    baseline: Baseline | None,
    log: Log,
    folder: Path,
) -> tuple[Plot, ...]:
    from cml.pipeline.plots import read_plots
    from cml.report.plots import draw

    is_same = baseline is not None and baseline.sha == subject.sha and not subject.has_workspace_changes
    sides = {"current": subject.revision}
    if baseline and not is_same:
        sides = {"baseline": baseline.sha, **sides}
    plots = draw(read_plots(pipeline, sides, settings.plots or ()), folder)
    for plot in plots:
        if plot.problem:
            log.warn(f"the plot {plot.title} could not be drawn: {plot.problem}")
    return plots
