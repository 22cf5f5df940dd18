"""HTTP remotes, against nginx."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.journey import config, failed, project, refused, round_trip
from storage.web import HEADER, KEY, PASSWORD, TOKEN, USER, Web

METHODS = {
    "open": {},
    "basic": {"DVC_HTTP_USER": USER, "DVC_HTTP_PASSWORD": PASSWORD},
    "token": {"DVC_HTTP_TOKEN": TOKEN},
    "header": {"DVC_HTTP_CUSTOM_AUTH_HEADER": HEADER, "DVC_HTTP_PASSWORD": KEY},
}


@pytest.mark.parametrize("method", METHODS)
def test_each_auth_method(nginx: Web, method: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls[method]}/{tmp_path.name}", method="PUT"))
    round_trip(
        world, METHODS[method], *(value for name, value in METHODS[method].items() if name.endswith(("WORD", "TOKEN")))
    )


WRONG = {
    "basic": {"DVC_HTTP_USER": USER, "DVC_HTTP_PASSWORD": "incorrect-horse"},
    "token": {"DVC_HTTP_TOKEN": "glpat-of-somebody-else"},
    "header": {"DVC_HTTP_CUSTOM_AUTH_HEADER": HEADER, "DVC_HTTP_PASSWORD": "incorrect-horse"},
}


@pytest.mark.parametrize("method", WRONG)
def test_wrong_credentials(nginx: Web, method: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls[method]}/{tmp_path.name}", method="PUT"))
    said = refused(world, WRONG[method], "incorrect-horse", "glpat-of-somebody-else")
    assert f"refuses {' and '.join(WRONG[method])}" in said


@pytest.mark.parametrize("method", WRONG)
def test_no_credentials(nginx: Web, method: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls[method]}/{tmp_path.name}", method="PUT"))
    assert "set DVC_HTTP_TOKEN (token), or DVC_HTTP_USER and DVC_HTTP_PASSWORD" in refused(world, {})


def test_a_server_without_uploads(nginx: Web, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls['readable']}/{tmp_path.name}", method="PUT"))
    assert failed(world, {}).startswith("push: the DVC remote storage (HTTP)")


def test_uploads_with_a_method_that_the_server_does_not_accept(nginx: Web, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{nginx.urls['open']}/{tmp_path.name}"))
    assert "dvc remote modify storage method PUT" in failed(world, {})
