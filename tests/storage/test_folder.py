"""Folders and mounted shares as DVC remotes. They need no server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from storage.journey import config, failed, project, refused, round_trip, run


@pytest.mark.parametrize("where", ["absolute", "relative"])
def test_each_auth_method(where: str, tmp_path: Path) -> None:
    share = tmp_path / "share"
    world = project(tmp_path, config(str(share / "dvc") if where == "absolute" else "../../../share/dvc"))
    share.mkdir()
    round_trip(world, {})
    assert (share / "dvc" / "files" / "md5").is_dir()


def test_a_share_that_is_not_mounted(tmp_path: Path) -> None:
    world = project(tmp_path, config(str(tmp_path / "share" / "dvc")))
    assert run(world).code == 0
    shutil.rmtree(tmp_path / "share")
    said = refused(world, {})
    assert "data.csv: missing from the cache and from the DVC remote" in said
    assert f"the folder {tmp_path}/share/dvc does not exist yet" in said
    assert "is it on a share that is not mounted?" in said


def test_a_read_only_share(tmp_path: Path) -> None:
    world = project(tmp_path, config("/proc/self/dvc"))
    assert failed(world, {}).startswith("push: the DVC remote storage (local)")
    assert world.git("rev-parse", "HEAD") == world.tip()
