"""How stages are grouped into jobs, and the formats of a plan."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cml.model.plan import ANY, Job, Plan, Runner, StaleStage
from cml.plan import formats
from cml.plan.grouping import NoPlan, jobs_of

GPU = Runner(runs_on=("self-hosted", "gpu"), tags=("gpu",), gpu=True)


def stage(name: str, *needs: str, runner: Runner = ANY, timeout: int | None = None) -> StaleStage:
    return StaleStage(name=name, needs=needs, runner=runner, timeout=timeout)


def told(jobs: tuple[Job, ...]) -> dict[str, tuple[str, ...]]:
    return {job.name: job.needs for job in jobs}


TWO_LEVELS = [
    stage("prepare"),
    *(stage(f"clean{i}", "prepare") for i in range(3)),
    *(stage(f"fit{i}{j}", f"clean{i}", "prepare") for i in range(3) for j in range(2)),
    *(stage(f"score{i}{j}", f"fit{i}{j}", "prepare") for i in range(3) for j in range(2)),
    stage("join", *(f"score{i}{j}" for i in range(3) for j in range(2))),
]


def test_a_chain_is_one_job_and_siblings_are_several() -> None:
    # `score` needs what `prepare` made as well, but nothing that it would have to wait for.
    assert told(jobs_of(TWO_LEVELS, max_jobs=256)) == {
        "prepare": (),
        "clean0": ("prepare",),
        "clean1": ("prepare",),
        "clean2": ("prepare",),
        **{f"fit{i}{j} +1": (f"clean{i}",) for i in range(3) for j in range(2)},
        "join": tuple(f"fit{i}{j} +1" for i in range(3) for j in range(2)),
    }


def test_with_fewer_jobs_connected_stages_stay_together() -> None:
    jobs = jobs_of(TWO_LEVELS, max_jobs=5)
    assert [(job.name, job.stages) for job in jobs] == [
        ("prepare +3", ("prepare", "clean0", "clean1", "clean2")),
        ("fit00 +3", ("fit00", "score00", "fit01", "score01")),
        ("fit10 +3", ("fit10", "score10", "fit11", "score11")),
        ("fit20 +3", ("fit20", "score20", "fit21", "score21")),
        ("join", ("join",)),
    ]


def test_all_stages_fit_into_one_job() -> None:
    (job,) = jobs_of(TWO_LEVELS, max_jobs=1)
    assert sorted(job.stages) == sorted(stage.name for stage in TWO_LEVELS)
    assert jobs_of([], max_jobs=1) == ()


def test_a_deep_graph_is_limited_to_max_waves() -> None:
    deep = [stage("a0"), stage("b0")]
    for level in range(1, 12):
        deep += [stage(f"a{level}", f"a{level - 1}", f"b{level - 1}"), stage(f"b{level}", f"b{level - 1}")]
    assert jobs_of(deep, max_jobs=256)[-1].wave == 12
    assert jobs_of(deep, max_jobs=256, max_waves=4)[-1].wave == 4


def test_a_stage_runs_on_the_kind_of_runner_that_it_asks_for() -> None:
    line = [stage("a"), stage("b", "a", runner=GPU), stage("c", "b", runner=GPU), stage("d", "c")]
    jobs = jobs_of(line, max_jobs=9)
    assert [(job.stages, job.runner) for job in jobs] == [(("a",), ANY), (("b", "c"), GPU), (("d",), ANY)]
    with pytest.raises(NoPlan, match=r"--max-jobs is 2, .* expected 3 or more"):
        jobs_of(line, max_jobs=2)
    with pytest.raises(NoPlan, match=r"--max-waves is 2, .* expected 3 or more"):
        jobs_of(line, max_jobs=9, max_waves=2)


def test_the_timeout_of_a_job_is_the_sum_of_its_stages() -> None:
    (job,) = jobs_of([stage("a", timeout=5), stage("b", "a", timeout=10)], max_jobs=9)
    assert job.timeout == 15
    (job,) = jobs_of([stage("a", timeout=5), stage("b", "a")], max_jobs=9)
    assert job.timeout is None


@st.composite
def graphs(draw: st.DrawFn) -> list[StaleStage]:
    count = draw(st.integers(1, 40))
    kinds = draw(st.sampled_from([(ANY,), (ANY, GPU)]))
    found = []
    for place in range(count):
        needs = draw(st.sets(st.integers(0, place - 1), max_size=3)) if place else set()
        found.append(stage(f"s{place}", *(f"s{need}" for need in sorted(needs)), runner=draw(st.sampled_from(kinds))))
    return found


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no reason to fail
@given(graph=graphs(), max_jobs=st.integers(1, 12), max_waves=st.none() | st.integers(1, 5))
def test_every_plan_can_be_run(graph: list[StaleStage], max_jobs: int, max_waves: int | None) -> None:
    try:
        jobs = jobs_of(graph, max_jobs=max_jobs, max_waves=max_waves)
    except NoPlan:
        assert len({each.runner for each in graph}) > 1
        return
    assert len(jobs) <= max_jobs
    assert max_waves is None or max(job.wave for job in jobs) <= max_waves
    assert sorted(name for job in jobs for name in job.stages) == sorted(each.name for each in graph)
    assert len({job.name for job in jobs}) == len(jobs)
    done: dict[str, set[str]] = {}  # what has been done when a job is over, by all that it waited for
    waves: dict[str, int] = {}
    needs_of = {each.name: each for each in graph}
    for job in jobs:
        before = {name for need in job.needs for name in done[need]}
        assert all(waves[need] < job.wave for need in job.needs)
        for name in job.stages:
            assert set(needs_of[name].needs) <= before
            assert needs_of[name].runner == job.runner
            before.add(name)
        done[job.name], waves[job.name] = before, job.wave


def test_ten_thousand_stages_are_grouped() -> None:
    wide = [stage("prepare")]
    for lane in range(3333):
        wide += [stage(f"a{lane}", "prepare"), stage(f"b{lane}", f"a{lane}"), stage(f"c{lane}", f"b{lane}", "prepare")]
    jobs = jobs_of(wide, max_jobs=256, max_waves=8)
    assert len(jobs) == 256
    assert max(len(job.stages) for job in jobs) <= 42


# Formats

PLAN = Plan(
    head="a" * 40,
    jobs=jobs_of([stage("a"), stage("train@0", "a", runner=GPU, timeout=90), stage("b.b", "a")], max_jobs=9),
    edges=(("a", "train@0"), ("a", "b.b")),
)


def test_as_json() -> None:
    found = json.loads(formats.as_json(PLAN))
    assert found["head"] == "a" * 40
    assert found["waves"] == [["a"], ["train@0", "b.b"]]
    assert found["jobs"][1] == {
        "name": "train@0",
        "wave": 2,
        "stages": ["train@0"],
        "needs": ["a"],
        "timeout": 90,
        "runs_on": ["self-hosted", "gpu"],
        "tags": ["gpu"],
        "gpu": True,
    }


def test_as_github() -> None:
    outputs = dict(line.split("=", 1) for line in formats.as_github(PLAN).splitlines())
    assert outputs["waves"] == "2"
    rows = [json.loads(outputs[name])["include"] for name in ("wave_1", "wave_2")]
    assert [[row["stages"] for row in wave] for wave in rows] == [["a"], ["train@0", "b.b"]]
    assert rows[1][0]["timeout"] == 90
    assert rows[1][0]["runs_on"] == ["self-hosted", "gpu"]
    assert rows[1][0]["gpu"] is True
    assert formats.as_github(Plan(head="a")) == "waves=0\n"


def gitlab(plan: Plan, **given: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        formats.as_gitlab(
            plan,
            given=given,
            source="push",
            defaults=formats.GitLabDefaults(image="cml:1", gpu_image="cml:1-gpu"),
        )
    )
    return found


def test_as_gitlab() -> None:
    found = gitlab(PLAN, setup="echo $HOME")
    assert found["train@0"]["needs"] == ["a"]
    assert found["train@0"]["image"] == "cml:1-gpu"
    assert found["train@0"]["tags"] == ["gpu"]
    assert found["train@0"]["timeout"] == "90 minutes"
    assert found["train@0"]["script"] == ["cml run --stages=train@0"]
    assert found["variables"]["INPUT_SETUP"] == {"value": "echo $HOME", "expand": False}
    assert found["gather"]["rules"] == [{"when": "always"}]
    assert "needs" not in found["gather"]


def test_gitlab_has_no_pipeline_without_a_job() -> None:
    assert gitlab(Plan(head="a"))["stages"] == ["gather"]


def test_a_gitlab_job_with_more_than_fifty_needs_waits_for_whole_waves() -> None:
    many = [*(stage(f"s{i}") for i in range(60)), stage("few", *(f"s{i}" for i in range(50)))]
    many.append(stage("all", *(f"s{i}" for i in range(60))))
    found = gitlab(Plan(head="a", jobs=jobs_of(many, max_jobs=256)))
    assert len(found["few"]["needs"]) == 50
    assert "needs" not in found["all"]
    assert found["all"]["stage"] == "wave 2"


def test_the_name_of_a_gitlab_job_is_never_a_keyword() -> None:
    found = gitlab(Plan(head="a", jobs=jobs_of([stage("gather"), stage("cache"), stage(".x")], max_jobs=9)))
    assert found.keys() - {"stages", "variables", "default"} == {"gather", "stage gather", "stage cache", "stage .x"}
    assert found["gather"]["script"] == ["cml gather"]
    assert found["stage gather"]["script"] == ["cml run --stages=gather"]


def test_the_diagram_shows_only_names() -> None:
    name = 'a"];click x href "javascript:1"'
    drawn = formats.as_mermaid(Plan(head="a", jobs=jobs_of([stage(name)], max_jobs=1)))
    assert '"];' not in drawn.replace('"]\n', "")
    assert drawn.count('"') == 4
    assert "-->" in formats.as_mermaid(PLAN)
    page = MarkdownIt().parse(f"```mermaid\n{drawn}```\n")
    assert [token.type for token in page] == ["fence"]
