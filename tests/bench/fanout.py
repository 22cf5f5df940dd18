"""`make bench-fanout`: what a plan costs. Sixteen sleeping stages over 1, 2, 4 and 8 jobs of this machine, against
the path that no number of machines makes shorter; and `cml plan` itself, as pipelines grow.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from support.small_world import dvc_yaml, make_small_world, put_object  # noqa: E402 - found by the path above
from support.world import World  # noqa: E402 - found by the path above

from bench.measure import Command, measured  # noqa: E402 - found by the path above

SLEEPERS, SECONDS = 16, 10
JOBS = (1, 2, 4, 8)
SIZES = (1_000, 3_000, 10_000)
FOLDER = HERE.parent.parent / ".bench"
CML = str(Path(sys.executable).parent / "cml")


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One executed plan, in seconds: its longest path, its whole time, and a job with nothing to do."""

    jobs: int
    path: float
    took: float
    start: float

    @property
    def over(self) -> float:
        """The time beyond the longest path and the start of one job, as a fraction of the path."""
        return (self.took - self.start) / self.path - 1


@dataclass(frozen=True, kw_only=True)
class Planned:
    stages: int
    what: str
    wall: float
    cpu: float
    peak: float


def main() -> int:
    """Measures, prints two tables and writes them to .bench."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        spread = [_spread(Path(folder), count) for count in JOBS]
        planned = [each for size in SIZES for each in _planned(Path(folder), size)]
    text = f"{_spread_table(spread)}\n{_planned_table(planned)}"
    (FOLDER / "fanout.md").write_text(text)
    rows = {"spread": [asdict(each) for each in spread], "planned": [asdict(each) for each in planned]}
    (FOLDER / "fanout.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(text)
    return 0


def _spread(folder: Path, count: int) -> Spread:
    print(f"measuring {SLEEPERS} stages of {SECONDS} s over {count} jobs ...", file=sys.stderr, flush=True)
    sleepers = {
        f"sleep{number}": {
            "cmd": f"sleep {SECONDS} && cp in.txt out{number}.txt",
            "deps": ["in.txt"],
            "outs": [f"out{number}.txt"],
        }
        for number in range(SLEEPERS)
    }
    place = folder / str(count)
    place.mkdir()
    world = make_small_world(place, {"dvc.yaml": dvc_yaml(**sleepers), "in.txt": "in\n"})
    world.timeout_seconds = 600
    since = time.monotonic()
    plan: dict[str, Any] = json.loads(world.run(CML, "plan", "--max-jobs", str(count)))

    def job(job: dict[str, Any]) -> Path:
        clone = world.clone(job["name"].replace(" ", ""))
        world.run(CML, "run", "--stages", ",".join(job["stages"]), cwd=clone)
        return clone

    with ThreadPoolExecutor(count) as pool:
        clones = list(pool.map(job, plan["jobs"]))
    world.run(CML, "gather", "--push", "true", cwd=world.clone("end"))
    took = time.monotonic() - since
    return Spread(jobs=count, path=SECONDS * SLEEPERS / count, took=took, start=_start(world, clones[0], plan))


def _start(world: World, clone: Path, plan: dict[str, Any]) -> float:
    """Measures a plan, a job whose stages are done, and the gather step, one after the other, without the sleeps."""
    since = time.monotonic()
    world.run(CML, "plan", cwd=clone)
    world.clone("again")
    world.run(CML, "run", "--stages", plan["jobs"][0]["stages"][0], cwd=world.folder / "again")
    world.run(CML, "gather", cwd=world.folder / "again")
    return time.monotonic() - since


def _planned(folder: Path, size: int) -> list[Planned]:
    print(f"measuring `cml plan` of {size:,} stages ...", file=sys.stderr, flush=True)
    place = folder / f"plan-{size}"
    place.mkdir()
    lanes = {"prepare": {"cmd": "true", "deps": ["in.txt"], "outs": ["data.txt"]}}
    for lane in range(size // 3):
        lanes[f"clean{lane}"] = {"cmd": "true", "deps": ["data.txt"], "outs": [f"clean{lane}.txt"]}
        lanes[f"fit{lane}"] = {"cmd": "true", "deps": [f"clean{lane}.txt", "data.txt"], "outs": [f"fit{lane}.txt"]}
        lanes[f"score{lane}"] = {"cmd": "true", "deps": [f"fit{lane}.txt"], "outs": [f"score{lane}.txt"]}
    world = make_small_world(place, {"dvc.yaml": dvc_yaml(**lanes), "in.txt": "in\n"})
    found = [_plan(world, size, "all due")]
    oid, in_txt = (hashlib.md5(text, usedforsecurity=False).hexdigest() for text in (b"out\n", b"in\n"))
    put_object(world.storage / "files" / "md5", oid, "out\n")
    entry: Callable[[list[str]], str] = lambda paths: "".join(  # noqa: E731 - one line of YAML a path
        f"    - path: {path}\n      hash: md5\n      md5: {oid}\n      size: 1\n" for path in paths
    )
    lock = [
        f"  {name}:\n    cmd: '{stage['cmd']}'\n    deps:\n{entry(sorted(stage['deps']))}    outs:\n{entry(list(stage['outs']))}"
        for name, stage in lanes.items()
    ]
    world.commit("Locked", {"dvc.lock": "schema: '2.0'\nstages:\n" + "".join(lock).replace(oid, in_txt, 1)})
    found.append(_plan(world, size, "none due"))
    shutil.rmtree(place)
    return found


def _plan(world: World, size: int, what: str) -> Planned:
    arguments = (CML, "plan", "--max-jobs", "256", "--format", "github")
    cost = measured(Command(arguments=arguments, cwd=world.project, env=world.environment()))
    return Planned(stages=size, what=what, wall=cost.wall, cpu=cost.cpu, peak=cost.peak)


def _spread_table(rows: list[Spread]) -> str:
    lines = [
        f"{SLEEPERS} stages that sleep {SECONDS} s, over jobs that run at the same time:",
        "",
        "| jobs | longest path | took | plan, one job's start and gather | beyond both |",
        "| ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {row.jobs} | {row.path:.0f} s | {row.took:.1f} s | {row.start:.1f} s | {row.over:+.0%} |"
            for row in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def _planned_table(rows: list[Planned]) -> str:
    lines = [
        "| stages | `cml plan` | wall | CPU | peak MB |",
        "| ---: | --- | ---: | ---: | ---: |",
        *(f"| {row.stages:,} | {row.what} | {row.wall:.1f} s | {row.cpu:.1f} s | {row.peak:.0f} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
