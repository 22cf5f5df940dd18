"""Measures complete processes from outside, with the operating system's accounting of a finished child."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A process with its children: seconds of wall time and of CPU, and the peak memory of the largest one in MB."""

    wall: float
    cpu: float
    peak: float


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command to measure, with its folder and environment."""

    arguments: Sequence[str]
    cwd: Path
    env: Mapping[str, str]


def measured(command: Command) -> Cost:
    """Runs a command once. Raises RuntimeError if it fails, since its cost would mean nothing."""
    start = time.monotonic()
    child = subprocess.Popen(
        command.arguments,
        cwd=command.cwd,
        env=command.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(command.arguments)[:200]} ended with {child.returncode} in {command.cwd}")
    return Cost(wall=wall, cpu=usage.ru_utime + usage.ru_stime, peak=usage.ru_maxrss / 1000)


def alternated(commands: Mapping[str, Command], *, rounds: int, warmups: int = 1) -> dict[str, list[Cost]]:
    """Runs the commands in turn (A B A B), so that a slower machine affects all equally. Warm-ups do not count."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(warmups + rounds):
        for name, command in commands.items():
            cost = measured(command)
            if number >= warmups:
                costs[name].append(cost)
    return costs


def median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        wall=statistics.median(cost.wall for cost in costs),
        cpu=statistics.median(cost.cpu for cost in costs),
        peak=statistics.median(cost.peak for cost in costs),
    )


def ratios(ours: Sequence[Cost], theirs: Sequence[Cost]) -> Cost:
    """Returns the medians of the ratios of each pair."""
    pairs = list(zip(ours, theirs, strict=True))
    return Cost(
        wall=statistics.median(our.wall / their.wall for our, their in pairs),
        cpu=statistics.median(our.cpu / their.cpu for our, their in pairs),
        peak=statistics.median(our.peak / their.peak for our, their in pairs),
    )
