"""Settings are never taken as options or commands: they start no program and write no file outside the project."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.world import World
from test_bad_input import BAD_VALUES

from chaos.figures import count, trial
from chaos.project import INSIDE, OWN_LINE, assert_one_error_line, copy_project, make_project, temp_folder
from chaos.size import draw

EVIL = "{folder}/evil"
ATTACKS = [
    ("baseline", f"--output={EVIL}"),
    ("baseline", f"HEAD --output={EVIL}"),
    ("baseline", f"origin/--upload-pack=touch${{IFS}}{EVIL}"),
    ("baseline", f"origin/ext::sh -c touch% {EVIL}"),
    ("baseline", ":/--output"),
    ("baseline", f"HEAD:{EVIL}"),
    ("baseline", "HEAD^{/x --output=y}"),
    ("baseline", "refs/../../evil"),
    ("baseline", f"$(touch {EVIL})"),
    ("baseline", f"main;touch {EVIL}"),
    ("baseline", "@{-1}"),
    ("baseline", "main@{upstream}"),
    ("baseline", "a" * 5_000),
    ("baseline", "a" * 40),
    ("repro_targets", f"--file={EVIL}"),
    ("repro_targets", f"$(touch {EVIL})"),
    ("repro_targets", f"`touch {EVIL}`,dvc.yaml:train;touch {EVIL}"),
    ("repro_targets", EVIL),
    ("repro_targets", "../project/dvc.yaml"),
    ("repro_targets", "dvc.yaml:../../evil"),
    ("metrics_diff_targets", "../../../etc/passwd"),
    ("metrics_diff_targets", f"--output={EVIL}"),
    ("params_diff_targets", "/etc/passwd"),
    ("plots", f"--out={EVIL}"),
    ("plots", "../evil"),
    ("dvc_pull", f"--remote=ext::touch {EVIL}"),
    ("dvc_pull", EVIL),
    ("tag_prefix", f"--exec=touch {EVIL}"),
    ("tag_prefix", "../../evil"),
    ("tag_prefix", "x/../../../hooks/"),
    ("tag_prefix", "+refs/heads/main:refs/heads/"),
    ("tag_prefix", f"$(touch${{IFS}}{EVIL})"),
    ("tag_prefix", "@"),
    ("tag_prefix", "a.lock"),
    ("working_directory", "../evil"),
    ("working_directory", "/tmp"),
    ("template", "../../../etc/passwd"),
    ("template", "/proc/self/environ"),
    ("template", "/dev/zero"),
    ("report_name", "../../evil"),
    ("report_name", f"--> $(touch {EVIL}) <!--"),
    ("commit_message", f"$(touch {EVIL}) `touch {EVIL}`"),
    ("commit_message", "--author=evil <e@example.invalid>"),
    ("commit_message", "# nothing but a comment"),
    ("locale", "../../../etc/passwd"),
    ("metrics_format", "{0.__class__}"),
    ("metrics_gate", f"*:x >= $(touch {EVIL})"),
]
MORE = [(name, value) for name, value in BAD_VALUES if name != "setup" and "\0" not in value]
STARTED = re.compile(r"^\d+ subprocess\.Popen \('([^']*)'")
OURS = {"git", "/bin/sh", "sh"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("options"))


@pytest.mark.parametrize(("name", "value"), [*draw(ATTACKS, 18, name="attacks"), *draw(MORE, 4, name="options")])
def test_a_hostile_setting_starts_and_writes_nothing(base: World, tmp_path: Path, name: str, value: str) -> None:
    world = copy_project(base, tmp_path)
    value = value.replace("{folder}", str(world.folder))
    outside = {path for path in tmp_path.rglob("*") if not str(path).startswith(str(world.project))}
    trace = tmp_path / "trace"
    env = {name: value, "PYTHONPATH": INSIDE, "CML_CHAOS_TRACE": str(trace), "TMPDIR": str(temp_folder(world))}
    with trial("options", f"{name}={value[:80]}"):
        done = world.cml("run", "--push", "true", env=env)
        assert done.code in {0, 1, 2}, done.err
        assert_one_error_line(done)
        lines = trace.read_text().splitlines()
        started = {found[1] for line in lines if (found := STARTED.match(line))}
        foreign = {program for program in started if program not in OURS and "python" not in program}
        written = {path for path in tmp_path.rglob("*") if path not in outside and not is_expected(path, world, trace)}
        count("options", started=len(foreign), written=len(written))
        assert not foreign
        assert not written
        assert not [
            path for path in tmp_path.rglob("evil*") if not {"refs", "logs"} & set(path.parts)
        ]  # a tag may have this name
        assert (world.project / ".git" / "info" / "exclude").read_text().splitlines()[0] == OWN_LINE


def is_expected(path: Path, world: World, trace: Path) -> bool:
    folders: list[Any] = [world.project, world.origin, world.storage, world.folder / "home", world.folder / "site"]
    return path == trace or any(str(path).startswith(str(folder)) for folder in folders)
