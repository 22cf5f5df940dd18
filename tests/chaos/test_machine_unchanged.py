"""A run leaves the machine unchanged: HOME, git configuration, owners and modes, processes, temporary files."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from support.jobs import close_jobs, open_jobs
from support.small_world import dvc_yaml
from support.world import World

from chaos.figures import count, trial
from chaos.project import PUSH, copy_project, make_project, temp_folder
from chaos.test_cancel import processes_left

USER = 12345
FETCHED = ("FETCH_HEAD", "ORIG_HEAD", "shallow", "packed-refs")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("found"))


def file_states(*folders: Path) -> dict[str, tuple[Any, ...]]:
    """Returns path -> mode, owner, group and content of each file below the folders."""
    found = {}
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            seen = path.lstat()
            text = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path)] = (oct(seen.st_mode), seen.st_uid, seen.st_gid, text)
    return found


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def is_allowed(path: str, project: Path, ends: str) -> bool:
    """Returns whether a run may change this path.

    These are the report, a line in info/exclude, DVC's cache and temporary files, fetched refs and objects, and results.
    """
    name = os.path.relpath(path, project)
    allowed = ("cml-report", ".dvc/cache", ".dvc/tmp", ".git/objects", ".git/refs", ".git/logs", ".git/info/exclude")
    results_commits = ("dvc.lock", ".gitignore", "model", "m.json", ".git/index") if ends != "bad input" else ()
    parents = (".", ".git", ".git/info", ".dvc")  # their entries changed
    return name in parents or name.startswith((*allowed, *results_commits)) or name.removeprefix(".git/") in FETCHED


ENDS = ["well", "with nothing to do", "with a failing stage", "with a refused push", "with bad input", "cancelled"]


@pytest.mark.parametrize("owner", ["the user's own", "another's, as in a container"])
@pytest.mark.parametrize("ends", ENDS)
def test_a_run_changes_only_its_own_files(base: World, tmp_path: Path, ends: str, owner: str) -> None:
    is_root = os.geteuid() == 0
    if owner != "the user's own" and not is_root:
        pytest.skip("only root can give files to another user")
    world = copy_project(base, tmp_path)
    if ends == "with nothing to do":
        assert world.cml(*PUSH, env={"TMPDIR": str(temp_folder(world))}).code == 0
    if ends in ("with a failing stage", "cancelled"):
        words = "kill -TERM $(cat ../pid); sleep 5" if ends == "cancelled" else "exit 3"
        world.commit("Broken", {"dvc.yaml": dvc_yaml(train={"cmd": words, "deps": ["in.txt"], "outs": ["model"]})})
    if ends == "with a refused push":
        hook = world.origin / "hooks" / "update"
        hook.write_text("#!/bin/sh\nexit 1\n")
        hook.chmod(0o755)
    home = world.folder / "home"
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.invalid\n")
    if owner != "the user's own":
        subprocess.run(["chown", "-R", f"{USER}:{USER}", str(world.project)], check=True)
    settings = ["git", "config", "--list", "--show-origin"]
    config = world.try_run(
        *settings, env={"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    ).out
    before = file_states(world.project, home, temp_folder(world))
    mark = uuid.uuid4().hex
    with trial("machine", f"{ends}, {owner}"):
        options = ("--metrics-gate", "nonsense") if ends == "with bad input" else ()
        run = subprocess.Popen(
            ["cml", *PUSH, *options],
            cwd=world.project,
            env=world.environment({"TMPDIR": str(temp_folder(world)), "CML_CHAOS_MARK": mark}),
            stderr=subprocess.PIPE,
            text=True,
        )
        (world.folder / "pid").write_text(str(run.pid))
        output = run.communicate(timeout=120)[1]
        expected = {"well": 0, "with nothing to do": 0, "with bad input": 2}.get(ends, 1)
        assert run.returncode == expected, output
        after = file_states(world.project, home, temp_folder(world))
        unexpected = [path for path in changes(before, after) if not is_allowed(path, world.project, ends)]
        foreign = [
            path for path, seen in after.items() if seen[1] not in (before[str(world.project)][1], before[str(home)][1])
        ]
        if owner != "the user's own":
            foreign += [path for path, seen in after.items() if path.startswith(str(world.project)) and seen[1] != USER]
        processes = processes_left(mark)
        same = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        is_same = world.try_run(*settings, env=same).out == config
        count("machine", unexpected=len(unexpected) + len(foreign) + len(processes) + (not is_same))
        assert not unexpected
        assert not foreign
        assert not processes
        assert is_same
        modes = [
            path for path in before if path in after and before[path][0] != after[path][0] and ".dvc/cache" not in path
        ]
        assert not modes


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_a_job_changes_neither_home_nor_git_configuration(base: World, tmp_path: Path, name: str) -> None:
    world = copy_project(base, tmp_path)
    ci = open_jobs(name, world, tmp_path / "forge")
    try:
        world.git("switch", "--quiet", "--create", "try")
        world.commit("Try", {"in.txt": "3\n"})
        job = ci.push("try")
        workspace = ci.start(job)
        home = world.folder / "home"
        home.mkdir(exist_ok=True)
        config = (workspace / ".git" / "config").read_bytes()
        before = file_states(home, temp_folder(world))
        with trial("machine", name):
            done = ci.run(job, workspace=workspace, TMPDIR=str(temp_folder(world)), tag_prefix="dvc_")
            assert done.code == 0, done.err
            unexpected = changes(before, file_states(home, temp_folder(world)))
            count("machine", unexpected=len(unexpected) + ((workspace / ".git" / "config").read_bytes() != config))
            assert not unexpected
            assert (workspace / ".git" / "config").read_bytes() == config
    finally:
        close_jobs(ci)
