"""Bad input ends a run before it begins: exit 2, one `error:` line that names what is wrong, and nothing touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st
from support.small_world import COPY, PUSH, dvc_yaml, error_lines, kept_in_git, make_small_world, track
from support.world import BIN, Result, World

from cml.config.settings import Settings, read_settings
from cml.config.variables import VARIABLES
from cml.errors import BadInput

FILES = {
    "in.txt": "1",
    "p.yaml": "a: 1\n",
    "code/x.py": "1",
    "dvc.yaml": dvc_yaml(
        make={"cmd": "cat in.txt > out.txt", "deps": ["in.txt", "code"], "params": [{"p.yaml": ["a"]}]}
        | {"outs": ["out.txt"], "metrics": kept_in_git("m.json")}
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that no test of this module may change, since bad input touches nothing."""
    world = make_small_world(tmp_path_factory.mktemp("shared"), FILES)
    track(world, "raw/raw.csv", "1,2\n")
    world.commit("Data")
    return world


@pytest.fixture
def own(tmp_path: Path) -> World:
    """A world of the test's own."""
    return make_small_world(tmp_path, FILES)


def state(world: World) -> dict[str, object]:
    """Everything that bad input must leave as it is."""
    git = world.project / ".git"
    refs = sorted(path for path in (git / "refs").rglob("*") if path.is_file())
    watched = [git / "HEAD", git / "config", git / "index", git / "info" / "exclude", *refs]
    ignored = {".git", "tmp"}  # DVC creates and removes lock files in .dvc/tmp
    return {
        "git": {str(path): path.read_bytes() for path in watched if path.exists()},
        "files": {
            str(path): path.read_bytes()
            for path in sorted(world.project.rglob("*"))
            if path.is_file() and not ignored & set(path.relative_to(world.project).parts)
        },
        "origin": sorted(str(path) for path in world.origin.rglob("*")),
        "storage": sorted(str(path) for path in world.storage.rglob("*")),
        "beside": sorted(path.name for path in world.folder.iterdir()),
    }


def refused(
    world: World, *arguments: str, says: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> Result:
    """Runs `cml`, which must end with 2, say so in one line and touch nothing."""
    # The home directory, and DVC's cache of the machine, which DVC creates when it opens any project.
    for name in ("home", "site"):
        (world.folder / name).mkdir(exist_ok=True)
    before = state(world)
    done = world.cml(*arguments, cwd=cwd, env=env)
    assert done.code == 2, done.err
    [line] = error_lines(done)
    assert says in line
    assert done.out == ""
    assert state(world) == before
    return done


# Variables

BAD_VALUES = [
    ("baseline", "--output=evil"),
    ("baseline", "-x"),
    ("baseline", "a\nb"),
    ("baseline", "a\x1b[31mb"),
    ("repro_targets", "--help"),
    ("repro_targets", "train -f"),
    ("repro_targets", "../elsewhere/dvc.yaml"),
    ("repro_targets", "/etc/dvc.yaml"),
    ("metrics_diff_targets", "a.json,--all"),
    ("metrics_diff_targets", "a/../../b.json"),
    ("params_diff_targets", "-x"),
    ("params_diff_targets", "/etc/passwd"),
    ("plots", "--open"),
    ("plots", "../x.csv"),
    ("dvc_pull", "-j 100"),
    ("dvc_pull", "../data.dvc"),
    ("tag_prefix", "--delete"),
    ("tag_prefix", "../x"),
    ("tag_prefix", "a b"),
    ("tag_prefix", "a~"),
    ("tag_prefix", "a..b"),
    ("tag_prefix", "a:b"),
    ("tag_prefix", "refs/@{"),
    ("tag_prefix", "x*"),
    ("tag_prefix", ".hidden"),
    ("metrics_format", "."),
    ("metrics_format", "words"),
    ("metrics_format", "0.00\n0"),
    ("working_directory", "../elsewhere"),
    ("working_directory", "a\0b"),
    ("push", "maybe"),
    ("push", "2"),
    ("comment", "always"),
    ("experiments", "-1"),
    ("experiments", "many"),
    ("experiments", "1e3"),
    ("experiments", "1000"),
    ("experiments", "٣"),
    ("report_name", "x" * 101),
    ("report_name", "a\nb"),
    ("locale", "nowhere at all"),
    ("locale", "../../etc"),
    ("metrics_gate", "accuracy is good"),
    ("metrics_gate", "accuracy >="),
    ("metrics_gate", "accuracy >= 0.9; loss"),
    ("metrics_gate", "accuracy >= nan"),
    ("commit_message", "a\nb"),
    ("template", "a\0b"),
    ("setup", "echo \x07"),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_the_error_for_a_bad_value_names_the_variable(name: str, value: str) -> None:
    for environment, options in (({name: value}, {}), ({f"INPUT_{name.upper()}": value}, {}), ({}, {name: value})):
        with pytest.raises(BadInput) as caught:
            read_settings(environment, options, is_ci=False)
        assert caught.value.exit_code == 2
        assert name in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_every_variable_with_a_grammar_is_tested_with_a_bad_value() -> None:
    free = {"repo_token"}
    assert {variable.name for variable in VARIABLES} - free == {name for name, _ in BAD_VALUES}


@tried(deadline=None)  # a busy machine is no defect
@given(
    values=st.dictionaries(
        st.sampled_from([variable.name for variable in VARIABLES]),
        st.text(max_size=40) | st.sampled_from([value for _, value in BAD_VALUES]),
        max_size=6,
    ),
    is_ci=st.booleans(),
)
def test_any_values_give_settings_or_a_one_line_error(values: dict[str, str], *, is_ci: bool) -> None:
    try:
        settings = read_settings(values, {}, is_ci=is_ci)
    except BadInput as error:
        text = str(error)
        assert len(text.splitlines()) == 1
        assert text.isprintable()
        assert any(name in text for name in values)
    else:
        assert isinstance(settings, Settings)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("push", "maybe", "push is 'maybe'"),
        ("baseline", "--upload-pack=touch evil", "baseline is '--upload-pack"),
        ("baseline", "origin/--upload-pack=touch evil", "baseline is 'origin/--upload-pack"),
        ("baseline", "ext::sh -c touch% evil", "baseline is 'ext::"),
        ("baseline", "v9", "baseline is 'v9'"),
        ("baseline", "HEAD:dvc.yaml", "baseline is 'HEAD:dvc.yaml'"),
        ("repro_targets", "$(touch${IFS}evil)", "repro_targets names '$(touch"),
        ("dvc_pull", "nothing.dvc", "dvc_pull names 'nothing.dvc'"),
        ("working_directory", "nowhere", "working_directory is 'nowhere'"),
        ("working_directory", "in.txt", "working_directory is 'in.txt'"),
        ("template", "nothing.md.j2", "template"),
        ("template", "in", "template"),
        ("locale", "xx_YY", "locale"),
        ("tag_prefix", "--delete", "tag_prefix is '--delete'"),
        ("metrics_gate", "accuracy is good", "metrics_gate"),
    ],
)
def test_a_run_with_a_bad_value_changes_nothing(shared: World, name: str, value: str, says: str) -> None:
    given = {"push": "true", "tag_prefix": "x_", f"INPUT_{name.upper()}": value}
    refused(shared, "run", says=says, env=given)
    assert not list(shared.folder.rglob("evil"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "COMMAND"),
        (("walk",), "walk"),
        (("run", "--nope"), "--nope"),
        (("run", "extra"), "extra"),
        (("run", "--baseline"), "--baseline"),
        (("run", "--repo-token", "secret"), "--repo-token"),
        (("compare", "HEAD"), "B"),
        (("compare", "HEAD", "nowhere"), "'nowhere'"),
        (("compare", "--", "--output=evil", "HEAD"), "'--output=evil'"),
        (("report", "--baseline", "nowhere"), "baseline is 'nowhere'"),
        (("doctor", "--nope"), "--nope"),
    ],
)
def test_a_bad_command_line_gives_a_one_line_error(shared: World, arguments: tuple[str, ...], says: str) -> None:
    refused(shared, *arguments, says=says)


# Places


def test_a_run_without_repository_commit_project_or_remote_is_refused(shared: World, tmp_path: Path) -> None:
    refused(shared, "run", cwd=tmp_path, says="not in a git repository")
    world = World(tmp_path)
    world.project.mkdir()
    world.git("init", "--quiet", "--initial-branch=main")
    assert "has no commits" in error_lines(world.cml("run"))[0]
    world.write({"a": "b"})
    world.git("add", "a")
    world.git("commit", "--quiet", "--message", "No project")
    done = world.cml("run")
    assert done.code == 2
    assert "not a DVC project" in error_lines(done)[0]
    assert "dvc init" in error_lines(done)[0]
    assert world.git("status", "--porcelain") == ""
    world.dvc("init", "--quiet")
    world.git("commit", "--quiet", "--message", "A project")
    done = world.cml(*PUSH)
    assert done.code == 2
    assert "no remote origin" in error_lines(done)[0]


@pytest.mark.parametrize(
    ("script", "says"),
    [("echo git version 2.20.1", "git version 2.20.1 is too old"), (None, "git is not installed")],
    ids=["old", "absent"],
)
def test_an_old_or_missing_git_is_refused(shared: World, tmp_path: Path, script: str | None, says: str) -> None:
    if script:
        (tmp_path / "git").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "git").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{BIN}" + (f"{os.pathsep}{os.environ['PATH']}" if script else "")
    refused(shared, "run", says=says, env={"PATH": path})


def test_a_push_with_a_detached_head_is_refused(own: World) -> None:
    own.git("checkout", "--quiet", "--detach")
    refused(own, *PUSH, says="HEAD is detached")


def test_a_push_without_a_git_author_is_refused(own: World) -> None:
    nobody = {f"GIT_{role}_{what}": "" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    nobody |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.useConfigOnly", "GIT_CONFIG_VALUE_0": "true"}
    refused(own, *PUSH, says="git does not know the author", env=nobody)


# Projects


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"Dvcfile": "cmd: echo\n"}, "Dvcfile is from DVC 0.x"),
        ({"x.dvc": "cmd: echo hi\nouts:\n- path: o\n"}, "x.dvc is a stage from DVC 0.x"),
        ({"dvc.yaml": "stages:\n  a: {cmd: x, nope: 1}\n"}, "stages.a.nope"),
        ({"dvc.yaml": "stages: [a"}, "dvc.yaml"),
        ({"dvc.yaml": "a\0b"}, "dvc.yaml"),
        ({"dvc.yaml": dvc_yaml(a=COPY, b=COPY)}, "output 'out.txt' is specified in"),
        (
            {
                "dvc.yaml": dvc_yaml(
                    a={"cmd": "x", "deps": ["p"], "outs": ["o"]}, b={"cmd": "x", "deps": ["o"], "outs": ["p"]}
                )
            },
            "",
        ),
        ({"dvc.yaml": dvc_yaml(a={"cmd": "echo ${nothing}"})}, "nothing"),
        ({"dvc.lock": "<<<<<<< HEAD\n"}, "dvc.lock"),
        ({".dvc/config": "[nope\n"}, "config"),
        ({".dvc/config": "[core]\n    remote = nowhere\n"}, "out.txt"),
    ],
)
def test_a_project_that_dvc_cannot_read_is_refused(own: World, files: dict[str, str], says: str) -> None:
    own.write(files)
    refused(own, "run", says=says)


def add_untracked_dependency(world: World) -> None:
    world.write({"untracked.txt": "1"})
    make = {**COPY, "deps": ["in.txt", "untracked.txt"]}
    world.write({"dvc.yaml": dvc_yaml(make=make)})
    world.git("add", "dvc.yaml")
    world.git("commit", "--quiet", "--message", "Depends on uncommitted changes")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda world: world.write({"in.txt": "2"}), "in.txt"),
        (lambda world: world.write({"p.yaml": "a: 2\n"}), "p.yaml"),
        (lambda world: world.write({"code/x.py": "2"}), "code/x.py"),
        (lambda world: world.write({"code/new.py": "1"}), "code/new.py"),
        (lambda world: (world.project / "code" / "x.py").unlink(), "code/x.py"),
        (lambda world: world.write({"dvc.yaml": dvc_yaml(make=COPY)}), "dvc.yaml"),
        (add_untracked_dependency, "untracked.txt"),
    ],
    ids=["dependency", "params", "inside", "new inside", "deleted", "dvc.yaml", "untracked"],
)
def test_uncommitted_inputs_are_named_if_push_is_on(own: World, change: Callable[[World], object], named: str) -> None:
    change(own)
    refused(own, *PUSH, says=f"uncommitted changes: {named}.")


def test_uncommitted_changes_are_allowed_without_push(own: World) -> None:
    own.write({"in.txt": "2", "dvc.yaml": dvc_yaml(make=COPY)})
    done = own.cml("run")
    assert done.code == 0, done.err
    assert own.report()["has_workspace_changes"] is True
    shutil.rmtree(own.project / "cml-report")
    assert own.git("log", "--format=%s") == "A project"
