"""Fixtures by meaning: a world is a DVC project with its bare origin and its DVC remote, all real, in one folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

BIN = Path(sys.executable).parent
KEPT = ("PATH", "LANG", "SSL_CERT_FILE", "TMPDIR", "PYENV_ROOT", "PYENV_VERSION")

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
    """How a command ended."""

    code: int
    out: str
    err: str


class World:
    """A project on somebody's machine: `project` (a clone), `origin.git` and `storage`, beside each other."""

    patience = 120.0  # seconds that a command may take

    def __init__(self, place: Path) -> None:
        self.place = place
        self.project = place / "project"
        self.origin = place / "origin.git"
        self.storage = place / "storage"

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """A clean environment: nothing of the machine's git configuration, CI or credentials."""
        home = self.place / "home"
        home.mkdir(exist_ok=True)
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        who = {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in AUTHOR.items()}
        return {
            **kept,
            **who,
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.place / "site"),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            **({"PYTHONPATH": os.environ["CML_TEST_PACKAGE"]} if "CML_TEST_PACKAGE" in os.environ else {}),
            **(extra or {}),
        }

    def do(self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Runs a command that must succeed; returns its stdout."""
        done = self.attempt(*command, cwd=cwd, env=env)
        assert done.code == 0, f"{command}: {done.err}{done.out}"
        return done.out.strip()

    def attempt(self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Result:
        environment = self.environment(env)
        done = subprocess.run(
            command, cwd=cwd or self.project, env=environment, capture_output=True, text=True, timeout=self.patience
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        return self.do("git", *arguments, cwd=cwd)

    def dvc(self, *arguments: str, cwd: Path | None = None) -> str:
        return self.do("dvc", *arguments, cwd=cwd)

    def cml(self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Result:
        """Runs `cml` as a user would, `env` on top of the clean environment."""
        return self.attempt("cml", *arguments, cwd=cwd, env=env)

    def write(self, files: Mapping[str, str], cwd: Path | None = None) -> None:
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
        """The commit that origin's branch is at."""
        return self.git("rev-parse", f"refs/heads/{branch}", cwd=self.origin)

    def tags(self) -> list[str]:
        """origin's tags."""
        return self.git("tag", "--list", cwd=self.origin).split()

    def report(self, folder: str = "cml-report") -> Any:
        return json.loads((self.project / folder / "report.json").read_text())

    def markdown(self, folder: str = "cml-report") -> str:
        return (self.project / folder / "report.md").read_text()

    def outputs(self, folder: str = "cml-report") -> dict[str, str]:
        lines = (self.project / folder / "cml.env").read_text().splitlines()
        return {name.removeprefix("CML_").lower(): value for name, _, value in (line.partition("=") for line in lines)}

    def clone(self, name: str, *options: str) -> Path:
        """A fresh clone with a cache of its own beside the project."""
        target = self.place / name
        self.git("clone", "--quiet", *options, str(self.origin), str(target), cwd=self.place)
        return target

    def witness(self, *revisions: str) -> None:
        """Fails unless plain git and plain DVC, in a fresh place, find every object that the revisions name."""
        shutil.rmtree(self.place / "witness", ignore_errors=True)
        place = self.clone("witness")
        for revision in revisions:
            self.git("checkout", "--quiet", revision, cwd=place)
            env = {"DVC_SITE_CACHE_DIR": str(self.place / "witness" / ".site")}
            done = self.attempt("dvc", "pull", cwd=place, env=env)
            assert done.code == 0, done.err


AUTHOR = {"NAME": "Ada", "EMAIL": "ada@example.invalid"}


def make_world(place: Path, files: Mapping[str, str]) -> World:
    """A world whose one commit holds the files and a tracked raw.csv; nothing is reproduced yet."""
    world = World(place)
    world.project.mkdir(parents=True)
    world.git("init", "--quiet", "--bare", "--initial-branch=main", str(world.origin), cwd=place)
    world.git("init", "--quiet", "--initial-branch=main")
    world.git("remote", "add", "origin", "../origin.git")
    world.dvc("init", "--quiet")
    world.dvc("remote", "add", "--quiet", "--default", "storage", "../storage")
    world.write({**files, "raw.csv": "a,b\n1,2\n"})
    world.dvc("add", "--quiet", "raw.csv")
    world.dvc("push", "--quiet")
    world.commit("A pipeline")
    return world


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The plain project, made once; tests take copies."""
    return make_world(tmp_path_factory.mktemp("blank") / "world", FILES)


@pytest.fixture(scope="session")
def trained(blank: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The plain project after its first `cml run` with tag_prefix dvc_, made once; tests take copies."""
    world = _copy(blank, tmp_path_factory.mktemp("trained") / "world")
    done = world.cml("run", "--push", "true", "--tag-prefix", "dvc_")
    assert done.code == 0, done.err
    return world


def _copy(world: World, place: Path) -> World:
    shutil.copytree(world.place, place, symlinks=True)
    return World(place)


@pytest.fixture
def world(blank: World, tmp_path: Path) -> World:
    """A project whose pipeline never ran."""
    return _copy(blank, tmp_path / "world")


@pytest.fixture
def trained_world(trained: World, tmp_path: Path) -> World:
    """A project with one tagged experiment on main."""
    return _copy(trained, tmp_path / "world")


@pytest.fixture
def new_world(tmp_path: Path) -> Callable[[Mapping[str, str]], World]:
    """Makes a project of other files."""
    return lambda files: make_world(tmp_path / "world", files)
