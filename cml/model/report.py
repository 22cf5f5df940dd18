"""The report as data: what a run found out, before anything is formatted.

`cml.run.collect` fills it and `cml.report` renders it. A section that is None was switched off; an empty one has
nothing to show. report.json has the same fields (`cml.model.json`), and report.schema.json describes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeGuard

Value = bool | int | float | str | None
Name = tuple[str, str]
"""A metric: the path of its file, and its name in the file."""
Status = Literal["added", "removed", "changed", "unchanged"]
Direction = Literal["up", "down"]
Verdict = Literal["passed", "failed", "none"]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The commit that the run is compared with.

    `name` is the revision as the user knows it, `reason` says why it is used.
    """

    name: str
    sha: str
    reason: str


# Slots save memory: a report may have thousands of rows.
@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """One metric of one file, on both sides. A side that does not exist is None, and `status` says so.

    `direction` is the direction that is better, where a gate or the metric's usual name says it; `better` is then
    whether this change is an improvement.
    """

    path: str
    name: str
    old: Value
    new: Value
    status: Status
    direction: Direction | None = None
    better: bool | None = None


@dataclass(frozen=True, kw_only=True)
class UnreadableFile:
    """A metrics or params file that could not be read, on which side, and why."""

    path: str
    side: Literal["old", "new"]
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ParamRow:
    """One param of one file, on both sides, as in `MetricRow`."""

    path: str
    name: str
    old: Value
    new: Value
    status: Status


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """The result of one rule of `metrics_gate` for one metric. `metric` is None where the rule matches no metric."""

    rule: str
    path: str | None
    metric: str | None
    value: float | None
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot.

    `images` are files relative to the report's folder: one image of both sides, or for an image plot one per side.
    `points` are values of the lines of a line plot, by label, for places that cannot show images.
    """

    title: str
    images: tuple[PlotImage, ...] = ()
    points: tuple[tuple[str, tuple[float, ...]], ...] = ()
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlotImage:
    """An image file. `label` is "baseline", "current", or "" for one image of both sides; sizes are in pixels."""

    file: str
    label: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class DataEntry:
    """A changed file that DVC tracks, or a directory with the number of its changed files.

    Sizes are in bytes, None where DVC does not know them. `files` is 0 for a file; `biggest` are the paths of a
    directory's biggest changes.
    """

    path: str
    old_path: str | None = None
    old_size: int | None = None
    new_size: int | None = None
    files: int = 0
    biggest: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataChanges:
    """The changes of the files and directories that DVC tracks."""

    added: tuple[DataEntry, ...] = ()
    modified: tuple[DataEntry, ...] = ()
    deleted: tuple[DataEntry, ...] = ()
    renamed: tuple[DataEntry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GpuUsage:
    """The GPU usage of a stage.

    `devices` is the number of GPUs it used, `peak_memory` the most memory on one of them in bytes (above the lowest
    value while the stage ran, since NVML counts the memory of all processes), `utilization` their mean utilization from
    0 to 1, or None where NVML does not report it.
    """

    devices: int
    peak_memory: int
    utilization: float | None


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """A stage of the pipeline in this run.

    "restored" means restored from the run cache; "not run" means after a failure, or not among the targets. `seconds`
    is wall time; `gpu` is None where no GPU was used. `job` and `machine` say where the stage ran, in a pipeline that
    is spread over several jobs.
    """

    name: str
    status: Literal["ran", "restored", "up to date", "frozen", "failed", "not run"]
    seconds: float | None = None
    gpu: GpuUsage | None = None
    job: str = ""
    machine: str = ""


@dataclass(frozen=True, kw_only=True)
class PipelineSection:
    """The stages in the order they ran, and the edges of the graph, each from a stage to a stage that needs it."""

    stages: tuple[StageRun, ...]
    edges: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A tagged commit of the branch. `date` is ISO 8601 with a time zone."""

    name: str
    sha: str
    subject: str
    author: str
    date: str
    # None where the forge is not known, and in a report that was read from a file: see `read_report`.
    url: str | None
    is_current: bool
    metrics: Mapping[Name, Value]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why the run failed: its step ("setup", "pull", "reproduce" or "push"), one line, and the end of the log."""

    step: str
    message: str
    log_tail: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole report.

    `sha` is the commit that the report is about: the results commit, else the head commit. `has_workspace_changes` is
    true where the workspace has results that are not committed (a laptop without push). `experiments_hint` is shown
    instead of experiments where there are none. `compare_url` is the page that shows the code changes.
    """

    name: str
    verdict: Verdict
    sha: str
    baseline: Baseline | None
    has_workspace_changes: bool = False
    # None: switched off by a setting such as `metrics_diff_targets: -`.
    metrics: tuple[MetricRow, ...] | None = ()
    params: tuple[ParamRow, ...] | None = ()
    unreadable: tuple[UnreadableFile, ...] = ()
    gates: tuple[GateResult, ...] = ()
    plots: tuple[Plot, ...] | None = ()
    data: DataChanges | None = DataChanges()
    pipeline: PipelineSection | None = None
    experiments: tuple[Experiment, ...] = ()
    experiments_hint: str | None = None
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    run_url: str | None = None
    compare_url: str | None = None


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number: true and false are not, although Python's bool is an int."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def status_of(old: object, new: object, *, has_old: bool, has_new: bool) -> Status:
    """Returns how a value changed. A side that is missing is not the same as a side that is null."""
    if not has_old:
        return "added"
    if not has_new:
        return "removed"
    is_same = old == new and isinstance(old, bool) == isinstance(new, bool)  # 1 == True in Python
    are_both_nan = old != old and new != new  # NaN is the only value that is not equal to itself
    return "unchanged" if is_same or are_both_nan else "changed"
