"""API trouble never loses a training and never doubles a message: every endpoint, every kind of trouble, in time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.jobs import FORGES, REPORT_NAME, close_jobs, open_jobs
from support.world import World

from chaos.figures import count, trial
from chaos.size import some
from chaos.stage import INSIDE, copied, judge, make
from cml.forges.retry import RUN_SECONDS

SPEED = 10
HOWS = {
    "github": ("403", "403-wait", "primary"),
    "gitlab": ("done-503",),
}
COMMON: tuple[str, ...] = (
    "500",
    "502",
    "503",
    "504",
    "429",
    "429-wait",
    "hang",
    "reset",
    "truncated",
    "html",
    "redirect",
)
COMMON += ("redirect-elsewhere", "done-500", "done-502", "done-reset", "done-hang")
TIMES = (1, 2, 5, None)
# What a job of a pull request asks of each API; test_the_endpoints_are_all_of_them holds these to what is asked.
ROUTES = {
    "github": [
        "GET /repos/ada/digits/commits/*/check-runs",
        "POST /repos/ada/digits/check-runs",
        "PATCH /repos/ada/digits/check-runs/*",
        "GET /repos/ada/digits/issues/*/comments",
        "POST /repos/ada/digits/issues/*/comments",
        "PATCH /repos/ada/digits/issues/comments/*",
        "GET /repos/ada/digits/pulls/*",
        "GET /repos/ada/digits/actions/runs/*",
        "GET /user",
    ],
    "gitlab": [
        "GET /projects/*/merge_requests/*",
        "GET /projects/*/merge_requests/*/notes",
        "POST /projects/*/merge_requests/*/notes",
        "PUT /projects/*/merge_requests/*/notes/*",
        "GET /projects/*/repository/branches",
        "GET /projects/*/repository/commits/*/statuses",
        "POST /projects/*/statuses/*",
        "GET /projects/*/jobs",
        "GET /projects/*/releases/*",
        "POST /projects/*/releases",
        "GET /user",
    ],
}
CASES = [
    (place, route, how, times)
    for place, routes in ROUTES.items()
    for route in routes
    for how in (*COMMON, *HOWS[place])
    for times in TIMES
]


# Answers that PyGithub takes for good ones; tried always.
FOUND = [
    ("github", "PATCH /repos/ada/digits/check-runs/*", "html", 2),
    ("github", "PATCH /repos/ada/digits/check-runs/*", "redirect", None),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("api"))


@contextmanager
def opened(made: World, place: str, folder: Path) -> Iterator[tuple[Any, int]]:
    """A forge with a pull request whose branch an earlier run has reported on."""
    world = copied(made, folder)
    found = open_jobs(place, world, folder / "forge")
    world.git("switch", "--quiet", "--create", "try")
    world.commit("Try", {"in.txt": '{"accuracy": 0.8}\n'})
    try:
        yield found, found.open_pull("try")
    finally:
        close_jobs(found)


def same(route: str, method: str, path: str) -> bool:
    pattern = re.escape(route.partition(" ")[2]).replace(r"\*", "[^/]*")
    return route.startswith(f"{method} ") and re.fullmatch(pattern, path.partition("?")[0]) is not None


def shown(place: Any, number: int) -> None:
    """Fails for two messages where one should be, and for a check that was begun and never ended."""
    assert len(place.reports(number)) == 1
    if place.name == "github":
        for sha in {check.head_sha for check in place.forge.check_runs()}:
            checks = [check for check in place.forge.check_runs(sha) if check.name == REPORT_NAME]
            assert all(check.status == "completed" for check in checks)
            assert len({check.external_id for check in checks}) == len(checks)
    else:
        assert len(place.forge.releases()) <= 1


@pytest.mark.parametrize("name", FORGES)
def test_the_endpoints_are_all_of_them(made: World, tmp_path: Path, name: str) -> None:
    with opened(made, name, tmp_path) as (place, number):
        assert place.run(place.pull(number), tag_prefix="dvc_").code == 0
        exchanges = place.forge.requests if name == "github" else place.forge.exchanges
        asked = {(one.method, one.path.partition("?")[0]) for one in exchanges if ".git" not in one.path}
        asked = {(method, path) for method, path in asked if not path.startswith("/ada/")}
        assert not {one for one in asked if not any(same(route, *one) for route in ROUTES[name])}


@pytest.mark.parametrize(
    ("name", "route", "how", "times"), [*FOUND, *some([case for case in CASES if case not in FOUND], 24, name="api")]
)
def test_trouble_doubles_nothing_and_loses_nothing(
    made: World, tmp_path: Path, name: str, route: str, how: str, times: int | None
) -> None:
    slept = tmp_path / "slept"
    hurry = {"PYTHONPATH": INSIDE, "CML_CHAOS_SPEED": str(SPEED), "CML_CHAOS_SLEPT": str(slept)}
    with trial("api"), opened(made, name, tmp_path) as (place, number):
        job = place.pull(number)
        place.forge.fail(route, times=times, how=how, seconds=30)
        done = place.run(job, tag_prefix="dvc_", **hurry)
        assert done.code == 0, done.err
        judge(place.world, branch="try")
        assert len(place.reports(number)) <= 1
        assert "accuracy" in (done.workspace / "cml-report" / "report.md").read_text()
        waited = sum(map(float, slept.read_text().split())) if slept.exists() else 0.0
        count("api", waited_max=round(waited, 1))
        assert waited <= RUN_SECONDS + 10  # the library's second between writes comes on top
        converges(place, job, number)


def converges(place: Any, job: Any, number: int) -> None:
    """Fails unless the next run, without trouble, leaves one of everything."""
    place.forge.recover()
    if place.name == "github":
        place.forge.finish_run(job["GITHUB_RUN_ID"])
    done = place.run(place.pull(number), tag_prefix="dvc_")
    assert done.code == 0, done.err
    judge(place.world, branch="try")
    shown(place, number)


GIT = [
    (route, how, times, skip)
    for route in ("GET *info/refs", "POST */git-upload-pack", "POST */git-receive-pack")
    for how in ("500", "502", "503", "504", "429", "reset", "truncated", "html", "done-500", "done-502", "done-reset")
    for times in (1, 2, 5)
    for skip in (0, 1, 2, 3)
]


@pytest.mark.parametrize(("route", "how", "times", "skip"), some(GIT, 10, name="git"))
def test_trouble_of_the_git_server_doubles_nothing(
    made: World, tmp_path: Path, route: str, how: str, times: int, skip: int
) -> None:
    """A push whose answer was lost is not done again, and one that did not arrive is."""
    with trial("api"), opened(made, "github", tmp_path) as (place, number):
        job = place.pull(number)
        workspace = place.start(job)
        place.forge.fail(route, times=times, how=how, skip=skip)
        done = place.run(job, workspace=workspace, tag_prefix="dvc_", PYTHONPATH=INSIDE, CML_CHAOS_SPEED=str(SPEED))
        assert done.code in {0, 1, 2}, done.err
        converges(place, job, number)
