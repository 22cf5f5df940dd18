"""Disk full, read-only disk, no file handles: one error line, no commit with missing data, and a later run completes."""

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
from chaos.project import (
    FILES,
    assert_complete,
    assert_one_error_line,
    assert_results,
    copy_project,
    make_project,
    results_commits,
    temp_folder,
)
from chaos.size import draw

COMMAND = "head -c 3000000 /dev/zero | tr '\\\\0' x > model && cat in.txt >> model && cp in.txt m.json"
BIG = dvc_yaml(train={"cmd": COMMAND, "deps": ["in.txt"], "outs": ["model"], "metrics": kept_in_git("m.json")})
PLACES = ("workspace", "cache", "temp", "remote", "origin")
KILOBYTES = (200, 800, 1_600, 3_200, 4_400, 6_400)


@contextmanager
def small_file_system(folder: Path, kilobytes: int, *, is_read_only: bool = False) -> Iterator[None]:
    """Mounts a small file system over a folder: it has the folder's files and this many free kilobytes."""
    folder.mkdir(parents=True, exist_ok=True)
    used = sum(-(-path.stat().st_size // 4096) * 4 + 4 for path in folder.rglob("*") if path.is_file())
    used += 4 * sum(path.is_dir() for path in folder.rglob("*"))
    copy = folder.with_name(f"{folder.name}.aside")
    shutil.copytree(folder, copy, symlinks=True)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={used + kilobytes}k", "tmpfs", str(folder)], capture_output=True
    )
    if mount.returncode:
        shutil.rmtree(copy)
        pytest.skip(f"mounting a small file system needs root: {mount.stderr.decode().strip()}")
    try:
        shutil.copytree(copy, folder, symlinks=True, dirs_exist_ok=True)
        if is_read_only:
            subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield
        if is_read_only:
            subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        shutil.rmtree(copy)
        shutil.copytree(folder, copy, symlinks=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(folder)
        copy.rename(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("disk"), {**FILES, "dvc.yaml": BIG})


def disk_folder(world: World, where: str) -> Path:
    return {
        "workspace": world.project,
        "cache": world.project / ".dvc" / "cache",
        "temp": temp_folder(world),
        "remote": world.storage,
        "origin": world.origin,
    }[where]


def run(world: World, *before: str) -> int:
    """Runs `cml run` after shell commands; fails unless it ends with a documented exit code and one error line."""
    words = "cml run --push true --tag-prefix dvc_"
    done = world.try_run("bash", "-c", "; ".join([*before, f"exec {words}"]), env={"TMPDIR": str(temp_folder(world))})
    assert done.code in {0, 1, 2}, f"{done.code}: {done.err}"
    assert_one_error_line(done)
    return done.code


CASES = [(where, kilobytes) for where in PLACES for kilobytes in KILOBYTES]


@pytest.mark.parametrize(("where", "kilobytes"), draw(CASES, 8, name="disk"))
def test_after_a_full_disk_the_next_run_completes(base: World, tmp_path: Path, where: str, kilobytes: int) -> None:
    world = copy_project(base, tmp_path)
    with trial("disk", f"{where}, {kilobytes} kB left"):
        with small_file_system(disk_folder(world, where), kilobytes):
            code = run(world)
            count("disk", full=int(code != 0))
            if found := results_commits(world):
                assert_complete(world, *found)
        assert run(world) == 0
        assert_results(world)


@pytest.mark.parametrize("where", PLACES)
def test_a_read_only_disk(base: World, tmp_path: Path, where: str) -> None:
    world = copy_project(base, tmp_path)
    with trial("disk", f"{where}, read-only"):
        with small_file_system(disk_folder(world, where), 20_000, is_read_only=True):
            code = run(world)
            count("disk", full=int(code != 0))
            # Python falls back to another temporary folder if TMPDIR is not writable.
            assert code in ({0, 1} if where == "temp" else {1, 2})
            assert code == 0 or results_commits(world) == []
        assert run(world) == 0
        assert_results(world)


@pytest.mark.parametrize("handles", draw([16, 24, 32, 48, 64], 2, name="handles"))
def test_without_file_handles(base: World, tmp_path: Path, handles: int) -> None:
    world = copy_project(base, tmp_path)
    with trial("disk", f"{handles} file handles"):
        code = run(world, f"ulimit -n {handles}")
        count("disk", full=int(code != 0))
        if found := results_commits(world):
            assert_complete(world, *found)
        assert run(world) == 0
        assert_results(world)


def test_without_free_processes(base: World, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root has no limit on processes")
    world = copy_project(base, tmp_path)
    with trial("disk", "no processes"):
        run(world, "ulimit -u 3")
        assert run(world) == 0
        assert_results(world)
