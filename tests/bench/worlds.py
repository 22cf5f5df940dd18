"""The projects that are measured. Each has an origin, a DVC remote, saved results, and nothing to do.

The branch `try` is checked out. It has newer results than `main`, so that the report has a difference to show. The
projects are built once, in a folder that git ignores.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from support.small_world import dvc_yaml, kept_in_git, make_small_world, put_object
from support.world import World

LOCK = "schema: '2.0'\nstages:\n"


def small(place: Path) -> World:
    """3 stages, 20 files, 7 experiments."""
    return _experiments(place, _small_project(), count=7)


def plots(place: Path) -> World:
    """The small project with two plots, which the last experiment changed."""
    files = _small_project()
    files["evaluate.sh"] += "for n in 1 2 3 4 5 6; do echo $n,0.$n$rate; done | sed '1i step,loss' > loss.csv\n"
    files["evaluate.sh"] += "for n in 1 2 3; do echo $n,0.$n$rate; done | sed '1i step,recall' > recall.csv\n"
    pipeline = json.loads(files["dvc.yaml"])
    pipeline["stages"]["evaluate"]["outs"] = kept_in_git("loss.csv", "recall.csv")
    pipeline["plots"] = [{"loss.csv": {"x": "step", "y": "loss"}}, {"recall.csv": {"x": "step", "y": "recall"}}]
    files["dvc.yaml"] = json.dumps(pipeline)
    return _experiments(place, files, count=7)


def thousand_stages(place: Path) -> World:
    """1,000 stages of one file each, in one dvc.yaml; the last experiment changed one of them."""
    names = [f"stage{number}" for number in range(1000)]
    files = {f"{name}.in": f"{name}\n" for name in names}
    files[".gitignore"] = "".join(f"/{name}.out\n" for name in names)
    copies = {
        name: {"cmd": f"cp {name}.in {name}.out", "deps": [f"{name}.in"], "outs": [f"{name}.out"]} for name in names
    }
    world = make_small_world(place, {**files, "dvc.yaml": dvc_yaml(**copies)})

    def reproduced() -> None:
        """Writes what `dvc repro` and `dvc push` would write; they would take ten minutes for a thousand stages."""
        entries = []
        for name in names:
            text = (world.project / f"{name}.in").read_text()
            world.write({f"{name}.out": text})
            oid = _md5(text)
            for store in (world.storage, world.project / ".dvc" / "cache"):
                put_object(store / "files" / "md5", oid, text)
            entries.append(_lock_entry(name, f"cp {name}.in {name}.out", oid, len(text)))
        world.write({"dvc.lock": LOCK + "".join(entries)})

    reproduced()
    world.commit("Results")
    world.git("switch", "--quiet", "--create", "try")
    world.commit("Another input", {"stage0.in": "another\n"}, push=False)
    reproduced()
    return _saved(world)


def many_files(place: Path) -> World:
    """50,000 files in a tracked directory, and a stage that depends on it; the last experiment changed one file."""
    world = make_small_world(place, _counting_project())
    folder = world.project / "data"
    for number in range(50_000):
        path = folder / f"{number // 500:03}" / f"{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"sample {number}\n")
    for message, text in (("Results", "sample 7\n"), ("Another file", "another sample\n")):
        if message != "Results":
            world.git("switch", "--quiet", "--create", "try")
        (folder / "000" / "00007.txt").unlink()
        (folder / "000" / "00007.txt").write_text(text)
        _long(world, "dvc", "add", "--quiet", "data")
        _long(world, "dvc", "repro", "--quiet")
        _long(world, "dvc", "push", "--quiet")
        world.commit(message)
    return _saved(world)


def many_metrics(place: Path) -> World:
    """200 metrics files of 100 keys, and 7 experiments."""
    files = _small_project()
    names = [f"metrics/{number:03}.json" for number in range(200)]
    files["evaluate.sh"] += (
        "mkdir -p metrics\n"
        "body=$(i=0; while [ $i -lt 100 ]; do printf '\"key%s\": %s.%s, ' $i $i $rate; i=$((i+1)); done)\n"
        'n=0; while [ $n -lt 200 ]; do printf \'{%s"last": %s}\\n\' "$body" $n > metrics/$(printf %03d $n).json; '
        "n=$((n+1)); done\n"
    )
    pipeline = json.loads(files["dvc.yaml"])
    pipeline["stages"]["evaluate"]["metrics"] += kept_in_git(*names)
    files["dvc.yaml"] = json.dumps(pipeline)
    return _experiments(place, files, count=7)


def thousand_experiments(place: Path) -> World:
    """The small project with 1,000 tagged experiments in its history."""
    world = _experiments(place, _small_project(), count=1)
    parent = world.git("rev-parse", "HEAD")
    _history(world, parent, count=993)
    world.git("reset", "--quiet", "--hard", "refs/heads/history")
    world.git("branch", "--quiet", "--delete", "--force", "history")
    return _experiments_on(world, count=6)


WORLDS: dict[str, Callable[[Path], World]] = {
    "small": small,
    "stages": thousand_stages,
    "files": many_files,
    "metrics": many_metrics,
    "experiments": thousand_experiments,
    "plots": plots,
}


def build(name: str, room: Path) -> World:
    """Returns a project by its name, and builds it first if it is not in the folder yet."""
    place = room / name
    mark = place / "built"
    if not mark.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        WORLDS[name](place)
        mark.touch()
    return World(place / "world")


def _small_project() -> dict[str, str]:
    """3 stages and 20 files, seventeen of them data. The stages run `sh`, since their cost is not measured."""
    files = {f"raw/{number}.csv": f"a,b\n{number},2\n" for number in range(13)}
    files["params.yaml"] = "train:\n  rate: 1\n"
    files["prepare.sh"] = "mkdir -p data; for f in raw/*.csv; do cat $f $f > data/$(basename $f); done\n"
    files["train.sh"] = (
        "rate=$(sed -n 's/.*rate: //p' params.yaml); cat data/*.csv > model.bin; echo $rate >> model.bin\n"
    )
    files["evaluate.sh"] = (
        "rate=$(sed -n 's/.*rate: //p' params.yaml)\n"
        'echo "{\\"accuracy\\": 0.$rate, \\"loss\\": {\\"train\\": 1.$rate, \\"test\\": 2.$rate}}" > metrics.json\n'
    )
    files["README.md"] = "A small project.\n"
    files[".gitignore"] = "/data\n/model.bin\n"
    files["dvc.yaml"] = dvc_yaml(
        prepare={"cmd": "sh prepare.sh", "deps": ["prepare.sh", "raw"], "outs": ["data"]},
        train={"cmd": "sh train.sh", "deps": ["train.sh", "data"], "params": ["train.rate"], "outs": ["model.bin"]},
        evaluate={"cmd": "sh evaluate.sh", "deps": ["evaluate.sh", "model.bin"], "metrics": kept_in_git("metrics.json")}
        | {"params": ["train.rate"]},
    )
    return files


def _counting_project() -> dict[str, str]:
    command = "ls -R data | wc -l > count.txt; echo '{\"files\": 50000}' > metrics.json"
    counts = {"cmd": command, "deps": ["data"], "outs": ["count.txt"], "metrics": kept_in_git("metrics.json")}
    return {"dvc.yaml": dvc_yaml(count=counts), ".gitignore": "/data\n/count.txt\n"}


def _experiments(place: Path, files: dict[str, str], *, count: int) -> World:
    world = make_small_world(place, files)
    _experiment(world, 1)
    world.git("switch", "--quiet", "--create", "try")
    return _experiments_on(world, count=count - 1)


def _experiments_on(world: World, *, count: int) -> World:
    for number in range(count):
        _experiment(world, number + 2)
    return _saved(world)


def _experiment(world: World, rate: int) -> None:
    world.write({"params.yaml": f"train:\n  rate: {rate}\n"})
    world.dvc("repro", "--quiet")
    world.dvc("push", "--quiet", "--run-cache")
    sha = world.commit(f"Rate {rate}")
    world.git("tag", f"dvc_{sha[:7]}")


def _history(world: World, parent: str, *, count: int) -> None:
    """Adds tagged commits with other metrics on top of `parent`. DVC would take a quarter of an hour for them."""

    def commits() -> Iterator[str]:
        for number in range(count):
            text = f'{{"accuracy": 0.{number}}}\n'
            start = f"from {parent}\n" if number == 0 else ""
            yield (
                f"commit refs/heads/history\nmark :{number + 1}\n"
                f"committer Ada <ada@example.invalid> {1_700_000_000 + number} +0000\ndata 10\nExperiment\n{start}"
                f"M 100644 inline metrics.json\ndata {len(text)}\n{text}\n"
            )

    marks = world.folder / "marks"
    _feed(world, ["git", "fast-import", "--quiet", f"--export-marks={marks}"], "".join(commits()))
    shas = [line.split()[1] for line in marks.read_text().splitlines()]
    _feed(world, ["git", "update-ref", "--stdin"], "".join(f"create refs/tags/dvc_{sha[:7]} {sha}\n" for sha in shas))


def _feed(world: World, command: list[str], text: str) -> None:
    subprocess.run(command, cwd=world.project, env=world.environment(), input=text.encode(), check=True)


def _saved(world: World) -> World:
    """A project whose origin has everything, so that a run has nothing to do."""
    if world.git("status", "--porcelain"):
        world.commit("Results of try")
    world.git("push", "--quiet", "--tags", "origin", "HEAD")
    world.git("fetch", "--quiet", "origin")
    world.git("gc", "--quiet")
    _long(world, "cml", "run", "--push", "true", "--tag-prefix", "dvc_", "--baseline", "origin/main")
    assert world.outputs()["changed"] == "false"
    return world


def _long(world: World, *command: str) -> None:
    subprocess.run(command, cwd=world.project, env=world.environment(), check=True, capture_output=True, timeout=900)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _lock_entry(name: str, command: str, oid: str, size: int) -> str:
    def file(end: str) -> str:
        return f"    - path: {name}.{end}\n      hash: md5\n      md5: {oid}\n      size: {size}\n"

    return f"  {name}:\n    cmd: {command}\n    deps:\n{file('in')}    outs:\n{file('out')}"
