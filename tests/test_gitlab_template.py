"""The GitLab templates and examples: jobs, inputs and outputs that they use exist.

`make lint-workflows` checks them with GitLab's schema, `make test-gitlab` runs them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.gitlab_include import child_pipeline, documents, include, jobs

from cml.config.settings import read_settings
from cml.config.variables import BY_NAME
from cml.forges.base import Outputs
from cml.process.tokens import TOKEN_VARIABLES
from scripts.paths import PIPELINE, TEMPLATE, TOP

MNIST = [TOP / "examples" / "mnist" / name for name in (".gitlab-ci.yml", "gpu/gitlab.yml")]
EXAMPLES = [*sorted((TOP / "examples" / "gitlab").glob("*.yml")), *MNIST]
REMOTES = {f"https://raw.githubusercontent.com/org/cml/v1/gitlab/{path.name}": path for path in (TEMPLATE, PIPELINE)}
REMOTES["$CI_SERVER_FQDN/org/cml/cml@1"] = TEMPLATE
IMAGES = {"ghcr.io/org/cml:1", "ghcr.io/org/cml:1-gpu"}
KEYWORDS = {"include", "stages", "workflow"}


def load(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def includes(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields template and inputs for each `include:` of an example."""
    for entry in load(path).get("include", []):
        yield REMOTES[entry.get("remote") or entry["component"]], entry["inputs"]


def named(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


def test_the_template_adds_only_its_own_jobs() -> None:
    assert set(include(TEMPLATE)) == {".cml", "cml"}, (
        "`default:` and `stages:` would change the whole pipeline of the user"
    )
    assert set(include(TEMPLATE, {"job_name": "vision"})) == {".vision", "vision"}


def test_the_pipeline_adds_only_its_own_jobs() -> None:
    assert set(include(PIPELINE)) == {"cml-plan", "cml"}
    named = include(PIPELINE, {"job_name": "vision"})
    assert set(named) == {"vision-plan", "vision"}
    assert named["vision"]["needs"] == ["vision-plan"]
    assert named["vision"]["trigger"]["include"] == [{"artifact": "cml-plan.yml", "job": "vision-plan"}]
    assert named["vision-plan"]["artifacts"]["paths"] == ["cml-plan.yml"]


def test_the_results_commit_does_not_cancel_the_job() -> None:
    for path in (TEMPLATE, PIPELINE):
        assert {job["interruptible"] for job in jobs(include(path)).values()} == {False}


def test_the_child_pipeline_has_its_own_resource_group() -> None:
    """The job that starts the child pipeline holds its own resource group until the child has ended."""
    groups = {job.get("resource_group") for job in json.loads(child_pipeline()).values() if isinstance(job, dict)}
    assert groups == {None, "cml-gather-$CI_COMMIT_REF_SLUG"}
    assert include(PIPELINE)["cml"]["resource_group"] == "cml-$CI_COMMIT_REF_SLUG"


def test_the_child_pipeline_has_runners_and_keeps_the_limits_of_gitlab() -> None:
    child = json.loads(child_pipeline())
    assert child["default"] == {"image": "cml:1", "tags": ["linux"]}
    assert (child["train@7"]["image"], child["train@7"]["tags"]) == ("cml:1-gpu", ["a100"])
    assert child["train@7"]["needs"] == ["prepare"]
    assert "needs" not in child["compare"], (
        "GitLab allows at most 50 needs: without any, the job waits for all jobs before it"
    )
    assert child["gather"]["rules"] == [{"when": "always"}]


@pytest.mark.parametrize("path", [TEMPLATE, PIPELINE], ids=lambda path: path.stem)
def test_no_input_is_a_secret(path: Path) -> None:
    inputs = documents(path)[0]["spec"]["inputs"]
    assert not {
        name for name in inputs if name.upper() in {token.upper() for token in TOKEN_VARIABLES} or "token" in name
    }


def test_the_artifacts_have_the_path_of_the_report() -> None:
    for given, folder in ({}, "cml-report"), ({"working_directory": "projects/a"}, "projects/a/cml-report"):
        artifacts = jobs(include(TEMPLATE, given))["cml"]["artifacts"]
        paths = [*artifacts["paths"], artifacts["reports"]["metrics"], artifacts["reports"]["dotenv"]]
        assert [str(Path(path)) for path in paths] == [folder, f"{folder}/metrics.txt", f"{folder}/cml.env"]
        assert artifacts["when"] == "always", "a failed run also has a report"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"comment": "loud"}, "cannot be used"),
        ({"push": "maybe"}, "cannot be used"),
        ({"push": False}, "not a string"),
        ({"job_name": ".hidden"}, "cannot be used"),
        ({"job_name": "a: [b]"}, "cannot be used"),
        ({"repo_token": "x"}, "unknown"),
    ],
)
def test_gitlab_refuses_wrong_inputs(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        include(TEMPLATE, given)


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {
        *("minimal", "merge-requests", "projects", "gpu", "component", "data-update", "deploy", "container"),
        "pipeline",
    }


@named(EXAMPLES)
def test_an_example_is_short_and_begins_with_its_purpose(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert len(text.splitlines()) <= 30
    assert max(len(line) for line in text.splitlines()) <= 120


@named(EXAMPLES)
def test_the_inputs_of_an_example_are_valid(path: Path) -> None:
    for template, given in includes(path):
        job = next(job for job in jobs(include(template, given)).values() if "script" in job)
        assert job["image"] in IMAGES
        read_settings(
            {name: value["value"] if isinstance(value, dict) else value for name, value in job["variables"].items()},
            {},
            is_ci=True,
        )


@named(EXAMPLES)
def test_the_jobs_of_an_example_have_a_script_or_extend_ours(path: Path) -> None:
    ours = {name for template, given in includes(path) for name in jobs(include(template, given))}
    stages = {"build", "test", "deploy"} if "stages" not in load(path) else set(load(path)["stages"])
    for name, job in load(path).items():
        if name in KEYWORDS:
            continue
        assert name in ours or "script" in job, f"{name} is neither ours nor has it a script"
        assert name in ours or job.get("stage", "test") in stages
        assert {need for need in job.get("needs", []) if need not in ours} == set()
        assert {variable for variable in job.get("variables", {}) if variable.islower()} <= set(BY_NAME) - {
            "repo_token"
        }
    for _, given in includes(path):
        assert given.get("stage", "test") in stages


@named(EXAMPLES)
def test_an_example_reads_only_existing_outputs(path: Path) -> None:
    outputs = {f"CML_{name.upper()}" for name in Outputs._fields}
    assert set(re.findall(r"\bCML_[A-Z_]+\b", path.read_text())) <= outputs


def test_a_job_without_the_template_works() -> None:
    job = load(TOP / "examples" / "gitlab" / "container.yml")["dvc"]
    assert job["image"] in IMAGES
    assert job["script"][-1] == "dvc_cml_run"
    assert read_settings(job["variables"], {}, is_ci=True).tag_prefix == "dvc_"
