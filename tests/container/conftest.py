"""Runs the image as GitHub's and GitLab's runners do. `make test-image` builds it and sets CML_TEST_IMAGE."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from standins.github import Forge
from support.world import Result, World

from cml.config.variables import VARIABLES
from scripts.paths import TOP

WANTED = os.environ.get("CML_TEST_IMAGE", "")
# A plain `pytest` ignores this folder. With CML_TEST_IMAGE no test is skipped: what is missing is a failure.
collect_ignore_glob = [] if WANTED else ["test_*.py"]

UNSET = {variable.name: "" for variable in VARIABLES}
# The user of GitHub's hosted runners. Only root can give files to another user.
RUNNER_UID = os.getuid() or 1001


def docker(*arguments: str, stdin: str = "", timeout: float = 300) -> Result:
    """Runs a docker command."""
    done = subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True, timeout=timeout)
    return Result(done.returncode, done.stdout, done.stderr)


def fresh_name() -> str:
    """Returns a unique name for a container."""
    return f"cml-test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def image() -> str:
    """The name of the image. A missing container engine is a failure, never a skip."""
    asked = docker("version", "--format", "{{.Server.Version}}")
    assert asked.code == 0, f"these tests need a container engine, and none answers: {asked.err}"
    found = docker("image", "inspect", WANTED)
    assert found.code == 0, found.err
    return WANTED


@dataclass
class Image:
    """Runs commands in fresh containers. `cuda` is the CUDA version of the GPU image, "" for the normal one."""

    name: str
    cuda: str = ""

    @property
    def lock(self) -> Path:
        """The lock file of the installed packages."""
        return TOP / "requirements" / ("gpu.txt" if self.cuda else "all.txt")

    def run(self, *command: str, options: Sequence[str] = (), stdin: str = "", timeout: float = 300) -> Result:
        interactive = ["--interactive"] if stdin else []
        return docker("run", "--rm", *interactive, *options, self.name, *command, stdin=stdin, timeout=timeout)

    def sh(self, script: str, *, options: Sequence[str] = ()) -> str:
        """Runs a script that must succeed; returns its stdout."""
        done = self.run("sh", "-euc", script, options=options)
        assert done.code == 0, f"{script}\n{done.out}{done.err}"
        return done.out.strip()

    def python(self, script: str) -> str:
        """Runs a script with CML's own Python."""
        done = self.run("/opt/cml/bin/python", "-I", "-c", script)
        assert done.code == 0, done.err[-4000:]
        return done.out.strip()


@pytest.fixture
def box(image: str) -> Image:
    output = docker("image", "inspect", "--format", "{{json .Config.Env}}", image).out
    env = dict(text.split("=", 1) for text in json.loads(output))
    return Image(image, env.get("CUDA_VERSION", ""))


@dataclass
class Runner:
    """GitHub's runner: it owns the folder of a job and starts containers for its steps."""

    image: str
    world: World
    forge: Forge
    token: str

    def checkout(self, env: Mapping[str, str], *, token: str | None = None, **how: Any) -> Path:
        """Runs actions/checkout, by default as in our examples: depth 1, no credentials left behind."""
        workspace = self.forge.checkout(env, token=token or self.token, **{"credentials": "none", **how})
        self.own(env)
        return workspace

    def own(self, env: Mapping[str, str]) -> None:
        """Makes the runner's user the owner of the job's folder."""
        give_to_runner(job_folder(env))

    def action(
        self,
        env: Mapping[str, str],
        *,
        token: str | None = None,
        variables: Mapping[str, str] | None = None,
        **given: str,
    ) -> Result:
        """Runs a step that `uses:` the action, with inputs and with variables under `env:`."""
        options = self.action_options(env, token=token, variables=variables, **given)
        return self._checked(docker("run", "--rm", *options, self.image), token)

    def action_options(
        self,
        env: Mapping[str, str],
        *,
        token: str | None = None,
        variables: Mapping[str, str] | None = None,
        **given: str,
    ) -> list[str]:
        """Returns the options of `docker run` for that step. Inputs that are not given are set to an empty text."""
        inputs = {f"INPUT_{name.upper()}": text for name, text in {**UNSET, **given}.items()}
        inputs["INPUT_REPO_TOKEN"] = token or self.token
        temp = Path(env["RUNNER_TEMP"])
        places = {
            str(temp / "_runner_file_commands"): "/github/file_commands",
            str(temp / "_github_home"): "/github/home",
            str(temp / "_github_workflow"): "/github/workflow",
            str(temp): "/github/runner_temp",
            env["GITHUB_WORKSPACE"]: "/github/workspace",
        }
        inside = {**moved(env, places), **inputs, **(variables or {})}
        return [
            *("--name", fresh_name()),
            *("--workdir", "/github/workspace"),
            *self._common(places),
            *[text for name, value in inside.items() for text in ("--env", f"{name}={value}")],
        ]

    def job_container(self, env: Mapping[str, str], script: str, **variables: str) -> Result:
        """A job with `container: IMAGE` and one `run:` step with `env:`: the image's command is replaced by one that
        waits, and the step's script is executed beside it by `sh -e`.
        """
        temp = Path(env["RUNNER_TEMP"])
        work = job_folder(env)
        places = {str(temp / "_github_home"): "/github/home", str(temp / "_github_workflow"): "/github/workflow"}
        places[str(work)] = "/__w"
        inside = moved(env, places)
        (temp / "step.sh").write_text(script)
        give_to_runner(temp)
        name = fresh_name()
        kept = [text for key in ("HOME", "GITHUB_ACTIONS", "CI") for text in ("--env", f"{key}={inside[key]}")]
        waits = ["--entrypoint", "tail", self.image, "-f", "/dev/null"]
        started = docker(
            "run",
            "--detach",
            "--name",
            name,
            "--workdir",
            inside["GITHUB_WORKSPACE"],
            *self._common(places),
            *kept,
            *waits,
        )
        assert started.code == 0, started.err
        try:
            step = [text for key, value in {**inside, **variables}.items() for text in ("--env", f"{key}={value}")]
            where = ["--workdir", inside["GITHUB_WORKSPACE"]]
            return self._checked(
                docker("exec", "-i", *where, *step, name, "sh", "-e", "/__w/_temp/step.sh", timeout=900), None
            )
        finally:
            docker("rm", "--force", "--volumes", name)

    def _common(self, places: Mapping[str, str]) -> list[str]:
        volumes = [text for place, inside in places.items() for text in ("--volume", f"{place}:{inside}")]
        # A real runner reaches the forge and the DVC remote over the network; here they are a port and a path.
        return ["--network", "host", *volumes, "--volume", f"{self.world.storage}:{self.world.storage}"]

    def _checked(self, done: Result, token: str | None) -> Result:
        assert "Traceback" not in done.out + done.err, done.err
        assert (token or self.token) not in done.out + done.err
        return done

    def outputs(self, env: Mapping[str, str]) -> dict[str, str]:
        """Returns the outputs of the step, parsed as the runner parses GITHUB_OUTPUT."""
        found, lines = {}, iter(Path(env["GITHUB_OUTPUT"]).read_text().splitlines())
        for line in lines:
            name, _, mark = line.partition("<<")
            found[name] = "\n".join(iter(lambda: next(lines), mark))
        return found

    def strangers(self, env: Mapping[str, str]) -> list[str]:
        """Returns the files of a job that the runner's user cannot remove."""
        return strangers(job_folder(env))

    def branch(self, name: str, rate: float, files: Mapping[str, str] | None = None) -> str:
        """Pushes a branch with another parameter; returns its head."""
        self.world.git("switch", "--quiet", "--create", name, "main")
        sha = self.world.commit(f"Rate {rate}", {"params.yaml": f"train:\n  rate: {rate}\n", **(files or {})})
        self.world.git("switch", "--quiet", "main")
        return sha

    def fork(self, branch: str) -> int:
        """Makes a fork with a branch and a pull request from it; returns its number."""
        self.forge.create_repository("bob/digits", fork_of="ada/digits")
        fork = self.forge.state.repositories["bob/digits"]
        clone = self.world.folder / "bobs"
        self.world.git("clone", "--quiet", str(fork.bare), str(clone), cwd=self.world.folder)
        self.world.git("switch", "--quiet", "--create", branch, cwd=clone)
        self.world.write({"params.yaml": "train:\n  rate: 0.1\n"}, cwd=clone)
        self.world.git("commit", "--quiet", "--all", "--message", "From a fork", cwd=clone)
        self.world.git("push", "--quiet", "origin", branch, cwd=clone)
        return self.forge.open_pull(branch, from_fork="bob/digits").number


def give_to_runner(top: Path) -> None:
    """Makes the runner's user the owner of a folder and everything in it."""
    for path in (top, *top.rglob("*")):
        os.lchown(path, RUNNER_UID, -1)


def strangers(top: Path) -> list[str]:
    """Returns the files below a folder that the runner's user cannot remove."""
    return [str(path.relative_to(top)) for path in top.rglob("*") if path.lstat().st_uid != RUNNER_UID]


def job_folder(env: Mapping[str, str]) -> Path:
    """Returns the runner's folder for a job (`_work`), which contains the workspace and `_temp`."""
    return Path(env["RUNNER_TEMP"]).parent


def moved(env: Mapping[str, str], places: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a job with the paths that the container sees. The longest match wins."""
    order = sorted(places, key=len, reverse=True)

    def inside(text: str) -> str:
        for place in order:
            if text == place or text.startswith(f"{place}/"):
                return places[place] + text[len(place) :]
        return text

    return {name: inside(text) for name, text in env.items()}


@pytest.fixture
def runner(image: str, trained_world: World, tmp_path: Path) -> Iterator[Runner]:
    """A runner, and a repository on the stand-in GitHub with one experiment on main."""
    world = trained_world
    world.dvc("remote", "modify", "--quiet", "storage", "url", str(world.storage))
    world.commit("A remote by its whole path")
    with Forge(tmp_path / "github") as forge:
        forge.create_repository("ada/digits", bare=world.origin)
        yield Runner(image, world, forge, forge.token("installation"))
