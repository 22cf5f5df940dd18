"""Runs the jobs of a plan, each in a new clone, as a CI does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.small_world import dvc_yaml, make_small_world, track
from support.world import Result, World

LANES = (0, 1, 2)
RUNS = "runs.txt"  # beside the project: each stage writes its name there when it runs
Plan = dict[str, Any]


def _cmd(name: str, *commands: str) -> list[str]:
    return [f"echo {name} >> $RUNS", *commands]


def _lane(i: int) -> dict[str, Mapping[str, Any]]:
    """One of the parallel branches of the pipeline. Each run of its first stage makes another output."""
    clean = {
        "cmd": _cmd(
            f"clean{i}",
            f"mkdir -p clean/{i}",
            f"cat data/a.txt > clean/{i}/x",
            f"head -c8 /dev/urandom | od -An -tx1 >> clean/{i}/x",
        )
    }
    lane: dict[str, Mapping[str, Any]] = {f"clean{i}": {**clean, "deps": ["data"], "outs": [f"clean/{i}"]}}
    for j in LANES[:2]:
        name = f"{i}{j}"
        fit = _cmd(
            f"fit{name}",
            f"cat clean/{i}/x > model{name}; echo {name} >> model{name}; grep rate{i} params.yaml >> model{name}",
            f"echo '{{\"size\": {i}.{j}}}' > m{name}.json",
        )
        lane[f"fit{name}"] = {
            "cmd": fit,
            "deps": [f"clean/{i}", "data"],
            "params": [f"rate{i}"],
            "outs": [f"model{name}"],
            "metrics": [{f"m{name}.json": {"cache": False}}],
        }
    return lane


NAMES = [f"{i}{j}" for i in LANES for j in LANES[:2]]
PIPELINE: dict[str, Mapping[str, Any]] = {
    "prepare": {
        "cmd": _cmd("prepare", "mkdir -p data", "cat raw.txt > data/a.txt", "echo b > data/b.txt"),
        "deps": ["raw.txt"],
        "outs": ["data"],
    },
    **{name: stage for i in LANES for name, stage in _lane(i).items()},
    "join": {
        "cmd": _cmd("join", f"cat {' '.join(f'model{n}' for n in NAMES)} > all.txt", "cat m00.json > best.json"),
        "deps": [*(f"model{n}" for n in NAMES), *(f"m{n}.json" for n in NAMES)],
        "outs": ["all.txt"],
        "metrics": ["best.json"],
    },
    # What DVC never takes from its run cache.
    "date": {"cmd": _cmd("date", "date +%s%N > date.txt"), "outs": ["date.txt"], "always_changed": True},
    "stamp": {
        "cmd": _cmd("stamp", "echo '{\"day\": 1}' > day.json"),
        "deps": ["date.txt"],
        "metrics": [{"day.json": {"cache": False}}],
    },
}
COUNT = len(PIPELINE)


def spread_world(place: Path) -> World:
    """A project with thirteen stages and two levels of parallel stages. Nothing has been run."""
    rates = "".join(f"rate{i}: 1\n" for i in LANES)
    world = make_small_world(place, {"dvc.yaml": dvc_yaml(**PIPELINE), "params.yaml": rates})
    track(world, "raw.txt", "raw\n")
    world.commit("Track raw.txt")
    return world


def run_log(world: World) -> list[str]:
    """The stages that ran, in order, in all clones."""
    path = world.folder / RUNS
    return path.read_text().split() if path.exists() else []


def env_of(world: World) -> dict[str, str]:
    return {"RUNS": str(world.folder / RUNS)}


def plan_of(world: World, *options: str, cwd: Path | None = None) -> Plan:
    done = world.cml("plan", *options, cwd=cwd)
    assert done.code == 0, done.err
    found: Plan = json.loads(done.out)
    return found


class Engine:
    """Runs jobs, each in a clone that has the name of the job's first stage."""

    def __init__(self, world: World) -> None:
        self.world = world

    def clone(self, name: str) -> Path:
        tries = sum(1 for _ in self.world.folder.glob(f"{name}-*"))
        return self.world.clone(f"{name}-{tries + 1}")

    def do(self, job: Mapping[str, Any], *, cwd: Path | None = None) -> Result:
        place = cwd or self.clone(job["stages"][0])
        return self.world.cml("run", "--stages", ",".join(job["stages"]), cwd=place, env=env_of(self.world))

    def do_all(self, plan: Plan, *, without: str = "", at_once: int = 1) -> Iterator[tuple[str, Result]]:
        """Runs a plan's jobs wave by wave, but the one called `without`."""
        jobs = {job["name"]: job for job in plan["jobs"] if job["name"] != without}
        for wave in plan["waves"]:
            with ThreadPoolExecutor(at_once) as pool:
                here = [jobs[name] for name in wave if name in jobs]
                yield from zip((job["name"] for job in here), pool.map(self.do, here), strict=True)

    def gather(self, *options: str, cwd: Path | None = None) -> Result:
        return self.world.cml(
            "gather", "--push", "true", *options, cwd=cwd or self.clone("end"), env=env_of(self.world)
        )


def done_well(world: World, engine: Engine, plan: Plan) -> None:
    for name, result in engine.do_all(plan, at_once=2):
        assert result.code == 0, f"{name}: {result.err}"
