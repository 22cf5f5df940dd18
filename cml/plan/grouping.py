"""Groups stages into jobs: a chain of stages is one job, independent stages are different jobs, up to a limit. Pure.

The steps: stages -> chains (groups) -> levels of the graph (bands) -> fewer levels, until there are few enough jobs ->
jobs. A job starts when all jobs that it needs have ended, so stages in one job wait for each other's inputs.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from cml.model.plan import Job, Runner, StaleStage

LONGEST_TIMEOUT = 43_200  # minutes: 30 days, more than any CI lets a job run
FOLDS = 12  # plans with few enough jobs that are compared, each with one level less than the one before


class NoPlan(ValueError):
    """The stages need more jobs or waves than allowed. The text says how many."""


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Stages, by their positions, that run in one job: a chain, or later all connected chains of a band."""

    stages: list[int]
    runner: Runner
    level: int = 0
    needs: set[int] = field(default_factory=set)  # positions of groups


@dataclass(frozen=True, kw_only=True)
class _Band:
    """The groups of one level of the graph, or of several levels that were merged. `parts` are the connected groups in
    it, by the kind of runner: each part must be in one job.
    """

    groups: list[tuple[int, _Group]]
    parts: dict[Runner, list[_Group]]
    size: int

    @classmethod
    def of(cls, groups: list[tuple[int, _Group]]) -> _Band:
        return cls(groups=groups, parts=_parts(groups), size=sum(len(group.stages) for _, group in groups))


def jobs_of(stages: Sequence[StaleStage], *, max_jobs: int, max_waves: int | None = None) -> tuple[Job, ...]:
    """Returns the jobs for stages that are given in an order in which they can run. Raises NoPlan.

    Neighbouring levels of the graph are merged, step by step, until the limits are kept. Of the plans that keep them,
    the one with the shortest longest path is returned; of those, the first one, which has most jobs.
    """
    if not stages:
        return ()
    needs = _direct_needs(stages)
    bands = _bands(_chains(stages, needs))
    jobs: tuple[Job, ...] = ()
    best: tuple[Job, ...] = ()
    tries = FOLDS
    while tries:
        if sum(len(band.parts) for band in bands) <= max_jobs:
            jobs = _jobs(stages, needs, _pack([band.parts for band in bands], max_jobs))
            if max_waves is None or jobs[-1].wave <= max_waves:
                best = min(best or jobs, jobs, key=_longest_path)
                tries -= 1
        first = _find_mergeable(bands)
        if first is None:
            break
        bands[first : first + 2] = [_Band.of(bands[first].groups + bands[first + 1].groups)]
    if not best:
        raise NoPlan(_limit_error(bands, jobs, max_jobs, max_waves))
    return best


def _longest_path(jobs: tuple[Job, ...]) -> int:
    """Returns how many stages run one after the other if each job has its own machine."""
    ends: dict[str, int] = {}
    for job in jobs:
        ends[job.name] = len(job.stages) + max((ends[need] for need in job.needs), default=0)
    return max(ends.values())


def _limit_error(bands: list[_Band], jobs: tuple[Job, ...], max_jobs: int, max_waves: int | None) -> str:
    option, given, needed = "--max-jobs", max_jobs, sum(len(band.parts) for band in bands)
    if max_waves is not None and needed <= max_jobs:
        option, given, needed = "--max-waves", max_waves, jobs[-1].wave
    return f"{option} is {given}, but the stages alternate between kinds of runners: expected {needed} or more"


def _chains(stages: Sequence[StaleStage], needs: list[list[int]]) -> list[_Group]:
    """Returns the chains, in an order in which they can run. Each stage of a chain waits only for the stage before it,
    and needs the same kind of runner.
    """
    users: list[list[int]] = [[] for _ in stages]
    for stage, before in enumerate(needs):
        for need in before:
            users[need].append(stage)
    groups: list[_Group] = []
    group_of: list[int] = []
    for stage, before in enumerate(needs):
        # A stage that several stages wait for ends its chain: they can start as soon as it has ended.
        only = before[0] if len(before) == 1 and len(users[before[0]]) == 1 else None
        if only is not None and stages[only].runner == stages[stage].runner:
            group_of.append(group_of[only])
            groups[group_of[only]].stages.append(stage)
            continue
        wanted = {group_of[need] for need in before}
        level = 1 + max((groups[group].level for group in wanted), default=-1)
        group_of.append(len(groups))
        groups.append(_Group(stages=[stage], runner=stages[stage].runner, level=level, needs=wanted))
    return groups


def _direct_needs(stages: Sequence[StaleStage]) -> list[list[int]]:
    """Returns the direct needs of each stage, without those that it has through others (the transitive reduction)."""
    positions = {stage.name: position for position, stage in enumerate(stages)}
    return _reduce([[positions[need] for need in stage.needs] for stage in stages])


def _reduce(needs: Iterable[Iterable[int]]) -> list[list[int]]:
    # Sets of stages are bits of an int: with ten thousand stages that is much faster than Python's sets.
    all_needs: list[int] = []
    direct = []
    for own in needs:
        indirect = 0
        for need in own:
            indirect |= all_needs[need]
        direct.append(sorted(need for need in own if not indirect >> need & 1))
        all_needs.append(indirect | _bits(own))
    return direct


def _bits(positions: Iterable[int]) -> int:
    bits = 0
    for position in positions:
        bits |= 1 << position
    return bits


def _bands(groups: list[_Group]) -> list[_Band]:
    """Returns the groups level by level: groups of one level do not need each other."""
    levels: list[list[tuple[int, _Group]]] = [[] for _ in range(1 + max(group.level for group in groups))]
    for position, group in enumerate(groups):
        levels[group.level].append((position, group))
    return [_Band.of(level) for level in levels]


def _find_mergeable(bands: list[_Band]) -> int | None:
    """Returns the first of the two neighbouring bands to merge next, the smallest ones; None if none can be merged."""
    first_of = range(len(bands) - 1)
    for first in sorted(first_of, key=lambda at: (bands[at].size + bands[at + 1].size, at)):
        if _is_one_way(bands[first].groups + bands[first + 1].groups):
            return first
    return None


def _is_one_way(band: list[tuple[int, _Group]]) -> bool:
    """Whether the kinds of runners in a band do not need each other in a circle: then their jobs would wait forever."""
    runner_of = {position: group.runner for position, group in band}
    needs: dict[Runner, set[Runner]] = {runner: set() for runner in runner_of.values()}
    for _, group in band:
        needs[group.runner] |= {runner_of[need] for need in group.needs & runner_of.keys()} - {group.runner}
    # Kinds that need no other are removed, again and again. What is left at the end is a circle.
    while free := [runner for runner, before in needs.items() if not before]:
        for runner in free:
            del needs[runner]
        for before in needs.values():
            before.difference_update(free)
    return not needs


def _parts(band: list[tuple[int, _Group]]) -> dict[Runner, list[_Group]]:
    """Returns the connected groups of a band, by kind of runner (union-find)."""
    runner_of = {position: group.runner for position, group in band}
    root = {position: position for position in runner_of}

    def find(position: int) -> int:
        while root[position] != position:
            root[position] = position = root[root[position]]
        return position

    for position, group in band:
        for need in group.needs & runner_of.keys():
            if runner_of[need] == group.runner:
                root[find(position)] = find(need)
    parts: dict[Runner, dict[int, _Group]] = {}
    for position, group in band:
        own = parts.setdefault(group.runner, {})
        part = own.setdefault(find(position), _Group(stages=[], runner=group.runner))
        part.stages.extend(group.stages)
        part.needs.update(group.needs)
    return {runner: list(own.values()) for runner, own in parts.items()}


def _pack(parts: list[dict[Runner, list[_Group]]], max_jobs: int) -> list[_Group]:
    """Returns one group for each job. Each kind of runner in each band gets one job; the remaining jobs go to those
    with the most stages per job.
    """
    buckets = [groups for band in parts for groups in band.values()]
    counts = [1] * len(buckets)
    work = [sum(len(group.stages) for group in groups) for groups in buckets]
    # Negative numbers: a heap returns the smallest, and the bucket with the most work per job is wanted.
    waiting: list[tuple[float, int]] = [(-amount, at) for at, amount in enumerate(work) if len(buckets[at]) > 1]
    heapq.heapify(waiting)
    for _ in range(max_jobs - len(buckets)):
        if not waiting:
            break
        _, at = heapq.heappop(waiting)
        counts[at] += 1
        if counts[at] < len(buckets[at]):
            heapq.heappush(waiting, (-work[at] / counts[at], at))
    return [job for groups, count in zip(buckets, counts, strict=True) for job in _spread(groups, count)]


def _spread(groups: list[_Group], count: int) -> list[_Group]:
    """Returns the groups in `count` jobs of about the same size. Groups with the same needs go into the same job."""
    groups = sorted(groups, key=lambda group: (sorted(group.needs), group.stages[0]))
    if len({len(group.stages) for group in groups}) == 1:
        ends = [len(groups) * end // count for end in range(count + 1)]
        return [_join(groups[start:end]) for start, end in pairwise(ends)]
    # The largest group first, always into the smallest job.
    # The longest job is at most a third longer than in the best division, which takes exponential time to find.
    sizes = [(0, at) for at in range(count)]
    jobs: list[list[_Group]] = [[] for _ in range(count)]
    for group in sorted(groups, key=lambda group: -len(group.stages)):
        size, at = heapq.heappop(sizes)
        jobs[at].append(group)
        heapq.heappush(sizes, (size + len(group.stages), at))
    return [_join(job) for job in jobs]


def _join(groups: list[_Group]) -> _Group:
    """Returns groups that do not need each other as one, in which they run one after the other."""
    groups.sort(key=lambda group: group.stages[0])
    return _Group(stages=[stage for group in groups for stage in group.stages], runner=groups[0].runner)


def _jobs(stages: Sequence[StaleStage], needs: list[list[int]], groups: list[_Group]) -> tuple[Job, ...]:
    """Returns the groups as jobs, wave by wave."""
    job_of = {stage: at for at, group in enumerate(groups) for stage in group.stages}
    wanted = [{job_of[need] for own in group.stages for need in needs[own]} - {at} for at, group in enumerate(groups)]
    # A job is in the first wave in which all jobs that it needs have ended.
    wave: dict[int, int] = {}
    while len(wave) < len(groups):
        free = [at for at, before in enumerate(wanted) if at not in wave and before <= wave.keys()]
        wave |= dict.fromkeys(free, 1 + max(wave.values(), default=0))
    order = sorted(wave, key=lambda at: (wave[at], groups[at].stages[0]))
    place = {at: position for position, at in enumerate(order)}
    direct = _reduce([{place[need] for need in wanted[at]} for at in order])
    names = [_name(stages, groups[at]) for at in order]
    return tuple(
        Job(
            name=names[position],
            stages=tuple(stages[stage].name for stage in groups[at].stages),
            needs=tuple(names[need] for need in direct[position]),
            wave=wave[at],
            runner=groups[at].runner,
            timeout=_timeout([stages[stage].timeout for stage in groups[at].stages]),
        )
        for position, at in enumerate(order)
    )


def _name(stages: Sequence[StaleStage], group: _Group) -> str:
    first = stages[group.stages[0]].name
    return first if len(group.stages) == 1 else f"{first} +{len(group.stages) - 1}"


def _timeout(minutes: list[int | None]) -> int | None:
    """Returns the timeout of a job, the sum of those of its stages; None if one of them has none."""
    known = [each for each in minutes if each is not None]
    return min(sum(known), LONGEST_TIMEOUT) if len(known) == len(minutes) else None
