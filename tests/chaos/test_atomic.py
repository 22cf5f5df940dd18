"""Branch and tag together or not at all, whatever a server's hooks say and wherever the tag's name is taken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from standins.github import Forge
from support.small_world import make_small_world
from support.world import World

from chaos.figures import count, trial
from chaos.size import some
from chaos.stage import FILES, PUSH, judge, one_line, results, temporary

WHEN = {f"GIT_{role}_DATE": "2026-01-01T00:00:00Z" for role in ("AUTHOR", "COMMITTER")}  # the same work, the same sha
REFUSALS = {
    "update refuses the branch": ("update", 'case "$1" in refs/heads/*) echo no >&2; exit 1;; esac'),
    "update refuses the tag": ("update", 'case "$1" in refs/tags/*) echo no >&2; exit 1;; esac'),
    "update refuses both": ("update", "echo no >&2; exit 1"),
    "pre-receive refuses all": ("pre-receive", "cat >/dev/null; echo no >&2; exit 1"),
    "the transaction is refused": ("reference-transaction", '[ "$1" != prepared ] || { echo no >&2; exit 1; }'),
    "a hook is killed": ("update", "kill -9 $$"),
    "a hook cannot be started": ("update", None),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_small_world(tmp_path_factory.mktemp("atomic"), FILES)


def copy_of(made: World, place: Path) -> World:
    shutil.copytree(made.folder, place / "world", symlinks=True)
    world = World(place / "world")
    temporary(world).mkdir()
    return world


def is_half_published(world: World) -> bool:
    """Whether only one of the two is there: a results commit on the branch, or a tag of ours."""
    return bool(results(world)) != bool([tag for tag in world.tags() if tag.startswith("dvc_")])


@pytest.mark.parametrize("way", ["a path", "HTTP"])
@pytest.mark.parametrize("refusal", some(REFUSALS, 5, name="atomic"))
def test_what_a_server_refuses_is_refused_whole(made: World, tmp_path: Path, refusal: str, way: str) -> None:
    world = copy_of(made, tmp_path)
    name, text = REFUSALS[refusal]
    hook = world.origin / "hooks" / name
    hook.write_text(f"#!/bin/sh\n{text}\n" if text else "#!/nowhere/sh\n")
    hook.chmod(0o755)
    with trial("atomic", f"{refusal}, {way}"), Forge(tmp_path / "forge") as forge:
        forge.create_repository("ada/digits", bare=world.origin)
        env = {"repo_token": forge.token("installation")} if way == "HTTP" else {}
        if way == "HTTP":
            world.git("remote", "set-url", "origin", forge.clone_url())
        done = world.cml(*PUSH, env=env)
        count("atomic", half=int(is_half_published(world)))
        assert done.code == 1, done.err
        one_line(done)
        assert results(world) == []
        assert not is_half_published(world)
        hook.unlink()
        done = world.cml(*PUSH, env=env)
        assert done.code == 0, done.err
        judge(world)


@pytest.mark.parametrize("where", ["here", "on origin", "both"])
def test_a_tag_that_exists_is_never_moved(made: World, tmp_path: Path, where: str) -> None:
    first = copy_of(made, tmp_path / "first")
    assert first.cml(*PUSH, env=WHEN).code == 0
    [tag] = first.tags()
    world = copy_of(made, tmp_path / "second")
    for place in {"here": [world.project], "on origin": [world.origin]}.get(where, [world.project, world.origin]):
        world.git("tag", tag, "main", cwd=place)
    with trial("atomic", f"the tag exists {where}"):
        done = world.cml(*PUSH, env=WHEN)
        count("atomic", half=int(bool(results(world))))
        assert done.code == 1, done.err
        one_line(done)
        assert tag in done.err
        assert not results(world)
        if where != "here":
            assert world.git("rev-parse", f"refs/tags/{tag}", cwd=world.origin) == world.tip()
        done = world.cml(*PUSH)  # another time, another sha
        assert done.code == 0, done.err
        assert len(results(world)) == 1


def test_the_same_tag_at_the_same_commit_is_fine(made: World, tmp_path: Path) -> None:
    """A run that was killed between its push and its last word left the tag where it belongs."""
    world = copy_of(made, tmp_path)
    with trial("atomic", "the tag is right already"):
        assert world.cml(*PUSH, env=WHEN).code == 0
        world.git("reset", "--quiet", "--hard", "HEAD~1")
        world.git("update-ref", "refs/heads/main", "HEAD~0", cwd=world.origin)
        done = world.cml(*PUSH, env=WHEN)
        assert done.code == 0, done.err
        count("atomic", half=int(is_half_published(world)))
        judge(world)
