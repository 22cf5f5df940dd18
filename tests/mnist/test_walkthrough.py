"""The walkthrough from an empty repository to the reports, once on each forge: its commands are typed as it tells them,
its CI file says how the job runs, and the pipeline is the example's own, stage by stage.

What differs from a reader's: the forge is a stand-in, the storage a folder, the requirements are installed already (with
TensorFlow's build for processors), and `data.url` names a small file of the same form. The real one can't be fetched
here; that it is where Keras itself looks for it is a test below.
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
    """Somebody who follows the walkthrough on one forge."""

    def __init__(self, place: GitHubJobs | GitLabJobs, world: Walker) -> None:
        self.place = place
        self.world = world
        self.blocks = [block for block in read() if block.forge in (None, place.name)]

    def follow(self, *chapters: str) -> None:
        """Types what the chapters tell, and changes params.yaml as they show."""
        for block in self.blocks:
            if block.chapter not in chapters:
                continue
            if block.language == "console":
                self._type([text for text in block.commands if not text.startswith(NOT_HERE)])
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

    def _type(self, commands: list[str]) -> None:
        script = "\n".join(commands).replace(BUCKET, str(self.world.storage))
        here = self.world.project if self.world.project.exists() else self.world.folder
        self.world.run("sh", "-euc", script, cwd=here)

    def compare_log(self, log: str) -> None:
        """Fails unless a log has the lines that the walkthrough shows; a commit has another name each time."""
        (block,) = [block for block in self.blocks if block.language == "text"]
        for line in block.text.splitlines():
            assert re.search(re.sub("[0-9a-f]{7}", "[0-9a-f]{7}", re.escape(line)), log), f"{line} is not in {log}"

    def job(self, env: Any) -> Any:
        """The job of the CI file, as the forge starts it for an event."""
        done = self.place.run(env, workspace=self.place.start(env), **self._given())
        assert done.code == 0, done.err[-5000:]
        assert "\nwarning:" not in done.err
        assert "::warning::" not in done.err
        return done

    def _given(self) -> dict[str, str]:
        """What the CI file in the repository gives to CML, but for `setup`."""
        if self.place.name == "gitlab":
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
    place = open_jobs(request.param, world, tmp_path / "forge")
    address = f"git@{request.param}.com:you/mnist.git"
    world.git("config", "--global", f"url.{world.origin}.insteadOf", address, cwd=world.folder)
    yield Reader(place, world)
    assert place.forge.unknown == []
    close_jobs(place)


def test_the_same_numbers_again(digits: str, tmp_path: Path) -> None:
    """On the same machine, as the walkthrough says."""
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
    world, place = reader.world, reader.place
    reader.follow("1", "2", "3", "4")
    (url,) = [line for line in (world.project / "params.yaml").read_text().splitlines() if line.startswith("  url: ")]
    reader.change({url: f"  url: {digits}"})

    reader.follow("6")
    head = world.tip()
    done = reader.job(place.push("main"))
    tip = world.tip()
    assert_ran(done.err, "data", "train", "evaluate")
    reader.compare_log(done.err)
    assert world.git("rev-parse", f"{tip}~1", cwd=world.origin) == head
    assert world.tags() == [f"exp_{tip[:7]}"]
    assert place.conclusion(tip) == "success"
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
    number = place.open_pull("more-shapes")
    done = reader.job(place.pull(number))
    tip = world.tip("more-shapes")
    assert_ran(done.err, "train", "evaluate")
    assert world.git("rev-parse", f"{tip}~1", cwd=world.origin) == world.git("rev-parse", "HEAD")
    assert f"exp_{tip[:7]}" in world.tags()
    assert_drawn(done.workspace)
    (report,) = place.reports(number)
    second = json.loads(world.git("show", f"{tip}:metrics.json", cwd=world.origin))
    assert second["loss"] < first["loss"]
    assert second["weights"] > first["weights"]
    for value in (first["accuracy"], second["accuracy"], "train.filters", 8, 16, "Latest 2 experiments"):
        assert str(value) in report
    world.assert_complete("origin/more-shapes")

    # The merge, by the button.
    world.run("git", "pull", "--quiet")
    world.run("git", "switch", "--quiet", "main")
    world.run("git", "merge", "--quiet", "--no-ff", "--message", "Merge more-shapes", "more-shapes")
    world.run("git", "push", "--quiet")
    done = reader.job(place.push("main"))
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


def test_mnist_is_where_keras_looks_for_it() -> None:
    (loader,) = STAGES_BIN.parent.glob("lib/python3*/site-packages/keras/src/datasets/mnist.py")
    url = yaml.safe_load(PARAMS)["data"]["url"]
    folder, _, name = url.rpartition("/")
    assert f'"{folder}/"' in loader.read_text()
    assert f'origin=f"{{origin_folder}}{name}"' in loader.read_text()
