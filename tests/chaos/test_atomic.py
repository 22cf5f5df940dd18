"""Branch and tag are pushed together or not at all: server hooks that refuse, tags that already exist."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from standins.github import Forge
from support.small_world import make_small_world
from support.world import World

from chaos.figures import count, trial
from chaos.project import FILES, PUSH, assert_one_error_line, assert_results, results_commits, temp_folder
from chaos.size import draw

WHEN = {f"GIT_{role}_DATE": "2026-01-01T00:00:00Z" for role in ("AUTHOR", "COMMITTER")}  # equal dates give equal shas
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
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_small_world(tmp_path_factory.mktemp("atomic"), FILES)


def copy_base(base: World, folder: Path) -> World:
    shutil.copytree(base.folder, folder / "world", symlinks=True)
    world = World(folder / "world")
    temp_folder(world).mkdir()
    return world


def is_half_published(world: World) -> bool:
    """Returns whether origin has a results commit without a tag, or a tag without a results commit."""
    return bool(results_commits(world)) != bool([tag for tag in world.tags() if tag.startswith("dvc_")])


@pytest.mark.parametrize("protocol", ["a path", "HTTP"])
@pytest.mark.parametrize("refusal", draw(REFUSALS, 5, name="atomic"))
def test_a_refused_push_changes_neither_branch_nor_tag(
    base: World, tmp_path: Path, refusal: str, protocol: str
) -> None:
    world = copy_base(base, tmp_path)
    name, text = REFUSALS[refusal]
    hook = world.origin / "hooks" / name
    hook.write_text(f"#!/bin/sh\n{text}\n" if text else "#!/nowhere/sh\n")
    hook.chmod(0o755)
    with trial("atomic", f"{refusal}, {protocol}"), Forge(tmp_path / "forge") as forge:
        forge.create_repository("ada/digits", bare=world.origin)
        env = {"repo_token": forge.token("installation")} if protocol == "HTTP" else {}
        if protocol == "HTTP":
            world.git("remote", "set-url", "origin", forge.clone_url())
        done = world.cml(*PUSH, env=env)
        count("atomic", half=int(is_half_published(world)))
        assert done.code == 1, done.err
        assert_one_error_line(done)
        assert results_commits(world) == []
        assert not is_half_published(world)
        hook.unlink()
        done = world.cml(*PUSH, env=env)
        assert done.code == 0, done.err
        assert_results(world)


@pytest.mark.parametrize("where", ["in the clone", "on origin", "both"])
def test_an_existing_tag_is_never_moved(base: World, tmp_path: Path, where: str) -> None:
    first = copy_base(base, tmp_path / "first")
    assert first.cml(*PUSH, env=WHEN).code == 0
    [tag] = first.tags()
    world = copy_base(base, tmp_path / "second")
    for folder in {"in the clone": [world.project], "on origin": [world.origin]}.get(
        where, [world.project, world.origin]
    ):
        world.git("tag", tag, "main", cwd=folder)
    with trial("atomic", f"the tag exists {where}"):
        done = world.cml(*PUSH, env=WHEN)
        count("atomic", half=int(bool(results_commits(world))))
        assert done.code == 1, done.err
        assert_one_error_line(done)
        assert tag in done.err
        assert not results_commits(world)
        if where != "in the clone":
            assert world.git("rev-parse", f"refs/tags/{tag}", cwd=world.origin) == world.tip()
        done = world.cml(*PUSH)  # another date gives another sha
        assert done.code == 0, done.err
        assert len(results_commits(world)) == 1


def test_an_existing_tag_at_the_right_commit_is_accepted(base: World, tmp_path: Path) -> None:
    """A run that was killed after its push leaves such a tag."""
    world = copy_base(base, tmp_path)
    with trial("atomic", "the tag is right already"):
        assert world.cml(*PUSH, env=WHEN).code == 0
        world.git("reset", "--quiet", "--hard", "HEAD~1")
        world.git("update-ref", "refs/heads/main", "HEAD~0", cwd=world.origin)
        done = world.cml(*PUSH, env=WHEN)
        assert done.code == 0, done.err
        count("atomic", half=int(is_half_published(world)))
        assert_results(world)
