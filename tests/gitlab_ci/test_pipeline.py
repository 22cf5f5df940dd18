"""gitlab/pipeline.yml: gitlab-ci-local runs the plan job and the child pipeline, with the real `cml` in all jobs.

For the stand-in GitLab they are one job of one pipeline. Other than on GitLab, the job that starts the child pipeline
always succeeds, and `gather` waits for ever for a job that does not run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from standins.gitlab import Forge
from support.fan_out import (
    MODELS,
    fan_out_pipeline,
    locked_stages,
    make_fan_out_world,
    plan_records,
    small_fan_out_pipeline,
)
from support.world import World

from gitlab_ci.conftest import GitLab, GitLabRunner, templates

CONFIG = """\
include:
  - local: gitlab/pipeline.yml
    inputs:
      tag_prefix: dvc_
      setup: test -n "$HOME"
"""


GitLabOf = Callable[[Mapping[str, str]], GitLab]


@pytest.fixture
def gitlab_of(
    new_world: Callable[[Mapping[str, str]], World], tmp_path: Path, gitlab_runner: GitLabRunner
) -> Iterator[GitLabOf]:
    """Makes a GitLab project from the files of a pipeline that never ran, on a branch with an open merge request."""
    with Forge(tmp_path / "gitlab") as forge:

        def make(files: Mapping[str, str]) -> GitLab:
            world = make_fan_out_world(new_world, files)
            world.commit("A pipeline of GitLab's", {**templates(), ".gitlab-ci.yml": CONFIG})
            forge.create_project("ada/digits", bare=world.origin)
            found = GitLab(world, forge, gitlab_runner, {"GITLAB_TOKEN": forge.token("project", role="maintainer")})
            found.commit({"README.md": "wide\n"}, branch="wide")
            forge.open_merge_request("wide")
            return found

        yield make
        assert forge.unknown == []


def test_parallel_jobs_end_in_one_commit_and_are_not_run_again(gitlab_of: GitLabOf) -> None:
    gitlab = gitlab_of(fan_out_pipeline())
    world, head = gitlab.world, gitlab.world.tip("wide")
    ran = gitlab.pipeline("merge_request_event", merge_request=1)
    child = json.loads((ran.artifacts("cml-plan") / "cml-plan.yml").read_text())
    trained = {f"train_{model} +1" for model in MODELS}
    assert {name for name, job in child.items() if "script" in job} == {
        *("split", "half_a", "half_b", "compare", "gather"),
        *trained,
    }
    assert child["variables"]["INPUT_SETUP"] == {"value": 'test -n "$HOME"', "expand": False}
    assert child["variables"]["CML_PIPELINE_SOURCE"] == "merge_request_event"
    assert child["train_a1 +1"]["tags"] == ["gpu"]
    assert ran.code == 0, ran.log
    tip = world.tip("wide")
    assert world.git("rev-list", f"{head}..{tip}", cwd=world.origin).split() == [tip]
    assert world.tags() == list(gitlab.forge.releases()) == [f"dvc_{tip[:7]}"]
    assert len(locked_stages(world.git("show", f"{tip}:dvc.lock", cwd=world.origin))) == 16
    (note,) = gitlab.forge.notes(1)
    assert "letters" in note.body
    assert (ran.artifacts("gather") / "cml-report" / "report.html").is_file()
    assert plan_records(world) == []
    world.assert_complete("origin/wide")

    again = gitlab.pipeline("merge_request_event", merge_request=1)
    assert again.code == 0, again.log
    child = json.loads((again.artifacts("cml-plan") / "cml-plan.yml").read_text())
    assert {name for name, job in child.items() if "script" in job} == {"gather"}
    assert world.tip("wide") == tip
    assert len(gitlab.forge.notes(1)) == 1


def test_the_next_pipeline_does_not_repeat_the_finished_jobs_of_a_failed_one(
    gitlab_of: GitLabOf, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gitlab = gitlab_of(small_fan_out_pipeline(f"test -e {gate}"))
    head = gitlab.world.tip("wide")
    ran = gitlab.pipeline("merge_request_event", merge_request=1)
    assert "better ran in" in ran.job_log("better")
    assert "results of 1 of 3 stages are missing" in ran.job_log("gather")
    (note,) = gitlab.forge.notes(1)
    assert "good: the stage good failed" in note.body
    assert gitlab.world.tip("wide") == head

    gate.touch()
    again = gitlab.pipeline("merge_request_event", merge_request=1)
    assert again.code == 0, again.log
    assert "1 restored from the run cache" in again.job_log("better")
    assert "good ran in" in again.job_log("good")
    assert gitlab.world.git("rev-list", f"{head}..wide", cwd=gitlab.world.origin).split() == [gitlab.world.tip("wide")]
    assert len(gitlab.forge.notes(1)) == 1
    gitlab.world.assert_complete("origin/wide")
