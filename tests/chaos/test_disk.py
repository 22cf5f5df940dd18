"""Disk full, read-only, no file handles: exit 1 and one line; no commit names what is not there; a later run converges."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.small_world import dvc_yaml, kept_in_git
from support.world import World

from chaos.figures import count, trial
from chaos.size import some
from chaos.stage import FILES, copied, judge, make, one_line, results, temporary, witness

COMMAND = "head -c 3000000 /dev/zero | tr '\\\\0' x > model && cat in.txt >> model && cp in.txt m.json"
BIG = dvc_yaml(train={"cmd": COMMAND, "deps": ["in.txt"], "outs": ["model"], "metrics": kept_in_git("m.json")})
PLACES = ("workspace", "cache", "temp", "remote", "origin")
KILOBYTES = (200, 800, 1_600, 3_200, 4_400, 6_400)


@contextmanager
def small(place: Path, kilobytes: int, *, is_read_only: bool = False) -> Iterator[None]:
    """A file system of its own over a folder, with the folder's files in it, and so many kilobytes left."""
    place.mkdir(parents=True, exist_ok=True)
    used = sum(-(-path.stat().st_size // 4096) * 4 + 4 for path in place.rglob("*") if path.is_file())
    used += 4 * sum(path.is_dir() for path in place.rglob("*"))
    aside = place.with_name(f"{place.name}.aside")
    shutil.copytree(place, aside, symlinks=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={used + kilobytes}k", "tmpfs", str(place)], capture_output=True
    )
    if made.returncode:
        shutil.rmtree(aside)
        pytest.skip(f"a small file system cannot be mounted here, so no disk is full: {made.stderr.decode().strip()}")
    try:
        shutil.copytree(aside, place, symlinks=True, dirs_exist_ok=True)
        if is_read_only:
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield
        if is_read_only:
            subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        shutil.rmtree(aside)
        shutil.copytree(place, aside, symlinks=True)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        shutil.rmtree(place)
        aside.rename(place)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("disk"), {**FILES, "dvc.yaml": BIG})


def folder(world: World, where: str) -> Path:
    return {
        "workspace": world.project,
        "cache": world.project / ".dvc" / "cache",
        "temp": temporary(world),
        "remote": world.storage,
        "origin": world.origin,
    }[where]


def run(world: World, *before: str) -> int:
    """One run whose end is an exit code of ours and at most one line."""
    words = "cml run --push true --tag-prefix dvc_"
    done = world.try_run("bash", "-c", "; ".join([*before, f"exec {words}"]), env={"TMPDIR": str(temporary(world))})
    assert done.code in {0, 1, 2}, f"{done.code}: {done.err}"
    one_line(done)
    return done.code


CASES = [(where, kilobytes) for where in PLACES for kilobytes in KILOBYTES]


@pytest.mark.parametrize(("where", "kilobytes"), some(CASES, 8, name="disk"))
def test_a_full_disk_costs_no_more_than_the_run(made: World, tmp_path: Path, where: str, kilobytes: int) -> None:
    world = copied(made, tmp_path)
    with trial("disk", f"{where}, {kilobytes} kB left"):
        with small(folder(world, where), kilobytes):
            code = run(world)
            count("disk", full=int(code != 0))
            if found := results(world):
                witness(world, *found)
        assert run(world) == 0
        judge(world)


@pytest.mark.parametrize("where", PLACES)
def test_a_read_only_disk(made: World, tmp_path: Path, where: str) -> None:
    world = copied(made, tmp_path)
    with trial("disk", f"{where}, read-only"):
        with small(folder(world, where), 20_000, is_read_only=True):
            code = run(world)
            count("disk", full=int(code != 0))
            # Without the temporary folder that was named there are the machine's others.
            assert code in ({0, 1} if where == "temp" else {1, 2})
            assert code == 0 or results(world) == []
        assert run(world) == 0
        judge(world)


@pytest.mark.parametrize("handles", some([16, 24, 32, 48, 64], 2, name="handles"))
def test_without_file_handles(made: World, tmp_path: Path, handles: int) -> None:
    world = copied(made, tmp_path)
    with trial("disk", f"{handles} file handles"):
        code = run(world, f"ulimit -n {handles}")
        count("disk", full=int(code != 0))
        if found := results(world):
            witness(world, *found)
        assert run(world) == 0
        judge(world)


def test_without_processes_to_start(made: World, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root has no limit of processes, so none runs out")
    world = copied(made, tmp_path)
    with trial("disk", "no processes"):
        run(world, "ulimit -u 3")
        assert run(world) == 0
        judge(world)
