"""dvc.lock changes at once: what stands there is the old one or the new one, as plain DVC reads it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.small_world import COPY, PUSH, dvc_yaml, error_lines, make_small_world
from support.world import World

from cml.dvc.patches.atomic_write import replace_file

FILES = {"in.txt": "1\n", "dvc.yaml": dvc_yaml(copy=COPY)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A project that was reproduced once, and whose input changed since."""
    world = make_small_world(tmp_path, FILES)
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


def test_the_new_file_is_whose_the_old_one_was(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("files change hands by root alone")
    lock = world.project / "dvc.lock"
    os.chown(lock, 1234, 4321)
    lock.chmod(0o664)
    inode = lock.stat().st_ino
    assert world.cml("run").code == 0
    seen = lock.stat()
    assert (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) == (1234, 4321, 0o664)
    assert seen.st_ino != inode
    assert is_new(world)


@pytest.mark.parametrize("place", ["same", "other"])
def test_a_full_disk_keeps_the_old_one(tmp_path: Path, place: str) -> None:
    """Also where the new one cannot take its place at once, on another file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here, so no disk is full")
    try:
        lock, new = folder / "dvc.lock", (folder if place == "same" else tmp_path) / "new"
        lock.write_text("old\n" * 2_000)
        (folder / "rest").write_bytes(b"x" * 40_960)
        with pytest.raises(OSError, match="No space left"):
            replace_file(lock, "new\n" * 20_000, new)
        assert lock.read_text() == "old\n" * 2_000
        assert not new.exists()
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_where_no_mode_can_be_changed_it_is_written_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    lock = tmp_path / "dvc.lock"
    lock.write_text("old")
    lock.chmod(0o664)
    monkeypatch.setattr(Path, "chmod", refuse)
    replace_file(lock, "new", tmp_path / "new")
    assert lock.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["dvc.lock"]


def test_what_a_kill_left_half_written_is_swept(world: World) -> None:
    temporary = world.project / ".dvc" / "tmp"
    (temporary / "cml-run").touch()
    (temporary / "cml-new-1").write_text("schema: '2")
    assert world.cml("run").code == 0
    assert is_new(world)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "half written: git checkout dvc.lock restores the committed version"),
        ("schema: '2.0'\nst", "half written: git checkout dvc.lock restores the committed version"),
        ("schema: '2.0", "half written: git checkout dvc.lock restores the committed version"),
        (
            "<<<<<<< HEAD\nschema: '2.0'\n=======\n>>>>>>> try\n",
            "take one (git checkout --ours or --theirs), and run again",
        ),
        ("schema: '9.0'\nstages: {}\n", "(schema)"),
    ],
)
def test_one_that_cannot_be_read_says_what_may_help(world: World, text: str, advice: str) -> None:
    (world.project / "dvc.lock").write_text(text)
    done = world.cml("run")
    assert done.code == 2
    [line] = error_lines(done)
    assert line.endswith(advice)
    world.git("checkout", "dvc.lock")
    assert world.cml("run").code == 0
