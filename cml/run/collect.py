"""From what DVC and git say to the Report: the one place where the two are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from cml.config.settings import Settings
from cml.dvc.logging import one_line
from cml.dvc.revisions import Snapshot, SnapshotRequest, Values
from cml.git.repository import Repository
from cml.git.trailers import head_of_results
from cml.model.report import (
    Baseline,
    DataChanges,
    Experiment,
    MetricRow,
    Name,
    ParamRow,
    Plot,
    Report,
    UnreadableFile,
    Value,
    status_of,
)
from cml.process.log import Log
from cml.report.directions import with_directions
from cml.report.i18n import noop
from cml.report.judgement import judge
from cml.run.subject import Subject

if TYPE_CHECKING:
    from cml.dvc.project import Project

NO_TAGS = noop("set tag_prefix (for example dvc_) to tag results and list the latest experiments here")
T = TypeVar("T")
AnyRow = TypeVar("AnyRow", MetricRow, ParamRow)


def collect(
    project: Project,
    repository: Repository,
    settings: Settings,
    log: Log,
    *,
    subject: Subject,
    baseline: Baseline | None,
    folder: Path,
) -> Report:
    """Returns the report of a subject against a baseline; draws its plots into `folder`.

    A part that cannot be read is a warning: a report that lacks one is better than none after a night of training.
    """
    is_same = baseline is not None and baseline.sha == subject.sha and not subject.has_workspace_changes
    against = None if is_same or baseline is None else baseline.sha
    # A gate judges metrics also where their section is left out.
    metrics = () if settings.metrics_gate and settings.metrics_diff_targets is None else settings.metrics_diff_targets
    part = _Parts(log)

    def read(revision: str | None, *, hash_workspace: bool = False) -> Snapshot:
        request = SnapshotRequest(
            metrics=metrics,
            params=settings.params_diff_targets,
            plots=settings.plots,
            with_data=True,
            hash_workspace=hash_workspace,
        )
        return project.snapshot(revision, request)

    new = part("the results", Snapshot(), lambda: read(subject.revision, hash_workspace=subject.hash_workspace))
    old = part("the baseline", Snapshot(), lambda: read(against)) if against else new if is_same else Snapshot()
    if subject.failure and subject.failure.step != "push":
        old, new = _without(project.unmade_files(), old, new, log)
    no_plots: tuple[Plot, ...] | None = ()
    # What is drawn meanwhile is waited for last.
    drawing = part(
        "plots", lambda: no_plots, lambda: _drawing(project, settings, old if against else None, new, folder)
    )
    _warn_of_absent(settings.metrics_diff_targets, "metrics_diff_targets", (old.metrics, new.metrics), (old, new), log)
    _warn_of_absent(settings.params_diff_targets, "params_diff_targets", (old.params, new.params), (old, new), log)
    unreadable = _unreadable(old, new, log)
    rows = with_directions(_metric_rows(old, new), settings.metrics_gate)
    params = None if settings.params_diff_targets is None else tuple(_rows(ParamRow, old.params, new.params))
    has_results = subject.failure is None or subject.failure.step == "push"
    judgement = judge(settings.metrics_gate if has_results else (), rows)
    for warning in judgement.warnings:
        log.warning(warning)

    def list_experiments() -> tuple[Experiment, ...]:
        return _experiments(project, repository, settings, subject, new=new)

    none: tuple[Experiment, ...] = ()
    experiments = part("the experiments", none, list_experiments)
    data = part("data", DataChanges(), lambda: project.data_changes(old, new)) if against else DataChanges()
    plots = part("plots", no_plots, drawing)
    if settings.plots and not plots:
        log.warning(f"plots: nothing here is called {', '.join(settings.plots[:5])}, or it has no data")
    for plot in plots or ():
        if plot.problem:
            log.warning(f"the plot {plot.title} cannot be drawn: {plot.problem}")
    return Report(
        name=settings.report_name,
        verdict="failed" if subject.failure else judgement.verdict,
        sha=subject.sha,
        baseline=baseline,
        has_workspace_changes=subject.has_workspace_changes,
        metrics=None if settings.metrics_diff_targets is None else rows,
        params=params,
        unreadable=unreadable,
        gates=judgement.results,
        plots=plots,
        data=data,
        pipeline=subject.pipeline,
        experiments=experiments,
        experiments_hint=None if settings.tag_prefix or not settings.experiments else NO_TAGS,
        failure=subject.failure,
        warnings=tuple(log.warnings),
    )


class _Parts:
    """Reads the parts of a report, each on its own."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __call__(self, name: str, otherwise: T, work: Callable[[], T]) -> T:
        """Returns what `work` returns; where it fails, warns by the part's name and returns `otherwise`."""
        try:
            return work()
        except Exception as error:
            self._log.warning(f"{name} cannot be read, and the report goes without: {one_line(error)}")
            return otherwise


def _metric_rows(old: Snapshot, new: Snapshot) -> tuple[MetricRow, ...]:
    # A file that cannot be read on one side has no values there: no "removed" rows for it.
    skipped = old.unreadable.keys() | new.unreadable.keys()
    return tuple(_rows(MetricRow, old.metrics, new.metrics, skipped - new.metrics.keys()))


def _rows(kind: type[AnyRow], old: Values, new: Values, skipped: Iterable[str] = ()) -> Iterator[AnyRow]:
    for path in sorted((old.keys() | new.keys()) - set(skipped)):
        before: dict[str, Value] = old.get(path, {})
        after: dict[str, Value] = new.get(path, {})
        # In the order of the file, which its author chose; what only the baseline has comes last.
        for name in dict.fromkeys([*after, *before]):
            status = status_of(before.get(name), after.get(name), has_old=name in before, has_new=name in after)
            yield kind(path=path, name=name, old=before.get(name), new=after.get(name), status=status)


def _without(unmade: set[str], old: Snapshot, new: Snapshot, log: Log) -> tuple[Snapshot, Snapshot]:
    """Returns both sides without the metrics that a failed run did not make, and says which those are."""
    left_out = sorted(path for path in new.metrics if path in unmade)
    if left_out:
        log.warning(f"{', '.join(left_out[:5])} is of an earlier run, so its metrics are left out")

    def kept(side: Snapshot) -> Snapshot:
        return replace(side, metrics={path: values for path, values in side.metrics.items() if path not in unmade})

    return kept(old), kept(new)


def _warn_of_absent(
    targets: tuple[str, ...] | None,
    variable: str,
    values: tuple[Values, Values],
    snapshots: tuple[Snapshot, Snapshot],
    log: Log,
) -> None:
    known = {path for side in values for path in side} | {path for side in snapshots for path in side.unreadable}
    for target in targets or ():
        name = PurePosixPath(target).as_posix()
        if not any(path == name or path.endswith(f"/{name}") or path.startswith(f"{name}/") for path in known):
            log.warning(f"{variable} names {target}, which is no such file here or in the baseline")


def _unreadable(old: Snapshot, new: Snapshot, log: Log) -> tuple[UnreadableFile, ...]:
    found = [UnreadableFile(path=path, side="new", reason=reason) for path, reason in sorted(new.unreadable.items())]
    for file in found:
        log.warning(f"{file.path} cannot be read: {file.reason}")
    if old is not new:
        found += [UnreadableFile(path=path, side="old", reason=why) for path, why in sorted(old.unreadable.items())]
    return tuple(found)


def _experiments(
    project: Project,
    repository: Repository,
    settings: Settings,
    subject: Subject,
    *,
    new: Snapshot,
) -> tuple[Experiment, ...]:
    if not settings.experiments or not settings.tag_prefix:
        return ()
    tagged = repository.tagged_commits(subject.sha, settings.tag_prefix, settings.experiments)
    current = _by_name(new.metrics)
    experiments = []
    if subject.has_workspace_changes:
        experiments.append(_experiment(repository, "workspace", subject.sha, current, is_current=True))
    elif all(sha != subject.sha for _, sha in tagged):
        name = repository.short_sha(subject.sha)
        experiments.append(_experiment(repository, name, subject.sha, current, is_current=True))
    tagged = tagged[: settings.experiments - len(experiments)]
    earlier = [sha for _, sha in tagged if experiments or sha != subject.sha]
    repository.commits(earlier)  # all in one call of git, before each is asked for
    repository.commits([head for commit in repository.commits(earlier) if (head := head_of_results(commit.message))])
    targets = settings.metrics_diff_targets
    measured = {sha: _metrics_of(project, sha, targets) for sha in earlier}
    for tag, sha in tagged:
        is_current = sha not in measured
        values = current if is_current else measured[sha]
        experiments.append(_experiment(repository, tag, sha, values, is_current=is_current))
    return tuple(experiments)


def _metrics_of(project: Project, sha: str, targets: tuple[str, ...] | None) -> dict[Name, Value]:
    if targets is None:
        return {}
    return _by_name(project.snapshot(sha, SnapshotRequest(metrics=targets)).metrics)


def _by_name(metrics: Values) -> dict[Name, Value]:
    return {(path, name): value for path, values in metrics.items() for name, value in values.items()}


def _experiment(
    repository: Repository, name: str, sha: str, metrics: Mapping[Name, Value], *, is_current: bool
) -> Experiment:
    commit = repository.commit(sha)
    # A results commit says nothing of its own: what was tried is the commit it holds the results of.
    tried = repository.resolve(head) if (head := head_of_results(commit.message)) else None
    if tried:
        commit = repository.commit(tried)._replace(date=commit.date)
    return Experiment(
        name=name,
        sha=sha,
        subject=commit.subject,
        author=commit.author,
        date=commit.date,
        url=None,
        is_current=is_current,
        metrics=metrics,
    )


def _drawing(
    project: Project, settings: Settings, old: Snapshot | None, new: Snapshot, folder: Path
) -> Callable[[], tuple[Plot, ...] | None]:
    from cml.report.plots.files import begin_drawing
    from cml.report.sections.base import side_labels

    if settings.plots is None:
        return lambda: None
    sides = {"baseline": old.plots if old else None, "current": new.plots}
    found = {label: plots for label, plots in sides.items() if plots}
    return begin_drawing(project.plots(found), folder, sides=side_labels(settings.locale))
