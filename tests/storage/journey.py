"""One project and one storage: `cml run` pushes, a second machine pulls, the files are compared."""

from __future__ import annotations

import hashlib
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from support.small_world import IGNORED, PUSH, dvc_yaml, error_lines, put_object
from support.world import Result, World

SPLIT = {
    "cmd": "mkdir -p parts && cp data.csv parts/a.txt && cp in.txt parts/b.txt",
    "deps": ["data.csv", "in.txt"],
    "outs": ["parts"],
}
COUNT = {"cmd": "cat parts/*.txt > all.txt", "deps": ["parts"], "outs": ["all.txt"]}
DATA = ("data.csv", "parts/a.txt", "parts/b.txt", "all.txt")
LEFT_ALONE = {".git", ".site"}


def config(url: str, **options: str) -> str:
    """The text of a .dvc/config with one remote, named storage."""
    lines = "".join(f"    {name} = {value}\n" for name, value in {"url": url, **options}.items())
    return f"[core]\n    remote = storage\n['remote \"storage\"']\n{lines}"


def project(place: Path, settings: str) -> World:
    """Makes a world with a tracked source and two stages that never ran. Its DVC remote is empty."""
    files = {"in.txt": f"{uuid.uuid4().hex}\n", "dvc.yaml": dvc_yaml(split=SPLIT, count=COUNT)}
    return start(place, settings, {**files, "data.csv": f"{uuid.uuid4().hex}\n" * 40}, tracked=("data.csv",))


def start(place: Path, settings: str, files: Mapping[str, str], *, tracked: tuple[str, ...]) -> World:
    """Makes a world with these files in one commit; the `tracked` ones as after `dvc add`, but not pushed."""
    world = World(place / "world")
    world.project.mkdir(parents=True)
    world.git("init", "--quiet", "--bare", "--initial-branch=main", str(world.origin), cwd=world.folder)
    world.git("init", "--quiet", "--initial-branch=main")
    world.git("remote", "add", "origin", "../origin.git")
    ours = {
        ".dvc/.gitignore": IGNORED,
        ".dvc/config": settings,
        ".gitignore": "".join(f"/{name}\n" for name in tracked),
    }
    for name in tracked:
        text = files[name]
        md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        put_object(world.project / ".dvc" / "cache" / "files" / "md5", md5, text)
        ours[f"{name}.dvc"] = f"outs:\n- md5: {md5}\n  size: {len(text)}\n  hash: md5\n  path: {name}\n"
    world.commit("A project", {**ours, **files})
    return world


def run(world: World, *options: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Result:
    """Runs `cml run --push true` with its own temporary folder and site cache; fails if it leaves temporary files."""
    where = cwd or world.project
    temporary = world.folder / f"tmp-{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    own = {"TMPDIR": str(temporary), "DVC_SITE_CACHE_DIR": str(where / ".site")}
    done = world.cml(*PUSH, *options, cwd=cwd, env={**own, **(env or {})})
    assert list(temporary.iterdir()) == [], f"left behind: {list(temporary.iterdir())}"
    assert "Traceback" not in done.err, done.err
    temporary.rmdir()
    return done


def checksums(folder: Path) -> dict[str, str]:
    return {
        name: hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
        for name in DATA
        if (folder / name).exists()
    }


def round_trip(world: World, env: Mapping[str, str], *secrets: str) -> str:
    """Pushes from one machine and pulls on another, with the credentials in `env` only; compares the checksums.

    Returns the log of the second run. Fails if a secret is left anywhere.
    """
    first = run(world, env=env)
    assert first.code == 0, first.err
    assert re.search(r"[1-9]\d* files? uploaded", first.err), first.err
    clone = world.clone("second")
    second = run(world, cwd=clone, env=env)
    assert second.code == 0, second.err
    assert "nothing changed" in second.err, second.err
    assert "up to date" in second.err, second.err
    assert len(checksums(clone)) == len(DATA)
    assert checksums(clone) == checksums(world.project)
    keeps_secrets(world, [first, second], *secrets)
    return second.err


def refused(world: World, env: Mapping[str, str], *secrets: str) -> str:
    """The error line of a run in a fresh clone that its storage refuses."""
    shutil.rmtree(world.folder / "refused", ignore_errors=True)
    return failed(world, env, *secrets, cwd=world.clone("refused"))


def failed(
    world: World, env: Mapping[str, str], *secrets: str, cwd: Path | None = None, options: tuple[str, ...] = ()
) -> str:
    """Runs `cml run`, which must end with exit 1 and one error line without secrets; returns the line."""
    done = run(world, *options, cwd=cwd, env=env)
    assert done.code == 1, done.err
    lines = error_lines(done)
    assert len(lines) == 1, done.err
    keeps_secrets(world, [done], *secrets)
    return lines[0]


def keeps_secrets(world: World, results: list[Result], *secrets: str) -> None:
    """Fails if a secret was printed, or is in a file of the world."""
    for secret in filter(None, secrets):
        for done in results:
            assert secret not in done.out + done.err
        for path in world.folder.rglob("*"):
            if path.is_file() and not LEFT_ALONE & set(path.relative_to(world.folder).parts):
                assert secret.encode() not in path.read_bytes(), f"{secret!r} in {path}"
