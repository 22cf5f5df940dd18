"""The report as data: what a run found out, before anybody formats a digit or writes a line of Markdown.

Nothing here reads a file or knows DVC, git or a forge; `collect` fills it, `gates` judges it, `render` words it.
A section that is None was left out on purpose; an empty one had nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Value = bool | int | float | str | None
Name = tuple[str, str]  # of a metric: its file, and what it is called there
Status = Literal["added", "removed", "changed", "unchanged"]
Direction = Literal["up", "down"]
Verdict = Literal["passed", "failed", "none"]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the run is compared with: the revision as people call it, its commit, and why it was taken."""

    name: str
    sha: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """One metric of one file on both sides; the side that does not exist is None (see `status`).

    `direction` is the side that is better, where a gate or the metric's usual name tells; `better` is then
    whether this change is one for the better.
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
    """A metrics or params file that could not be read, on which side ("old" or "new"), and why."""

    path: str
    side: Literal["old", "new"]
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ParamRow:
    path: str
    name: str
    old: Value
    new: Value
    status: Status


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One rule of `metrics_gate` against one metric. `metric` is None where the rule matched nothing (a warning)."""

    rule: str
    path: str | None
    metric: str | None
    value: float | None
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot. `images` are PNG files relative to the report's folder: one drawing that holds both sides, or for an
    image plot one file a side. `points` are the first series of a line plot, for where no image can be shown.
    """

    title: str
    images: tuple[PlotImage, ...] = ()
    points: tuple[tuple[str, tuple[float, ...]], ...] = ()
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlotImage:
    """`label` is "baseline", "current" or "" for one drawing of both; sizes in pixels."""

    file: str
    label: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class DataEntry:
    """A tracked file, or a directory folded to its counts. Sizes in bytes, None where DVC does not know them.

    `files` is the number of changed files inside a directory (0 for a plain file); `biggest` its biggest changes.
    """

    path: str
    old_path: str | None = None
    old_size: int | None = None
    new_size: int | None = None
    files: int = 0
    biggest: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataChanges:
    added: tuple[DataEntry, ...] = ()
    modified: tuple[DataEntry, ...] = ()
    deleted: tuple[DataEntry, ...] = ()
    renamed: tuple[DataEntry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GpuUsage:
    """What a stage took of the GPUs: on how many of them, the most memory of one of them in bytes, and their mean
    utilization from 0 to 1 while it ran, None where NVML tells none.

    Memory is the device's own count, above the least that was taken while the stage ran.
    """

    devices: int
    peak_memory: int
    utilization: float | None


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """A stage of the pipeline in this run. "restored" came from the run cache; "not run" lies behind a failure or
    outside the targets. `seconds` is wall time, `gpu` None where no GPU was used. `job` and `machine` are where it ran,
    of a pipeline that is spread over jobs.
    """

    name: str
    status: Literal["ran", "restored", "up to date", "frozen", "failed", "not run"]
    seconds: float | None = None
    gpu: GpuUsage | None = None
    job: str = ""
    machine: str = ""


@dataclass(frozen=True, kw_only=True)
class PipelineSection:
    """Stages in the order they ran, and the graph's edges (from a stage to one that needs it)."""

    stages: tuple[StageRun, ...]
    edges: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A tagged commit of the branch. `metrics` maps (path, name) to the value there; `date` is ISO 8601 with zone."""

    name: str
    sha: str
    subject: str
    author: str
    date: str
    url: str | None
    is_current: bool
    metrics: Mapping[Name, Value]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What ended the work: the step of the run ("setup", "pull", "reproduce", "push"), one line, the log's tail."""

    step: str
    message: str
    log_tail: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything a report says.

    `sha` is the commit the report is about: the results commit, else the head. `has_workspace_changes` is true
    where results stand in the workspace that no commit holds (a laptop without push). `experiments_hint` replaces
    the experiments where none can be listed ("set tag_prefix to ..."). `compare_url` shows the change of code.
    """

    name: str
    verdict: Verdict
    sha: str
    baseline: Baseline | None
    has_workspace_changes: bool = False
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


def status_of(old: object, new: object, *, has_old: bool, has_new: bool) -> Status:
    """Returns how a value changed, a missing side told apart from a null one."""
    if not has_old:
        return "added"
    if not has_new:
        return "removed"
    same = old == new and isinstance(old, bool) == isinstance(new, bool)
    both_nan = old != old and new != new  # NaN is the one value that differs from itself
    return "unchanged" if same or both_nan else "changed"
