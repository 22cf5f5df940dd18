"""A repeated run adds nothing: once, twice, five times and two at the same time, on each forge, for each event."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.jobs import FORGES_AND_LOCAL, REPORT_NAME, close_jobs, open_jobs
from support.world import World

from chaos.figures import count, trial
from chaos.project import assert_results, copy_project, make_project, results_commits
from chaos.size import draw

KINDS = {"local": ("push",), "github": ("push", "pull", "both"), "gitlab": ("push", "pull", "both")}
TIMES = (1, 2, 5, "two at the same time")
CASES = [(name, kind, times) for name in FORGES_AND_LOCAL for kind in KINDS[name] for times in TIMES]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("repeated runs"))


def count_duplicates(ci: Any, number: int) -> int:
    """Returns the number of duplicate comments, releases and check runs."""
    if ci.name == "local":
        return 0
    found = max(0, len(ci.reports(number)) - 1) if number else 0
    if ci.name == "gitlab":
        return found + max(0, len(ci.forge.releases()) - 1)
    shas = {check.head_sha for check in ci.forge.check_runs()}
    for sha in shas:
        assert_shown_once = [
            one for one in ci.forge.check_runs(sha) if one.name == REPORT_NAME and one.conclusion != "skipped"
        ]
        found += len(assert_shown_once) - len(
            {one.external_id.split(":")[0] + one.external_id.split(":")[1] for one in assert_shown_once}
        )
    return found


@pytest.mark.parametrize(("name", "kind", "times"), draw(CASES, 8, name="repeated runs"))
def test_a_repeated_run_adds_nothing(base: World, tmp_path: Path, name: str, kind: str, times: int | str) -> None:
    world = copy_project(base, tmp_path)
    ci = open_jobs(name, world, tmp_path / "forge")
    world.git("switch", "--quiet", "--create", "try")
    world.commit("Try", {"in.txt": '{"accuracy": 0.8}\n'})
    try:
        with trial("repeated runs", f"{name}, {kind}, {times}"):
            number = ci.open_pull("try") if name != "local" else 0

            def job(at: int) -> Any:
                is_pull = kind == "pull" or (kind == "both" and at % 2)
                return ci.pull(number) if is_pull else ci.push("try")

            if isinstance(times, int):
                for at in range(times):
                    done = ci.run(job(at), tag_prefix="dvc_")
                    assert done.code == 0, done.err
            else:
                codes = run_at_same_time(ci, [job(0), job(1)])
                assert codes == [0, 0]
            more = count_duplicates(ci, number) + len(results_commits(world, "try")) - 1
            count("repeated runs", count_duplicates=more)
            assert more == 0
            assert_results(world, branch="try")
            if number and kind != "push":
                assert len(ci.reports(number)) == 1
    finally:
        close_jobs(ci)


def run_at_same_time(ci: Any, jobs: list[Any]) -> list[int]:
    spaces = [ci.start(env) for env in jobs]
    token = {"github": "INPUT_REPO_TOKEN", "gitlab": "GITLAB_TOKEN"}.get(ci.name)
    runs = []
    for env, space in zip(jobs, spaces, strict=True):
        extra = {**env, "tag_prefix": "dvc_", "push": "true", **({token: ci.token} if token else {})}
        extra = {key: value for key, value in extra.items() if key not in ("HOME", "PATH")}
        environment = ci.world.environment(extra)
        with (space.parent / f"{space.name}.log").open("w") as log:
            runs.append(subprocess.Popen(["cml", "run"], cwd=space, env=environment, stdout=log, stderr=log))
    return [run.wait(timeout=240) for run in runs]
