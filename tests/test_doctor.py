"""`cml doctor`: one line for each check, and what to do about a problem."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.small_world import COPY, REMOTE, dvc_yaml, make_small_world
from support.world import World

FILES = {"in.txt": "1", "dvc.yaml": dvc_yaml(make=COPY)}


def findings(
    world: World, *options: str, code: int = 0, env: Mapping[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    done = world.cml("doctor", "--json", *options, env=env)
    assert done.code == code, done.err + done.out
    assert "Traceback" not in done.err
    return {check["name"]: check for check in json.loads(done.out)}


def test_a_project_without_problems(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, FILES)
    world.storage.mkdir()
    done = world.cml("doctor")
    assert done.code == 0, done.err
    lines = [line for line in done.out.splitlines() if not re.match(r".{8} (gpu|docker| )", line)]  # of this machine
    assert all(line.startswith("ok ") for line in lines), done.out
    assert any("origin accepts pushes to main" in line for line in lines)
    assert any("1 stage, 1 DVC remote" in line for line in lines)
    assert any("remote storage" in line and "can be read" in line for line in lines)
    assert world.git("status", "--porcelain") == ""
    assert not (world.project / "cml-report").exists()
    assert list(world.storage.iterdir()) == [], "a check without --write writes nothing"


def test_every_check_has_all_fields_in_json(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, FILES)
    world.storage.mkdir()
    checks = findings(world)
    assert {"cml", "forge", "git", "project", "remote storage"} <= checks.keys()
    assert all(check.keys() == {"name", "status", "found", "advice", "uses", "missing"} for check in checks.values())
    own = {check["status"] for name, check in checks.items() if not name.startswith(("gpu", "docker"))}
    assert own == {"ok"}


def test_a_missing_folder_of_a_remote_is_a_note(tmp_path: Path) -> None:
    check = findings(make_small_world(tmp_path, FILES))["remote storage"]
    assert check["status"] == "note"
    assert "does not exist yet" in check["found"]
    assert "is it on a share that is not mounted?" in check["found"]


def test_a_file_where_the_folder_should_be_is_a_problem(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, FILES)
    world.storage.write_text("")
    assert findings(world, code=1)["remote storage"]["status"] == "problem"


def test_a_folder_that_cannot_be_written_is_a_problem_with_write(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, FILES, config=REMOTE.replace("{}", "/proc/self"))
    assert findings(world)["remote storage"]["status"] == "ok"
    check = findings(world, "--write", code=1)["remote storage"]
    assert check["status"] == "problem"
    assert "/proc/self" in check["found"]


def test_a_remote_whose_package_is_not_installed_is_a_problem_that_names_it(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, FILES, config=REMOTE.replace("{}", "s3://bucket/dvc"))
    world.write({"no/dvc_s3.py": "raise ImportError(__name__)\n"}, cwd=tmp_path)
    check = findings(world, code=1, env={"PYTHONPATH": str(tmp_path / "no"), "AWS_PROFILE": "ours"})["remote storage"]
    assert check["found"].endswith("needs a package that is not installed: pip install 'dvc-cml[s3]'")
    assert (check["uses"], check["missing"]) == (["AWS_PROFILE"], [])


def test_write_leaves_no_file_on_the_remote(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, FILES)
    assert findings(world, "--write")["remote storage"]["found"] == "local: can be read and written"
    assert [path for path in world.storage.rglob("*") if path.is_file()] == []


def test_outputs_without_a_remote_are_a_problem(tmp_path: Path) -> None:
    check = findings(make_small_world(tmp_path, FILES, config=""), code=1)["remote"]
    assert check["status"] == "problem"
    assert "out.txt" in check["found"]
    assert "dvc remote add -d" in check["advice"]


def test_an_unreachable_remote_is_a_problem(tmp_path: Path) -> None:
    far = "[core]\n    remote = far\n['remote \"far\"']\n    url = http://127.0.0.1:1/dvc\n"
    check = findings(make_small_world(tmp_path, FILES, config=far), code=1)["remote far"]
    assert check["status"] == "problem"
    assert "127.0.0.1" in check["found"]


def test_an_origin_that_does_not_accept_pushes_is_a_problem(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, FILES)
    world.git("remote", "set-url", "origin", "../nowhere.git")
    check = findings(world, code=1)["git"]
    assert check["status"] == "problem"
    assert "origin does not accept a push to main" in check["found"]
    assert check["advice"] == "give this user write access to the branch"


def test_a_broken_project_does_not_prevent_the_other_checks(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, FILES)
    world.write({"dvc.yaml": "stages: [a"})
    checks = findings(world, code=1)
    assert checks["git"]["status"] == "ok"
    assert checks["project"]["status"] == "problem"
    assert "dvc.yaml" in checks["project"]["found"]


def test_outside_of_a_git_repository_there_is_one_problem(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.project.mkdir()
    check = findings(world, code=1)["start"]
    assert check["status"] == "problem"
    assert "not in a git repository" in check["found"]
    done = world.cml("doctor", "--push", "maybe")
    assert done.code == 1
    assert "push is 'maybe'" in done.out
