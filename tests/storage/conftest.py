"""Fixtures for the servers. Each worker starts the servers that its tests need, once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import azure as azure_server
from storage import cloud as cloud_proxy
from storage import drive as drive_server
from storage import google as google_server
from storage import hdfs as hdfs_server
from storage import oss as oss_server
from storage import s3 as s3_server
from storage import ssh as ssh_server
from storage import web as web_server

CLOUD_NAMES = ("*.blob.core.windows.net", "login.microsoftonline.com", "*.googleapis.com", "accounts.google.com")


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_server.S3]:
    with s3_server.started(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cloud_proxy.Cloud]:
    with cloud_proxy.started(tmp_path_factory.mktemp("cloud"), CLOUD_NAMES) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory, cloud: cloud_proxy.Cloud) -> Iterator[azure_server.Azure]:
    with azure_server.started(tmp_path_factory.mktemp("azure"), cloud) as server:
        yield server


@pytest.fixture(scope="session")
def google_tokens(cloud: cloud_proxy.Cloud) -> Iterator[google_server.Tokens]:
    with google_server.tokens_started(cloud) as tokens:
        yield tokens


@pytest.fixture(scope="session")
def google_storage(
    tmp_path_factory: pytest.TempPathFactory, cloud: cloud_proxy.Cloud, google_tokens: google_server.Tokens
) -> Iterator[google_server.GoogleStorage]:
    with google_server.storage_started(tmp_path_factory.mktemp("gcs"), cloud, google_tokens) as server:
        yield server


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssh_server.Host]:
    with ssh_server.started(tmp_path_factory.mktemp("ssh")) as host:
        yield host


@pytest.fixture
def ssh_with_password(tmp_path: Path) -> Iterator[ssh_server.Host]:
    with ssh_server.started_with_password(tmp_path) as host:
        yield host


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[web_server.Web]:
    with web_server.nginx_started(tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture(scope="session")
def webdav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[web_server.Web]:
    with web_server.webdav_started(tmp_path_factory.mktemp("webdav")) as server:
        yield server


@pytest.fixture(scope="session")
def oss() -> Iterator[oss_server.ObjectStorage]:
    with oss_server.started() as server:
        yield server


@pytest.fixture(scope="session")
def drive(cloud: cloud_proxy.Cloud, google_tokens: google_server.Tokens) -> Iterator[drive_server.Drive]:
    with drive_server.started(cloud, google_tokens) as server:
        yield server


@pytest.fixture
def webhdfs() -> Iterator[hdfs_server.Hdfs]:
    with hdfs_server.started("token") as cluster:
        yield cluster
