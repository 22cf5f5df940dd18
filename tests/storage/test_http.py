"""HTTP, against nginx."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.journey import config, failed, project, refused, round_trip
from storage.web import HEADER, KEY, PASSWORD, TOKEN, USER, Web

WAYS = {
    "open": {},
    "basic": {"DVC_HTTP_USER": USER, "DVC_HTTP_PASSWORD": PASSWORD},
    "token": {"DVC_HTTP_TOKEN": TOKEN},
    "header": {"DVC_HTTP_CUSTOM_AUTH_HEADER": HEADER, "DVC_HTTP_PASSWORD": KEY},
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way(nginx: Web, way: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls[way]}/{tmp_path.name}", method="PUT"))
    round_trip(world, WAYS[way], *(value for name, value in WAYS[way].items() if name.endswith(("WORD", "TOKEN"))))


WRONG = {
    "basic": {"DVC_HTTP_USER": USER, "DVC_HTTP_PASSWORD": "incorrect-horse"},
    "token": {"DVC_HTTP_TOKEN": "glpat-of-somebody-else"},
    "header": {"DVC_HTTP_CUSTOM_AUTH_HEADER": HEADER, "DVC_HTTP_PASSWORD": "incorrect-horse"},
}


@pytest.mark.parametrize("way", WRONG)
def test_wrong_credentials(nginx: Web, way: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls[way]}/{tmp_path.name}", method="PUT"))
    said = refused(world, WRONG[way], "incorrect-horse", "glpat-of-somebody-else")
    assert f"refuses {' and '.join(WRONG[way])}" in said


@pytest.mark.parametrize("way", WRONG)
def test_no_credentials(nginx: Web, way: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls[way]}/{tmp_path.name}", method="PUT"))
    assert "set DVC_HTTP_TOKEN (token), or DVC_HTTP_USER and DVC_HTTP_PASSWORD" in refused(world, {})


def test_a_server_that_is_only_read_from(nginx: Web, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls['readable']}/{tmp_path.name}", method="PUT"))
    assert failed(world, {}).startswith("push: the DVC remote storage (HTTP)")


def test_uploads_by_a_method_that_the_server_does_not_take(nginx: Web, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls['open']}/{tmp_path.name}"))
    assert "dvc remote modify storage method PUT" in failed(world, {})
