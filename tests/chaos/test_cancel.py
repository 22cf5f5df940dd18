"""A cancel ends in time, wherever it comes: in the stage, inside the pushes, while the forge is asked."""

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
from chaos.size import dice, sized
from chaos.stage import FILES, PUSH, copied, hears_all, make, one_line, results, temporary, witness

LIMIT_SECONDS = 7.5  # GitHub's runner sends INT, waits so long, then TERM
DEAF = "trap '' INT TERM HUP; echo begun > begun; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1; done"
DEAF_STAGE = dvc_yaml(
    train={"cmd": f"sh -c '{DEAF.replace(chr(39), chr(34))}'; cat in.txt > out.txt"}
    | {"deps": ["in.txt"], "outs": ["out.txt"]}
)
SLOW_HOOK = "#!/bin/sh\ncat >/dev/null\nsleep 12\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("cancel"), {**FILES, "deaf/in.txt": "1"})


def left(mark: str) -> list[str]:
    """The processes that a run left behind, told by a variable they inherited."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("CML_CHAOS_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


def cancelled(
    world: World, number: signal.Signals, *, after: float | Path, env: dict[str, str]
) -> tuple[Result, float]:
    """Runs, and cancels after so many seconds, or as soon as a file is there; returns how long the end took."""
    mark = uuid.uuid4().hex
    with (world.folder / "log").open("w+") as log:
        run = subprocess.Popen(
            ["cml", *PUSH],
            cwd=world.project,
            env=world.environment({"TMPDIR": str(temporary(world)), "CML_CHAOS_MARK": mark, **env}),
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=hears_all,  # noqa: PLW1509 - nothing but signals
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
    assert left(mark) == []
    # Before our own first line Python itself answers an INT.
    assert "Traceback" not in done.err or "in _exit" not in done.err, done.err
    return done, took


@pytest.mark.parametrize("name", ["INT", "TERM"])
def test_at_random_instants(made: World, tmp_path: Path, name: str) -> None:
    drawn = dice(f"cancel {name}")
    for number in range(sized(4, 60)):
        world = copied(made, tmp_path / str(number))
        with trial("cancel", f"{name}, {number}"):
            done, _ = cancelled(world, signal.Signals[f"SIG{name}"], after=drawn.uniform(0.05, 3.0), env={})
            assert done.code in {0, 1, -signal.SIGTERM, -signal.SIGINT}
            assert list(temporary(world).iterdir()) == []
            if found := results(world):
                witness(world, *found)


@pytest.mark.parametrize("name", ["INT", "TERM"])
@pytest.mark.parametrize(
    "where", ["a deaf stage", "a push to git", "a push over HTTP", "an API that hangs", "an API that hangs at last"]
)
def test_where_nothing_listens(made: World, tmp_path: Path, name: str, where: str) -> None:
    world = copied(made, tmp_path)
    env: dict[str, str] = {}
    after: float | Path = world.project / "begun"
    with trial("cancel", f"{name}, {where}"), Forge(tmp_path / "forge") as forge:
        if where in ("a deaf stage", "an API that hangs at last"):
            world.commit("Deaf", {"dvc.yaml": DEAF_STAGE})
        if where == "a deaf stage":
            pass
        elif where in ("a push to git", "a push over HTTP"):
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
            if where == "an API that hangs":
                forge.fail("* /repos/*", times=None, how="hang", seconds=30)
                after = 4.0
            else:
                forge.fail("PATCH /repos/*", times=None, how="hang", seconds=30)
        done, _ = cancelled(world, signal.Signals[f"SIG{name}"], after=after, env=env)
        assert done.code == 1
        one_line(done)
        if "API" not in where:
            assert "cancelled by" in done.err
