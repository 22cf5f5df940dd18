"""WebDAV, against wsgidav; a gate in front of it checks the auth methods that wsgidav does not support."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.journey import config, project, refused, round_trip
from storage.web import HEADER, KEY, PASSWORD, TOKEN, USER, Web

METHODS = {
    "open": {},
    "basic": {"DVC_WEBDAV_USER": USER, "DVC_WEBDAV_PASSWORD": PASSWORD},
    "token": {"DVC_WEBDAV_TOKEN": TOKEN},
    "header": {"DVC_WEBDAV_CUSTOM_AUTH_HEADER": HEADER, "DVC_WEBDAV_PASSWORD": KEY},
}


@pytest.mark.parametrize("method", METHODS)
def test_each_auth_method(webdav: Web, method: str, tmp_path: Path) -> None:
    (webdav.folder / tmp_path.name).mkdir()
    world = project(tmp_path, config(f"{webdav.urls[method]}/{tmp_path.name}"))
    round_trip(
        world, METHODS[method], *(value for name, value in METHODS[method].items() if name.endswith(("WORD", "TOKEN")))
    )


WRONG = {
    "basic": {"DVC_WEBDAV_USER": USER, "DVC_WEBDAV_PASSWORD": "incorrect-horse"},
    "token": {"DVC_WEBDAV_TOKEN": "glpat-of-somebody-else"},
    "header": {"DVC_WEBDAV_CUSTOM_AUTH_HEADER": HEADER, "DVC_WEBDAV_PASSWORD": "incorrect-horse"},
}


@pytest.mark.parametrize("method", WRONG)
def test_wrong_credentials(webdav: Web, method: str, tmp_path: Path) -> None:
    (webdav.folder / tmp_path.name).mkdir()
    world = project(tmp_path, config(f"{webdav.urls[method]}/{tmp_path.name}"))
    said = refused(world, WRONG[method], "incorrect-horse", "glpat-of-somebody-else")
    assert f"refuses {' and '.join(WRONG[method])}" in said


@pytest.mark.parametrize("method", WRONG)
def test_no_credentials(webdav: Web, method: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{webdav.urls[method]}/{tmp_path.name}"))
    assert "set DVC_WEBDAV_TOKEN (token), or DVC_WEBDAV_USER and DVC_WEBDAV_PASSWORD" in refused(world, {})


def test_a_missing_folder(webdav: Web, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{webdav.urls['open']}/not/made"))
    assert "create it" in refused(world, {})
