"""Every platform's limit is kept: what is too long loses whole rows, says how many, and stays whole Markdown."""

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
from chaos.size import sized, some
from chaos.stage import copied, make
from cml.model.report import Report

ALPHABETS = {"ASCII": "class", "CJK": "分類精度", "emoji": "👩‍👩‍👧🎉", "combining": "e\u0301\u0323a\u0308"}
OMITTED = re.compile(r"(\d[\d,]*) (more|rows?|lines?|entries|others)|omitted", re.IGNORECASE)


def report_of(letters: str, rows: int) -> Report:
    many = tuple(metric(f"{letters}_{row}", 0.5, 0.5 + row / 1000, better=True) for row in range(rows))
    return replace(big(5), metrics=many, warnings=tuple(f"{letters} {row}" for row in range(5)))


@pytest.mark.parametrize("letters", ALPHABETS)
@pytest.mark.parametrize("rows", some([0, 1, 40, 400], 2, name="limits"))
def test_around_a_limit_and_far_beyond_it(letters: str, rows: int) -> None:
    """A report is as long as its limit, two bytes shorter to two longer, and ten times as long."""
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
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("limits"))


@pytest.mark.parametrize("name", FORGES)
@pytest.mark.parametrize("letters", some(ALPHABETS, 1, name="posted"))
def test_a_forge_takes_ten_times_the_limit(made: World, tmp_path: Path, name: str, letters: str) -> None:
    world = copied(made, tmp_path)
    place = open_jobs(name, world, tmp_path / "forge")
    world.git("switch", "--quiet", "--create", "try")
    rows = sized(4_000, 12_000)
    write = "import json; print(json.dumps({f'" + ALPHABETS[letters] + "_{n}': n for n in range(ROWS)}))"
    command = "python write.py > m.json"
    pipeline = dvc_yaml(train={"cmd": command, "deps": ["write.py"], "metrics": kept_in_git("m.json")})
    world.commit("Many", {"write.py": write.replace("ROWS", str(rows)), "dvc.yaml": pipeline})
    try:
        with trial("limits", f"{name}, {letters}"):
            number = place.open_pull("try")
            done = place.run(place.pull(number), tag_prefix="dvc_")
            assert done.code == 0, done.err
            asked = place.forge.requests if name == "github" else place.forge.exchanges
            refused = [one for one in asked if one.status in (413, 422) or (one.status == 400 and one.json)]
            count("limits", refused=len(refused))
            assert not refused, refused
            [text] = place.reports(number)
            assert OMITTED.search(text)
            assert "did not take" not in done.err
            assert "refuses" not in done.err
    finally:
        close_jobs(place)
