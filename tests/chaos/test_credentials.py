"""git sends exactly one credential, the right one, whatever a checkout, a runner or a machine has configured."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standins.github import Forge
from support.jobs import GitLabJobs, close_jobs, open_jobs
from support.world import World

from chaos.figures import trial
from chaos.project import PUSH, assert_results, copy_project, make_project
from chaos.size import draw

READ = {"contents": "read", "checks": "read", "pull_requests": "read", "actions": "read", "statuses": "read"}
LEFT = {
    "nothing more": (),
    "a header for every server": (("http.extraheader", "Authorization: basic d3Jvbmc6d3Jvbmc="),),
    "two headers for this one": (
        ("http.{}/.extraheader", "X-One: 1"),
        ("http.{}/.extraheader", "Authorization: basic d3Jvbmc6d3Jvbmc="),
    ),
    "a helper that is wrong": (("credential.helper", "!f() { echo username=x; echo password=wrong; }; f"),),
    "a rewritten address": (("url.{}/.insteadOf", "https://nowhere.invalid/"),),
}
GITHUB = list(itertools.product(("config", "included", "none"), (0, 1), LEFT, ("in the repository", "in HOME")))
GITLAB = list(itertools.product(("url", "include", "helper"), (0, 20), ("project", "personal", "job"), LEFT))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("credentials"))


@pytest.fixture
def world(base: World, tmp_path: Path) -> World:
    world = copy_project(base, tmp_path)
    world.git("switch", "--quiet", "--create", "try")
    world.commit("Try", {"in.txt": "2\n"})
    return world


def add_configuration(world: World, url: str, workspace: Path, what: str, where: str) -> None:
    for key, value in LEFT[what]:
        scope = ("--global",) if where == "in HOME" else ("--local",)
        world.git("config", *scope, "--add", key.format(url), value, cwd=workspace)


def pushes(exchanges: Iterator[Any]) -> list[Any]:
    return [one for one in exchanges if "git-receive-pack" in one.path and one.status == 200]


@pytest.mark.parametrize(("credentials", "depth", "what", "where"), draw(GITHUB, 6, name="github"))
def test_on_github(world: World, tmp_path: Path, credentials: Any, depth: int, what: str, where: str) -> None:
    """The token of the checkout may only read, and the server refuses two headers: only CML's own token can push."""
    with trial("credentials", f"{credentials}, {depth}, {what}, {where}"), Forge(tmp_path / "forge") as forge:
        forge.create_repository("ada/digits", bare=world.origin)
        reader, writer = forge.token("installation", permissions=READ), forge.token("installation")
        env = forge.event("push", ref="try")
        workspace = forge.checkout(env, token=reader, depth=depth, credentials=credentials)
        add_configuration(world, forge.url, workspace, what, where)
        extra = {name: value for name, value in env.items() if name not in ("HOME", "PATH")}
        done = world.try_run(
            "cml", "run", cwd=workspace, env={**extra, "INPUT_REPO_TOKEN": writer, "tag_prefix": "dvc_"}
        )
        assert done.code == 0, done.err
        assert_results(world, branch="try")
        assert not [one for one in forge.requests if one.status == 400]
        assert reader not in done.err + done.out


@pytest.mark.parametrize(("credentials", "depth", "kind", "what"), draw(GITLAB, 6, name="gitlab"))
def test_on_gitlab(world: World, tmp_path: Path, credentials: Any, depth: int, kind: str, what: str) -> None:
    lab: GitLabJobs = open_jobs("gitlab", world, tmp_path / "forge")
    try:
        with trial("credentials", f"{credentials}, {depth}, {kind}, {what}"):
            lab.project.job_token_may_push = kind == "job"
            lab.token = None if kind == "job" else lab.forge.token(kind)  # type: ignore[arg-type]
            env = lab.push("try")
            workspace = lab.start(env, credentials=credentials, depth=depth)
            add_configuration(world, lab.forge.url, workspace, what, "in the repository")
            done = lab.run(env, workspace=workspace, tag_prefix="dvc_")
            assert done.code == 0, done.err
            assert_results(world, branch="try")
            assert not [one for one in lab.forge.exchanges if one.status == 400]
    finally:
        close_jobs(lab)


SSH = '#!/bin/sh\nfor last; do :; done\nprintf "%s\\n" "$*" >> "{log}"\nexec sh -c "$last"\n'


@pytest.mark.parametrize("setting", ["GIT_SSH_COMMAND", "core.sshCommand"])
@pytest.mark.parametrize("address", ["ssh://git@forge.invalid{path}", "git@forge.invalid:{path}"])
def test_ssh_gets_no_token(world: World, tmp_path: Path, address: str, setting: str) -> None:
    """With a deploy key, the token of the job is not sent."""
    script = tmp_path / "ssh"
    script.write_text(SSH.format(log=tmp_path / "asked"))
    script.chmod(0o755)
    world.git("remote", "set-url", "origin", address.format(path=world.origin))
    env = {"repo_token": "a-token-for-http", "GIT_SSH_VARIANT": "simple"}
    if setting == "core.sshCommand":
        world.git("config", "core.sshCommand", str(script))
    else:
        env[setting] = str(script)
    with trial("credentials", f"{address}, {setting}"):
        done = world.cml(*PUSH, env=env)
        assert done.code == 0, done.err
        assert_results(world, branch="try")
        asked = (tmp_path / "asked").read_text()
        assert "git-receive-pack" in asked
        assert "a-token-for-http" not in asked
