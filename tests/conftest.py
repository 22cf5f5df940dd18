"""Fixtures that every test may use: worlds (see `support.world`), made once per session and copied for each test."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.world import FILES, World, copy_world, make_world

# A shell that starts pytest in the background makes it ignore SIGINT, and its children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The standard project, made once; tests use copies (`world`)."""
    return make_world(tmp_path_factory.mktemp("blank") / "world", FILES)


@pytest.fixture(scope="session")
def trained(blank: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The standard project after one `cml run --tag-prefix dvc_`, made once; tests use copies (`trained_world`)."""
    world = copy_world(blank, tmp_path_factory.mktemp("trained") / "world")
    done = world.cml("run", "--push", "true", "--tag-prefix", "dvc_")
    assert done.code == 0, done.err
    return world


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
