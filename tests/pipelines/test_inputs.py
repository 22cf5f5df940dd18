"""Unusual inputs of a plan: parts of directories, folders that contain outputs, stages that never ran, records that
somebody else has written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.small_world import dvc_yaml, error_lines, make_small_world, stage_statuses
from support.world import World

from pipelines.engine import Engine, done_well, env_of, plan_of, run_log


def world_of(place: Path, files: Mapping[str, str] | None = None, **named: Mapping[str, Any]) -> World:
    return make_small_world(place, {"in.txt": "in\n", **(files or {}), "dvc.yaml": dvc_yaml(**named)})


def planned(world: World) -> set[str]:
    """The stages of a plan that is made in a fresh clone."""
    plan = plan_of(world, cwd=Engine(world).clone("plan"))
    return {name for job in plan["jobs"] for name in job["stages"]}


def spread(world: World) -> None:
    """Plans, does every job and gathers, each in a fresh clone; then there is nothing left to do."""
    engine = Engine(world)
    done_well(world, engine, plan_of(world, cwd=engine.clone("plan")))
    result = engine.gather()
    assert result.code == 0, result.err
    world.assert_complete("origin/main")
    world.git("pull", "--quiet", "origin", "main")


MADE_OF_NOTHING = {"cmd": "echo a >> $RUNS; date +%s%N > a.txt", "outs": ["a.txt"]}


def test_a_stage_without_dependencies_that_never_ran_must_run(tmp_path: Path) -> None:
    world = world_of(tmp_path, a=MADE_OF_NOTHING, b={"cmd": "cp a.txt b.txt", "deps": ["a.txt"], "outs": ["b.txt"]})
    assert planned(world) == {"a", "b"}
    spread(world)
    assert run_log(world) == ["a"]
    assert planned(world) == set()


def test_dvc_pull_auto_runs_a_stage_that_never_ran(tmp_path: Path) -> None:
    world = world_of(tmp_path, a=MADE_OF_NOTHING)
    done = world.cml("run", "--push", "true", "--dvc-pull", "auto", env=env_of(world))
    assert done.code == 0, done.err
    assert run_log(world) == ["a"]
    assert stage_statuses(world) == {"a": "ran"}


def tracked_folder(world: World, **files: str) -> None:
    world.write({f"data/{name}": text for name, text in files.items()})
    world.dvc("add", "--quiet", "data")
    world.dvc("push", "--quiet")
    world.commit("Data")


PART = {
    "cmd": 'echo part >> $RUNS; cp data/x out.txt; echo "{\\"size\\": $(wc -c < data/x)}" > m.json',
    "deps": ["data/x"],
    "outs": ["out.txt"],
    "metrics": [{"m.json": {"cache": False}}],
}


@pytest.mark.parametrize("way", ["plan", "auto"])
def test_a_changed_part_of_a_tracked_folder_is_found_without_its_data(tmp_path: Path, way: str) -> None:
    world = world_of(tmp_path, part=PART)
    tracked_folder(world, x="one", y="y")
    spread(world)
    tracked_folder(world, x="one", y="another")
    assert planned(world) == set()
    tracked_folder(world, x="three", y="another")
    assert planned(world) == {"part"}
    if way == "plan":
        spread(world)
    else:
        place = Engine(world).clone("auto")
        done = world.cml("run", "--push", "true", "--dvc-pull", "auto", cwd=place, env=env_of(world))
        assert done.code == 0, done.err
        world.git("pull", "--quiet", "origin", "main")
    assert run_log(world) == ["part", "part"]
    assert json.loads((world.project / "m.json").read_text()) == {"size": 5}
    assert planned(world) == set()


def test_results_of_different_runs_of_a_stage_are_not_mixed(tmp_path: Path) -> None:
    a = {"cmd": "mkdir -p data; date +%s%N > data/x", "outs": ["data"], "always_changed": True}
    world = world_of(tmp_path, a=a, b={"cmd": "cp data/x b.txt", "deps": ["data/x"], "outs": ["b.txt"]})
    engine = Engine(world)
    for name in ("a", "b"):
        assert engine.do({"stages": [name]}).code == 0
    for path in (world.storage / "cml").rglob("*.json"):  # the job of `a` was lost, and is done anew
        if "a" in json.loads(path.read_text())["stages"]:
            path.unlink()
    assert engine.do({"stages": ["a"]}).code == 0
    result = engine.gather()
    assert result.code == 1
    assert "the results of b were made from other inputs" in error_lines(result)[0]
    assert engine.do({"stages": ["b"]}).code == 0
    assert engine.gather().code == 0
    world.assert_complete("origin/main")
    clone = world.folder / "fresh-clone"
    assert (clone / "b.txt").read_text() == (clone / "data" / "x").read_text()


def test_a_folder_that_contains_outputs_is_up_to_date_in_the_end(tmp_path: Path) -> None:
    models = {
        name: {"cmd": f"echo {name} > models/{name}", "deps": ["in.txt"], "outs": [f"models/{name}"]} for name in "ab"
    }
    join = {"cmd": "cat models/a models/b models/note > all.txt", "deps": ["models"], "outs": ["all.txt"]}
    world = world_of(tmp_path, {"models/note": "n\n"}, **models, join=join)
    spread(world)
    assert (world.folder / "fresh-clone" / "all.txt").read_text() == "a\nb\nn\n"
    done = world.cml("run", "--push", "true")
    assert done.code == 0, done.err
    assert "nothing changed" in done.err
    assert planned(world) == set()


def test_a_folder_that_contains_tracked_data_is_up_to_date(tmp_path: Path) -> None:
    world = world_of(tmp_path, rawdir={"cmd": "cp raw/x out.txt", "deps": ["raw"], "outs": ["out.txt"]})
    world.write({"raw/x": "raw\n"})
    world.dvc("add", "--quiet", "raw/x")
    world.dvc("push", "--quiet")
    world.commit("Data")
    spread(world)
    assert planned(world) == set()
    result = Engine(world).gather()
    assert result.code == 0, result.err
    assert "all stages are up to date" in result.err


def test_a_retry_that_fails_early_keeps_the_results_of_the_first_attempt(tmp_path: Path) -> None:
    world = world_of(tmp_path, a={**MADE_OF_NOTHING, "always_changed": True})
    engine = Engine(world)
    assert engine.do({"stages": ["a"]}).code == 0
    again = world.cml("run", "--stages", "a", "--setup", "false", cwd=engine.clone("a"), env=env_of(world))
    assert again.code == 1
    result = engine.gather()
    assert result.code == 0, result.err
    assert run_log(world) == ["a"]


def test_a_retry_makes_an_output_that_is_never_pushed_again(tmp_path: Path) -> None:
    a = {"cmd": "echo a >> $RUNS; cp in.txt a.txt", "deps": ["in.txt"], "outs": [{"a.txt": {"push": False}}]}
    b = {"cmd": "test -e $RUNS.mended && cp a.txt b.txt", "deps": ["a.txt"], "outs": ["b.txt"]}
    world = world_of(tmp_path, a=a, b=b)
    engine = Engine(world)
    assert engine.do({"stages": ["a", "b"]}).code == 1
    (world.folder / "runs.txt.mended").touch()
    again = engine.do({"stages": ["a", "b"]})
    assert again.code == 0, again.err
    assert engine.gather().code == 0


def test_a_stage_continues_from_its_persistent_output(tmp_path: Path) -> None:
    a = {"cmd": "cat p.txt >> state.txt", "deps": ["p.txt"], "outs": [{"state.txt": {"persist": True}}]}
    world = world_of(tmp_path, {"p.txt": "1\n"}, a=a)
    spread(world)
    world.commit("More", {"p.txt": "2\n"})
    spread(world)
    assert (world.folder / "fresh-clone" / "state.txt").read_text() == "1\n2\n"


def test_a_gather_that_saves_nothing_leaves_the_records(tmp_path: Path) -> None:
    world = world_of(tmp_path, a={**MADE_OF_NOTHING, "always_changed": True})
    engine = Engine(world)
    assert engine.do({"stages": ["a"]}).code == 0
    look = world.cml("gather", cwd=engine.clone("look"))
    assert look.code == 0, look.err
    assert engine.gather().code == 0


@pytest.mark.parametrize("mode", [0o444, 0o644])
def test_a_record_cannot_reach_a_file_of_the_job(tmp_path: Path, mode: int) -> None:
    world = world_of(tmp_path, a=PART | {"deps": ["in.txt"], "cmd": "cp in.txt out.txt; echo '{\"n\": 1}' > m.json"})
    engine = Engine(world)
    assert engine.do({"stages": ["a"]}).code == 0
    secret = tmp_path / "secret.txt"
    secret.write_text("secret\n")
    secret.chmod(mode)
    (path,) = (world.storage / "cml").rglob("*.json")
    document = json.loads(path.read_text())
    row = next(out for out in document["stages"]["a"]["entry"]["outs"] if out["path"] == "m.json")
    row["md5"] = "../" * 21 + str(secret).lstrip("/")
    path.write_text(json.dumps(document))
    result = engine.gather()
    assert secret.read_text() == "secret\n"
    assert "secret" not in result.out + result.err
    # The results come from the run cache instead.
    assert result.code == 0, result.err
    world.assert_complete("origin/main")
    assert json.loads((world.folder / "fresh-clone" / "m.json").read_text()) == {"n": 1}


def test_the_name_of_a_stage_may_look_like_an_option(tmp_path: Path) -> None:
    train = {"-train": {"cmd": "cp in.txt out.txt", "deps": ["in.txt"], "outs": ["out.txt"]}}
    world = world_of(tmp_path, {}, **train)
    plan = json.loads(world.cml("plan", "--format", "gitlab").out)
    assert plan["-train"]["script"] == ["cml run --stages=-train"]
    done = world.try_run("sh", "-c", plan["-train"]["script"][0])
    assert done.code == 0, done.err
