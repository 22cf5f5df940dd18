"""What the tests of this folder share: a small project that is quick to run, and the judge of what a run left behind.

The judge asks plain git and plain DVC in a fresh place; nothing of CML is imported here.
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


def make(place: Path, files: Mapping[str, str] = FILES) -> World:
    """A project with a line of the user's own in info/exclude; its remote is named by its whole path."""
    world = make_small_world(place, files, config=REMOTE.replace("{}", str(place / "world" / "storage")))
    world.git("config", "gc.auto", "0")
    return world


def copied(world: World, place: Path) -> World:
    """A copy of a world elsewhere, its remote beside it."""
    shutil.copytree(world.folder, place / "world", symlinks=True)
    new = World(place / "world")
    config = new.project / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(world.storage), str(new.storage)))
    new.commit("The remote is here")
    exclude = new.project / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text(OWN_LINE + "\n")
    temporary(new).mkdir()
    return new


def temporary(world: World) -> Path:
    return world.folder / "tmp"


def results(world: World, branch: str = "main") -> list[str]:
    """The results commits on origin's branch, the newest first."""
    log = world.git("log", "--format=%H%x00%B%x01", branch, cwd=world.origin)
    entries = [entry.strip().partition("\0") for entry in log.split("\x01") if entry.strip()]
    return [sha for sha, _, message in entries if TRAILER.search(message)]


def judge(world: World, *, branch: str = "main", count: int = 1) -> None:
    """Fails unless origin holds so many results commits, each with its one tag, every one of them complete."""
    found = results(world, branch)
    assert len(found) == count, f"{len(found)} results commits, {count} expected"
    tags = {
        tag: world.git("rev-parse", f"refs/tags/{tag}^{{commit}}", cwd=world.origin)
        for tag in world.tags()
        if tag.startswith("dvc_")
    }
    assert sorted(tags.values()) == sorted(found), f"tags {tags} of results {found}"
    assert all(sha.startswith(tag.removeprefix("dvc_")) for tag, sha in tags.items())
    world.git("fsck", "--strict", "--no-dangling", cwd=world.origin)
    witness(world, *found)


def witness(world: World, *revisions: str) -> None:
    """Plain git and plain DVC, in a fresh place, find every object that the revisions name; counted."""
    lacking = len(revisions)
    try:
        world.assert_complete(*revisions)
        lacking = 0
    finally:
        figures.count("witness", commits=len(revisions), lacking=lacking)


def leftovers(world: World, workspace: Path) -> list[str]:
    """What a person would have to clean by hand in a workspace, and what lies in the temporary folder."""
    locks = [str(path.relative_to(workspace)) for path in (workspace / ".git").rglob("*.lock")]
    dirty = world.git("status", "--porcelain", cwd=workspace).splitlines()
    return [*locks, *dirty, *(path.name for path in temporary(world).iterdir())]


def hears_all() -> None:
    """For a child before it begins: a shell lets what it starts in the background ignore INT."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def one_line(done: Result) -> None:
    """Fails for a traceback, or where a run that failed said why in other than one line."""
    said = done.err + done.out
    assert "Traceback (most recent call last)" not in said, said
    errors = [line for line in said.splitlines() if line.startswith(("error: ", "::error"))]
    assert len(errors) == (0 if done.code == 0 else 1), said
