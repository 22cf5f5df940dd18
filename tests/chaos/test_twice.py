"""The same run twice is one run: once, twice, five times and two at once, in every place and for every kind of event."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.jobs import FORGES_AND_LOCAL, REPORT_NAME, close_jobs, open_jobs
from support.world import World

from chaos.figures import count, trial
from chaos.size import some
from chaos.stage import copied, judge, make, results

KINDS = {"local": ("push",), "github": ("push", "pull", "both"), "gitlab": ("push", "pull", "both")}
TIMES = (1, 2, 5, "two at once")
CASES = [(name, kind, times) for name in FORGES_AND_LOCAL for kind in KINDS[name] for times in TIMES]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("twice"))


def doubled(place: Any, number: int) -> int:
    """How many messages there are more than there should be."""
    if place.name == "local":
        return 0
    found = max(0, len(place.reports(number)) - 1) if number else 0
    if place.name == "gitlab":
        return found + max(0, len(place.forge.releases()) - 1)
    shas = {check.head_sha for check in place.forge.check_runs()}
    for sha in shas:
        shown = [one for one in place.forge.check_runs(sha) if one.name == REPORT_NAME and one.conclusion != "skipped"]
        found += len(shown) - len({one.external_id.split(":")[0] + one.external_id.split(":")[1] for one in shown})
    return found


@pytest.mark.parametrize(("name", "kind", "times"), some(CASES, 8, name="twice"))
def test_the_same_work_adds_nothing(made: World, tmp_path: Path, name: str, kind: str, times: int | str) -> None:
    world = copied(made, tmp_path)
    place = open_jobs(name, world, tmp_path / "forge")
    world.git("switch", "--quiet", "--create", "try")
    world.commit("Try", {"in.txt": '{"accuracy": 0.8}\n'})
    try:
        with trial("twice", f"{name}, {kind}, {times}"):
            number = place.open_pull("try") if name != "local" else 0

            def job(at: int) -> Any:
                is_pull = kind == "pull" or (kind == "both" and at % 2)
                return place.pull(number) if is_pull else place.push("try")

            if isinstance(times, int):
                for at in range(times):
                    done = place.run(job(at), tag_prefix="dvc_")
                    assert done.code == 0, done.err
            else:
                codes = at_once(place, [job(0), job(1)])
                assert codes == [0, 0]
            more = doubled(place, number) + len(results(world, "try")) - 1
            count("twice", doubled=more)
            assert more == 0
            judge(world, branch="try")
            if number and kind != "push":
                assert len(place.reports(number)) == 1
    finally:
        close_jobs(place)


def at_once(place: Any, jobs: list[Any]) -> list[int]:
    spaces = [place.start(env) for env in jobs]
    token = {"github": "INPUT_REPO_TOKEN", "gitlab": "GITLAB_TOKEN"}.get(place.name)
    runs = []
    for env, space in zip(jobs, spaces, strict=True):
        extra = {**env, "tag_prefix": "dvc_", "push": "true", **({token: place.token} if token else {})}
        extra = {key: value for key, value in extra.items() if key not in ("HOME", "PATH")}
        environment = place.world.environment(extra)
        with (space.parent / f"{space.name}.log").open("w") as log:
            runs.append(subprocess.Popen(["cml", "run"], cwd=space, env=environment, stdout=log, stderr=log))
    return [run.wait(timeout=240) for run in runs]
