"""Costs of a run that do not depend on the machine: processes, imports, API calls. A limit may only be lowered.

How long things take is measured by `make bench`.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.jobs import FORGES, close_jobs, open_jobs, push_branch
from support.small_world import GITLAB_JOB, dvc_yaml, kept_in_git, make_small_world
from support.world import World

OF_GIT = re.compile(r"/(info/refs|git-(upload|receive)-pack)\b")
RUN = ("run", "--push", "true", "--tag-prefix", "dvc_", "--baseline", "origin/main")
# Runs `cml`, and writes to COUNTS what it did: the revisions DVC indexed, the processes started, the modules imported.
COUNTING = """
import json, os, subprocess, sys
counts = {"indexed": [], "started": []}
popen, leave = subprocess.Popen.__init__, os._exit
def start(self, command, *arguments, **options):
    counts["started"].append(command[:2] if isinstance(command, (list, tuple)) else [command])
    popen(self, command, *arguments, **options)
def end(code):
    counts["modules"] = sorted(sys.modules)
    with open(os.environ["COUNTS"], "w") as file:
        json.dump(counts, file)
    leave(code)
subprocess.Popen.__init__, os._exit = start, end
from dvc.repo.index import Index
from_repo = Index.from_repo.__func__
def index(cls, repo, *arguments, **options):
    counts["indexed"].append(getattr(repo.fs, "rev", None) or "work tree")
    return from_repo(cls, repo, *arguments, **options)
Index.from_repo = classmethod(index)
sys.argv = ["cml", *sys.argv[1:]]
from cml.cli import main
main()
"""


@dataclass(frozen=True, kw_only=True)
class Counts:
    indexed: list[str]
    started: list[list[str]]
    modules: set[str]

    @property
    def processes(self) -> int:
        return len(self.started)


def count(world: World, *arguments: str) -> Counts:
    """Runs a command that must succeed, and returns what it did."""
    file = world.folder / "counts.json"
    done = world.try_run(sys.executable, "-c", COUNTING, *arguments, env={"COUNTS": str(file)})
    assert done.code == 0, done.err
    found = json.loads(file.read_text())
    return Counts(indexed=found["indexed"], started=found["started"], modules=set(found["modules"]))


@pytest.fixture
def experienced(tmp_path: Path) -> World:
    """A project with three experiments on a branch, whose metrics git holds, and nothing to do."""
    copy = {"cmd": "cp in.json m.json", "deps": ["in.json"], "metrics": kept_in_git("m.json")}
    world = make_small_world(tmp_path, {"in.json": '{"a": 0}', "dvc.yaml": dvc_yaml(copy=copy)})
    world.dvc("repro", "--quiet")
    world.commit("Results")
    world.git("switch", "--quiet", "--create", "try")
    for number in (1, 2, 3):
        world.write({"in.json": json.dumps({"a": number})})
        world.dvc("repro", "--quiet")
        sha = world.commit(f"Experiment {number}")
        world.git("tag", f"dvc_{sha[:7]}")
    return world


def test_no_revision_is_indexed_twice(experienced: World) -> None:
    done = count(experienced, *RUN)
    experiments = experienced.report()["experiments"]
    # The experiment of the head commit is the work tree.
    others = [each["sha"] for each in experiments if not each["is_current"]]
    assert len(others) >= 2
    expected = Counter(["work tree", experienced.git("rev-parse", "main"), *others])
    assert Counter(done.indexed) == expected
    assert [row["metrics"] for row in experiments] != []


def test_few_processes_are_started(experienced: World) -> None:
    done = count(experienced, *RUN)
    assert all(command[0] == "git" for command in done.started), "no plot has changed, so none is drawn"
    assert done.processes <= 20, done.started


def test_a_run_without_plots_and_forge_imports_no_packages_for_them(experienced: World) -> None:
    modules = count(experienced, *RUN).modules
    packages = {name.partition(".")[0] for name in modules}
    assert not packages & {"github", "gitlab", "actions_toolkit", "vl_convert", "requests", "celery", "pygit2"}
    assert not modules & {"dvc.cli", "dvc.repo.experiments.queue.base", "dvc.render.match"}


def test_publishing_a_saved_report_does_not_import_dvc(experienced: World) -> None:
    """It runs beside secrets on what a stranger wrote, for a moment: DVC would cost more than the rest."""
    assert experienced.cml("report").code == 0
    script = COUNTING.partition("from dvc.repo.index")[0] + "from cml.cli import main\nmain()\n"
    file = experienced.folder / "counts.json"
    done = experienced.try_run(sys.executable, "-c", script, "publish", "cml-report", env={"COUNTS": str(file)})
    assert done.code == 0, done.err
    modules = {name.partition(".")[0] for name in json.loads(file.read_text())["modules"]}
    assert not modules & {"dvc", "dvc_data", "scmrepo", "dulwich", "fsspec"}


def test_a_skipped_run_imports_little_and_starts_git_twice(experienced: World) -> None:
    """Git is started once for its configuration, and once for the commit."""
    experienced.git("commit", "--quiet", "--allow-empty", "--message", "Words [skip ci]")
    head = experienced.git("rev-parse", "HEAD")
    script = COUNTING.partition("from dvc.repo.index")[0] + "from cml.cli import main\nmain()\n"
    file = experienced.folder / "counts.json"
    done = experienced.try_run(
        sys.executable, "-c", script, "run", env={"COUNTS": str(file), **GITLAB_JOB, "CI_COMMIT_SHA": head}
    )
    assert done.code == 0
    assert "skip " in done.err
    counts = json.loads(file.read_text())
    assert len(counts["started"]) == 2
    assert not set(counts["modules"]) & {
        "cml.model.report",
        "cml.config.gates",
        "cml.config.number_format",
        "cml.run.baseline",
        "dataclasses",  # what a skipped run reads are NamedTuples: dataclasses cost as much as two bare Pythons
        "dvc",
        "hashlib",
        "inspect",
        "tempfile",
    }


def api_calls(ci: Any) -> list[str]:
    """Returns the requests to the forge's API since the last call, without those of git."""
    exchanges = ci.forge.requests if ci.name == "github" else ci.forge.exchanges
    calls = [f"{one.method} {one.path.partition('?')[0]}" for one in exchanges if not OF_GIT.search(one.path)]
    exchanges.clear()
    return calls


@pytest.mark.parametrize(
    ("name", "push", "pull", "again", "skipped"), [("github", 7, 8, 9, 3), ("gitlab", 6, 8, 5, 3)], ids=FORGES
)
def test_few_calls_of_an_api_are_made(
    trained_world: World, tmp_path: Path, name: str, push: int, pull: int, again: int, skipped: int
) -> None:
    """For a push with results, a push to the branch of a pull request, a run with existing results, and a skipped run of
    the results commit.
    """
    trained_world.dvc("remote", "modify", "--quiet", "storage", "url", str(trained_world.storage))
    trained_world.commit("Use an absolute path for the remote")
    ci = open_jobs(name, trained_world, tmp_path / "forge")
    try:
        push_branch(ci.world, "try", 0.1)
        job = ci.push("try")
        api_calls(ci)
        assert ci.run(job).code == 0
        of_push = api_calls(ci)
        push_branch(ci.world, "other", 0.3)
        number = ci.open_pull("other")
        job = ci.pull(number)
        api_calls(ci)
        assert ci.run(job).code == 0
        of_pull = api_calls(ci)
        skipped_job = ci.pull(number)
        api_calls(ci)
        assert ci.run(skipped_job).outputs["skipped"] == "true"
        of_skipped = api_calls(ci)
        assert ci.run(job).code == 0
        of_again = api_calls(ci)
    finally:
        close_jobs(ci)
    found = len(of_push), len(of_pull), len(of_again), len(of_skipped)
    asked = "\n".join([*of_push, "-", *of_pull, "-", *of_again, "-", *of_skipped])
    assert found == (push, pull, again, skipped), asked


def test_an_unchanged_pipeline_pulls_nothing_with_auto(trained_world: World) -> None:
    clone = trained_world.clone("fresh")
    (clone / ".dvc" / "config.local").write_text(f"['remote \"storage\"']\n    url = {trained_world.storage}\n")
    done = trained_world.cml("run", "--dvc-pull", "auto", cwd=clone)
    assert done.code == 0, done.err
    assert [path for path in (clone / ".dvc" / "cache").rglob("*") if path.is_file()] == []
