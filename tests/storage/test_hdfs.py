"""HDFS: WebHDFS against a stand-in of ours; the native client as far as a machine without Hadoop can show it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.servers import free_port

from storage.hdfs import PASSWORD, TOKEN, USER, AuthMethod, started
from storage.journey import config, project, refused, round_trip

WAYS: dict[AuthMethod, dict[str, str]] = {
    "user": {"DVC_WEBHDFS_USER": USER},
    "token": {"DVC_WEBHDFS_TOKEN": TOKEN},
    "password": {"DVC_WEBHDFS_USER": USER, "DVC_WEBHDFS_PASSWORD": PASSWORD},
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way(way: AuthMethod, tmp_path: Path) -> None:
    with started(way) as cluster:
        world = project(tmp_path, config(cluster.url))
        round_trip(world, WAYS[way], TOKEN, PASSWORD)
        assert any(path.startswith("/dvc/files/md5/") for path in cluster.files)


WRONG: dict[AuthMethod, dict[str, str]] = {
    "user": {"DVC_WEBHDFS_USER": "somebody-else"},
    "token": {"DVC_WEBHDFS_TOKEN": "JAAEcm9vdA-of-another-cluster"},
    "password": {"DVC_WEBHDFS_USER": USER, "DVC_WEBHDFS_PASSWORD": "incorrect-horse"},
}


@pytest.mark.parametrize("way", WRONG)
def test_wrong_credentials(way: AuthMethod, tmp_path: Path) -> None:
    with started(way) as cluster:
        world = project(tmp_path, config(cluster.url))
        said = refused(world, WRONG[way], "JAAEcm9vdA-of-another-cluster", "incorrect-horse")
    assert f"refuses {' and '.join(WRONG[way])}" in said


@pytest.mark.parametrize("way", WRONG)
def test_no_credentials(way: AuthMethod, tmp_path: Path) -> None:
    with started(way) as cluster:
        world = project(tmp_path, config(cluster.url))
        said = refused(world, {})
    assert "set DVC_WEBHDFS_TOKEN (delegation token), or DVC_WEBHDFS_USER" in said


def test_the_native_client_says_what_it_needs(tmp_path: Path) -> None:
    world = project(tmp_path, config("hdfs://127.0.0.1:8020/dvc"))
    said = refused(world, {})
    assert "set HADOOP_HOME" in said
    assert "webhdfs:// needs none of them" in said


def test_a_token_in_an_address_is_not_shown_when_nobody_answers(tmp_path: Path) -> None:
    world = project(tmp_path, config(f"webhdfs://127.0.0.1:{free_port()}/dvc"))
    said = refused(world, {"DVC_WEBHDFS_TOKEN": TOKEN}, TOKEN)
    assert "does not answer" in said
    assert "delegation=***" in said
