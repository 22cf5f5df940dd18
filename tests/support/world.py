"""Worlds: a DVC project with its bare origin and its DVC remote, all real, in one folder of the disk.

A `World` runs git, DVC and `cml` as commands, in an environment without anything of the machine's own. `make_world` builds
one with `dvc init` and `dvc add`; `copy_world` copies one, which is faster. `support.small_world` builds smaller ones.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.preload import Preloaded

BIN = Path(sys.executable).parent
KEPT_VARIABLES = ("PATH", "LANG", "SSL_CERT_FILE", "TMPDIR", "PYENV_ROOT", "PYENV_VERSION")
PRELOADED_COMMANDS = ("cml", "dvc")
# Variables that Python and DVC read while they start. With one of them a command is always started afresh.
START_VARIABLES = {"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONWARNINGS", "DVC_DEBUG"}
AUTHOR = {"NAME": "Ada", "EMAIL": "ada@example.invalid"}

PREPARE = """\
import os, pathlib
os.makedirs("data", exist_ok=True)
raw = pathlib.Path("raw.csv").read_text()
for number in range(3):
    pathlib.Path(f"data/{number}.txt").write_text(raw * (number + 1))
"""
TRAIN = """\
import json, os, pathlib, re
rate = float(re.search(r"rate: ([\\d.]+)", pathlib.Path("params.yaml").read_text())[1])
for epoch in range(3):
    print(f"epoch {epoch}", flush=True)
pathlib.Path("model.bin").write_text(f"{rate}" * 20)
metrics = {"accuracy": round(1 - rate, 4), "loss": rate, "rows": 3, "note": "plain", "by_class": {"a": 0.5, "b": rate}}
pathlib.Path("metrics.json").write_text(json.dumps(metrics))
"""
DVC_YAML = """\
stages:
  prepare:
    cmd: python prepare.py
    deps: [prepare.py, raw.csv]
    outs: [data]
  train:
    cmd: python train.py
    deps: [train.py, data]
    params: [train.rate]
    outs: [model.bin]
    metrics:
      - metrics.json: {cache: false}
"""
FILES = {
    "prepare.py": PREPARE,
    "train.py": TRAIN,
    "dvc.yaml": DVC_YAML,
    "params.yaml": "train:\n  rate: 0.2\n",
}


@dataclass(frozen=True)
class Result:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


class World:
    """A project on somebody's machine: `project` (a clone), `origin.git` and `storage`, all in `folder`."""

    timeout_seconds = 120.0  # of each command
    preloaded: Preloaded | None = None  # starts `cml` and `dvc` faster, where a test allows it

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.origin = folder / "origin.git"
        self.storage = folder / "storage"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Returns an environment with nothing of the machine's git configuration, CI or credentials."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        who = {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in AUTHOR.items()}
        return {
            **kept,
            **who,
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.folder / "site"),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            **({"PYTHONPATH": os.environ["CML_TEST_PACKAGE"]} if "CML_TEST_PACKAGE" in os.environ else {}),
            **(extra or {}),
        }

    def run(self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Runs a command that must succeed; returns its stdout."""
        done = self.try_run(*command, cwd=cwd, env=env)
        assert done.code == 0, f"{command}: {done.err}{done.out}"
        return done.out.strip()

    def try_run(self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Result:
        """Runs a command that may fail."""
        folder, environment = cwd or self.project, self.environment(env)
        if self.preloaded and command[0] in PRELOADED_COMMANDS and not START_VARIABLES & environment.keys():
            done = self.preloaded.run(command, cwd=folder, env=environment, timeout=self.timeout_seconds)
        else:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=self.timeout_seconds
            )
        return Result(done.returncode, done.stdout, done.stderr)

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        return self.run("git", *arguments, cwd=cwd)

    def dvc(self, *arguments: str, cwd: Path | None = None) -> str:
        return self.run("dvc", *arguments, cwd=cwd)

    def cml(self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Result:
        """Runs `cml` as a user would. `env` is added to the clean environment."""
        return self.try_run("cml", *arguments, cwd=cwd, env=env)

    def write(self, files: Mapping[str, str], cwd: Path | None = None) -> None:
        """Writes files into the project, and the folders that they need."""
        for name, text in files.items():
            path = (cwd or self.project) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def commit(self, message: str, files: Mapping[str, str] | None = None, *, push: bool = True) -> str:
        """Commits everything in the project, with files changed first; returns the sha."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        if push:
            self.git("push", "--quiet", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")

    def tip(self, branch: str = "main") -> str:
        """Returns the newest commit of origin's branch."""
        return self.git("rev-parse", f"refs/heads/{branch}", cwd=self.origin)

    def tags(self) -> list[str]:
        """Returns origin's tags."""
        return self.git("tag", "--list", cwd=self.origin).split()

    def report(self, folder: str = "cml-report") -> Any:
        """Returns report.json."""
        return json.loads((self.project / folder / "report.json").read_text())

    def markdown(self, folder: str = "cml-report") -> str:
        """Returns report.md."""
        return (self.project / folder / "report.md").read_text()

    def outputs(self, folder: str = "cml-report") -> dict[str, str]:
        """Returns the outputs of the run, from cml.env."""
        lines = (self.project / folder / "cml.env").read_text().splitlines()
        return {name.removeprefix("CML_").lower(): value for name, _, value in (line.partition("=") for line in lines)}

    def clone(self, name: str, *options: str) -> Path:
        """Makes a fresh clone, with a cache of its own, in this world's folder."""
        target = self.folder / name
        self.git("clone", "--quiet", *options, str(self.origin), str(target), cwd=self.folder)
        return target

    def assert_complete(self, *revisions: str) -> None:
        """Fails unless plain git and plain DVC, in a fresh clone, get every file that the revisions name."""
        shutil.rmtree(self.folder / "fresh-clone", ignore_errors=True)
        clone = self.clone("fresh-clone")
        for revision in revisions:
            self.git("checkout", "--quiet", revision, cwd=clone)
            env = {"DVC_SITE_CACHE_DIR": str(self.folder / "fresh-clone" / ".site")}
            done = self.try_run("dvc", "pull", cwd=clone, env=env)
            assert done.code == 0, done.err


def make_world(folder: Path, files: Mapping[str, str]) -> World:
    """Makes a world with one commit: the files and a tracked raw.csv. The pipeline has not run."""
    world = World(folder)
    world.project.mkdir(parents=True)
    world.git("init", "--quiet", "--bare", "--initial-branch=main", str(world.origin), cwd=folder)
    world.git("init", "--quiet", "--initial-branch=main")
    world.git("remote", "add", "origin", "../origin.git")
    world.dvc("init", "--quiet")
    world.dvc("remote", "add", "--quiet", "--default", "storage", "../storage")
    world.write({**files, "raw.csv": "a,b\n1,2\n"})
    world.dvc("add", "--quiet", "raw.csv")
    world.dvc("push", "--quiet")
    world.commit("A pipeline")
    return world


def copy_world(world: World, folder: Path) -> World:
    """Copies a world to a new folder."""
    shutil.copytree(world.folder, folder, symlinks=True)
    return World(folder)
