"""Reports never exceed a platform's limit: a report that is too long loses whole rows, counts them, and stays valid."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.jobs import FORGES, close_jobs, open_jobs
from support.small_world import dvc_yaml, kept_in_git
from support.world import World
from test_render import assert_whole, big, markdown, metric, size

from chaos.figures import count, trial
from chaos.project import copy_project, make_project
from chaos.size import by_size, draw
from cml.model.report import Report

ALPHABETS = {"ASCII": "class", "CJK": "分類精度", "emoji": "👩‍👩‍👧🎉", "combining": "e\u0301\u0323a\u0308"}
OMITTED = re.compile(r"(\d[\d,]*) (more|rows?|lines?|entries|others)|omitted", re.IGNORECASE)


def report_of(letters: str, rows: int) -> Report:
    many = tuple(metric(f"{letters}_{row}", 0.5, 0.5 + row / 1000, better=True) for row in range(rows))
    return replace(big(5), metrics=many, warnings=tuple(f"{letters} {row}" for row in range(5)))


@pytest.mark.parametrize("letters", ALPHABETS)
@pytest.mark.parametrize("rows", draw([0, 1, 40, 400], 2, name="limits"))
def test_reports_around_a_limit_and_far_beyond_it(letters: str, rows: int) -> None:
    """The limits are two bytes below to two bytes above the report's length, and a tenth of it."""
    report = report_of(ALPHABETS[letters], rows)
    whole = markdown(report)
    for limit in (*(size(whole) + less for less in (-2, -1, 0, 1, 2)), max(size(whole) // 10, 3_000)):
        with trial("limits", f"{letters}, {rows} rows, limit {limit} of {size(whole)}"):
            text = markdown(report, limit=limit)
            assert size(text) <= limit
            if limit >= size(whole):
                assert text == whole
            else:
                assert_whole(text)
                assert OMITTED.search(text)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("limits"))


@pytest.mark.parametrize("name", FORGES)
@pytest.mark.parametrize("letters", draw(ALPHABETS, 1, name="posted"))
def test_a_report_of_ten_times_the_limit_is_published(base: World, tmp_path: Path, name: str, letters: str) -> None:
    world = copy_project(base, tmp_path)
    ci = open_jobs(name, world, tmp_path / "forge")
    world.git("switch", "--quiet", "--create", "try")
    rows = by_size(4_000, 12_000)
    write = "import json; print(json.dumps({f'" + ALPHABETS[letters] + "_{n}': n for n in range(ROWS)}))"
    command = "python write.py > m.json"
    pipeline = dvc_yaml(train={"cmd": command, "deps": ["write.py"], "metrics": kept_in_git("m.json")})
    world.commit("Many", {"write.py": write.replace("ROWS", str(rows)), "dvc.yaml": pipeline})
    try:
        with trial("limits", f"{name}, {letters}"):
            number = ci.open_pull("try")
            done = ci.run(ci.pull(number), tag_prefix="dvc_")
            assert done.code == 0, done.err
            asked = ci.forge.requests if name == "github" else ci.forge.exchanges
            refused = [one for one in asked if one.status in (413, 422) or (one.status == 400 and one.json)]
            count("limits", refused=len(refused))
            assert not refused, refused
            [text] = ci.reports(number)
            assert OMITTED.search(text)
            assert "did not take" not in done.err
            assert "refuses" not in done.err
    finally:
        close_jobs(ci)
