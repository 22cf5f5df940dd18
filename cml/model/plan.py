"""A plan as data: the stages that must run, and the jobs that run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Edges = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """The kind of machine that a stage asks for: GitHub's labels, GitLab's tags, and whether it has a GPU."""

    # Each CI reads its own field: a dvc.yaml may be used on both.
    runs_on: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    gpu: bool = False


ANY = Runner()


@dataclass(frozen=True, kw_only=True)
class StageToRun:
    """A stage that must run, as DVC gives it: its address, the stages to run that it depends on, and its `meta`."""

    name: str
    needs: tuple[str, ...] = ()
    meta: Any = None


@dataclass(frozen=True, kw_only=True)
class StaleStage:
    """A stage that must run, with the machine that it asks for. `needs` are the other stale stages that it depends on;
    `timeout` is in minutes.
    """

    name: str
    needs: tuple[str, ...] = ()
    runner: Runner = ANY
    timeout: int | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job of the engine: its stages in the order they run, the jobs it waits for, and its wave, counted from 1: a
    wave needs nothing but the waves before it. `timeout` is in minutes, None where a stage of it has none.
    """

    name: str
    stages: tuple[str, ...]
    needs: tuple[str, ...]
    wave: int
    runner: Runner
    timeout: int | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done for a commit: its jobs, wave by wave, and the edges between stale stages (from a stage to one
    that needs it). An up-to-date pipeline has no jobs.
    """

    head: str
    jobs: tuple[Job, ...] = ()
    edges: Edges = ()

    @property
    def waves(self) -> tuple[tuple[Job, ...], ...]:
        """The jobs of each wave, the first wave first."""
        count = max((job.wave for job in self.jobs), default=0)
        return tuple(tuple(job for job in self.jobs if job.wave == wave) for wave in range(1, count + 1))
