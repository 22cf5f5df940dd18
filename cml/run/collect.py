"""Collects the report: what DVC and git say about two sides, the results and the baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TypeVar

from cml.config.settings import Settings
from cml.dvc.logging import one_line
from cml.dvc.project import Project
from cml.dvc.revisions import Snapshot, SnapshotRequest, Values
from cml.git.repository import Repository
from cml.model.report import (
    Baseline,
    DataChanges,
    Experiment,
    MetricRow,
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
from cml.report.judgement import Judgement, judge
from cml.report.plots.files import begin_drawing
from cml.report.sections.base import side_labels
from cml.run.experiments import collect_experiments
from cml.run.outcome import Subject

NO_TAGS = noop("Set tag_prefix (for example dvc_) to tag results and list the latest experiments here")
LISTED = 5  # names in one message
T = TypeVar("T")
Row = TypeVar("Row", MetricRow, ParamRow)
Plots = tuple[Plot, ...] | None  # None: the section is switched off


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
    """Returns the report about a subject, compared with a baseline. The images of its plots are written to `folder`.

    A part that cannot be read is a warning: after a night of training, a report without it is better than none.
    """
    collector = _Collector(
        project=project,
        repository=repository,
        settings=settings,
        log=log,
        subject=subject,
        baseline=baseline,
        folder=folder,
    )
    return collector.collect()


@dataclass(frozen=True, kw_only=True)
class _Collector:
    project: Project
    repository: Repository
    settings: Settings
    log: Log
    subject: Subject
    baseline: Baseline | None
    folder: Path

    def collect(self) -> Report:
        settings, subject = self.settings, self.subject
        old, new = self._read_sides()
        # The images are drawn by other processes. The rest is read in the meantime.
        finish_plots = self._try("plots", _no_plots, lambda: self._start_drawing(old, new))
        self._warn_of_missing_files(old, new)
        unreadable = self._unreadable_files(old, new)
        rows = with_directions(_metric_rows(old, new), settings.metrics_gate)
        params = None if settings.params_diff_targets is None else tuple(_rows(ParamRow, old.params, new.params))
        judgement = self._judge(rows)
        experiments = self._collect_experiments(new)
        data = DataChanges()
        if self._compared_sha:
            data = self._try("data", data, lambda: self.project.data_changes(old, new))
        plots = self._try("plots", _no_plots(), finish_plots)
        self._warn_of_plots(plots)
        return Report(
            name=settings.report_name,
            verdict="failed" if subject.failure else judgement.verdict,
            sha=subject.sha,
            baseline=self.baseline,
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
            warnings=tuple(self.log.warnings),
        )

    def _try(self, name: str, otherwise: T, read: Callable[[], T]) -> T:
        """Returns what `read` returns. If it fails, warns and returns `otherwise`."""
        try:
            return read()
        except Exception as error:
            self.log.warning(f"cannot read {name}, so this part is missing in the report: {one_line(error)}")
            return otherwise

    # The two sides

    @property
    def _is_same_commit(self) -> bool:
        baseline, subject = self.baseline, self.subject
        return baseline is not None and baseline.sha == subject.sha and not subject.has_workspace_changes

    @property
    def _compared_sha(self) -> str | None:
        """The commit of the baseline, None if there is nothing to compare with."""
        return None if self.baseline is None or self._is_same_commit else self.baseline.sha

    def _read_sides(self) -> tuple[Snapshot, Snapshot]:
        """Returns the baseline and the results: the same object if they are the same commit."""
        subject = self.subject
        new = self._try(
            "the results",
            Snapshot(),
            lambda: self._read_side(subject.revision, hash_workspace=subject.hash_workspace),
        )
        old = new if self._is_same_commit else Snapshot()
        if sha := self._compared_sha:
            old = self._try("the baseline", Snapshot(), lambda: self._read_side(sha))
        if subject.failure and subject.failure.step != "push":
            return self._without_old_results(old, new)
        return old, new

    def _read_side(self, revision: str | None, *, hash_workspace: bool = False) -> Snapshot:
        settings = self.settings
        metrics = settings.metrics_diff_targets
        if metrics is None and settings.metrics_gate:  # the section is switched off, but gates need the metrics
            metrics = ()
        request = SnapshotRequest(
            metrics=metrics,
            params=settings.params_diff_targets,
            plots=settings.plots,
            with_data=True,
            hash_workspace=hash_workspace,
        )
        return self.project.snapshot(revision, request)

    def _without_old_results(self, old: Snapshot, new: Snapshot) -> tuple[Snapshot, Snapshot]:
        """Returns both sides without the metrics that a failed run did not make: those files are of an earlier run."""
        unmade = self.project.unmade_files()
        left_out = sorted(path for path in new.metrics if path in unmade)
        if left_out:
            self.log.warning(
                f"the report does not show {', '.join(left_out[:LISTED])}: this run did not make these metrics"
            )

        def without(side: Snapshot) -> Snapshot:
            return replace(side, metrics={path: values for path, values in side.metrics.items() if path not in unmade})

        return without(old), without(new)

    # Parts of the report

    def _judge(self, rows: tuple[MetricRow, ...]) -> Judgement:
        failure = self.subject.failure
        has_results = failure is None or failure.step == "push"
        judgement = judge(self.settings.metrics_gate if has_results else (), rows)
        for warning in judgement.warnings:
            self.log.warning(warning)
        return judgement

    def _collect_experiments(self, new: Snapshot) -> tuple[Experiment, ...]:
        none: tuple[Experiment, ...] = ()
        return self._try(
            "the experiments",
            none,
            lambda: collect_experiments(self.project, self.repository, self.settings, self.subject, new=new),
        )

    def _start_drawing(self, old: Snapshot, new: Snapshot) -> Callable[[], Plots]:
        """Starts to draw the plots; the function that is returned waits for them."""
        if self.settings.plots is None:
            return lambda: None
        sides = {"baseline": old.plots if self._compared_sha else None, "current": new.plots}
        found = {label: plots for label, plots in sides.items() if plots}
        return begin_drawing(self.project.plots(found), self.folder, sides=side_labels(self.settings.locale))

    def _unreadable_files(self, old: Snapshot, new: Snapshot) -> tuple[UnreadableFile, ...]:
        files = [UnreadableFile(path=path, side="new", reason=why) for path, why in sorted(new.unreadable.items())]
        for file in files:
            self.log.warning(f"cannot read {file.path}: {file.reason}")
        if old is not new:
            files += [UnreadableFile(path=path, side="old", reason=why) for path, why in sorted(old.unreadable.items())]
        return tuple(files)

    def _warn_of_missing_files(self, old: Snapshot, new: Snapshot) -> None:
        """Warns of files that a variable names and that neither side has."""
        settings, sides = self.settings, (old, new)
        for variable, targets, values in (
            ("metrics_diff_targets", settings.metrics_diff_targets, [side.metrics for side in sides]),
            ("params_diff_targets", settings.params_diff_targets, [side.params for side in sides]),
        ):
            known = {path for side in values for path in side} | {path for side in sides for path in side.unreadable}
            for target in targets or ():
                if not _is_known(target, known):
                    self.log.warning(f"{variable} names {target}, but there is no such file here or in the baseline")

    def _warn_of_plots(self, plots: Plots) -> None:
        if self.settings.plots and not plots:
            names = ", ".join(self.settings.plots[:LISTED])
            self.log.warning(f"plots names {names}, but there is no such plot, or it has no data")
        for plot in plots or ():
            if plot.problem:
                self.log.warning(f"cannot draw the plot {plot.title}: {plot.problem}")


def _no_plots() -> Plots:
    return ()


def _is_known(target: str, known: Iterable[str]) -> bool:
    name = PurePosixPath(target).as_posix()
    return any(path == name or path.endswith(f"/{name}") or path.startswith(f"{name}/") for path in known)


def _metric_rows(old: Snapshot, new: Snapshot) -> tuple[MetricRow, ...]:
    # A file that cannot be read on one side must not show its metrics as removed.
    unreadable = old.unreadable.keys() | new.unreadable.keys()
    return tuple(_rows(MetricRow, old.metrics, new.metrics, unreadable - new.metrics.keys()))


def _rows(kind: type[Row], old: Values, new: Values, skipped: Iterable[str] = ()) -> Iterator[Row]:
    for path in sorted((old.keys() | new.keys()) - set(skipped)):
        before: dict[str, Value] = old.get(path, {})
        after: dict[str, Value] = new.get(path, {})
        # In the order of the file, which its author chose. Names that only the baseline has come last.
        for name in dict.fromkeys([*after, *before]):
            status = status_of(before.get(name), after.get(name), has_old=name in before, has_new=name in after)
            yield kind(path=path, name=name, old=before.get(name), new=after.get(name), status=status)
