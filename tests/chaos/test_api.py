"""API errors never lose a training and never duplicate a message: each endpoint with each kind of error."""

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
from chaos.project import INSIDE, assert_results, copy_project, make_project
from chaos.size import draw
from cml.forges.retry import RUN_SECONDS

SPEED = 10
FORGE_ERRORS = {
    "github": ("403", "403-wait", "primary"),
    "gitlab": ("done-503",),
}
ERRORS: tuple[str, ...] = (
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
ERRORS += ("redirect-elsewhere", "done-500", "done-502", "done-reset", "done-hang")
TIMES = (1, 2, 5, None)
# The requests of a job of a pull request. `test_all_endpoints_are_listed` compares them with the real requests.
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
    (ci, route, how, times)
    for ci, routes in ROUTES.items()
    for route in routes
    for how in (*ERRORS, *FORGE_ERRORS[ci])
    for times in TIMES
]


# Answers that PyGithub takes for successes. They are tried at every size.
ALWAYS = [
    ("github", "PATCH /repos/ada/digits/check-runs/*", "html", 2),
    ("github", "PATCH /repos/ada/digits/check-runs/*", "redirect", None),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("api"))


@contextmanager
def open_pull_request(base: World, ci: str, folder: Path) -> Iterator[tuple[Any, int]]:
    """Starts a forge with a pull request; yields its jobs and the number of the pull request."""
    world = copy_project(base, folder)
    found = open_jobs(ci, world, folder / "forge")
    world.git("switch", "--quiet", "--create", "try")
    world.commit("Try", {"in.txt": '{"accuracy": 0.8}\n'})
    try:
        yield found, found.open_pull("try")
    finally:
        close_jobs(found)


def matches_route(route: str, method: str, path: str) -> bool:
    pattern = re.escape(route.partition(" ")[2]).replace(r"\*", "[^/]*")
    return route.startswith(f"{method} ") and re.fullmatch(pattern, path.partition("?")[0]) is not None


def assert_shown_once(ci: Any, number: int) -> None:
    """Fails for a duplicate comment, check or release, and for a check run that was started and never completed."""
    assert len(ci.reports(number)) == 1
    if ci.name == "github":
        for sha in {check.head_sha for check in ci.forge.check_runs()}:
            checks = [check for check in ci.forge.check_runs(sha) if check.name == REPORT_NAME]
            assert all(check.status == "completed" for check in checks)
            assert len({check.external_id for check in checks}) == len(checks)
    else:
        assert len(ci.forge.releases()) <= 1


@pytest.mark.parametrize("name", FORGES)
def test_all_endpoints_are_listed(base: World, tmp_path: Path, name: str) -> None:
    with open_pull_request(base, name, tmp_path) as (ci, number):
        assert ci.run(ci.pull(number), tag_prefix="dvc_").code == 0
        exchanges = ci.forge.requests if name == "github" else ci.forge.exchanges
        asked = {(one.method, one.path.partition("?")[0]) for one in exchanges if ".git" not in one.path}
        asked = {(method, path) for method, path in asked if not path.startswith("/ada/")}
        assert not {one for one in asked if not any(matches_route(route, *one) for route in ROUTES[name])}


@pytest.mark.parametrize(
    ("name", "route", "how", "times"), [*ALWAYS, *draw([case for case in CASES if case not in ALWAYS], 24, name="api")]
)
def test_api_errors_lose_and_duplicate_nothing(
    base: World, tmp_path: Path, name: str, route: str, how: str, times: int | None
) -> None:
    slept = tmp_path / "slept"
    hurry = {"PYTHONPATH": INSIDE, "CML_CHAOS_SPEED": str(SPEED), "CML_CHAOS_SLEPT": str(slept)}
    with trial("api"), open_pull_request(base, name, tmp_path) as (ci, number):
        job = ci.pull(number)
        ci.forge.fail(route, times=times, how=how, seconds=30)
        done = ci.run(job, tag_prefix="dvc_", **hurry)
        assert done.code == 0, done.err
        assert_results(ci.world, branch="try")
        assert len(ci.reports(number)) <= 1
        assert "accuracy" in (done.workspace / "cml-report" / "report.md").read_text()
        waited = sum(map(float, slept.read_text().split())) if slept.exists() else 0.0
        count("api", waited_max=round(waited, 1))
        assert waited <= RUN_SECONDS + 10  # PyGithub also waits one second between two writes
        assert_next_run_completes(ci, job, number)


def assert_next_run_completes(ci: Any, job: Any, number: int) -> None:
    """Fails unless the next run, without API errors, ends with one results commit and one report."""
    ci.forge.recover()
    if ci.name == "github":
        ci.forge.finish_run(job["GITHUB_RUN_ID"])
    done = ci.run(ci.pull(number), tag_prefix="dvc_")
    assert done.code == 0, done.err
    assert_results(ci.world, branch="try")
    assert_shown_once(ci, number)


GIT = [
    (route, how, times, skip)
    for route in ("GET *info/refs", "POST */git-upload-pack", "POST */git-receive-pack")
    for how in ("500", "502", "503", "504", "429", "reset", "truncated", "html", "done-500", "done-502", "done-reset")
    for times in (1, 2, 5)
    for skip in (0, 1, 2, 3)
]


@pytest.mark.parametrize(("route", "how", "times", "skip"), draw(GIT, 10, name="git"))
def test_errors_of_the_git_server_duplicate_nothing(
    base: World, tmp_path: Path, route: str, how: str, times: int, skip: int
) -> None:
    """A push whose answer was lost is not repeated; a push that did not arrive is."""
    with trial("api"), open_pull_request(base, "github", tmp_path) as (ci, number):
        job = ci.pull(number)
        workspace = ci.start(job)
        ci.forge.fail(route, times=times, how=how, skip=skip)
        done = ci.run(job, workspace=workspace, tag_prefix="dvc_", PYTHONPATH=INSIDE, CML_CHAOS_SPEED=str(SPEED))
        assert done.code in {0, 1, 2}, done.err
        assert_next_run_completes(ci, job, number)
