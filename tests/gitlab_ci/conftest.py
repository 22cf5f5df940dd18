"""Runs pipelines of .gitlab-ci.yml with gitlab-ci-local in a shell. `make test-gitlab` installs it in CML_TEST_GITLAB.

gitlab-ci-local supports include, inputs, extends, rules, variables, artifacts and dotenv as GitLab does, and checks the
result against GitLab's schema. It does not support, so these tests cannot check: images, services and tags of runners;
resource_group, interruptible and timeout; masking; `include:project`; the separate expansion of variables by server and
runner (here there is one, without `%NAME%`). Its copy of the schema still refuses an empty `tags:`.
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
# A plain `pytest` ignores this folder. With CML_TEST_GITLAB no test is skipped: what is missing is a failure.
collect_ignore_glob = [] if WANTED else ["test_*.py"]

STATE = ".gitlab-ci-local"
PER_JOB = {"CI_JOB_NAME", "CI_JOB_STAGE", "CI_JOB_STATUS", "CI_PROJECT_DIR", "CI_BUILDS_DIR"}
OPTIONS = [
    *("--force-shell-executor", "--shell-isolation", "--no-artifacts-to-source"),
    *("--no-color", "--ignore-schema-paths", "#/definitions/tags/minItems"),
]


@dataclass(frozen=True)
class PipelineResult:
    """The result of a pipeline: `code` is 0 if all jobs passed; `folder` has the logs and artifacts."""

    code: int
    log: str
    folder: Path

    def job_log(self, job: str) -> str:
        """Returns the log of a job."""
        return (self.folder / "output" / f"{job}.log").read_text()

    def artifacts(self, job: str) -> Path:
        return self.folder / "artifacts" / job


@dataclass(frozen=True)
class GitLabRunner:
    """GitLab's server and runner for one pipeline.

    `variables` are the predefined variables and those of the project. A job gets them and `environment`.
    """

    environment: dict[str, str]

    def run(self, checkout: Path, variables: Mapping[str, str]) -> PipelineResult:
        """Runs the pipeline of .gitlab-ci.yml, each job in its own folder below the checkout."""
        done = self._gitlab_ci_local(checkout, variables)
        return PipelineResult(done.returncode, done.stdout + done.stderr, checkout / STATE)

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
        # gitlab-ci-local comes with its own Node.js, because Debian's is too old.
        node = next((str(path) for path in sorted(top.glob("node-linux-*/bin/node"))), "node")
        variables_file = checkout.parent / f"{checkout.name}-variables.yml"
        variables_file.write_text(
            json.dumps({name: _plain(value) for name, value in variables.items()}, ensure_ascii=False)
        )
        # gitlab-ci-local sets CI_COMMIT_BRANCH by default.
        unset = [] if "CI_COMMIT_BRANCH" in variables else ["--unset-variable", "CI_COMMIT_BRANCH"]
        command = [
            *(node, str(top / "gitlab-ci-local" / "dist" / "index.js"), *OPTIONS, *options, *unset),
            *("--variables-file", str(variables_file), "--ignore-predefined-vars", ",".join(variables)),
        ]
        return subprocess.run(
            command, cwd=checkout, env=self.environment, capture_output=True, text=True, timeout=600, check=False
        )


def _plain(value: str) -> dict[str, object]:
    """Returns a variable that is never taken for a file and whose value is not expanded."""
    return {"type": "variable", "values": {"*": value.replace("$", "$$")}}


@dataclass(frozen=True)
class GitLab:
    """A project on the stand-in GitLab with its runner and its CI/CD variables."""

    world: World
    forge: Forge
    runner: GitLabRunner
    variables: dict[str, str]

    def pipeline(self, source: str = "push", *, job: str = "cml", **facts: Any) -> PipelineResult:
        """Runs all jobs of a new pipeline. For the stand-in they are one job."""
        env = self.forge.pipeline(source, job=job, **facts)
        ran = self.runner.run(self.forge.checkout(env), self._given(env))
        self.forge.finish_job(env["CI_JOB_ID"], "success" if ran.code == 0 else "failed")
        assert "Traceback" not in ran.log
        for secret in (*self.variables.values(), env["CI_JOB_TOKEN"]):
            assert secret not in ran.log
        return ran

    def jobs(self, source: str = "push", **facts: Any) -> set[str]:
        """Returns the names of the jobs that a new pipeline would have."""
        env = self.forge.pipeline(source, **facts)
        found = self.runner.jobs(self.forge.checkout(env), self._given(env))
        self.forge.finish_job(env["CI_JOB_ID"])
        return found

    def _given(self, env: Mapping[str, str]) -> dict[str, str]:
        """Returns the variables of all jobs, without those that gitlab-ci-local sets for each job."""
        return {**{name: env[name] for name in env if name not in PER_JOB}, **self.variables}

    def commit(self, files: Mapping[str, str], *, branch: str = "main") -> str:
        """Somebody pushes a change; returns its sha."""
        self.world.git("fetch", "--quiet", "origin")
        self.world.git("switch", "--quiet", "--force-create", branch, "origin/main")
        return self.world.commit("A change", files)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with nothing of the machine's git configuration, CI or credentials."""
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
    """Returns the templates, in `gitlab/` and in `templates/`, as files of a project."""
    return {
        "gitlab/cml.yml": TEMPLATE.read_text(),
        "templates/cml.yml": COMPONENT.read_text(),
        "gitlab/pipeline.yml": PIPELINE.read_text(),
        "templates/pipeline.yml": PIPELINE_COMPONENT.read_text(),
    }
