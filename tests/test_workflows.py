"""Workflows and examples: each is well-formed, uses only existing inputs and explains its permissions.

`make lint-workflows` runs the linters on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cml.config.variables import BY_NAME
from scripts.paths import TOP, WORKFLOW

MNIST = [TOP / "examples" / "mnist" / name for name in (".github/workflows/cml.yml", "gpu/github.yml")]
EXAMPLES = [*sorted((TOP / "examples" / "github").glob("*.yml")), *MNIST]
WORKFLOWS = sorted((TOP / ".github" / "workflows").glob("*.yml"))
EVERY = [*EXAMPLES, *WORKFLOWS]
ACTION = yaml.safe_load((TOP / "action.yml").read_text())
LEVELS = {"read", "write", "none"}
SCOPES = {
    *("actions", "attestations", "checks", "contents", "deployments", "discussions", "id-token", "issues"),
    *("packages", "pages", "pull-requests", "repository-projects", "security-events", "statuses"),
}


def load(path: Path) -> dict[str, Any]:
    """Returns a workflow; `on`, which YAML reads as true, under its own name."""
    found = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in found.items()}


def steps(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yields (job, step) of a workflow; a job that calls another workflow has none."""
    for job in load(path)["jobs"].values():
        for step in job.get("steps", []):
            yield job, step


def calls(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the jobs that call another workflow."""
    yield from (job for job in load(path)["jobs"].values() if "uses" in job)


def named(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.name)


def flavors() -> set[str]:
    """The images of a release, by what follows the version in their names."""
    image = load(TOP / ".github" / "workflows" / "release.yml")["jobs"]["image"]
    return {each["flavor"] for each in image["strategy"]["matrix"]["include"]}


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {
        *("minimal", "pull-requests", "cache", "matrix", "data-update", "deploy", "protected-branch", "container"),
        "pipeline",
    }


@named(EVERY)
def test_it_is_a_workflow(path: Path) -> None:
    workflow = load(path)
    assert workflow["name"]
    assert workflow["on"]
    assert path.read_text().startswith("# "), "the first line says what the workflow is for"
    for job, step in steps(path):
        is_gpu = "gpu" in path.stem or path.parent.name == "gpu"
        if path != WORKFLOW:  # its callers choose the runner
            assert job["runs-on"] == (["self-hosted", "linux", "gpu"] if is_gpu else "ubuntu-latest")
        assert ("uses" in step) != ("run" in step)


@named(EVERY)
def test_permissions_are_few_and_explained(path: Path) -> None:
    workflow = load(path)
    assert "permissions" in workflow, "without it the settings of the repository decide"
    for given in (workflow["permissions"], *(job.get("permissions", {}) for job in workflow["jobs"].values())):
        assert set(given) <= SCOPES
        assert set(given.values()) <= LEVELS
    for line in path.read_text().splitlines():
        found = re.match(r"\s+(?:permission-)?([a-z-]+): (?:read|write)\b(.*)", line)
        if found and found[1] in SCOPES:
            assert re.match(r" # \w", found[2]), f"{line.strip()}: add a comment that gives the reason"


@named(EVERY)
def test_no_checkout_keeps_its_credentials(path: Path) -> None:
    for _, step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@named(EXAMPLES)
def test_examples_name_actions_by_version(path: Path) -> None:
    for _, step in steps(path):
        if uses := step.get("uses"):
            assert re.fullmatch(r"docker://ghcr\.io/org/cml:1|[\w.-]+/[\w.-]+@v\d+", uses), uses


@named(WORKFLOWS)
def test_own_workflows_pin_actions_by_commit(path: Path) -> None:
    """A tag can be moved to other code, a commit cannot. The comment tells people, and Dependabot, the version."""
    for line in re.findall(r"uses: (\S.*)", path.read_text()):
        pin = r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
        assert re.fullmatch(rf"\./( #.*)?|{pin}", line), line


def test_one_action_has_one_commit_in_all_workflows() -> None:
    used = {
        tuple(each.split("@")) for path in WORKFLOWS for each in re.findall(r"uses: ([\w.-]+/\S+)", path.read_text())
    }
    assert len({action for action, _ in used}) == len(used)


def test_ci_runs_every_part_of_the_script() -> None:
    """`.ci/run` and GitHub run the same targets: those of ci.yml on every change, those of nightly.yml every night."""
    script = set(
        re.findall(r"^part \d+ .* make ([a-z-]+)( [A-Z]+=\S+)?", (TOP / ".ci" / "run").read_text(), re.MULTILINE)
    )
    commands = "\n".join(
        step.get("run", "")
        for name in ("ci", "nightly")
        for _, step in steps(TOP / ".github" / "workflows" / f"{name}.yml")
    )
    made = set(re.findall(r"\bmake ([a-z-]+)", commands))
    assert script
    assert {target for target, _ in script} <= made


@named(EVERY)
def test_no_expression_is_written_into_a_shell(path: Path) -> None:
    for _, step in steps(path):
        assert "${{" not in step.get("run", ""), "pass it to the shell under `env:`"


@named(EVERY)
def test_only_known_inputs_and_outputs_of_ours(path: Path) -> None:
    for job, step in steps(path):
        uses = step.get("uses", "")
        if uses == "./" or uses.startswith("org/cml@"):
            assert set(step.get("with", {})) <= set(ACTION["inputs"])
            if "id" in step:
                used = re.findall(rf"steps\.{step['id']}\.outputs\.(\w+)", path.read_text())
                assert used
                assert set(used) <= set(ACTION["outputs"])
        if "dvc_cml_run" in step.get("run", ""):
            container = job["container"]
            name = container["image"] if isinstance(container, dict) else container
            assert name.removeprefix("ghcr.io/org/cml:") in {f"1{flavor}" for flavor in flavors()}
            assert {name for name in step["env"] if name.islower()} <= set(BY_NAME)
            assert "repo_token" in step["env"]


@named(EVERY)
def test_a_call_gives_only_known_inputs_and_all_permissions_that_the_jobs_need(path: Path) -> None:
    called = load(WORKFLOW)
    specified = called["on"]["workflow_call"]
    needed: dict[str, str] = {}
    for job in called["jobs"].values():
        needed |= {scope: level for scope, level in job["permissions"].items() if needed.get(scope) != "write"}
    for job in calls(path):
        assert job["uses"] == "org/cml/.github/workflows/pipeline.yml@v1"
        assert set(job.get("with", {})) <= set(specified["inputs"])
        assert all(isinstance(value, str) for value in job.get("with", {}).values()), "all inputs are strings"
        assert set(job["secrets"]) <= set(specified["secrets"])
        assert job["permissions"] == needed, (
            "GitHub does not start a workflow whose jobs need more permissions than the calling job has"
        )


@named(WORKFLOWS)
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.MULTILINE))
    for _, step in steps(path):
        assert set(re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))) <= targets


def test_the_release_finds_the_line_that_it_changes() -> None:
    """release.yml replaces one line of action.yml with sed. That line must be there exactly once."""
    text = (TOP / "action.yml").read_text()
    assert re.findall(r"^  image: Dockerfile$", text, re.MULTILINE) == ["  image: Dockerfile"]
    assert (
        r"s|^  image: Dockerfile$|  image: docker://$IMAGE:$VERSION|"
        in (TOP / ".github" / "workflows" / "release.yml").read_text()
    )
    assert ACTION["runs"] == {"using": "docker", "image": "Dockerfile"}


def test_only_the_last_job_of_a_release_may_write_to_the_repository() -> None:
    workflow = load(TOP / ".github" / "workflows" / "release.yml")
    assert workflow["permissions"] == {}
    writers = [name for name, job in workflow["jobs"].items() if job["permissions"].get("contents") == "write"]
    assert writers == ["action"]
    assert workflow["jobs"]["action"]["needs"] == ["version", "image"]


def test_every_image_of_a_release_is_tested_signed_and_documented() -> None:
    workflow = load(TOP / ".github" / "workflows" / "release.yml")
    uses = [step.get("uses", "").split("@")[0] for step in workflow["jobs"]["image"]["steps"]]
    assert {"actions/attest-build-provenance", "anchore/sbom-action", "actions/attest-sbom"} <= set(uses)
    assert workflow["jobs"]["image"]["strategy"]["matrix"]["include"][0]["flavor"] == "", (
        "the image that action.yml names"
    )
    docs = (TOP / "docs" / "gpu.md").read_text()
    for flavor in flavors():
        assert f"`ghcr.io/org/cml:1{flavor}`" in docs
    for each in workflow["jobs"]["image"]["strategy"]["matrix"]["include"]:
        for name, value in re.findall(r"--build-arg (\w+)=(\S+)", each["build"]):
            assert f"--build-arg {name}={value}" in docs, "docs/gpu.md shows the same build arguments"


def test_the_action_meets_the_rules_of_the_marketplace() -> None:
    assert len(ACTION["description"]) < 125
    assert set(ACTION["branding"]) == {"icon", "color"}
    assert all(given["description"] for given in (*ACTION["inputs"].values(), *ACTION["outputs"].values()))
