"""Fixtures that every test may use: worlds (see `support.world`), made once for all workers and copied for each test."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from support.preload import Preloaded
from support.world import FILES, World, copy_world, make_world

# A shell that starts pytest in the background makes it ignore SIGINT, and its children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Tests of what a command does to a project and a forge. They may start `cml` by a fork (see `support.preload`); all
# others start real processes.
PRELOADED = {
    *("test_baseline", "test_dump", "test_forges", "test_github", "test_gitlab", "test_projects", "test_publish"),
    *("test_push", "test_run", "test_save"),
}


@pytest.fixture(scope="session")
def preloaded() -> Iterator[Preloaded]:
    """The process that has imported DVC. It is started by the first test that uses it."""
    process = Preloaded()
    yield process
    process.close()


@pytest.fixture(autouse=True)
def _start_commands_by_fork(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.module.__name__ in PRELOADED and os.environ.get("CML_TEST_PRELOAD") != "0":
        monkeypatch.setattr(World, "preloaded", request.getfixturevalue("preloaded"))


def _make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], World]) -> World:
    """Returns the world that `make` builds in a folder. The workers of pytest-xdist build it only once in all."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = shared / f"{name}.built"
        if not built.exists():
            make(shared / name)
            built.touch()
    return World(shared / name)


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The standard project. Tests use copies of it (`world`)."""
    return _make_once(tmp_path_factory, "blank", lambda folder: make_world(folder, FILES))


@pytest.fixture(scope="session")
def trained(blank: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The standard project after one `cml run --tag-prefix dvc_`. Tests use copies of it (`trained_world`)."""

    def train(folder: Path) -> World:
        world = copy_world(blank, folder)
        done = world.cml("run", "--push", "true", "--tag-prefix", "dvc_")
        assert done.code == 0, done.err
        return world

    return _make_once(tmp_path_factory, "trained", train)


@pytest.fixture
def world(blank: World, tmp_path: Path) -> World:
    """A project whose pipeline never ran."""
    return copy_world(blank, tmp_path / "world")


@pytest.fixture
def trained_world(trained: World, tmp_path: Path) -> World:
    """A project with one tagged experiment on main."""
    return copy_world(trained, tmp_path / "world")


@pytest.fixture
def new_world(tmp_path: Path) -> Callable[[Mapping[str, str]], World]:
    """Makes a project of other files."""
    return lambda files: make_world(tmp_path / "world", files)
