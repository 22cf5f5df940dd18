"""No published commit refers to data that is missing on the DVC remote, whatever the remote lacks before the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.world import World

from chaos.figures import trial
from chaos.project import PUSH, assert_results, copy_project, make_project, temp_folder


def objects(world: World) -> list[Path]:
    return [path for path in (world.storage / "files").rglob("*") if path.is_file()]


def nothing(_: World) -> None:
    """The remote is complete."""


def remove_all(world: World) -> None:
    for path in objects(world):
        path.unlink()


def remove_files(world: World) -> None:
    """DVC takes a folder for complete if its `.dir` object exists, whether its files do or not (dvc #10977)."""
    for path in objects(world):
        if path.suffix != ".dir":
            path.unlink()


def remove_dir_objects(world: World) -> None:
    for path in objects(world):
        if path.suffix == ".dir":
            path.unlink()


def remove_one_file(world: World) -> None:
    min(path for path in objects(world) if path.suffix != ".dir").unlink()


DAMAGES: list[Callable[[World], None]] = [nothing, remove_all, remove_files, remove_dir_objects, remove_one_file]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("complete data"))


@pytest.mark.parametrize("when", ["before the push", "between the runs"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_missing_objects_are_uploaded_before_a_commit_refers_to_them(
    base: World, tmp_path: Path, damage: Callable[[World], None], when: str
) -> None:
    """The results were made by an earlier run and are committed by a later one."""
    world = copy_project(base, tmp_path)
    env = {"TMPDIR": str(temp_folder(world))}
    with trial("complete data", f"{damage.__name__}, {when}"):
        if when == "before the push":
            assert world.cml("run", env=env).code == 0
            world.dvc("push", "--quiet", "--run-cache")
            damage(world)
            assert world.cml(*PUSH, env=env).code == 0
            assert_results(world)
        else:
            assert world.cml(*PUSH, env=env).code == 0
            damage(world)
            world.commit("Other metrics, the same model", {"in.txt": '{"accuracy": 0.8}\n'})
            assert world.cml(*PUSH, env=env).code == 0
            world.git("push", "--quiet", "origin", "HEAD:refs/heads/seen")
            [tag] = [tag for tag in world.tags() if tag == f"dvc_{world.tip()[:7]}"]
            world.assert_complete(tag)


def test_the_check_notices_a_missing_object(base: World, tmp_path: Path) -> None:
    """Guards the check that all other tests here rely on."""
    world = copy_project(base, tmp_path)
    assert world.cml(*PUSH).code == 0
    remove_one_file(world)
    with pytest.raises(AssertionError):
        world.assert_complete("main")
