"""No child process of a run can see a token, neither in its environment nor in /proc."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.world import World

NAMES = ("repo_token", "INPUT_REPO_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN", "CI_JOB_TOKEN", "CI_REPOSITORY_URL")
SECRET = "glpat-Zx81secretsecret"
LOOK = """\
import os, pathlib
seen = [pathlib.Path(f"/proc/{os.getpid()}/environ").read_bytes()]
pid = os.getppid()
while pid > 1:
    try:
        process = pathlib.Path(f"/proc/{pid}")
        if b"pytest" in process.joinpath("cmdline").read_bytes():
            break
        seen += [process.joinpath("environ").read_bytes(), process.joinpath("cmdline").read_bytes()]
        pid = int(process.joinpath("stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        break
pathlib.Path("seen.bin").write_bytes(b"\\n".join(seen))
print("the token is glpat-Zx81" + "secretsecret")
"""


@pytest.mark.parametrize("name", NAMES)
def test_no_child_process_sees_a_token_and_nothing_prints_it(world: World, name: str) -> None:
    world.commit("Look", {"look.py": LOOK, "dvc.yaml": "stages: {look: {cmd: python look.py, deps: [look.py]}}\n"})
    done = world.cml("run", "--setup", "env > setup.txt", "--dvc-pull", "-", env={name: SECRET})
    assert done.code == 0, done.err
    seen = (world.project / "seen.bin").read_bytes()
    assert b"/bin/cml\0run" in seen
    assert seen.count(b"PATH=") >= 2
    assert SECRET.encode() not in seen
    assert SECRET not in (world.project / "setup.txt").read_text()
    assert name not in (world.project / "setup.txt").read_text()
    assert SECRET not in done.err + done.out
    assert "the token is ***" in done.err
    for path in (world.project / "cml-report").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
    for path in (world.project / ".git").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_stages_see_the_credentials_of_storages(world: World) -> None:
    done = world.cml("run", "--dvc-pull", "-", "--setup", 'test "$AWS_SECRET_ACCESS_KEY" = kept-for-stages')
    assert done.code == 1
    done = world.cml("run", "--setup", 'test "$MY_KEY" = kept-for-stages', env={"MY_KEY": "kept-for-stages"})
    assert done.code == 0, done.err


@pytest.mark.parametrize("place", [{"GITHUB_ACTIONS": "true"}, {"GITLAB_CI": "true"}])
def test_a_ci_job_without_a_token_is_bad_input(world: World, place: dict[str, str]) -> None:
    done = world.cml("run", env=place)
    assert done.code == 2
    assert "repo_token" in done.err + done.out


def test_a_run_leaves_nothing_in_the_temporary_folder(world: World, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = world.cml(
        "run", env={"TMPDIR": str(temporary), "GOOGLE_APPLICATION_CREDENTIALS": '{"private_key": "long-secret-text"}'}
    )
    assert done.code == 0, done.err
    time.sleep(0.1)
    assert list(temporary.iterdir()) == []
