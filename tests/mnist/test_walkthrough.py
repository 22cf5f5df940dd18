"""Follows the walkthrough from an empty repository to the reports, once on each forge, with its own commands and CI file.

Different from a reader's machine: the forge is a stand-in, the storage is a folder, the requirements are already
installed (with TensorFlow's CPU build), and `data.url` is a small file of the same format. The real file cannot be
downloaded in a test; a test below checks that its URL is the one that Keras uses.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.gitlab_include import include, jobs
from support.jobs import GitHubJobs, GitLabJobs, close_jobs, open_jobs

from mnist.conftest import STAGES_BIN, Walker
from mnist.walkthrough import EXAMPLE, NOT_HERE, read
from scripts.paths import TEMPLATE, TOP

BUCKET = "s3://your-bucket/mnist"
SETUP = "pip install -r requirements.txt"
PARAMS = (EXAMPLE / "params.yaml").read_text()
PICTURES = ("loss-per-epoch", "which-digit-is-read-as-which", "plots-misread-png")


class Reader:
    """A reader who follows the walkthrough on one forge."""

    def __init__(self, ci: GitHubJobs | GitLabJobs, world: Walker) -> None:
        self.ci = ci
        self.world = world
        self.blocks = [block for block in read() if block.forge in (None, ci.name)]

    def follow(self, *chapters: str) -> None:
        """Runs the commands of these chapters, and changes params.yaml as they show."""
        for block in self.blocks:
            if block.chapter not in chapters:
                continue
            if block.language == "console":
                self._run_commands([text for text in block.commands if not text.startswith(NOT_HERE)])
            elif block.language == "diff":
                self.change(dict(block.changes))

    def change(self, lines: dict[str, str]) -> None:
        """Changes lines of params.yaml."""
        path = self.world.project / "params.yaml"
        text = path.read_text()
        for old, new in lines.items():
            assert text.count(f"{old}\n") == 1, old
            text = text.replace(old, new)
        path.write_text(text)

    def _run_commands(self, commands: list[str]) -> None:
        script = "\n".join(commands).replace(BUCKET, str(self.world.storage))
        here = self.world.project if self.world.project.exists() else self.world.folder
        self.world.run("sh", "-euc", script, cwd=here)

    def compare_log(self, log: str) -> None:
        """Fails unless the log has the lines that the walkthrough shows, apart from the shas of commits."""
        (block,) = [block for block in self.blocks if block.language == "text"]
        for line in block.text.splitlines():
            assert re.search(re.sub("[0-9a-f]{7}", "[0-9a-f]{7}", re.escape(line)), log), f"{line} is not in {log}"

    def job(self, env: Any) -> Any:
        """Runs the job of the CI file for an event."""
        done = self.ci.run(env, workspace=self.ci.start(env), **self._given())
        assert done.code == 0, done.err[-5000:]
        assert "\nwarning:" not in done.err
        assert "::warning::" not in done.err
        return done

    def _given(self) -> dict[str, str]:
        """Returns the inputs in the CI file of the repository, without `setup`."""
        if self.ci.name == "gitlab":
            (entry,) = yaml.safe_load((self.world.project / ".gitlab-ci.yml").read_text())["include"]
            variables = jobs(include(TEMPLATE, entry["inputs"]))["cml"]["variables"]
            given = {name: text["value"] if isinstance(text, dict) else text for name, text in variables.items()}
        else:
            workflow = yaml.safe_load((self.world.project / ".github" / "workflows" / "cml.yml").read_text())
            (step,) = [step for step in workflow["jobs"]["cml"]["steps"] if step["uses"].startswith("org/cml@")]
            given = {f"INPUT_{name.upper()}": text for name, text in step["with"].items()}
        assert given.pop("INPUT_SETUP") == SETUP
        return given


@pytest.fixture(params=["github", "gitlab"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    """A reader with an empty repository on a forge."""
    world = Walker(tmp_path / "world")
    world.folder.mkdir()
    world.git("init", "--quiet", "--bare", "--initial-branch=main", str(world.origin), cwd=world.folder)
    (world.folder / "cml").symlink_to(TOP)
    ci = open_jobs(request.param, world, tmp_path / "forge")
    address = f"git@{request.param}.com:you/mnist.git"
    world.git("config", "--global", f"url.{world.origin}.insteadOf", address, cwd=world.folder)
    yield Reader(ci, world)
    assert ci.forge.unknown == []
    close_jobs(ci)


def test_a_second_training_gives_the_same_numbers(digits: str, tmp_path: Path) -> None:
    """The walkthrough promises this for the same machine."""
    world = Walker(tmp_path)
    shutil.copytree(EXAMPLE / "src", world.project / "src")
    (world.project / "params.yaml").write_text(re.sub("url: .*", f"url: {digits}", PARAMS))
    losses = set()
    world.run("python", "src/data.py")
    for _ in range(2):
        world.run("python", "src/train.py")
        losses.add((world.project / "plots" / "loss.csv").read_text())
    assert len(losses) == 1


def test_from_an_empty_repository_to_a_report_on_a_pull_request(reader: Reader, digits: str) -> None:
    world, ci = reader.world, reader.ci
    reader.follow("1", "2", "3", "4")
    (url,) = [line for line in (world.project / "params.yaml").read_text().splitlines() if line.startswith("  url: ")]
    reader.change({url: f"  url: {digits}"})

    reader.follow("6")
    head = world.tip()
    done = reader.job(ci.push("main"))
    tip = world.tip()
    assert_ran(done.err, "data", "train", "evaluate")
    reader.compare_log(done.err)
    assert world.git("rev-parse", f"{tip}~1", cwd=world.origin) == head
    assert world.tags() == [f"exp_{tip[:7]}"]
    assert ci.conclusion(tip) == "success"
    assert_drawn(done.workspace)
    world.assert_complete("origin/main")

    reader.follow("7")
    assert world.git("rev-parse", "HEAD") == tip
    first = json.loads((world.project / "metrics.json").read_text())
    assert first["accuracy"] > 0.5
    again = world.cml("run", "--push", "true", "--tag-prefix", "exp_")
    assert again.code == 0, again.err
    assert_ran(again.err)
    assert world.tip() == tip

    reader.follow("8")
    number = ci.open_pull("more-shapes")
    done = reader.job(ci.pull(number))
    tip = world.tip("more-shapes")
    assert_ran(done.err, "train", "evaluate")
    assert world.git("rev-parse", f"{tip}~1", cwd=world.origin) == world.git("rev-parse", "HEAD")
    assert f"exp_{tip[:7]}" in world.tags()
    assert_drawn(done.workspace)
    (report,) = ci.reports(number)
    second = json.loads(world.git("show", f"{tip}:metrics.json", cwd=world.origin))
    assert second["loss"] < first["loss"]
    assert second["weights"] > first["weights"]
    for value in (first["accuracy"], second["accuracy"], "train.filters", 8, 16, "Latest 2 experiments"):
        assert str(value) in report
    world.assert_complete("origin/more-shapes")

    # The merge with the button of the forge.
    world.run("git", "pull", "--quiet")
    world.run("git", "switch", "--quiet", "main")
    world.run("git", "merge", "--quiet", "--no-ff", "--message", "Merge more-shapes", "more-shapes")
    world.run("git", "push", "--quiet")
    done = reader.job(ci.push("main"))
    assert_ran(done.err)
    assert done.outputs["changed"] == "false"


def assert_ran(log: str, *stages: str) -> None:
    """Fails unless these stages ran, and no other."""
    assert re.findall(r"^ +(\w+) ran in", log, re.MULTILINE) == list(stages), log


def assert_drawn(workspace: Path) -> None:
    """Fails unless the report has a picture of each plot."""
    names = {path.name for path in (workspace / "cml-report" / "plots").glob("*.png")}
    assert all(any(plot in name for name in names) for plot in PICTURES), names
    assert "accuracy" in (workspace / "cml-report" / "report.html").read_text()


def test_the_url_of_mnist_is_the_one_of_keras() -> None:
    (loader,) = STAGES_BIN.parent.glob("lib/python3*/site-packages/keras/src/datasets/mnist.py")
    url = yaml.safe_load(PARAMS)["data"]["url"]
    folder, _, name = url.rpartition("/")
    assert f'"{folder}/"' in loader.read_text()
    assert f'origin=f"{{origin_folder}}{name}"' in loader.read_text()
