"""Bad input is answered by one clear line: generated settings, event files and pipeline variables; metrics files."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.small_world import dvc_yaml, kept_in_git
from support.world import World

from chaos.figures import count, trial
from chaos.project import PUSH, assert_one_error_line, assert_results, copy_project, make_project
from chaos.size import by_size, draw, seeded_random
from cml.config.settings import read_settings
from cml.config.variables import VARIABLES
from cml.errors import BadInput
from cml.forges.github.context import read_context as read_event
from cml.forges.gitlab.context import read_context as read_pipeline

MANY = by_size(1_500, 10_000)
PIECES = [
    *string.printable,
    "\0",
    "\x1b[31m",
    "--",
    "..",
    "../",
    "é",
    "\udcff",
    "٣",
    "∞",
    "nan",
    "1e999",
    "%",
    "[.]",
    "$(id)",
    "`id`",
]
PIECES += [
    "accuracy",
    ">=",
    "0.9",
    "change",
    ";",
    "origin/main",
    "HEAD~1",
    "@{",
    "true",
    "-",
    "0,0",
    "a b",
    "x" * 300,
    "\n",
    "🎉",
]


def text(rng: random.Random) -> str:
    return "".join(rng.choices(PIECES, k=rng.randint(0, 8)))


def assert_one_line_or_value(read: Callable[[], object], case: str) -> None:
    """Fails unless `read` returns a value or raises BadInput with a message of one line."""
    try:
        read()
    except BadInput as error:
        assert error.exit_code == 2
        assert len(str(error).splitlines()) == 1, case
        count("bad input", refused=1)


def test_generated_settings() -> None:
    rng = seeded_random("settings")
    with trial("bad input", "settings"):
        for _ in range(MANY):
            names = [variable.name for variable in rng.sample(VARIABLES, 4)]
            environment = {rng.choice([name, f"INPUT_{name.upper()}"]): text(rng) for name in names}
            read = partial(read_settings, environment, {}, is_ci=rng.random() < 0.5)
            assert_one_line_or_value(read, repr(environment))
        count("bad input", settings=MANY)


def corrupt(rng: random.Random, value: Any) -> Any:
    """Returns the JSON value with random values replaced or removed."""
    wrong: list[Any] = [
        None,
        True,
        -1,
        1.5,
        "",
        "x\ny",
        [],
        {},
        "../..",
        "refs/heads/--x",
        "\udcff",
        10**30,
        [[]] * 3,
        "0" * 40,
    ]
    if rng.random() < 0.06:
        return rng.choice(wrong)
    if isinstance(value, dict):
        return {key: corrupt(rng, each) for key, each in value.items() if rng.random() > 0.03}
    if isinstance(value, list):
        return [corrupt(rng, each) for each in value]
    return value


EVENT = {
    "action": "synchronize",
    "number": 1,
    "pull_request": {
        "number": 1,
        "state": "open",
        "head": {"sha": "a" * 40, "ref": "try", "repo": {"full_name": "ada/digits"}},
        "base": {"ref": "main", "sha": "b" * 40},
    },
    "workflow_run": {"head_sha": "a" * 40, "head_branch": "try", "head_repository": {"owner": {"login": "ada"}}},
    "repository": {"default_branch": "main", "full_name": "ada/digits"},
}
EVENTS = ["push", "pull_request", "pull_request_target", "workflow_run", "merge_group", "schedule", "issue_comment", ""]


def test_generated_event_files() -> None:
    rng = seeded_random("events")
    with trial("bad input", "event files"):
        for _ in range(MANY):
            whole = json.dumps(corrupt(rng, EVENT))
            event = whole[: rng.randint(0, len(whole))] if rng.random() < 0.2 else whole
            environment = {"GITHUB_EVENT_NAME": rng.choice(EVENTS), "GITHUB_REPOSITORY": "ada/digits"}
            environment |= {"GITHUB_REF": rng.choice(["refs/heads/try", "refs/tags/v1", "", text(rng)])}
            assert_one_line_or_value(partial(read_event, environment, event), event)
        count("bad input", events=MANY)


NAMES = ["CI_MERGE_REQUEST_IID", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"]
NAMES += [
    "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA",
    "CI_COMMIT_SHA",
    "CI_COMMIT_TAG",
    "CI_PIPELINE_SOURCE",
    "GITLAB_USER_NAME",
]
NAMES += ["CI_OPEN_MERGE_REQUESTS", "CI_PROJECT_PATH", "CI_COMMIT_BRANCH", "CI_MERGE_REQUEST_PROJECT_ID"]


def test_generated_gitlab_pipelines() -> None:
    rng = seeded_random("pipelines")
    with trial("bad input", "pipelines"):
        for _ in range(MANY):
            environment = {name: text(rng) for name in rng.sample(NAMES, 6)}
            if rng.random() < 0.7:
                environment["CI_MERGE_REQUEST_IID"] = str(rng.randint(0, 99))
            assert_one_line_or_value(partial(read_pipeline, environment), repr(environment))
        count("bad input", events=MANY)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("bad"))


def test_the_command_with_generated_settings(base: World, tmp_path: Path) -> None:
    rng, world = seeded_random("command"), copy_project(base, tmp_path)
    known = [variable.name for variable in VARIABLES if variable.name not in ("setup", "repo_token")]
    for number in range(by_size(6, 150)):
        environment = {name: text(rng).replace("\0", "0").replace("\udcff", "?") for name in rng.sample(known, 2)}
        with trial("bad input", repr(environment)):
            done = world.cml("run", "--push", "false", "--dvc-pull=-", env=environment)
            assert done.code in {0, 1, 2, 3}, f"{number}: {done.err}"
            if done.code != 0:
                assert_one_error_line(done)


# name -> the bytes of the metrics file
FILES: dict[str, Callable[[], bytes]] = {
    "NaN": lambda: b'{"a": NaN, "b": Infinity, "c": -Infinity}',
    "beyond floats": lambda: b'{"a": 1e999, "b": -1e999, "c": 1e-999}',
    "a huge integer": lambda: b'{"a": ' + b"9" * 6000 + b"}",
    "many keys": lambda: json.dumps({f"k{number}": number for number in range(by_size(20_000, 1_000_000))}).encode(),
    "null bytes": lambda: b'{"a": 1}\0\0',
    "nothing but null bytes": lambda: b"\0" * 4096,
    "a BOM": lambda: b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": lambda: '{"a": 1}'.encode("utf-16"),
    "invalid UTF-8": lambda: b'{"a\xff\xfe": 1}',
    "deep nesting": lambda: b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "a deep list": lambda: b"[" * 100_000,
    "empty": lambda: b"",
    "a list": lambda: b"[1, 2, 3]",
    "a number": lambda: b"5",
    "null": lambda: b"null",
    "text": lambda: b"accuracy is fine",
    "cut short": lambda: b'{"a": 1, "b"',
    "double keys": lambda: b'{"a": 1, "a": 2}',
    "an empty key": lambda: b'{"": 1, " ": 2}',
    "half a surrogate": lambda: rb'{"a\ud800": "\udfff"}',
    "booleans and dates": lambda: b'{"a": true, "b": null, "c": "2026-01-01"}',
}


@pytest.mark.parametrize("kind", draw(FILES, 7, name="metrics"))
def test_results_are_saved_whatever_the_metrics_file_contains(base: World, tmp_path: Path, kind: str) -> None:
    world = copy_project(base, tmp_path)
    (world.folder / "raw").write_bytes(FILES[kind]())
    command = f"cp {world.folder / 'raw'} m.json && cat in.txt > model"
    pipeline = dvc_yaml(train={"cmd": command, "deps": ["in.txt"], "outs": ["model"], "metrics": kept_in_git("m.json")})
    world.commit("Foreign", {"dvc.yaml": pipeline})
    with trial("bad input", kind):
        done = world.cml(*PUSH)
        assert done.code == 0, done.err[-3000:]
        assert_one_error_line(done)
        assert_results(world)
        count("bad input", metrics_files=1)
