"""No visible commit names data that the remote lacks: remotes that are empty, complete, or lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.world import World

from chaos.figures import trial
from chaos.stage import PUSH, copied, judge, make, temporary


def objects(world: World) -> list[Path]:
    return [path for path in (world.storage / "files").rglob("*") if path.is_file()]


def nothing(_: World) -> None:
    """The remote holds all that it should."""


def everything_goes(world: World) -> None:
    for path in objects(world):
        path.unlink()


def children_go(world: World) -> None:
    """What DVC believes: a `.dir` object is there, its children are not (dvc #10977)."""
    for path in objects(world):
        if path.suffix != ".dir":
            path.unlink()


def listings_go(world: World) -> None:
    for path in objects(world):
        if path.suffix == ".dir":
            path.unlink()


def one_child_goes(world: World) -> None:
    min(path for path in objects(world) if path.suffix != ".dir").unlink()


LIES: list[Callable[[World], None]] = [nothing, everything_goes, children_go, listings_go, one_child_goes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("witness"))


@pytest.mark.parametrize("when", ["before the push", "between the runs"])
@pytest.mark.parametrize("lie", LIES)
def test_a_remote_that_lies_is_mended_before_a_commit_names_it(
    made: World, tmp_path: Path, lie: Callable[[World], None], when: str
) -> None:
    """The results are there from an earlier run, and are committed by a later one."""
    world = copied(made, tmp_path)
    env = {"TMPDIR": str(temporary(world))}
    with trial("witness", f"{lie.__name__}, {when}"):
        if when == "before the push":
            assert world.cml("run", env=env).code == 0
            world.dvc("push", "--quiet", "--run-cache")
            lie(world)
            assert world.cml(*PUSH, env=env).code == 0
            judge(world)
        else:
            assert world.cml(*PUSH, env=env).code == 0
            lie(world)
            world.commit("Other metrics, the same model", {"in.txt": '{"accuracy": 0.8}\n'})
            assert world.cml(*PUSH, env=env).code == 0
            world.git("push", "--quiet", "origin", "HEAD:refs/heads/seen")
            [tag] = [tag for tag in world.tags() if tag == f"dvc_{world.tip()[:7]}"]
            world.assert_complete(tag)


def test_the_witness_sees_what_is_missing(made: World, tmp_path: Path) -> None:
    """The judge is no dummy."""
    world = copied(made, tmp_path)
    assert world.cml(*PUSH).code == 0
    one_child_goes(world)
    with pytest.raises(AssertionError):
        world.assert_complete("main")
