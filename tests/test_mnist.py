"""examples/mnist is a walkthrough that people follow: what it shows is what its files say, and nothing in it is left to
trust. `make test-mnist` follows it.
"""

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
def test_the_yaml_it_shows_stands_in_a_file(block: Block) -> None:
    assert any(block.text in text for text in FILES.values())


def test_every_command_is_typed_by_the_test_or_needs_what_no_test_has() -> None:
    console = [block for block in BLOCKS if block.language == "console"]
    assert {block.forge for block in console} == {None, "github", "gitlab"}
    for block in console:
        assert block.commands
        for command in block.commands:
            assert block.chapter in FOLLOWED or command.startswith(NOT_HERE), command


def test_what_it_changes_is_there_to_be_changed() -> None:
    (diff,) = [block for block in BLOCKS if block.language == "diff"]
    params = FILES[EXAMPLE / "params.yaml"].splitlines()
    assert all(params.count(old) == 1 for old, _ in diff.changes)


def test_it_names_every_file_of_the_example() -> None:
    for path in EXAMPLE.rglob("*"):
        if path.is_file() and path.suffix != ".pyc" and path.name != "README.md":
            assert str(path.relative_to(EXAMPLE)) in TEXT


def test_the_test_has_the_examples_packages_but_for_tensorflows_build() -> None:
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
