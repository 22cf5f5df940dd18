"""Small projects from given files, made without starting DVC: DVC's own files are written by hand.

It also has the checks of a run's report and log that many tests need.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.world import Result, World

IGNORED = "/config.local\n/tmp\n/cache\n"
REMOTE = "[core]\n    remote = storage\n['remote \"storage\"']\n    url = {}\n"
PUSH = ("run", "--push", "true")
COPY = {"cmd": "cat in.txt > out.txt", "deps": ["in.txt"], "outs": ["out.txt"]}
# The variables of a GitLab job that a skipped run reads. No server listens at the address.
GITLAB_JOB = {
    "GITLAB_CI": "true",
    "CI_API_V4_URL": "http://127.0.0.1:9/api/v4",
    "CI_JOB_TOKEN": "a-job-token",
    "CI_PROJECT_ID": "7",
    "CI_PROJECT_PATH": "ada/digits",
    "CI_PROJECT_URL": "http://127.0.0.1:9/ada/digits",
    "CI_PIPELINE_SOURCE": "push",
    "CI_COMMIT_BRANCH": "main",
    "CI_DEFAULT_BRANCH": "main",
}


def make_small_world(
    place: Path, files: Mapping[str, str], *, config: str = REMOTE, folder: str = "", branch: str = "main"
) -> World:
    """Makes a world with one commit: the files, and a DVC project in `folder` as `dvc init` creates it."""
    world = World(place / "world")
    world.project.mkdir(parents=True)
    world.git("init", "--quiet", "--bare", f"--initial-branch={branch}", str(world.origin), cwd=world.folder)
    world.git("init", "--quiet", f"--initial-branch={branch}")
    world.git("remote", "add", "origin", "../origin.git")
    dvc = f"{folder}/.dvc" if folder else ".dvc"
    world.write(
        {
            f"{dvc}/.gitignore": IGNORED,
            f"{dvc}/config": config.format(os.path.relpath(world.storage, world.project / dvc)),
        }
    )
    world.commit("A project", files)
    return world


def dvc_yaml(**named: Mapping[str, Any]) -> str:
    """Returns the text of a dvc.yaml with these stages, in JSON, which is also YAML."""
    return json.dumps({"stages": named})


def kept_in_git(*names: str) -> list[dict[str, dict[str, bool]]]:
    """Returns stage outputs with `cache: false`."""
    return [{name: {"cache": False}} for name in names]


def track(world: World, name: str, text: str) -> Path:
    """Creates what `dvc add` and `dvc push` create for a file, but not the file itself; returns the object's path."""
    md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    source = f"outs:\n- md5: {md5}\n  size: {len(text.encode())}\n  hash: md5\n  path: {Path(name).name}\n"
    world.write({f"{name}.dvc": source, str(Path(name).parent / ".gitignore"): f"/{Path(name).name}\n"})
    return put_object(world.storage / "files" / "md5", md5, text)


def put_object(store: Path, oid: str, text: str) -> Path:
    """Puts an object into a remote or a cache."""
    path = store / oid[:2] / oid[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def stage_statuses(world: World, folder: str = "") -> dict[str, str]:
    """Returns stage -> status, from the report."""
    report = world.report(f"{folder}cml-report")
    return {stage["name"]: stage["status"] for stage in report["pipeline"]["stages"]}


def metric_values(world: World, folder: str = "") -> dict[tuple[str, str], Any]:
    """Returns (path, name) -> current value of each metric, from the report."""
    return {(row["path"], row["name"]): row["new"] for row in world.report(f"{folder}cml-report")["metrics"]}


def changed_data(world: World, kind: str) -> list[str]:
    """Returns the paths of one kind of data change ("added", "modified", "deleted", "renamed"), from the report."""
    return [entry["path"] for entry in world.report()["data"][kind]]


def run_and_push(world: World, *options: str, branch: str = "main") -> str:
    """Runs `cml run --push true`, which must succeed and leave a clean work tree; returns origin's tip."""
    done = world.cml(*PUSH, *options)
    assert done.code == 0, done.err
    tip = world.tip(branch)
    assert world.git("rev-parse", "HEAD") == tip
    assert world.git("status", "--porcelain") == ""
    return tip


def run_without_changes(world: World, *options: str) -> Result:
    """Runs again; fails if that changes anything on origin."""
    before = world.git("for-each-ref", cwd=world.origin)
    done = world.cml(*PUSH, *options)
    assert done.code == 0, done.err
    assert "nothing changed" in done.err
    assert world.git("for-each-ref", cwd=world.origin) == before
    return done


def error_lines(done: Result) -> list[str]:
    """Returns the `error:` lines of a command; fails if it printed a traceback."""
    assert "Traceback" not in done.err, done.err
    return [line.removeprefix("error: ") for line in done.err.splitlines() if line.startswith("error: ")]
