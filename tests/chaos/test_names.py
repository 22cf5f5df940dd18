"""Names cannot change the report or the job: hostile ones, read by a Markdown parser and by the runner's own grammar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.jobs import FORGES, close_jobs, open_jobs
from support.small_world import dvc_yaml, kept_in_git
from support.world import World
from test_render import FRAGMENTS, HIDDEN, REFERENCES, hostile, html, markdown, structure, tags, terminal, words

from chaos.figures import count, trial
from chaos.size import dice, sized
from chaos.stage import copied, make

MANY = sized(250, 10_000)
# The runner's grammar: `::command` at a line's start, `##[command]` anywhere in it.
COMMAND = re.compile(r"^\s*::[a-zA-Z-]|##\[[a-zA-Z]|##vso\[", re.MULTILINE)


@pytest.mark.parametrize("part", range(4))
def test_hostile_names_are_nothing_but_text(part: int) -> None:
    """Each name stands in every place of a report that a repository fills: metrics, params, files, branches, authors."""
    drawn = dice(f"names {part}")
    plain, plain_page = structure(markdown(hostile("plain"))), tags(html(hostile("plain")))
    for _ in range(MANY // 4):
        name = "".join(drawn.choices(FRAGMENTS, k=drawn.randint(1, 9)))
        with trial("names", repr(name)):
            report = hostile(name)
            text = markdown(report)
            assert structure(text) == plain
            assert not REFERENCES.search(words(text))
            assert not HIDDEN.search(text)
            assert not COMMAND.search(text)
            assert not COMMAND.search(terminal(report))
            if drawn.random() < 0.2:
                assert tags(html(report)) == plain_page


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("names"))


# What git takes for a branch; it refuses spaces, colons and brackets itself.
BRANCHES = [
    "a;touch${IFS}evil",
    "$(touch${IFS}evil)",
    "`touch${IFS}evil`",
    "a'b\"c",
    "a\u202eb",
    "@ada",
    "<b>",
    "a|b",
    "#1",
]


@pytest.mark.parametrize("name", FORGES)
def test_hostile_branches_authors_and_files_in_a_job(made: World, tmp_path: Path, name: str) -> None:
    """The whole way: through git, DVC, the log, the report and the forge."""
    drawn = dice(f"branches {name}")
    world = copied(made, tmp_path)
    place = open_jobs(name, world, tmp_path / "forge")
    try:
        for number, branch in enumerate(drawn.sample(BRANCHES, sized(2, len(BRANCHES)))):
            file = f"o{number} |@ada ::error::x ##[group] <b>.txt"
            keys = {"@ada": 1, "::error::x": 2, "##[group]": 3, "a|b": 4, "<img src=x>": 5, "[l](http://e.example)": 6}
            command = f"cat in.txt > '{file}'; cp keys.json m.json; echo '::error::from a stage'; echo '##[error]x'"
            outs: dict[str, Any] = {"outs": [file], "metrics": kept_in_git("m.json")}
            pipeline = dvc_yaml(train={"cmd": command, "deps": ["in.txt"], **outs})
            world.git("switch", "--quiet", "--detach", "main")
            world.write({"dvc.yaml": pipeline, "keys.json": str(keys).replace("'", '"'), "in.txt": f"{number}\n"})
            world.git("add", "--all")
            author = "::error::x <ada@example.invalid>"
            world.git("commit", "--quiet", "--message", "##[error]x @ada", "--author", author)
            world.git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
            with trial("names", f"{name}, branch {branch!r}"):
                done = place.run(place.push(branch), tag_prefix="dvc_")
                assert done.code == 0, done.err
                assert not list(tmp_path.rglob("evil"))
                report = (done.workspace / "cml-report" / "report.md").read_text()
                assert not COMMAND.search(report)
                assert not REFERENCES.search(words(report).replace("http://127.0.0.1", ""))
                commanded = commands(done.err) if name == "github" else []  # GitLab has no such grammar
                count("names", commands=len(commanded))
                assert not commanded, commanded
    finally:
        close_jobs(place)


def commands(log: str) -> list[str]:
    """What the runner would obey of a log that is not ours: it stops obeying between stop-commands and its mark."""
    found, mark = [], ""
    for line in log.splitlines():
        if started := re.match(r"::stop-commands::(\w+)$", line):
            mark = started[1]
        elif mark and line == f"::{mark}::":
            mark = ""
        elif (
            not mark and COMMAND.search(line) and not re.match(r"::(warning|error|group|endgroup|add-mask)", line)
        ) or (not mark and re.match(r"::error::", line)):
            found.append(line)
    return found
