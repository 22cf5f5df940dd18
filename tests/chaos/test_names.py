"""Hostile names cannot inject anything into the report or the job.

A Markdown parser and a parser of the runner's workflow commands read what CML writes.
"""

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
from chaos.project import copy_project, make_project
from chaos.size import by_size, seeded_random

MANY = by_size(250, 10_000)
# Workflow commands: `::command` at the start of a line, `##[command]` anywhere.
COMMAND = re.compile(r"^\s*::[a-zA-Z-]|##\[[a-zA-Z]|##vso\[", re.MULTILINE)


@pytest.mark.parametrize("part", range(4))
def test_hostile_names_stay_plain_text(part: int) -> None:
    """Each name is used for everything that a repository can name: metrics, params, files, branches, authors."""
    rng = seeded_random(f"names {part}")
    plain, plain_page = structure(markdown(hostile("plain"))), tags(html(hostile("plain")))
    for _ in range(MANY // 4):
        name = "".join(rng.choices(FRAGMENTS, k=rng.randint(1, 9)))
        with trial("names", repr(name)):
            report = hostile(name)
            text = markdown(report)
            assert structure(text) == plain
            assert not REFERENCES.search(words(text))
            assert not HIDDEN.search(text)
            assert not COMMAND.search(text)
            assert not COMMAND.search(terminal(report))
            if rng.random() < 0.2:
                assert tags(html(report)) == plain_page


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("names"))


# Names that git allows for branches. It refuses spaces, colons and brackets itself.
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
def test_hostile_branches_authors_and_files_in_a_job(base: World, tmp_path: Path, name: str) -> None:
    """A complete run: git, DVC, the log, the report and the forge."""
    rng = seeded_random(f"branches {name}")
    world = copy_project(base, tmp_path)
    ci = open_jobs(name, world, tmp_path / "forge")
    try:
        for number, branch in enumerate(rng.sample(BRANCHES, by_size(2, len(BRANCHES)))):
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
                done = ci.run(ci.push(branch), tag_prefix="dvc_")
                assert done.code == 0, done.err
                assert not list(tmp_path.rglob("evil"))
                report = (done.workspace / "cml-report" / "report.md").read_text()
                assert not COMMAND.search(report)
                assert not REFERENCES.search(words(report).replace("http://127.0.0.1", ""))
                commanded = commands(done.err) if name == "github" else []  # GitLab has no workflow commands
                count("names", commands=len(commanded))
                assert not commanded, commanded
    finally:
        close_jobs(ci)


def commands(log: str) -> list[str]:
    """Returns the workflow commands in a log that CML did not write itself.

    The runner ignores commands between `::stop-commands::MARK` and `::MARK::`.
    """
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
