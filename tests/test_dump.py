"""dvc.lock changes at once: what stands there is the old one or the new one, as plain DVC reads it."""

from __future__ import annotations

import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from conftest import World
from plain import COPY, PUSH, errors, plain_world, stages

FILES = {"in.txt": "1\n", "dvc.yaml": stages(copy=COPY)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A project that was reproduced once, and whose input changed since."""
    world = plain_world(tmp_path, FILES)
    assert world.cml(*PUSH).code == 0
    world.commit("More", {"in.txt": "2\n"})
    return world


def is_new(world: World) -> bool:
    return world.dvc("status") == "Data and pipelines are up to date." and not list(
        (world.project / ".dvc" / "tmp").glob("cml-*")
    )


def test_the_new_file_may_be_read_by_whom_the_old_one_could(world: World) -> None:
    lock = world.project / "dvc.lock"
    lock.chmod(0o664)
    assert world.cml("run").code == 0
    assert stat.S_IMODE(lock.stat().st_mode) == 0o664
    assert is_new(world)


def test_a_link_stays_one_also_into_another_file_system(world: World) -> None:
    lock = world.project / "dvc.lock"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        target = Path(elsewhere, "dvc.lock")
        shutil.move(lock, target)
        lock.symlink_to(target)
        before = target.read_text()
        assert world.cml("run").code == 0
        assert lock.is_symlink()
        assert target.read_text() != before
        assert is_new(world)


def test_what_a_kill_left_half_written_is_swept(world: World) -> None:
    temporary = world.project / ".dvc" / "tmp"
    (temporary / "cml-run").touch()
    (temporary / "cml-new-1").write_text("schema: '2")
    assert world.cml("run").code == 0
    assert is_new(world)


@pytest.mark.parametrize("text", ["", "schema: '2.0'\nst", "schema: '2.0"])
def test_one_that_a_killed_dvc_left_half_written_says_so(world: World, text: str) -> None:
    (world.project / "dvc.lock").write_text(text)
    done = world.cml("run")
    assert done.code == 2
    [line] = errors(done)
    assert line.endswith(
        "a DVC that was killed may have left it half written: git checkout dvc.lock has the committed one"
    )
    world.git("checkout", "dvc.lock")
    assert world.cml("run").code == 0
