"""A cancelled run ends in time: in a stage, during a push, while an API does not answer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import psutil
import pytest
from standins.github import Forge
from support.small_world import dvc_yaml
from support.world import Result, World

from chaos.figures import count, trial
from chaos.project import (
    FILES,
    PUSH,
    assert_complete,
    assert_one_error_line,
    copy_project,
    make_project,
    reset_signals,
    results_commits,
    temp_folder,
)
from chaos.size import by_size, seeded_random

LIMIT_SECONDS = 7.5  # GitHub's runner sends INT, waits this long, then sends TERM
IGNORE_SIGNALS = "trap '' INT TERM HUP; echo begun > begun; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1; done"
IGNORING_STAGE = dvc_yaml(
    train={"cmd": f"sh -c '{IGNORE_SIGNALS.replace(chr(39), chr(34))}'; cat in.txt > out.txt"}
    | {"deps": ["in.txt"], "outs": ["out.txt"]}
)
SLOW_HOOK = "#!/bin/sh\ncat >/dev/null\nsleep 12\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("cancel"), {**FILES, "other/in.txt": "1"})


def processes_left(mark: str) -> list[str]:
    """Returns the processes of a run that are still alive. They have inherited CML_CHAOS_MARK."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("CML_CHAOS_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


def run_and_cancel(
    world: World, number: signal.Signals, *, after: float | Path, env: dict[str, str]
) -> tuple[Result, float]:
    """Starts a run and sends it a signal after some seconds or as soon as a file exists.

    Returns its result and how many seconds it took to end.
    """
    mark = uuid.uuid4().hex
    with (world.folder / "log").open("w+") as log:
        run = subprocess.Popen(
            ["cml", *PUSH],
            cwd=world.project,
            env=world.environment({"TMPDIR": str(temp_folder(world)), "CML_CHAOS_MARK": mark, **env}),
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=reset_signals,  # noqa: PLW1509 - nothing but signals
        )
        until = time.monotonic() + (60 if isinstance(after, Path) else after)
        while time.monotonic() < until and run.poll() is None and not (isinstance(after, Path) and after.exists()):
            time.sleep(0.02)
        since = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.pid, number)
        try:
            run.wait(timeout=60)
        finally:
            run.kill()
        took = time.monotonic() - since
        log.seek(0)
        done = Result(run.returncode, "", log.read())
    count("cancel", longest_max=round(took, 2))
    assert took < LIMIT_SECONDS
    assert processes_left(mark) == []
    # An INT before CML has started is answered by Python itself, with a traceback.
    assert "Traceback" not in done.err or "in _exit" not in done.err, done.err
    return done, took


@pytest.mark.parametrize("name", ["INT", "TERM"])
def test_a_cancel_at_random_times(base: World, tmp_path: Path, name: str) -> None:
    rng = seeded_random(f"cancel {name}")
    for number in range(by_size(4, 60)):
        world = copy_project(base, tmp_path / str(number))
        with trial("cancel", f"{name}, {number}"):
            done, _ = run_and_cancel(world, signal.Signals[f"SIG{name}"], after=rng.uniform(0.05, 3.0), env={})
            assert done.code in {0, 1, -signal.SIGTERM, -signal.SIGINT}
            assert list(temp_folder(world).iterdir()) == []
            if found := results_commits(world):
                assert_complete(world, *found)


@pytest.mark.parametrize("name", ["INT", "TERM"])
@pytest.mark.parametrize("where", ["a stage", "a push to a path", "a push over HTTP", "the API", "the API at the end"])
def test_a_cancel_while_something_does_not_react(base: World, tmp_path: Path, name: str, where: str) -> None:
    world = copy_project(base, tmp_path)
    env: dict[str, str] = {}
    after: float | Path = world.project / "begun"
    with trial("cancel", f"{name}, {where}"), Forge(tmp_path / "forge") as forge:
        if where in ("a stage", "the API at the end"):
            world.commit("A stage that ignores signals", {"dvc.yaml": IGNORING_STAGE})
        if where == "a stage":
            pass
        elif where in ("a push to a path", "a push over HTTP"):
            hook = world.origin / "hooks" / "pre-receive"
            hook.write_text(SLOW_HOOK.replace("sleep", f"echo > {world.project}/begun; sleep"))
            hook.chmod(0o755)
            if where == "a push over HTTP":
                forge.create_repository("ada/digits", bare=world.origin)
                world.git("remote", "set-url", "origin", forge.clone_url())
                env = {"repo_token": forge.token("installation")}
        else:
            forge.create_repository("ada/digits", bare=world.origin)
            env = {**forge.event("push", ref="main"), "INPUT_REPO_TOKEN": forge.token("installation")}
            env = {name: value for name, value in env.items() if name not in ("HOME", "PATH")}
            if where == "the API":
                forge.fail("* /repos/*", times=None, how="hang", seconds=30)
                after = 4.0
            else:
                forge.fail("PATCH /repos/*", times=None, how="hang", seconds=30)
        done, _ = run_and_cancel(world, signal.Signals[f"SIG{name}"], after=after, env=env)
        assert done.code == 1
        assert_one_error_line(done)
        if "API" not in where:
            assert "cancelled by" in done.err
