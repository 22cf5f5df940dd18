"""What a template sees: the report in words, rows in the order they are shown, every number written.

Nothing is escaped yet. `words` and `sections` fill it; Markdown, HTML and the terminal share it and never disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from cml.model.report import Report

DASH = "—"
Mark = Literal["better", "worse", ""]
Tone = Literal["good", "bad", "mixed", "quiet"]
Comparison = Literal["diff", "same", "first"]
"""Two revisions; a revision with itself; no revision before it. Only the first has old values and diffs."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A metric or param. `keys` are old, new and diff as plain numbers for sorting, empty for what is none."""

    path: str
    name: str
    old: str
    new: str
    diff: str = ""
    mark: Mark = ""
    status: str = "unchanged"
    keys: tuple[str, str, str] = ("", "", "")


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A file of metrics or params that could not be read; `side` is "baseline" or "current", `said` its word."""

    path: str
    side: Literal["baseline", "current"]
    said: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Highlight:
    """What got better (or worse): the first few, and how many more."""

    mark: Mark
    rows: tuple[Row, ...]
    more: int


@dataclass(frozen=True, kw_only=True)
class Gate:
    state: Literal["passed", "failed", "unmatched"]
    rule: str
    metric: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of the comparison, as people call it and as the first seven of its commit (or "workspace")."""

    name: str
    sha: str


@dataclass(frozen=True, kw_only=True)
class Series:
    """`trend` is a sparkline; `color` the word for what its line has in a chart."""

    label: str
    color: str
    trend: str
    first: str
    last: str
    points: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image of a plot. `source` is the address it is shown from, empty where it cannot be shown here; sizes in
    pixels.
    """

    file: str
    label: str
    width: int
    height: int
    source: str


@dataclass(frozen=True, kw_only=True)
class PlotView:
    """`chart` is a Mermaid diagram of the series, where they can share an axis."""

    title: str
    problem: str | None
    images: tuple[Picture, ...]
    series: tuple[Series, ...]
    chart: tuple[str, ...]

    @property
    def is_shown(self) -> bool:
        """Whether one of its images can be shown."""
        return any(image.source for image in self.images)


@dataclass(frozen=True, kw_only=True)
class DataRow:
    """`kind` is "added", "modified", "deleted" or "renamed", `said` its word."""

    kind: str
    said: str
    path: str
    old_path: str | None
    size: str
    key: str
    files: str
    biggest: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DataCount:
    """`kind` is one of DataRow's, `said` its word as a heading."""

    kind: str
    said: str
    count: int
    size: str


@dataclass(frozen=True, kw_only=True)
class Stage:
    """`place` is where it stands in the order of the run, `said` the word for its status. `memory` and `use` are of
    the GPUs, empty where it used none; `gpu_keys` are the two as plain numbers. `job` and `machine` are empty but where
    a pipeline was spread over jobs.
    """

    place: int
    name: str
    status: str
    said: str
    time: str
    key: str
    needs: tuple[str, ...]
    memory: str = ""
    use: str = ""
    gpu_keys: tuple[str, str] = ("", "")
    job: str = ""
    machine: str = ""


@dataclass(frozen=True, kw_only=True)
class ExperimentRow:
    """`when` is its date as ISO 8601 has it."""

    name: str
    sha: str
    url: str | None
    subject: str
    author: str
    date: str
    when: str
    is_current: bool
    cells: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class View:
    """What a template sees, each field by its name. A section with `has_...` false is left out.

    `language` is that of its words. `omitted` counts, by field, the rows that the limit of a place took away;
    `unlisted` those that report.json alone has, since they are too many for any page.
    """

    report: Report
    language: str
    name: str
    icon: str
    tone: Tone
    title: str
    details: tuple[str, ...]
    highlights: tuple[Highlight, ...]
    comparison: Comparison
    baseline: Side | None
    reason: str
    current: Side
    failure: str
    log: tuple[str, ...]
    gates: tuple[Gate, ...]
    gates_passed: tuple[Gate, ...]
    has_metrics: bool
    has_marks: bool
    metrics: tuple[Row, ...]
    metrics_more: tuple[Row, ...]
    metrics_unchanged: tuple[Row, ...]
    unreadable: tuple[Unreadable, ...]
    has_params: bool
    params: tuple[Row, ...]
    params_more: tuple[Row, ...]
    params_unchanged: tuple[Row, ...]
    has_plots: bool
    plots: tuple[PlotView, ...]
    charts: tuple[PlotView, ...]
    has_data: bool
    data_counts: tuple[DataCount, ...]
    data: tuple[DataRow, ...]
    has_pipeline: bool
    has_gpu: bool
    has_jobs: bool
    pipeline_counts: tuple[str, ...]
    pipeline: tuple[Stage, ...]
    pipeline_idle: tuple[Stage, ...]
    graph: tuple[str, ...]
    has_experiments: bool
    experiment_columns: tuple[str, ...]
    experiments: tuple[ExperimentRow, ...]
    experiment_trends: tuple[tuple[str, str], ...]
    experiments_hint: str
    warnings: tuple[str, ...]
    run_url: str | None
    compare_url: str | None
    omitted: Mapping[str, int] = field(default_factory=dict)
    unlisted: Mapping[str, int] = field(default_factory=dict)

    def without(self, name: str, count: int) -> View:
        """The view with `count` rows fewer in a field: the last ones, but the first lines of a log."""
        rows: tuple[Any, ...] = getattr(self, name)
        rest = rows[count:] if name == "log" else rows[: len(rows) - count]
        changes: dict[str, Any] = {name: rest, "omitted": {**self.omitted, name: count}}
        return replace(self, **changes)

    def context(self) -> dict[str, Any]:
        """The names a template may use; `omitted` and `unlisted` answer 0 for what lacks no row."""
        names = {each.name: getattr(self, each.name) for each in fields(self)}
        return names | {"omitted": Counter(self.omitted), "unlisted": Counter(self.unlisted)}
