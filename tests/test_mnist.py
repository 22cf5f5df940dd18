"""The walkthrough of examples/mnist agrees with the files of the example. `make test-mnist` runs its commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mnist.walkthrough import EXAMPLE, FOLLOWED, NOT_HERE, Block, read

from scripts.paths import TOP

BLOCKS = read()
TEXT = (EXAMPLE / "README.md").read_text()
FILES = {path: path.read_text() for path in EXAMPLE.rglob("*") if path.suffix in {".yml", ".yaml"}}


def locked(path: Path) -> dict[tuple[str, str], str]:
    """Returns the versions of a lock, by package and marker."""
    found = re.findall(r"^([\w.-]+)==([\w.]+)(?: ; (.*?))? \\$", path.read_text(), re.MULTILINE)
    return {(name, marker): version for name, version, marker in found}


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "yaml"], ids=lambda block: block.chapter
)
def test_the_yaml_in_the_walkthrough_is_in_a_file_of_the_example(block: Block) -> None:
    assert any(block.text in text for text in FILES.values())


def test_each_command_is_run_by_the_walkthrough_test_or_listed_as_impossible() -> None:
    console = [block for block in BLOCKS if block.language == "console"]
    assert {block.forge for block in console} == {None, "github", "gitlab"}
    for block in console:
        assert block.commands
        for command in block.commands:
            assert block.chapter in FOLLOWED or command.startswith(NOT_HERE), command


def test_the_lines_that_the_walkthrough_changes_exist() -> None:
    (diff,) = [block for block in BLOCKS if block.language == "diff"]
    params = FILES[EXAMPLE / "params.yaml"].splitlines()
    assert all(params.count(old) == 1 for old, _ in diff.changes)


def test_the_walkthrough_names_each_file_of_the_example() -> None:
    for path in EXAMPLE.rglob("*"):
        if path.is_file() and path.suffix != ".pyc" and path.name != "README.md":
            assert str(path.relative_to(EXAMPLE)) in TEXT


def test_the_walkthrough_test_has_the_packages_of_the_example_except_tensorflow() -> None:
    theirs, ours = locked(EXAMPLE / "requirements.txt"), locked(TOP / "requirements" / "mnist.txt")
    tensorflow = theirs.pop(("tensorflow", ""))
    assert ours["tensorflow-cpu", ""] == tensorflow
    assert theirs.items() <= ours.items()
    for name in ("requirements.txt", "requirements.in"):
        assert "tensorflow-cpu" not in (EXAMPLE / name).read_text()


def test_github_and_gitlab_run_the_same_job() -> None:
    for github, gitlab in ((".github/workflows/cml.yml", ".gitlab-ci.yml"), ("gpu/github.yml", "gpu/gitlab.yml")):
        for line in ("pip install -r requirements.txt", "tag_prefix: exp_"):
            assert line in FILES[EXAMPLE / github]
            assert line in FILES[EXAMPLE / gitlab]
