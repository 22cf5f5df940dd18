"""One pipeline over several jobs: `cml plan`, `cml run --stages`, `cml gather`. Each job has its own clone; the jobs share
only origin and the DVC remote.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.small_world import dvc_yaml, error_lines, make_small_world
from support.world import Result, World

from pipelines.engine import COUNT, PIPELINE, Engine, Plan, done_well, env_of, plan_of, run_log, spread_world


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> World:
    return spread_world(tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="session")
def made(fresh: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Plan]:
    """All jobs of a plan done, and nothing gathered yet."""
    world = copy_of(fresh, tmp_path_factory.mktemp("made"))
    plan = plan_of(world, "--max-jobs", "6")
    done_well(world, Engine(world), plan)
    return world, plan


def copy_of(world: World, place: Path) -> World:
    shutil.copytree(world.folder, place / "world", symlinks=True)
    return World(place / "world")


@pytest.fixture
def world(fresh: World, tmp_path: Path) -> World:
    return copy_of(fresh, tmp_path)


@pytest.fixture
def done(made: tuple[World, Plan], tmp_path: Path) -> tuple[World, Plan]:
    world, plan = made
    return copy_of(world, tmp_path), plan


def lock(folder: Path) -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return stages


def records(world: World) -> list[Path]:
    return sorted((world.storage / "cml").rglob("*.json")) if (world.storage / "cml").exists() else []


def job_of(plan: Plan, stage: str) -> dict[str, Any]:
    job: dict[str, Any] = next(job for job in plan["jobs"] if stage in job["stages"])
    return job


def commits(world: World) -> int:
    return int(world.git("rev-list", "--count", "main", cwd=world.origin))


def gathered(world: World, engine: Engine, *options: str) -> Path:
    before = commits(world)
    place = engine.clone("end")
    done = engine.gather(*options, cwd=place)
    assert done.code == 0, done.err
    assert commits(world) == before + 1
    assert records(world) == []
    world.assert_complete("origin/main")
    return place


# Without trouble


@pytest.mark.dvc
def test_many_jobs_make_one_commit_and_no_stage_runs_twice(done: tuple[World, Plan]) -> None:
    world, plan = done
    before = run_log(world)
    assert sorted(before) == sorted(PIPELINE)
    place = gathered(world, Engine(world), "--tag-prefix", "dvc_")
    assert run_log(world) == before
    assert world.tags() == [f"dvc_{world.tip()[:7]}"]
    # The same hashes as in the jobs, also for outputs that differ in each run, and for those that DVC never caches.
    entries = lock(place)
    assert entries.keys() == PIPELINE.keys()
    for job in plan["jobs"]:
        theirs = lock(world.folder / f"{job['stages'][0]}-1")
        assert {name: entries[name] for name in job["stages"]} == {name: theirs[name] for name in job["stages"]}
    # In a new clone, plain DVC has nothing to do except stages that always run.
    clone = world.folder / "fresh-clone"
    assert json.loads((clone / "m21.json").read_text()) == {"size": 2.1}
    status = world.dvc("status", cwd=clone)
    heads = {line for line in status.splitlines() if not line.startswith("\t")}
    assert heads == {"date:"}
    assert world.git("status", "--porcelain", cwd=place) == ""


def test_the_report_shows_the_stages_times_and_machine_of_each_job(done: tuple[World, Plan]) -> None:
    world, plan = done
    place = gathered(world, Engine(world))
    report = json.loads((place / "cml-report" / "report.json").read_text())
    rows = {row["name"]: row for row in report["pipeline"]["stages"]}
    assert rows.keys() == PIPELINE.keys()
    assert {row["status"] for row in rows.values()} == {"ran"}
    assert all(row["seconds"] > 0 and row["machine"].endswith("cores") for row in rows.values())
    for job in plan["jobs"]:
        assert {rows[name]["job"] for name in job["stages"]} == {rows[job["stages"][0]]["job"]}
    assert len({row["job"] for row in rows.values()}) == len(plan["jobs"])
    assert {row["name"] for row in report["metrics"]} >= {"size", "day"}


@pytest.mark.dvc
def test_an_unchanged_pipeline_has_an_empty_plan(done: tuple[World, Plan]) -> None:
    world, _ = done
    # `date` is always_changed, so it and what needs it would be in every plan.
    calm = {name: stage for name, stage in PIPELINE.items() if name not in ("date", "stamp")}
    gathered(world, Engine(world))
    world.git("pull", "--quiet", "origin", "main")
    world.commit("Without the date", {"dvc.yaml": dvc_yaml(**calm)})
    place = world.clone("calm")
    assert plan_of(world, cwd=place)["jobs"] == []
    assert world.cml("plan", "--format", "github", cwd=place).out == "waves=0\n"
    assert not (place / ".dvc" / "cache").exists()  # decided without any data
    before = run_log(world)
    done_now = Engine(world).gather(cwd=place)
    assert done_now.code == 0, done_now.err
    assert "all stages are up to date" in done_now.err
    assert run_log(world) == before


def test_a_plan_contains_changed_stages_and_those_that_depend_on_them(done: tuple[World, Plan]) -> None:
    world, _ = done
    gathered(world, Engine(world))
    world.git("pull", "--quiet", "origin", "main")
    world.commit("Another rate", {"params.yaml": "rate0: 1\nrate1: 2\nrate2: 1\n"})
    plan = plan_of(world, cwd=world.clone("later"))
    assert {name for job in plan["jobs"] for name in job["stages"]} == {"fit10", "fit11", "join", "date", "stamp"}
    before = run_log(world)
    engine = Engine(world)
    done_well(world, engine, plan)
    gathered(world, engine)
    assert sorted(run_log(world)[len(before) :]) == ["date", "fit10", "fit11", "join", "stamp"]


def test_a_job_pulls_only_its_inputs(done: tuple[World, Plan]) -> None:
    world, plan = done
    job = world.folder / f"{job_of(plan, 'fit20')['stages'][0]}-1"
    assert "fit20" in lock(job)
    assert (job / "clean" / "2").exists()
    assert not (job / "clean" / "0").exists()
    assert world.git("rev-parse", "HEAD", cwd=job) == world.tip()


@pytest.mark.dvc
def test_without_records_results_come_from_the_run_cache(done: tuple[World, Plan]) -> None:
    world, _ = done
    for record in records(world):
        record.unlink()
    before = run_log(world)
    result = Engine(world).gather()
    assert result.code == 1
    # Only the results that DVC never puts into its run cache are lost.
    assert "results of 2 of 13 stages are missing" in error_lines(result)[0]
    assert "no result of date" in error_lines(result)[0]
    assert run_log(world) == before


# Trouble


@pytest.mark.dvc
def test_a_lost_job_is_named_and_only_it_must_run_again(world: World) -> None:
    plan, engine = plan_of(world, "--max-jobs", "8"), Engine(world)
    lost = job_of(plan, "fit10")
    outcomes = dict(engine.do_all(plan, without=lost["name"], at_once=2))
    join = outcomes.pop(job_of(plan, "join")["name"])
    assert all(done.code == 0 for done in outcomes.values())
    assert join.code == 1
    assert f"no result of {', '.join(lost['stages'])}: its job did not run" in error_lines(join)[0]
    before = commits(world)
    result = engine.gather()
    assert result.code == 1
    missing = len(lost["stages"]) + 1
    assert (
        f"gather: results of {missing} of {COUNT} stages are missing, so nothing was committed"
        in error_lines(result)[0]
    )
    assert f"no result of {', '.join(lost['stages'])}: its job did not run" in error_lines(result)[0]
    assert "join could not run without them" in error_lines(result)[0] or "join:" in error_lines(result)[0]
    assert commits(world) == before
    for job in (lost, job_of(plan, "join")):
        assert engine.do(job).code == 0
    gathered(world, engine)
    assert sorted(run_log(world)) == sorted(PIPELINE)


def test_a_failed_stage_is_reported_and_a_retry_continues_after_the_finished_stages(tmp_path: Path) -> None:
    breaks = {
        "first": {"cmd": "echo first >> $RUNS; date +%N > first.txt", "deps": ["in.txt"], "outs": ["first.txt"]},
        "second": {
            "cmd": "echo second >> $RUNS; test -e $RUNS.mended && cp first.txt second.txt",
            "deps": ["first.txt"],
            "outs": ["second.txt"],
        },
        "beside": {"cmd": "echo beside >> $RUNS; cp in.txt beside.txt", "deps": ["in.txt"], "outs": ["beside.txt"]},
    }
    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(**breaks), "in.txt": "in"})
    plan, engine = plan_of(world), Engine(world)
    chain = job_of(plan, "second")
    assert chain["stages"] == ["first", "second"]
    outcomes = dict(engine.do_all(plan))
    assert [done.code for name, done in outcomes.items() if name != chain["name"]] == [0]
    assert outcomes[chain["name"]].code == 1
    assert "the stage second failed" in error_lines(outcomes[chain["name"]])[0]
    result = engine.gather()
    assert result.code == 1
    assert "results of 1 of 3 stages are missing" in error_lines(result)[0]
    assert "second: the stage second failed" in error_lines(result)[0]
    (world.folder / "runs.txt.mended").touch()
    again = engine.do(chain)
    assert again.code == 0, again.err
    assert "1 stage done by an earlier attempt" in again.err
    gathered(world, engine)
    assert sorted(run_log(world)) == ["beside", "first", "second", "second"]


def test_a_job_that_runs_twice_keeps_its_first_results(done: tuple[World, Plan]) -> None:
    world, plan = done
    engine = Engine(world)
    before, stood = run_log(world), {path: path.read_text() for path in records(world)}
    again = engine.do(job_of(plan, "clean1"))
    assert again.code == 0, again.err
    assert "no stage is left to run" in again.err
    assert run_log(world) == before
    assert {path: json.loads(path.read_text()) for path in records(world)} == {
        path: json.loads(text) for path, text in stood.items()
    }
    gathered(world, engine)


def killed(world: World, cwd: Path, mark: str, *command: str) -> None:
    """Runs a command in a clone until its log says `mark`, and then no further."""
    env = world.environment(env_of(world))
    with subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True, stderr=subprocess.PIPE, text=True) as job:
        assert job.stderr
        has_mark = False
        for line in job.stderr:
            if line.strip().startswith(mark):
                has_mark = True
                with contextlib.suppress(ProcessLookupError):  # after its last line, it may have ended
                    os.killpg(job.pid, signal.SIGKILL)
    assert has_mark, f"it never said {mark}"
    assert job.returncode in (-signal.SIGKILL, 0)


@pytest.mark.parametrize("mark", ["start", "pull", "> echo prepare", "prepare ran", "reproduce", "upload"])
@pytest.mark.parametrize("is_same_clone", [True, False], ids=["same clone", "fresh clone"])
def test_a_killed_job_can_run_again(world: World, mark: str, *, is_same_clone: bool) -> None:
    plan, engine = plan_of(world, "--max-jobs", "8"), Engine(world)
    first = job_of(plan, "prepare")
    place = engine.clone("killed")
    killed(world, place, mark, "cml", "run", "--stages", ",".join(first["stages"]))
    assert bool(records(world)) == (mark == "upload")
    again = engine.do(first, cwd=place if is_same_clone else None)
    assert again.code == 0, again.err
    (record,) = records(world)
    found = json.loads(record.read_text())["stages"]
    assert set(found) == set(first["stages"])
    for out in (out for stage in found.values() for out in stage["entry"]["outs"]):
        assert (world.storage / "files" / "md5" / out["md5"][:2] / out["md5"][2:]).exists()


@pytest.mark.parametrize("mark", ["baseline", "gather", "data", "commit", "report"])
def test_a_killed_gather_can_run_again(done: tuple[World, Plan], mark: str) -> None:
    world, _ = done
    engine, before, runs, head = Engine(world), commits(world), run_log(world), world.tip()
    killed(world, engine.clone("killed"), mark, "cml", "gather", "--push", "true", "--tag-prefix", "dvc_")
    again = engine.clone("end")
    world.git("reset", "--quiet", "--hard", head, cwd=again)  # a job that is tried again is for the same commit
    result = engine.gather("--tag-prefix", "dvc_", cwd=again)
    assert result.code == 0, result.err
    assert commits(world) == before + 1
    assert world.tags() == [f"dvc_{world.tip()[:7]}"]
    assert records(world) == []
    assert run_log(world) == runs
    world.assert_complete("origin/main")


def test_two_simultaneous_gathers_make_one_commit(done: tuple[World, Plan]) -> None:
    world, _ = done
    engine, before = Engine(world), commits(world)
    places = [engine.clone("end"), engine.clone("end")]
    results: list[Result] = []
    threads = [
        threading.Thread(target=lambda place=place: results.append(engine.gather(cwd=place))) for place in places
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.code for result in results] == [0, 0], [result.err for result in results]
    assert commits(world) == before + 1
    world.assert_complete("origin/main")


def test_a_second_gather_finds_the_results_of_the_first(done: tuple[World, Plan]) -> None:
    world, _ = done
    engine = Engine(world)
    late = engine.clone("end")
    gathered(world, engine)
    tip = world.tip()
    result = engine.gather(cwd=late)
    assert result.code == 0, result.err
    assert world.tip() == tip


def test_results_are_rebased_onto_unrelated_commits(done: tuple[World, Plan]) -> None:
    world, _ = done
    engine = Engine(world)
    place = engine.clone("end")
    tip = world.commit("Meanwhile", {"README": "other"})
    result = engine.gather(cwd=place)
    assert result.code == 0, result.err
    assert world.git("rev-parse", "main^", cwd=world.origin) == tip
    world.assert_complete("origin/main")


def test_results_are_refused_if_new_commits_change_their_inputs(done: tuple[World, Plan]) -> None:
    world, _ = done
    engine = Engine(world)
    place = engine.clone("end")
    tip = world.commit("Meanwhile", {"params.yaml": "rate0: 5\nrate1: 1\nrate2: 1\n"})
    result = engine.gather(cwd=place)
    assert result.code == 1
    assert "the results do not belong there" in error_lines(result)[0]
    assert world.tip() == tip


@pytest.mark.dvc
def test_an_object_that_the_remote_lost_is_named_and_can_be_made_again(done: tuple[World, Plan]) -> None:
    world, plan = done
    engine = Engine(world)
    md5 = next(
        entry["md5"]
        for record in records(world)
        for entry in json.loads(record.read_text())["stages"].get("fit21", {"entry": {"outs": []}})["entry"]["outs"]
        if entry["path"] == "model21"
    )
    (world.storage / "files" / "md5" / md5[:2] / md5[2:]).unlink()
    before = commits(world)
    result = engine.gather()
    assert result.code == 1
    assert "objects of model21 are missing from the cache and from the DVC remote" in error_lines(result)[0]
    assert commits(world) == before
    again = engine.do(job_of(plan, "fit21"))
    assert again.code == 0, again.err
    gathered(world, engine)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"stages": {"date": 1}, "failures": {}}',
        '{"stages": {"join": {"entry": {"cmd": "x"}, "run": {}}}, "failures": {}}',
    ],
)
def test_an_invalid_record_is_ignored_with_a_warning(done: tuple[World, Plan], text: str) -> None:
    world, _ = done
    folder = records(world)[0].parent
    (folder / "strange.json").write_text(text)
    engine = Engine(world)
    result = engine.gather()
    assert result.code == 0, result.err
    assert "strange.json is not a valid record of a job" in result.err


def test_a_record_of_other_inputs_is_not_used(done: tuple[World, Plan]) -> None:
    world, _ = done
    for path in records(world):
        document = json.loads(path.read_text())
        if "join" in document["stages"]:
            document["stages"]["join"]["entry"]["deps"][0]["md5"] = "0" * 32
            path.write_text(json.dumps(document))
    engine = Engine(world)
    result = engine.gather()
    # The run cache still has the results for these inputs.
    assert result.code == 0, result.err
    world.assert_complete("origin/main")


# Bad input


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("run", "--stages", "nothing"), "--stages names 'nothing', which is not a stage"),
        (("run", "--stages", ""), "--stages names '', which is not a stage"),
        (("run", "--stages", "--help-me"), "--stages"),
        (("plan", "--max-jobs", "0"), "--max-jobs is '0': expected a whole number from 1 to 256"),
        (("plan", "--max-jobs", "257"), "--max-jobs is '257'"),
        (("plan", "--max-waves", "x"), "--max-waves is 'x'"),
        (("plan", "--format", "xml"), "--format"),
        (("plan", "--repro-targets", "nothing"), "repro_targets names 'nothing'"),
    ],
)
def test_bad_options_change_nothing(fresh: World, command: tuple[str, ...], said: str) -> None:
    done = fresh.cml(*command)
    assert done.code == 2
    assert len(error_lines(done)) == 1
    assert said in error_lines(done)[0]
    assert fresh.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("gpu", "meta.cml is 'gpu': expected a map"),
        ({"gpus": 2}, "meta.cml.gpus is 2: expected runs_on, tags, gpu or timeout"),
        ({"gpu": 2}, "meta.cml.gpu is 2: expected true or false"),
        ({"timeout": "1h"}, "meta.cml.timeout is '1h': expected whole minutes"),
        ({"timeout": 0}, "meta.cml.timeout is 0"),
        ({"timeout": True}, "meta.cml.timeout is True"),
        ({"runs_on": 1}, "meta.cml.runs_on is 1: expected a label or a list of labels"),
        ({"tags": ["a", ""]}, "meta.cml.tags is ['a', '']"),
    ],
)
def test_a_bad_meta_of_a_stage_is_bad_input(tmp_path: Path, asked: Any, said: str) -> None:
    stage = {"cmd": "true", "deps": ["in.txt"], "outs": ["out.txt"], "meta": {"cml": asked}}
    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(train=stage), "in.txt": "in"})
    done = world.cml("plan")
    assert done.code == 2
    assert error_lines(done) == [f"train: {said}"] or error_lines(done)[0].startswith(f"train: {said}")


def test_stages_choose_their_runner(tmp_path: Path) -> None:
    meta = {"cml": {"runs_on": "self-hosted", "tags": ["gpu", "big"], "gpu": True, "timeout": 90}, "note": "other"}
    stage = {"cmd": "true", "deps": ["in.txt"], "outs": ["out.txt"], "meta": meta}
    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(train=stage), "in.txt": "in"})
    (job,) = plan_of(world)["jobs"]
    assert (job["runs_on"], job["tags"], job["gpu"], job["timeout"]) == (["self-hosted"], ["gpu", "big"], True, 90)


def test_a_remote_without_a_run_cache_is_refused(tmp_path: Path) -> None:
    config = "[core]\n    remote = storage\n['remote \"storage\"']\n    url = http://127.0.0.1:9/data\n"
    stage = {"cmd": "true", "deps": ["in.txt"], "outs": ["out.txt"]}
    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(train=stage), "in.txt": "in"}, config=config)
    for command in (("run", "--stages", "train"), ("gather",)):
        done = world.cml(*command)
        assert done.code == 2
        assert "DVC has none on an HTTP remote" in error_lines(done)[0]


def test_uncommitted_changes_are_refused(world: World) -> None:
    world.write({"params.yaml": "rate0: 7\nrate1: 1\nrate2: 1\n"})
    done = world.cml("run", "--stages", "prepare", env=env_of(world))
    assert done.code == 2
    assert "params.yaml" in error_lines(done)[0]
    assert run_log(world) == []


def test_a_laptop_gathers_without_a_commit(done: tuple[World, Plan]) -> None:
    world, _ = done
    before = commits(world)
    result = world.cml("gather", env=env_of(world))
    assert result.code == 0, result.err
    assert lock(world.project).keys() == PIPELINE.keys()
    assert commits(world) == before
