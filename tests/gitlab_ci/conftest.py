"""Pipelines of .gitlab-ci.yml, run by gitlab-ci-local in a shell: `make test-gitlab` installs it and names its folder in
CML_TEST_GITLAB.

It reads include, inputs, extends, rules, variables, artifacts and dotenv as GitLab does, and checks the result against
GitLab's schema. What it does not do, and these tests cannot say anything about: images, services and runners' tags;
resource_group, interruptible and timeout; masking; `include:project`; expansion of variables by the server and the
runner, each in its own way (here there is one, without `%NAME%`). Its copy of the schema refuses an empty `tags:`, which
GitLab's no longer does.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from standins.gitlab import Forge
from support.world import BIN, KEPT_VARIABLES, World

from scripts.paths import COMPONENT, PIPELINE, PIPELINE_COMPONENT, TEMPLATE

WANTED = os.environ.get("CML_TEST_GITLAB", "")
# A plain `pytest` leaves this folder out; whoever names gitlab-ci-local gets every test, or a failure.
collect_ignore_glob = [] if WANTED else ["test_*.py"]

STATE = ".gitlab-ci-local"
PER_JOB = {"CI_JOB_NAME", "CI_JOB_STAGE", "CI_JOB_STATUS", "CI_PROJECT_DIR", "CI_BUILDS_DIR"}
OPTIONS = [
    *("--force-shell-executor", "--shell-isolation", "--no-artifacts-to-source"),
    *("--no-color", "--ignore-schema-paths", "#/definitions/tags/minItems"),
]


@dataclass(frozen=True)
class Ran:
    """How a pipeline ended: `code` is 0 where every job passed; its state lies in `place`."""

    code: int
    log: str
    place: Path

    def said(self, job: str) -> str:
        """The log of a job."""
        return (self.place / "output" / f"{job}.log").read_text()

    def artifacts(self, job: str) -> Path:
        return self.place / "artifacts" / job


@dataclass(frozen=True)
class GitLabRunner:
    """GitLab's server and runner for one pipeline: `variables` are the predefined ones and the project's. A job's
    environment is `environment` and these.
    """

    environment: dict[str, str]

    def run(self, checkout: Path, variables: Mapping[str, str]) -> Ran:
        """Runs the pipeline of .gitlab-ci.yml, each job in a place of its own below the checkout."""
        done = self._gitlab_ci_local(checkout, variables)
        return Ran(done.returncode, done.stdout + done.stderr, checkout / STATE)

    def jobs(self, checkout: Path, variables: Mapping[str, str]) -> set[str]:
        """Returns the names of the jobs that the pipeline would have."""
        done = self._gitlab_ci_local(checkout, variables, "--list-csv")
        assert done.returncode == 0, done.stderr
        _, _, rows = done.stdout.partition("name;stage;when")
        return {row.partition(";")[0] for row in rows.splitlines()[1:]}

    def _gitlab_ci_local(
        self, checkout: Path, variables: Mapping[str, str], *options: str
    ) -> subprocess.CompletedProcess[str]:
        top = Path(WANTED).resolve() / "node_modules"
        # Its own Node.js: Debian's is too old for it.
        node = next((str(path) for path in sorted(top.glob("node-linux-*/bin/node"))), "node")
        told = checkout.parent / f"{checkout.name}-variables.yml"
        told.write_text(json.dumps({name: _plain(value) for name, value in variables.items()}, ensure_ascii=False))
        # Set for every job of a branch where nothing says otherwise.
        unset = [] if "CI_COMMIT_BRANCH" in variables else ["--unset-variable", "CI_COMMIT_BRANCH"]
        command = [
            *(node, str(top / "gitlab-ci-local" / "dist" / "index.js"), *OPTIONS, *options, *unset),
            *("--variables-file", str(told), "--ignore-predefined-vars", ",".join(variables)),
        ]
        return subprocess.run(
            command, cwd=checkout, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )


def _plain(value: str) -> dict[str, object]:
    """A variable that is no file, whatever its value begins with, and whose value is not expanded."""
    return {"type": "variable", "values": {"*": value.replace("$", "$$")}}


@dataclass(frozen=True)
class GitLab:
    """A project on the stand-in GitLab, with its runner and its CI/CD variables."""

    world: World
    forge: Forge
    runner: GitLabRunner
    variables: dict[str, str]

    def pipeline(self, source: str = "push", *, job: str = "cml", **facts: Any) -> Ran:
        """Runs every job of a new pipeline, as if they were one to GitLab."""
        env = self.forge.pipeline(source, job=job, **facts)
        ran = self.runner.run(self.forge.checkout(env), self._given(env))
        self.forge.finish_job(env["CI_JOB_ID"], "success" if ran.code == 0 else "failed")
        assert "Traceback" not in ran.log
        for secret in (*self.variables.values(), env["CI_JOB_TOKEN"]):
            assert secret not in ran.log
        return ran

    def jobs(self, source: str = "push", **facts: Any) -> set[str]:
        """The jobs that a new pipeline would have."""
        env = self.forge.pipeline(source, **facts)
        found = self.runner.jobs(self.forge.checkout(env), self._given(env))
        self.forge.finish_job(env["CI_JOB_ID"])
        return found

    def _given(self, env: Mapping[str, str]) -> dict[str, str]:
        """The variables of every job; what differs between them is gitlab-ci-local's to set."""
        return {**{name: env[name] for name in env if name not in PER_JOB}, **self.variables}

    def commit(self, files: Mapping[str, str], *, branch: str = "main") -> str:
        """Somebody pushes a change; returns its sha."""
        self.world.git("fetch", "--quiet", "origin")
        self.world.git("switch", "--quiet", "--force-create", branch, "origin/main")
        return self.world.commit("A change", files)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A clean environment: nothing of the machine's git configuration, CI or credentials."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture
def gitlab_runner(environment: dict[str, str]) -> GitLabRunner:
    return GitLabRunner(environment)


def templates() -> dict[str, str]:
    """The templates in both of their places, as a project's own files."""
    return {
        "gitlab/cml.yml": TEMPLATE.read_text(),
        "templates/cml.yml": COMPONENT.read_text(),
        "gitlab/pipeline.yml": PIPELINE.read_text(),
        "templates/pipeline.yml": PIPELINE_COMPONENT.read_text(),
    }
