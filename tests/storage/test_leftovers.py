"""Credentials in files: private during a run, removed at its end, also after a kill."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.http_gate import HttpGate
from support.small_world import PUSH
from support.world import World

from storage.journey import config, project, run
from storage.web import Web

SECRET = "c2VjcmV0LW9mLXRoZS1hY2NvdW50LWluLWl0cy1rZXk"
ACCOUNT = json.dumps({"type": "service_account", "private_key": SECRET, "nested": {"deeper": ["one-more-secret-0"]}})
ENV = {"GOOGLE_APPLICATION_CREDENTIALS": ACCOUNT}
LONGEST_EXIT_SECONDS = 7.5


def begun(world: World, temporary: Path, is_under_method: Callable[[], bool]) -> subprocess.Popen[str]:
    """A running run, with its credentials in a private file."""
    temporary.mkdir()
    env = world.environment({**ENV, "TMPDIR": str(temporary), "DVC_SITE_CACHE_DIR": str(world.project / ".site")})
    process = subprocess.Popen(
        ["cml", *PUSH], cwd=world.project, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until = time.monotonic() + 60
    while not is_under_method():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)
    (file,) = temporary.glob("cml-credentials-*/GOOGLE_APPLICATION_CREDENTIALS")
    assert SECRET in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    return process


@pytest.mark.parametrize("method", ["PUT", "GET"], ids=["push", "pull"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cancelled_transfer_ends_soon_and_leaves_nothing(
    nginx: Web, method: str, number: int, tmp_path: Path
) -> None:
    with HttpGate(nginx.urls["open"].removesuffix("/open")) as gate:
        world = project(tmp_path, config(f"{gate.url}/open/{tmp_path.name}", method="PUT"))
        if method == "GET":
            assert run(world).code == 0
            world.project = world.clone("second")
        gate.fail("hang", when=lambda request: request.method == method and "/files/md5/" in request.path)
        struck = gate.faults[0]

        def is_under_method() -> bool:
            return struck.count > 0

        process = begun(world, tmp_path / "tmp", is_under_method)
        since = time.monotonic()
        process.send_signal(number)
        said = process.communicate(timeout=30)[0]
        assert time.monotonic() - since < LONGEST_EXIT_SECONDS
    assert process.returncode not in (0, None)
    assert list((tmp_path / "tmp").iterdir()) == []
    assert SECRET not in said
    assert "one-more-secret-0" not in said


def test_the_leftovers_of_a_killed_run_are_removed_by_the_next(nginx: Web, tmp_path: Path) -> None:
    with HttpGate(nginx.urls["open"].removesuffix("/open")) as gate:
        world = project(tmp_path, config(f"{gate.url}/open/{tmp_path.name}", method="PUT"))
        gate.fail("hang", when=lambda request: request.method == "PUT")
        struck = gate.faults[0]
        process = begun(world, tmp_path / "tmp", lambda: struck.count > 0)
        process.kill()
        process.communicate()
        assert list((tmp_path / "tmp").iterdir()) != []
        gate.forget()
        done = world.cml(*PUSH, env={**ENV, "TMPDIR": str(tmp_path / "tmp")})
    assert done.code == 0, done.err
    assert list((tmp_path / "tmp").iterdir()) == []
