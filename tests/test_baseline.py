"""Which commit a run is compared with, in complete and shallow clones. Git is real, and nothing else is needed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.small_world import make_small_world
from support.world import World

from cml.config.settings import read_settings
from cml.errors import BadInput
from cml.forges.base import Context
from cml.git.repository import Repository
from cml.model.report import Baseline
from cml.run.baseline import find_baseline


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_small_world(tmp_path_factory.mktemp("made"), {"a": "1"})
    world.git("switch", "--quiet", "--create", "other")
    world.commit("Other", {"b": "1"})
    world.git("switch", "--quiet", "main")
    for number in (2, 3, 4):
        world.commit(f"Commit {number}", {"a": str(number)})
    return world


@pytest.fixture
def world(made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A project with four commits on main and one on `other`, which branched off the first."""
    world = World(Path(shutil.copytree(made.folder, tmp_path / "world", symlinks=True)))
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    return world


def find(clone: Path, baseline: str = "", *, head: str = "HEAD", **context: Any) -> Baseline | None:
    """The baseline in a clone; `context` is what the forge says about the run, by default on a laptop."""
    repository = Repository(clone)
    settings = read_settings({}, {"baseline": baseline}, is_ci=False)
    sha = repository.resolve(head)
    assert sha is not None
    known = {"forge_name": "local", "event": "", **context}
    return find_baseline(repository, settings, Context(**known), sha)


def shallow(world: World, name: str = "shallow", branch: str = "main", depth: int = 1) -> Path:
    target = world.folder / name
    options = ("--quiet", f"--depth={depth}", "--branch", branch, "--single-branch")
    world.git("clone", *options, f"file://{world.origin}", str(target), cwd=world.folder)
    return target


def depth_of(world: World, place: Path, revision: str) -> int:
    return int(world.git("rev-list", "--count", revision, cwd=place))


def before(world: World, revision: str) -> str:
    return world.git("rev-parse", revision, cwd=world.origin)


def test_the_baseline_that_was_set_is_used(world: World) -> None:
    assert find(world.project, "HEAD~2") == Baseline(name="HEAD~2", sha=before(world, "main~2"), reason="as set")
    assert find(world.project, "@^") == Baseline(name="@^", sha=before(world, "main~1"), reason="as set")
    found = find(world.project, "HEAD~1", head="other")
    assert found == Baseline(name="HEAD~1", sha=before(world, "other~1"), reason="as set"), "HEAD is the run's head"


def test_the_default_is_used_if_it_exists(world: World) -> None:
    world.git("push", "--quiet", "origin", "main~1:refs/heads/master")
    expected = Baseline(name="origin/master", sha=before(world, "main~1"), reason="the default")
    assert find(world.project) == expected
    assert find(world.project, target_branch="other", default_branch="other") == expected


@pytest.mark.parametrize("name", ["origin/nowhere", "nowhere", "v9", "HEAD~40", "0123456", "0" * 40, "a..b", "a b"])
def test_a_baseline_that_does_not_exist_is_bad_input(world: World, name: str) -> None:
    for place in (world.project, shallow(world)):
        with pytest.raises(BadInput, match="baseline is "):
            find(place, name, target_branch="other")


def test_without_the_default_the_target_branch_is_used(world: World) -> None:
    found = find(world.project, target_branch="other", default_branch="main", push_branch="try")
    reason = "the target branch; origin/master does not exist"
    assert found == Baseline(name="origin/other", sha=before(world, "other"), reason=reason)


def test_without_a_target_the_default_branch_is_used(world: World) -> None:
    reason = "the default branch; origin/master does not exist"
    world.git("switch", "--quiet", "--create", "try")
    main = Baseline(name="origin/main", sha=before(world, "main"), reason=reason)
    assert find(world.project) == main, "as origin says"
    assert find(world.project, target_branch="gone") == main
    other = Baseline(name="origin/other", sha=before(world, "other"), reason=reason)
    assert find(world.project, default_branch="other") == other, "the place knows better"
    assert find(world.project, push_branch="main", default_branch="other") == other


def test_on_the_default_branch_the_previous_commit_is_used(world: World) -> None:
    reason = "the previous commit; origin/master does not exist"
    expected = Baseline(name="HEAD~1", sha=before(world, "main~1"), reason=reason)
    assert find(world.project) == expected
    assert find(world.project, default_branch="main") == expected
    assert find(shallow(world), default_branch="main") == expected
    world.git("switch", "--quiet", "--detach")
    assert find(world.project, push_branch="main", default_branch="main") == expected
    world.git("remote", "remove", "origin")
    assert find(world.project) == expected


def test_the_first_commit_has_no_baseline(world: World) -> None:
    assert find(world.project, head="main~3") is None
    world.git("remote", "remove", "origin")
    assert find(world.project, head="main~3") is None


def test_in_a_shallow_clone_only_the_tip_of_a_branch_is_fetched(world: World) -> None:
    place = shallow(world)
    found = find(place, "origin/other")
    assert found == Baseline(name="origin/other", sha=before(world, "other"), reason="as set")
    assert depth_of(world, place, "origin/other") == 1


def test_a_known_branch_is_fetched_again_only_in_ci(world: World) -> None:
    place = world.clone("clone")
    old = before(world, "other")
    world.git("push", "--quiet", "origin", "main:refs/heads/other", "--force")
    new = before(world, "other")
    for known in ({"forge_name": "local"}, {"forge_name": "github"}):
        found = find(place, "origin/other", **known)
        assert found is not None
        assert found.sha == (old if known["forge_name"] == "local" else new)
        assert world.git("rev-parse", "origin/other", cwd=place) == found.sha


def test_a_tag_whose_name_begins_with_origin_is_found(world: World) -> None:
    world.git("tag", "origin/mine", "main~2")
    assert find(world.project, "origin/mine") == Baseline(
        name="origin/mine", sha=before(world, "main~2"), reason="as set"
    )


def test_a_missing_tag_or_commit_is_fetched_without_history(world: World) -> None:
    world.git("tag", "v1", "other")
    world.git("push", "--quiet", "origin", "v1")
    sha = before(world, "other")
    for number, name in enumerate(("v1", sha)):
        place = shallow(world, f"shallow-{number}")
        assert find(place, name) == Baseline(name=name, sha=sha, reason="as set")
        assert depth_of(world, place, sha) == 1


@pytest.mark.parametrize("revision", ["HEAD~2", "HEAD^^", "short"])
def test_missing_history_is_fetched(world: World, revision: str) -> None:
    sha = before(world, "main~2")
    found = find(shallow(world), revision if revision != "short" else sha[:9])
    assert found is not None
    assert found.sha == sha


def test_without_origin_only_local_commits_are_found(world: World) -> None:
    world.git("remote", "remove", "origin")
    sha = world.git("rev-parse", "other")
    assert find(world.project, "other") == Baseline(name="other", sha=sha, reason="as set")
    with pytest.raises(BadInput):
        find(world.project, "v1")
