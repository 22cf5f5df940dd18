"""A small project that is quick to run, and the checks of what a run left behind, for all tests of this folder.

The checks use plain git and plain DVC in a fresh clone. Nothing of `cml` is imported here, so that a fault of CML cannot
hide itself.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

from support.small_world import REMOTE, dvc_yaml, kept_in_git, make_small_world
from support.world import Result, World

from chaos import figures

INSIDE = str(Path(__file__).parent / "inside")
TRAIN = "mkdir -p model && cat in.txt > model/weights && echo 1 > model/version && cat in.txt > m.json"
FILES = {
    "in.txt": '{"accuracy": 0.9}\n',
    "dvc.yaml": dvc_yaml(train={"cmd": TRAIN, "deps": ["in.txt"], "outs": ["model"], "metrics": kept_in_git("m.json")}),
}
PUSH = ("run", "--push", "true", "--tag-prefix", "dvc_")
TRAILER = re.compile(r"^CML-Run: ([0-9a-f]+)", re.MULTILINE)
OWN_LINE = "/what-I-keep-out"


def make_project(folder: Path, files: Mapping[str, str] = FILES) -> World:
    """Makes a project whose DVC remote has an absolute path, so that clones in other folders find it."""
    world = make_small_world(folder, files, config=REMOTE.replace("{}", str(folder / "world" / "storage")))
    world.git("config", "gc.auto", "0")
    return world


def copy_project(world: World, folder: Path) -> World:
    """Copies a world to a new folder: with its own remote, a temporary folder, and a line of the user in info/exclude."""
    shutil.copytree(world.folder, folder / "world", symlinks=True)
    new = World(folder / "world")
    config = new.project / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(world.storage), str(new.storage)))
    new.commit("Use the copied remote")
    exclude = new.project / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text(OWN_LINE + "\n")
    temp_folder(new).mkdir()
    return new


def temp_folder(world: World) -> Path:
    """Returns the folder that runs get as TMPDIR."""
    return world.folder / "tmp"


def results_commits(world: World, branch: str = "main") -> list[str]:
    """Returns the results commits on origin's branch, the newest first."""
    log = world.git("log", "--format=%H%x00%B%x01", branch, cwd=world.origin)
    entries = [entry.strip().partition("\0") for entry in log.split("\x01") if entry.strip()]
    return [sha for sha, _, message in entries if TRAILER.search(message)]


def assert_results(world: World, *, branch: str = "main", count: int = 1) -> None:
    """Fails unless origin has `count` results commits, each with one tag, and each with all its data on the remote."""
    found = results_commits(world, branch)
    assert len(found) == count, f"{len(found)} results commits, {count} expected"
    tags = {
        tag: world.git("rev-parse", f"refs/tags/{tag}^{{commit}}", cwd=world.origin)
        for tag in world.tags()
        if tag.startswith("dvc_")
    }
    assert sorted(tags.values()) == sorted(found), f"tags {tags} of results {found}"
    assert all(sha.startswith(tag.removeprefix("dvc_")) for tag, sha in tags.items())
    world.git("fsck", "--strict", "--no-dangling", cwd=world.origin)
    assert_complete(world, *found)


def assert_complete(world: World, *revisions: str) -> None:
    """Fails unless plain git and plain DVC get each file that the revisions name; counts the commits for the table."""
    missing = len(revisions)
    try:
        world.assert_complete(*revisions)
        missing = 0
    finally:
        figures.count("complete data", commits=len(revisions), missing=missing)


def leftovers(world: World, workspace: Path) -> list[str]:
    """Returns what a person would have to clean up: lock files and changes in a workspace, and temporary files."""
    locks = [str(path.relative_to(workspace)) for path in (workspace / ".git").rglob("*.lock")]
    dirty = world.git("status", "--porcelain", cwd=workspace).splitlines()
    return [*locks, *dirty, *(path.name for path in temp_folder(world).iterdir())]


def reset_signals() -> None:
    """Restores the default signal handlers in a child process, which may have inherited "ignore" from a shell."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def assert_one_error_line(done: Result) -> None:
    """Fails for a traceback, and for a failed run that did not print exactly one error line."""
    output = done.err + done.out
    assert "Traceback (most recent call last)" not in output, output
    errors = [line for line in output.splitlines() if line.startswith(("error: ", "::error"))]
    assert len(errors) == (0 if done.code == 0 else 1), output
