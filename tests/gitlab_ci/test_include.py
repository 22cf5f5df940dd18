"""What GitLab makes of the template: when its job runs, and which environment `cml` gets.

A small program that writes its environment to a file replaces `cml`.
"""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cml.config.variables import VARIABLES
from gitlab_ci.conftest import GitLabRunner, PipelineResult, templates
from scripts.paths import TEMPLATE, TOP

LOCAL = {"local": "gitlab/cml.yml"}
PUSH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_REF_NAME": "main"}
MERGE_REQUEST = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_MERGE_REQUEST_IID": "7", "CI_COMMIT_REF_NAME": "try"}
OPEN = {"CI_OPEN_MERGE_REQUESTS": "ada/digits!7"}
EXAMPLES = sorted((TOP / "examples" / "gitlab").glob("*.yml"))

# `$` is for the shell in `setup` and for numeral.js in `metrics_format`; the other characters break careless templates.
SETUP = """\
set -u; for x in "$HOME" '$$' "${NOBODY:-a b}"; do printf '%s\\n' "it's $x" \\
  `true`; done # 100% : {a} [b] & c | d * ! > /dev/null
test "naïve — $CI_COMMIT_BRANCH" != "$(cat <<< "$[0]")"
"""
GIVEN = {
    "baseline": "origin/feature/one",
    "repro_targets": "train, evaluate\nvision/dvc.yaml:train",
    "metrics_diff_targets": "-",
    "tag_prefix": "exp/",
    "metrics_format": "$0,0.00",
    "dvc_pull": "auto",
    "setup": SETUP,
    "working_directory": "projects/a b",
    "push": "false",
    "comment": "off",
    "report_name": """Report: "all" of it's 100% #1 — naïve & <b>""",
    "template": "./ci/report.md.j2",
    "locale": "pt_BR",
    "metrics_gate": "accuracy >= 0.9\n*:loss change <= 5% ; m.json:a_%_b == -1e-3",
    "plots": "*.csv",
    "experiments": "0",
    "params_diff_targets": "params.yaml , other.yaml",
    "commit_message": "[data] new: {results}, 'all' of them!",
}


@dataclass(frozen=True)
class Project:
    """A repository with the template, and the environment of each job of its pipelines."""

    top: Path
    seen: Path
    runner: GitLabRunner

    def pipeline(self, config: Mapping[str, Any], variables: Mapping[str, str] = PUSH) -> PipelineResult:
        self.write(config)
        return self.runner.run(self.top, variables)

    def write(self, config: Mapping[str, Any]) -> None:
        (self.top / ".gitlab-ci.yml").write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))

    def given(self, job: str = "cml") -> dict[str, str]:
        """Returns the environment of `cml` in a job."""
        pairs = (line.partition("=") for line in (self.seen / job).read_text().split("\0") if line)
        return {name: value for name, _, value in pairs}


@pytest.fixture
def project(tmp_path: Path, environment: dict[str, str]) -> Project:
    tools, seen, top = (tmp_path / name for name in ("tools", "seen", "digits"))
    for folder in (tools, seen, top):
        folder.mkdir()
    for name in ("cml", "dvc_cml_run"):
        (tools / name).write_text(f'#!/bin/sh\nenv -0 >"{seen}/$CI_JOB_NAME"\n')
        (tools / name).chmod(0o755)
    environment["PATH"] = f"{tools}:{environment['PATH']}"
    for name, text in templates().items():
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_text(text)

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=top, env=environment, check=True, capture_output=True)

    git("init", "--quiet", "--initial-branch=main")
    git("remote", "add", "origin", "https://gitlab.example/ada/digits.git")
    git("add", "--all")
    git("-c", "user.name=ada", "-c", "user.email=ada@example.invalid", "commit", "--quiet", "--message", "A template")
    return Project(top, seen, GitLabRunner(environment))


@pytest.fixture
def served() -> Iterator[str]:
    """The URL of the template on a web server."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(TEMPLATE.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/cml.yml"
        server.shutdown()


@pytest.mark.parametrize(
    ("source", "variables", "runs"),
    [
        ("push", PUSH, True),
        ("push, and a merge request is open", PUSH | OPEN, False),
        ("merge request", MERGE_REQUEST | OPEN, True),
        ("merge request, a child of its pipeline", MERGE_REQUEST | {"CI_PIPELINE_SOURCE": "parent_pipeline"}, True),
        ("tag", {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": "v1", "CI_COMMIT_REF_NAME": "v1"}, False),
        *(
            (source, PUSH | OPEN | {"CI_PIPELINE_SOURCE": source}, True)
            for source in ("schedule", "web", "api", "trigger")
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_commit_is_trained_once(project: Project, source: str, variables: dict[str, str], *, runs: bool) -> None:
    project.write({"include": [LOCAL]})
    assert project.runner.jobs(project.top, variables) == ({"cml"} if runs else set())


def test_every_input_reaches_cml_unchanged(project: Project) -> None:
    assert set(GIVEN) == {variable.name for variable in VARIABLES if variable.is_option}
    ran = project.pipeline({"include": [LOCAL | {"inputs": GIVEN}]})
    assert ran.code == 0, ran.log
    given = project.given()
    assert {name: given[f"INPUT_{name.upper()}"] for name in GIVEN} == GIVEN


def test_dollars_are_expanded_except_for_the_shell_and_the_format(project: Project) -> None:
    texts = {"report_name": "$CI_COMMIT_BRANCH costs $$5", "setup": "echo $CI_COMMIT_BRANCH $$"}
    ran = project.pipeline({"include": [LOCAL | {"inputs": texts}]})
    assert ran.code == 0, ran.log
    assert project.given()["INPUT_REPORT_NAME"] == "main costs $5"
    assert project.given()["INPUT_SETUP"] == texts["setup"]


def test_a_missing_input_does_not_override_a_variable(project: Project) -> None:
    ran = project.pipeline({"include": [LOCAL], "variables": {"tag_prefix": "dvc_", "baseline": "origin/main"}})
    assert ran.code == 0, ran.log
    given = project.given()
    assert {value for name, value in given.items() if name.startswith("INPUT_")} == {""}
    assert (given["tag_prefix"], given["baseline"], given["GIT_DEPTH"]) == ("dvc_", "origin/main", "20")


@pytest.mark.parametrize("way", ["local", "remote", "component"])
def test_one_file_is_enough(project: Project, served: str, way: str) -> None:
    entry = {
        "local": LOCAL,
        "remote": {"remote": served},
        "component": {"component": "gitlab.example/ada/digits/cml@$CI_COMMIT_SHA"},
    }[way]
    ran = project.pipeline({"include": [{**entry, "inputs": {"tag_prefix": "exp_"}}]})
    assert ran.code == 0, ran.log
    assert project.given()["INPUT_TAG_PREFIX"] == "exp_"


def test_the_job_is_extended_by_its_name(project: Project) -> None:
    config = {
        "include": [LOCAL | {"inputs": {"tag_prefix": "exp_", "tags": ["gpu"], "stage": "train"}}],
        "stages": ["train"],
        "default": {"before_script": ["echo first"]},
        "cml": {"timeout": "12 hours", "variables": {"OMP_NUM_THREADS": "2"}},
        "again": {"extends": ".cml", "variables": {"INPUT_TAG_PREFIX": "again_"}},
    }
    ran = project.pipeline(config)
    assert ran.code == 0, ran.log
    assert "first" in ran.job_log("cml")
    assert (project.given()["OMP_NUM_THREADS"], project.given()["INPUT_TAG_PREFIX"]) == ("2", "exp_")
    assert project.given("again")["INPUT_TAG_PREFIX"] == "again_"


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"push": False}, "push"),
        ({"experiments": 3}, "experiments"),
        ({"comment": "loud"}, "comment"),
        ({"tags": "gpu"}, "tags"),
    ],
    ids=str,
)
def test_a_bad_input_ends_the_pipeline_before_any_job(project: Project, inputs: dict[str, Any], words: str) -> None:
    ran = project.pipeline({"include": [LOCAL | {"inputs": inputs}]})
    assert ran.code != 0
    assert words in ran.log
    assert list(project.seen.iterdir()) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_a_valid_pipeline(project: Project, path: Path) -> None:
    """On the default branch; the scheduled example on its schedule."""
    config = yaml.safe_load(path.read_text())
    for entry in config.get("include", []):
        inputs = entry["inputs"]
        name = Path(entry.get("remote", "cml.yml")).name
        entry.clear()
        entry.update(local=f"gitlab/{name}", inputs=inputs)
    project.write(config)
    source = "schedule" if path.stem == "data-update" else "push"
    variables = PUSH | {"CI_PIPELINE_SOURCE": source, "CI_DEFAULT_BRANCH": "main"}
    ours = {entry["inputs"].get("job_name", "cml") for entry in config.get("include", [])}
    ours |= {f"{name}-plan" for name in ours if path.stem == "pipeline"}
    theirs = {name for name, job in config.items() if "script" in job}
    assert project.runner.jobs(project.top, variables) == ours | theirs
