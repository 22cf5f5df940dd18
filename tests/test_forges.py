"""The contract of all forges: the same runs have the same results on a laptop, on GitHub and on GitLab."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.jobs import FORGES, FORGES_AND_LOCAL, REPORT_NAME, close_jobs, open_jobs, push_branch
from support.world import World


@pytest.fixture
def place(request: pytest.FixtureRequest, trained_world: World, tmp_path: Path) -> Iterator[Any]:
    world = trained_world
    world.dvc("remote", "modify", "--quiet", "storage", "url", str(world.storage))
    world.commit("A remote by its whole path")
    place = open_jobs(request.param, world, tmp_path / "forge")
    yield place
    close_jobs(place)


def everywhere(places: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("place", list(places), indirect=True)


@everywhere(FORGES_AND_LOCAL)
def test_a_push_saves_one_commit_and_one_tag_and_shows_the_report(place: Any) -> None:
    head = push_branch(place.world, "try", 0.1)
    done = place.run(place.push("try"), tag_prefix="dvc_")
    assert done.code == 0, done.err
    tip = place.world.tip("try")
    assert place.world.git("rev-parse", f"{tip}~1", cwd=place.world.origin) == head
    assert f"dvc_{tip[:7]}" in place.world.tags()
    assert done.outputs.pop("report_url")
    assert done.outputs == {
        "skipped": "false",
        "changed": "true",
        "sha": tip,
        "tag": f"dvc_{tip[:7]}",
        "verdict": "none",
        "report": "cml-report/report.md",
    }
    if place.name != "local":
        assert [place.conclusion(sha) for sha in (head, tip)] == ["success", "success"]
        assert place.forge.unknown == []
    place.world.assert_complete("origin/try")


@everywhere(FORGES_AND_LOCAL)
def test_a_second_run_adds_nothing(place: Any) -> None:
    push_branch(place.world, "try", 0.1)
    assert place.run(place.push("try"), tag_prefix="dvc_").code == 0
    before = place.world.git("for-each-ref", cwd=place.world.origin)
    done = place.run(place.push("try"), tag_prefix="dvc_")
    assert done.code == 0, done.err
    assert "train ran" not in done.err
    assert done.outputs["skipped"] == ("false" if place.name == "local" else "true")
    refs = place.world.git("for-each-ref", cwd=place.world.origin).splitlines()
    assert [ref for ref in refs if "refs/pipelines/" not in ref] == [
        ref for ref in before.splitlines() if "refs/pipelines/" not in ref
    ]


@everywhere(FORGES_AND_LOCAL)
def test_a_failing_stage_pushes_nothing_and_is_reported(place: Any) -> None:
    place.world.git("switch", "--quiet", "--create", "try")
    head = place.world.commit("Broken", {"train.py": "print('the reason')\nraise SystemExit(3)\n"})
    number = place.open_pull("try") if place.name != "local" else 0
    done = place.run(place.pull(number) if number else place.push("try"))
    assert done.code == 1
    assert place.world.tip("try") == head
    assert done.outputs["verdict"] == "failed"
    assert "the reason" in (done.workspace / "cml-report" / "report.md").read_text()
    if number:
        assert place.conclusion(head) == "failure"
        (report,) = place.reports(number)
        assert "the reason" in report


@everywhere(FORGES_AND_LOCAL)
def test_a_gate_that_fails_is_exit_3_and_results_are_saved(place: Any) -> None:
    head = push_branch(place.world, "try", 0.3)
    done = place.run(place.push("try"), metrics_gate="accuracy >= 0.9")
    assert done.code == 3, done.err
    tip = place.world.tip("try")
    assert tip != head
    assert (done.outputs["verdict"], done.outputs["sha"]) == ("failed", tip)
    if place.name != "local":
        assert place.conclusion(tip) == "failure"


@everywhere(FORGES_AND_LOCAL)
def test_bad_input_touches_nothing(place: Any) -> None:
    head = push_branch(place.world, "try", 0.1)
    done = place.run(place.push("try"), metrics_gate="accuracy is fine")
    assert done.code == 2
    assert "metrics_gate" in done.err
    assert place.world.tip("try") == head
    assert done.outputs == {}
    assert not (done.workspace / "cml-report").exists()
    assert place.conclusion(head) == ""


@everywhere(FORGES)
def test_a_pull_request_shows_one_report_that_is_updated(place: Any) -> None:
    head = push_branch(place.world, "try", 0.1)
    place.world.commit("Main moves on", {"README.md": "text\n"})
    number = place.open_pull("try")
    done = place.run(place.pull(number))
    assert done.code == 0, done.err
    tip = place.world.tip("try")
    assert place.world.git("rev-parse", f"{tip}~1", cwd=place.world.origin) == head
    (first,) = place.reports(number)
    assert first.startswith(f"<!-- cml-report: {REPORT_NAME} -->\n## {REPORT_NAME}")
    assert "Baseline: origin/main" in first
    assert f"/compare/{place.world.tip('main')}...{tip}" in first
    place.world.git("fetch", "--quiet")
    place.world.git("switch", "--quiet", "--detach", tip)
    place.world.write({"params.yaml": "train:\n  rate: 0.3\n"})
    place.world.git("commit", "--quiet", "--all", "--message", "Worse")
    place.world.git("push", "--quiet", "origin", "HEAD:try")
    done = place.run(place.pull(number))
    assert done.code == 0, done.err
    (second,) = place.reports(number)
    assert second != first
    assert place.forge.unknown == []


@everywhere(FORGES)
@pytest.mark.parametrize("order", [("push", "pull"), ("pull", "push")])
def test_push_and_pull_request_of_one_commit_train_once(place: Any, order: tuple[str, str]) -> None:
    push_branch(place.world, "try", 0.1)
    number = place.open_pull("try")
    jobs = {"push": place.push("try"), "pull": place.pull(number)}
    first = place.run(jobs[order[0]])
    assert "train ran" in first.err
    tip = place.world.tip("try")
    second = place.run(jobs[order[1]])
    assert second.code == 0, second.err
    assert "train ran" not in second.err
    assert place.world.tip("try") == tip
    assert second.outputs["sha"] == tip
    assert "accuracy" in (second.workspace / "cml-report" / "report.md").read_text()
    assert len(place.reports(number)) == 1


@everywhere(FORGES)
def test_one_of_two_simultaneous_runs_trains(place: Any) -> None:
    push_branch(place.world, "try", 0.1)
    number = place.open_pull("try")
    jobs = (place.push("try"), place.pull(number))
    spaces = [place.start(env) for env in jobs]
    tokens = {"github": "INPUT_REPO_TOKEN", "gitlab": "GITLAB_TOKEN"}
    runs = []
    for env, space in zip(jobs, spaces, strict=True):
        extra = {**env, tokens[place.name]: place.token, "setup": "sleep 4"}
        extra.pop("HOME", None), extra.pop("PATH", None)
        runs.append(
            subprocess.Popen(["cml", "run"], cwd=space, env=place.world.environment(extra), stderr=subprocess.PIPE)
        )
        time.sleep(1)
    logs = [run.communicate(timeout=100)[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], logs
    assert sum("train ran" in text for text in logs) == 1, logs
    assert sum("another run is already processing this commit" in text for text in logs) == 1, logs
    assert len(place.reports(number)) == 1


@everywhere(FORGES)
def test_a_pull_request_opened_after_its_push_gets_the_report(place: Any) -> None:
    push_branch(place.world, "try", 0.1)
    assert place.run(place.push("try")).code == 0
    number = place.open_pull("try")
    done = place.run(place.pull(number))
    assert done.code == 0, done.err
    assert done.outputs["skipped"] == "true"
    assert "train ran" not in done.err
    (report,) = place.reports(number)
    assert "accuracy" in report
    assert place.run(place.pull(number)).code == 0
    assert place.reports(number) == [report]


@everywhere(FORGES)
def test_a_dead_api_loses_nothing(place: Any) -> None:
    head = push_branch(place.world, "try", 0.1)
    env = place.push("try")
    workspace = place.start(env)
    place.break_down()
    started = time.monotonic()
    done = place.run(env, workspace=workspace)
    assert done.code == 0, done.err
    assert place.world.git("rev-parse", "try~1", cwd=place.world.origin) == head
    assert "failed, also after retries" in done.err
    assert ".. " not in done.err
    assert "accuracy" in (done.workspace / "cml-report" / "report.md").read_text()
    assert time.monotonic() - started < 150
