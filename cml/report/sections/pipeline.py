"""The pipeline: what happened to each stage, how long it took, its GPU usage, and the graph."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cml.model.report import GpuUsage, PipelineSection, Report, StageRun
from cml.report.escape import NumberText, mermaid_label
from cml.report.formatting import Formatter, sort_key
from cml.report.i18n import npnoop, pnoop
from cml.report.sections.base import LabelledRow, Section

MAX_GRAPH_STAGES = 100
MAX_GRAPH_EDGES = 300

_IDLE = ("up to date", "frozen")

# The words for a status; the counts are shown in this order.
_STATUSES = {
    "failed": pnoop("stage", "failed"),
    "ran": pnoop("stage", "ran"),
    "restored": pnoop("stage", "restored from cache"),
    "up to date": pnoop("stage", "up to date"),
    "frozen": pnoop("stage", "frozen"),
    "not run": pnoop("stage", "not run"),
}
_COUNTS = {
    "failed": npnoop("stages", "%(count)s failed", "%(count)s failed"),
    "ran": npnoop("stages", "%(count)s ran", "%(count)s ran"),
    "restored": npnoop("stages", "%(count)s restored from cache", "%(count)s restored from cache"),
    "up to date": npnoop("stages", "%(count)s up to date", "%(count)s up to date"),
    "frozen": npnoop("stages", "%(count)s frozen", "%(count)s frozen"),
    "not run": npnoop("stages", "%(count)s not run", "%(count)s not run"),
}

# Strokes only: Mermaid's theme chooses the fill, so that labels can be read on light and on dark pages.
_NODE_STYLES = {
    "ran": "stroke:#1a7f37,stroke-width:3px",
    "failed": "stroke:#cf222e,stroke-width:4px",
    "waiting": "stroke-dasharray:2 4",
}
_NODE_CLASSES = {"ran": "ran", "failed": "failed", "not run": "waiting"}


@dataclass(frozen=True, kw_only=True)
class StageRow(LabelledRow):
    """A stage. `label` is the translation of its status.

    `place` is its position in the order of the run, from 0. `memory` and `use` are the usage of the GPUs, empty where
    it used none, and `gpu_keys` the same as plain numbers. `job` and `machine` are empty unless the pipeline was spread
    over several jobs.
    """

    place: int
    name: str
    status: str
    time: str
    key: str
    needs: tuple[str, ...]
    memory: str = ""
    use: str = ""
    gpu_keys: tuple[str, str] = ("", "")
    job: str = ""
    machine: str = ""


@dataclass(frozen=True, kw_only=True)
class PipelineView(Section):
    """`pipeline_idle` are the stages that are up to date or frozen, `pipeline` the others; `graph` is in Mermaid."""

    has_pipeline: bool
    has_gpu: bool
    has_jobs: bool
    pipeline_counts: tuple[str, ...]
    pipeline: tuple[StageRow, ...]
    pipeline_idle: tuple[StageRow, ...]
    graph: tuple[str, ...]

    def in_order(self) -> list[StageRow]:
        """Returns all stages in the order of the run."""
        return sorted((*self.pipeline, *self.pipeline_idle), key=lambda stage: stage.place)


def build_pipeline(report: Report, formatter: Formatter) -> PipelineView:
    pipeline = report.pipeline or PipelineSection(stages=())
    stages = [_stage_row(place, stage, pipeline, formatter) for place, stage in enumerate(pipeline.stages)]
    return PipelineView(
        has_pipeline=bool(stages),
        has_gpu=any(stage.memory for stage in stages),
        has_jobs=any(stage.job for stage in stages),
        pipeline_counts=_counts(pipeline, formatter),
        pipeline=tuple(stage for stage in stages if stage.status not in _IDLE),
        pipeline_idle=tuple(stage for stage in stages if stage.status in _IDLE),
        graph=_graph(pipeline),
    )


def _stage_row(place: int, stage: StageRun, pipeline: PipelineSection, formatter: Formatter) -> StageRow:
    gpu = stage.gpu
    return StageRow(
        place=place,
        name=stage.name,
        status=stage.status,
        label=formatter.translations.pgettext(*_STATUSES[stage.status]),
        time=formatter.duration(stage.seconds),
        key=sort_key(stage.seconds),
        needs=tuple(before for before, after in pipeline.edges if after == stage.name),
        memory=_memory(gpu, formatter) if gpu else "",
        use=formatter.percent(gpu.utilization) if gpu else "",
        # Sorted by bytes: 900 MiB is less than 1.2 GiB.
        gpu_keys=(sort_key(gpu.peak_memory), sort_key(gpu.utilization)) if gpu else ("", ""),
        job=stage.job,
        machine=stage.machine,
    )


def _memory(gpu: GpuUsage, formatter: Formatter) -> str:
    """Returns `7.4 GiB`, or `4 x 7.4 GiB` for several GPUs."""
    size = formatter.size(gpu.peak_memory)
    return NumberText(f"{gpu.devices} \N{MULTIPLICATION SIGN} {size}") if gpu.devices > 1 else size


def _counts(pipeline: PipelineSection, formatter: Formatter) -> tuple[str, ...]:
    """Returns `2 ran`, `1 restored from cache`, `3 min 05 s in total`."""
    translations = formatter.translations
    counts = []
    for status, message in _COUNTS.items():
        count = sum(stage.status == status for stage in pipeline.stages)
        if count:
            counts.append(translations.npgettext(*message, count) % {"count": count})
    # A record of another job may contain any number, also a negative one.
    seconds = math.fsum(stage.seconds for stage in pipeline.stages if stage.seconds and stage.seconds > 0)
    if seconds:
        counts.append(translations.gettext("%(time)s in total") % {"time": formatter.duration(seconds)})
    return tuple(counts)


def _graph(pipeline: PipelineSection) -> tuple[str, ...]:
    """Returns a Mermaid flow chart, or nothing where it would be too large to read."""
    if not 0 < len(pipeline.edges) <= MAX_GRAPH_EDGES or len(pipeline.stages) > MAX_GRAPH_STAGES:
        return ()
    # Nodes have ids of ours, since a stage's name may be a word of Mermaid's language (`end`).
    ids = {stage.name: f"s{place}" for place, stage in enumerate(pipeline.stages)}
    classes = {stage.name: _NODE_CLASSES.get(stage.status) for stage in pipeline.stages}
    nodes = [
        f"  {ids[name]}[{mermaid_label(name)}]{f':::{class_name}' if class_name else ''}"
        for name, class_name in classes.items()
    ]
    edges = [f"  {ids[before]} --> {ids[after]}" for before, after in pipeline.edges if before in ids and after in ids]
    styles = [f"  classDef {name} {style}" for name, style in _NODE_STYLES.items() if name in classes.values()]
    return ("flowchart TD", *nodes, *edges, *styles)
