"""HDFS: WebHDFS against a stand-in; of the native client only the error on a machine without Hadoop."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.servers import free_port

from storage.hdfs import PASSWORD, TOKEN, USER, AuthMethod, started
from storage.journey import config, project, refused, round_trip

METHODS: dict[AuthMethod, dict[str, str]] = {
    "user": {"DVC_WEBHDFS_USER": USER},
    "token": {"DVC_WEBHDFS_TOKEN": TOKEN},
    "password": {"DVC_WEBHDFS_USER": USER, "DVC_WEBHDFS_PASSWORD": PASSWORD},
}


@pytest.mark.parametrize("method", METHODS)
def test_each_auth_method(method: AuthMethod, tmp_path: Path) -> None:
    with started(method) as cluster:
        world = project(tmp_path, config(cluster.url))
        round_trip(world, METHODS[method], TOKEN, PASSWORD)
        assert any(path.startswith("/dvc/files/md5/") for path in cluster.files)


WRONG: dict[AuthMethod, dict[str, str]] = {
    "user": {"DVC_WEBHDFS_USER": "somebody-else"},
    "token": {"DVC_WEBHDFS_TOKEN": "JAAEcm9vdA-of-another-cluster"},
    "password": {"DVC_WEBHDFS_USER": USER, "DVC_WEBHDFS_PASSWORD": "incorrect-horse"},
}


@pytest.mark.parametrize("method", WRONG)
def test_wrong_credentials(method: AuthMethod, tmp_path: Path) -> None:
    with started(method) as cluster:
        world = project(tmp_path, config(cluster.url))
        said = refused(world, WRONG[method], "JAAEcm9vdA-of-another-cluster", "incorrect-horse")
    assert f"refuses {' and '.join(WRONG[method])}" in said


@pytest.mark.parametrize("method", WRONG)
def test_no_credentials(method: AuthMethod, tmp_path: Path) -> None:
    with started(method) as cluster:
        world = project(tmp_path, config(cluster.url))
        said = refused(world, {})
    assert "set DVC_WEBHDFS_TOKEN (delegation token), or DVC_WEBHDFS_USER" in said


def test_the_native_client_explains_what_it_needs(tmp_path: Path) -> None:
    world = project(tmp_path, config("hdfs://127.0.0.1:8020/dvc"))
    said = refused(world, {})
    assert "set HADOOP_HOME" in said
    assert "webhdfs:// needs none of them" in said


def test_a_token_in_a_url_is_masked_when_the_server_does_not_answer(tmp_path: Path) -> None:
    world = project(tmp_path, config(f"webhdfs://127.0.0.1:{free_port()}/dvc"))
    said = refused(world, {"DVC_WEBHDFS_TOKEN": TOKEN}, TOKEN)
    assert "does not answer" in said
    assert "delegation=***" in said
