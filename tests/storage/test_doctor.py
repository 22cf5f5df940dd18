"""`cml doctor` for every storage kind: credentials found and missing, one small read, one write that leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.world import World

from storage import azure, hdfs, oss, s3, ssh, web
from storage.drive import Drive
from storage.google import GoogleStorage
from storage.journey import config, project


@dataclass(frozen=True, kw_only=True)
class Case:
    """A remote: its configuration, the variables that lead to it, and its credentials."""

    settings: str
    env: dict[str, str]
    credentials: dict[str, str]


Ask = Callable[[str], Any]


def over_s3(ask: Ask, place: Path) -> Case:
    server: s3.S3 = ask("s3")
    env = {"AWS_ENDPOINT_URL": server.url, "AWS_REGION": s3.REGION, "AWS_EC2_METADATA_DISABLED": "true"}
    return Case(settings=config(f"s3://{server.bucket()}/dvc"), env=env, credentials=server.owner)


def over_azure(ask: Ask, place: Path) -> Case:
    server: azure.Azure = ask("azure")
    credentials = {"AZURE_STORAGE_CONNECTION_STRING": azure.CONNECTION}
    return Case(settings=config(f"azure://{server.container()}/dvc"), env=server.env, credentials=credentials)


def over_google_storage(ask: Ask, place: Path) -> Case:
    server: GoogleStorage = ask("google_storage")
    credentials = {"GOOGLE_APPLICATION_CREDENTIALS": json.dumps(server.tokens.service_account())}
    env = {**server.env, "NO_GCE_CHECK": "true"}
    return Case(settings=config(f"gs://{server.bucket()}/dvc"), env=env, credentials=credentials)


def over_google_drive(ask: Ask, place: Path) -> Case:
    server: Drive = ask("drive")
    credentials = {"GDRIVE_CREDENTIALS_DATA": json.dumps(server.user())}
    return Case(settings=config(f"gdrive://{server.folder()}"), env=server.cloud.env, credentials=credentials)


def over_oss(ask: Ask, place: Path) -> Case:
    server: oss.ObjectStorage = ask("oss")
    env = {"OSS_ENDPOINT": server.site.url}
    credentials = {name: value for name, value in server.env.items() if name not in env}
    return Case(settings=config(f"oss://{server.bucket()}/dvc"), env=env, credentials=credentials)


def over_ssh(ask: Ask, place: Path) -> Case:
    host: ssh.Host = ask("ssh")
    env = {"DVC_SSH_KNOWN_HOSTS": host.known_hosts, "DVC_SSH_USER": host.user}
    credentials = {"DVC_SSH_PRIVATE_KEY": host.key("-t", "ed25519")}
    return Case(settings=config(f"{host.url}/{place.name}"), env=env, credentials=credentials)


def over_http(ask: Ask, place: Path) -> Case:
    server: web.Web = ask("nginx")
    settings = config(f"{server.urls['token']}/{place.name}", method="PUT")
    return Case(settings=settings, env={}, credentials={"DVC_HTTP_TOKEN": web.TOKEN})


def over_webdav(ask: Ask, place: Path) -> Case:
    server: web.Web = ask("webdav")
    (server.folder / place.name).mkdir()
    credentials = {"DVC_WEBDAV_USER": web.USER, "DVC_WEBDAV_PASSWORD": web.PASSWORD}
    return Case(settings=config(f"{server.urls['basic']}/{place.name}"), env={}, credentials=credentials)


def over_webhdfs(ask: Ask, place: Path) -> Case:
    cluster: hdfs.Hdfs = ask("webhdfs")
    return Case(settings=config(cluster.url), env={}, credentials={"DVC_WEBHDFS_TOKEN": hdfs.TOKEN})


ALL = (
    over_s3,
    over_azure,
    over_google_storage,
    over_google_drive,
    over_oss,
    over_ssh,
    over_http,
    over_webdav,
    over_webhdfs,
)


def looked_at(world: World, env: dict[str, str], *options: str) -> dict[str, Any]:
    done = world.cml("doctor", "--json", *options, env=env)
    assert "Traceback" not in done.err
    (check,) = (check for check in json.loads(done.out) if check["name"] == "remote storage")
    assert done.code == int(check["status"] == "problem"), done.out
    for value in env.values():
        assert len(value) < 24 or value not in done.out + done.err
    return dict(check)


@pytest.mark.parametrize("over", ALL, ids=lambda over: over.__name__.removeprefix("over_"))
def test_a_remote_works_with_credentials_and_without_them_the_missing_ones_are_named(
    over: Callable[[Ask, Path], Case], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    case = over(request.getfixturevalue, tmp_path)
    world = project(tmp_path, case.settings)
    written = looked_at(world, {**case.env, **case.credentials}, "--write")
    assert written["status"] == "ok", written
    assert "can be read and written" in written["found"]
    assert set(case.credentials) <= set(written["uses"])
    read = looked_at(world, {**case.env, **case.credentials})
    assert read["status"] in ("ok", "note"), "a note where the first push makes the folder"
    without = looked_at(world, case.env)
    assert without["status"] == "problem"
    assert all(name in without["found"] for name in case.credentials), without


def test_of_several_remotes_the_one_that_refuses_is_named(nginx: web.Web, tmp_path: Path) -> None:
    other = f"['remote \"other\"']\n    url = {nginx.urls['token']}/{tmp_path.name}\n    method = PUT\n"
    world = project(tmp_path, config("../../storage") + other)
    world.write({"more.txt": "more\n"})
    world.dvc("add", "--quiet", "more.txt")
    world.write({"more.txt.dvc": (world.project / "more.txt.dvc").read_text() + "  remote: other\n"})
    world.commit("On another remote")
    done = world.cml("run", "--push", "true")
    assert done.code == 1
    assert "error: push: the DVC remote other (HTTP) needs credentials" in done.err
    done = world.cml("run", "--push", "true", env={"DVC_HTTP_TOKEN": web.TOKEN})
    assert done.code == 0, done.err
    clone = world.clone("second")
    done = world.cml("run", cwd=clone, env={"DVC_SITE_CACHE_DIR": str(clone / ".site")})
    assert done.code == 1
    assert "error: pull: the DVC remote other (HTTP) needs credentials: set DVC_HTTP_TOKEN" in done.err
