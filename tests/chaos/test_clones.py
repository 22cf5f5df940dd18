"""Every kind of clone gives a report or a documented error."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from support.small_world import REMOTE, make_small_world
from support.world import World

from chaos.figures import count, trial
from chaos.project import FILES, assert_one_error_line, temp_folder
from chaos.size import draw

DEPTHS = (1, 2, 20, 0)
SHAPES = ("branch", "tag", "detached", "PR merge", "MR result", "one commit", "empty")
BASELINES = ("default", "HEAD~1", "sha", "tag", "missing")
BRANCHES = ("main", "master", "trunk")
CASES = list(itertools.product(DEPTHS, SHAPES, BASELINES, BRANCHES))


def make_history(clone: Path, branch: str) -> World:
    """Makes a project with thirty commits, a side branch, and the merge refs that forges make for it."""
    world = make_small_world(clone, FILES, config=REMOTE.replace("{}", str(clone / "world" / "storage")), branch=branch)
    assert world.cml("run", "--push", "true").code == 0
    world.git("tag", "old")
    for number in range(28):
        world.git("commit", "--quiet", "--allow-empty", "--message", f"Commit {number}")
    world.git("push", "--quiet", "origin", branch, "old")
    world.git("switch", "--quiet", "--create", "side")
    world.commit("On the side", {"in.txt": '{"accuracy": 0.7}\n'})
    world.git("switch", "--quiet", branch)
    world.commit("Meanwhile", {"README.md": "words\n"})
    world.git("switch", "--quiet", "--detach", branch)
    world.git("merge", "--quiet", "--no-edit", "side")
    world.git(
        "push",
        "--quiet",
        "origin",
        "HEAD:refs/pull/1/merge",
        "side:refs/pull/1/head",
        "HEAD:refs/merge-requests/1/merge",
    )
    world.git("tag", "release", branch)
    world.git("push", "--quiet", "origin", "release")
    temp_folder(world).mkdir()
    return world


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    return {branch: make_history(tmp_path_factory.mktemp(branch), branch) for branch in BRANCHES}


def make_clone(world: World, clone: Path, *, depth: int, shape: str, branch: str) -> None:
    def git(*words: str) -> str:
        return world.git(*words, cwd=clone)

    clone.mkdir()
    git("init", "--quiet", "--initial-branch=none")
    if shape == "empty":
        git("remote", "add", "origin", f"file://{world.origin}")
        return
    if shape == "one commit":
        git("remote", "add", "origin", f"file://{world.folder}/one.git")
        git("fetch", "--quiet", *([f"--depth={depth}"] if depth else []), "origin", branch)
        git("checkout", "--quiet", "-B", branch, "FETCH_HEAD")
        return
    git("remote", "add", "origin", f"file://{world.origin}")
    refs = {"branch": branch, "tag": "release", "detached": "side", "PR merge": "refs/pull/1/merge"}
    ref = refs.get(shape, "refs/merge-requests/1/merge")
    git("fetch", "--quiet", "--no-tags", *([f"--depth={depth}"] if depth else []), "origin", ref)
    git("checkout", "--quiet", *(("-B", branch) if shape == "branch" else ("--detach",)), "FETCH_HEAD")


@pytest.mark.parametrize(("depth", "shape", "baseline", "branch"), draw(CASES, 24, name="clones"))
def test_each_clone_gives_a_report_or_a_documented_error(
    worlds: dict[str, World], tmp_path: Path, depth: int, shape: str, baseline: str, branch: str
) -> None:
    world = worlds[branch]
    if shape == "one commit" and not (world.folder / "one.git").exists():
        single = make_small_world(tmp_path / "single", FILES, branch=branch)
        single.origin.rename(world.folder / "one.git")
    clone = tmp_path / "clone"
    make_clone(world, clone, depth=depth, shape=shape, branch=branch)
    first = world.git("rev-parse", "old", cwd=world.origin)
    named = {"default": "", "sha": first, "tag": "old", "missing": "no-such-revision"}.get(baseline, baseline)
    options = ("--baseline", named) if named else ()
    with trial("clones", f"{depth}, {shape}, {baseline}, {branch}"):
        done = world.cml("run", "--dvc-pull=-", *options, cwd=clone, env={"TMPDIR": str(temp_folder(world))})
        assert_one_error_line(done)
        has_it = not (shape == "empty" or baseline == "missing" or (shape == "one commit" and baseline != "default"))
        assert done.code == (0 if has_it else 2), f"exit {done.code}: {done.err}"
        count("clones", reports=int(has_it), answers=int(not has_it))
        if has_it:
            report = (clone / "cml-report" / "report.md").read_text().replace("&#8203;", "")
            assert "accuracy" in report
            if baseline != "default":
                assert f"Baseline: {named[:7]}" in report
        elif shape != "empty":
            assert "baseline" in done.err
