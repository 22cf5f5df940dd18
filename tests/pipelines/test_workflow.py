"""pipeline.yml runs a plan against the stand-in GitHub. Each job runs as on GitHub: in its own checkout, with a token that
has the job's permissions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.fan_out import MODELS, fan_out_pipeline, locked_stages, make_fan_out_world, plan_records
from support.jobs import REPORT_NAME, GitHubJobs, close_jobs, open_jobs
from support.world import World

from cml import __version__
from pipelines.actions_runner import WorkflowRun, evaluate, filled
from scripts.github_workflow import SECRETS
from scripts.paths import WORKFLOW

IMAGE = f"ghcr.io/org/cml:{__version__}"
UNSET = dict.fromkeys(SECRETS, "")


HubOf = Callable[[Mapping[str, str]], GitHubJobs]


@pytest.fixture
def hub_of(new_world: Callable[[Mapping[str, str]], World], tmp_path: Path) -> Iterator[HubOf]:
    """Makes a project on GitHub of a pipeline's files, never run, on a branch with an open pull request."""
    places = []

    def make(files: Mapping[str, str]) -> GitHubJobs:
        world = make_fan_out_world(new_world, files)
        place: GitHubJobs = open_jobs("github", world, tmp_path / "github")
        places.append(place)
        world.git("switch", "--quiet", "--create", "wide")
        world.commit("Nothing new", {"README.md": "wide\n"})
        place.open_pull("wide")
        return place

    yield make
    for place in places:
        close_jobs(place)
        assert place.forge.unknown == []


def started(hub: GitHubJobs, event: str = "pull_request", **inputs: str) -> WorkflowRun:
    known: dict[str, dict[str, Any]] = {"pull_request": {"pull": 1}, "push": {"ref": "wide"}}
    facts = known[event]
    return WorkflowRun(hub=hub, path=WORKFLOW, event={"name": event, **facts}, inputs=inputs, secrets=UNSET)


def test_two_levels_of_parallel_jobs_make_one_commit_and_do_not_run_again(hub_of: HubOf) -> None:
    hub = hub_of(fan_out_pipeline())
    head = hub.world.tip("wide")
    first = started(hub, tag_prefix="exp_", setup="test -d .git")
    assert first.run() == "success", "\n".join(leg.log for leg in first.all_legs() if leg.result == "failure")

    waves = {name: [leg.name for leg in legs] for name, legs in first.legs.items()}
    assert waves == {
        "plan": ["plan"],
        "wave_1": ["split"],
        "wave_2": ["half_a", "half_b"],
        "wave_3": [f"train_{model} +1" for model in MODELS],
        "wave_4": ["compare"],
        "gather": ["gather"],
    }
    on_gpu = first.leg("train_a1 +1")
    assert (on_gpu.runs_on, on_gpu.timeout) == (["self-hosted", "gpu"], 240)
    assert on_gpu.container == {"image": f"{IMAGE}-gpu", "options": "--gpus all"}
    other = first.leg("train_b3 +1")
    assert (other.runs_on, other.timeout) == ("ubuntu-latest", 360)
    assert other.container == {"image": IMAGE, "options": ""}

    tip = hub.world.tip("wide")
    assert hub.world.git("rev-list", f"{head}..{tip}", cwd=hub.world.origin).split() == [tip]
    assert hub.world.tags() == [f"exp_{tip[:7]}"]
    assert len(locked_stages(hub.world.git("show", f"{tip}:dvc.lock", cwd=hub.world.origin))) == 16
    assert [check.conclusion for check in hub.forge.check_runs(tip) if check.name == REPORT_NAME] == ["success"]
    (comment,) = hub.reports(1)
    assert "letters" in comment
    outputs = first.outputs()
    assert (outputs["changed"], outputs["sha"], outputs["tag"]) == ("true", tip, f"exp_{tip[:7]}")
    assert plan_records(hub.world) == []
    hub.world.assert_complete("origin/wide")

    again = started(hub, tag_prefix="exp_")
    assert again.run() == "success"
    assert set(again.legs) == {"plan", "gather"}
    assert hub.world.tip("wide") == tip
    assert len(hub.reports(1)) == 1


def test_only_a_failed_stage_and_what_depends_on_it_run_again(hub_of: HubOf, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    hub = hub_of(fan_out_pipeline(["b1", "b2"], gate=gate))
    head = hub.world.tip("wide")
    run = started(hub)
    assert run.run() == "failure"
    assert {leg.name: leg.result for leg in run.legs["wave_2"]} == {
        "train_b1 +1": "success",
        "train_b2 +1": "failure",
    }
    assert "wave_3" not in run.legs
    assert run.leg("gather").result == "failure"
    assert hub.world.tip("wide") == head
    (comment,) = hub.reports(1)
    assert "results of 3 of 7 stages are missing" in comment
    assert "train_b2: the stage train_b2 failed" in comment
    assert "evaluate_b2: its job ended before it, when train_b2 failed" in comment
    assert "compare could not run" in comment

    gate.touch()
    before = {leg.name: leg for leg in run.all_legs()}
    assert run.run() == "success", run.leg("gather").log
    assert {leg.name for leg in run.all_legs() if before.get(leg.name) is not leg} == {
        *("train_b2 +1", "compare", "gather"),
    }
    tip = hub.world.tip("wide")
    assert hub.world.git("rev-list", f"{head}..{tip}", cwd=hub.world.origin).split() == [tip]
    (comment,) = hub.reports(1)
    assert "letters" in comment
    hub.world.assert_complete("origin/wide")


def test_a_push_and_its_pull_request_wait_for_each_other(hub_of: HubOf) -> None:
    hub = hub_of(fan_out_pipeline(["b1"]))
    assert started(hub, "push").group() == started(hub, "pull_request").group()
    assert started(hub, "push", working_directory="other").group() != started(hub, "push").group()


def test_the_pull_request_of_a_fork_gets_only_a_report(hub_of: HubOf) -> None:
    hub = hub_of(fan_out_pipeline(["b1"]))
    hub.forge.create_repository("eve/digits", fork_of="ada/digits")
    number = hub.forge.open_pull("wide", from_fork="eve/digits").number
    facts = {"name": "pull_request", "pull": number}
    run = WorkflowRun(hub=hub, path=WORKFLOW, event=facts, secrets=UNSET, is_forks=True)
    assert run.run() == "success", "\n".join(leg.log for leg in run.all_legs())
    assert set(run.legs) == {"plan", "gather"}
    assert "no jobs: the run of a fork's pull request gets no secrets" in run.leg("plan").log
    assert plan_records(hub.world) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("needs.plan.result == 'success' && always()", True),
        ("!needs.plan.outputs.wave_2", True),
        ("needs.plan.outputs.wave_1 != '' && needs.plan.result != 'failure'", True),
        ("matrix.runs_on[0] && matrix.runs_on || fromJSON(inputs.runs_on)", ["a", "b"]),
        ("matrix.gpu && '--gpus all' || ''", ""),
        ("secrets.repo_token || 'it''s mine'", "it's mine"),
        ("(matrix.timeout || 360) == 360", True),
    ],
)
def test_an_expression_has_the_value_that_github_gives_it(text: str, value: object) -> None:
    contexts = {
        "needs": {"plan": {"result": "success", "outputs": {"wave_1": "{}", "wave_2": ""}}},
        "matrix": {"runs_on": [], "gpu": False, "timeout": 0},
        "inputs": {"runs_on": '["a", "b"]'},
        "secrets": {},
    }
    assert evaluate(text, contexts) == value
    assert filled("x ${{ matrix.gpu }} y", contexts) == "x false y"
    with pytest.raises(KeyError):
        evaluate("vars.NOTHING", contexts)
