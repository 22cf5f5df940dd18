"""Any clone shape: a report, or the answer that is documented."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from support.small_world import REMOTE, make_small_world
from support.world import World

from chaos.figures import count, trial
from chaos.size import some
from chaos.stage import FILES, one_line, temporary

DEPTHS = (1, 2, 20, 0)
SHAPES = ("branch", "tag", "detached", "PR merge", "MR result", "one commit", "empty")
BASELINES = ("default", "HEAD~1", "sha", "tag", "missing")
BRANCHES = ("main", "master", "trunk")
CASES = list(itertools.product(DEPTHS, SHAPES, BASELINES, BRANCHES))


def projects(place: Path, branch: str) -> World:
    """A project with a history of thirty commits, a side branch, and the merges that forges make of it."""
    world = make_small_world(place, FILES, config=REMOTE.replace("{}", str(place / "world" / "storage")), branch=branch)
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
    temporary(world).mkdir()
    return world


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    return {branch: projects(tmp_path_factory.mktemp(branch), branch) for branch in BRANCHES}


def cloned(world: World, place: Path, *, depth: int, shape: str, branch: str) -> None:
    def git(*words: str) -> str:
        return world.git(*words, cwd=place)

    place.mkdir()
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


@pytest.mark.parametrize(("depth", "shape", "baseline", "branch"), some(CASES, 24, name="clones"))
def test_every_shape_gets_a_report_or_an_answer(
    worlds: dict[str, World], tmp_path: Path, depth: int, shape: str, baseline: str, branch: str
) -> None:
    world = worlds[branch]
    if shape == "one commit" and not (world.folder / "one.git").exists():
        single = make_small_world(tmp_path / "single", FILES, branch=branch)
        single.origin.rename(world.folder / "one.git")
    place = tmp_path / "clone"
    cloned(world, place, depth=depth, shape=shape, branch=branch)
    first = world.git("rev-parse", "old", cwd=world.origin)
    named = {"default": "", "sha": first, "tag": "old", "missing": "no-such-revision"}.get(baseline, baseline)
    options = ("--baseline", named) if named else ()
    with trial("clones", f"{depth}, {shape}, {baseline}, {branch}"):
        done = world.cml("run", "--dvc-pull=-", *options, cwd=place, env={"TMPDIR": str(temporary(world))})
        one_line(done)
        has_it = not (shape == "empty" or baseline == "missing" or (shape == "one commit" and baseline != "default"))
        assert done.code == (0 if has_it else 2), f"exit {done.code}: {done.err}"
        count("clones", reports=int(has_it), answers=int(not has_it))
        if has_it:
            report = (place / "cml-report" / "report.md").read_text().replace("&#8203;", "")
            assert "accuracy" in report
            if baseline != "default":
                assert f"Baseline: {named[:7]}" in report
        elif shape != "empty":
            assert "baseline" in done.err
