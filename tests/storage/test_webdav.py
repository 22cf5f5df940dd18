"""WebDAV, against wsgidav; what it has no way to ask for, a gate in front of it asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.journey import config, project, refused, round_trip
from storage.web import HEADER, KEY, PASSWORD, TOKEN, USER, Web

WAYS = {
    "open": {},
    "basic": {"DVC_WEBDAV_USER": USER, "DVC_WEBDAV_PASSWORD": PASSWORD},
    "token": {"DVC_WEBDAV_TOKEN": TOKEN},
    "header": {"DVC_WEBDAV_CUSTOM_AUTH_HEADER": HEADER, "DVC_WEBDAV_PASSWORD": KEY},
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way(webdav: Web, way: str, tmp_path: Path) -> None:
    (webdav.folder / tmp_path.name).mkdir()
    world = project(tmp_path, config(f"{webdav.urls[way]}/{tmp_path.name}"))
    round_trip(world, WAYS[way], *(value for name, value in WAYS[way].items() if name.endswith(("WORD", "TOKEN"))))


WRONG = {
    "basic": {"DVC_WEBDAV_USER": USER, "DVC_WEBDAV_PASSWORD": "incorrect-horse"},
    "token": {"DVC_WEBDAV_TOKEN": "glpat-of-somebody-else"},
    "header": {"DVC_WEBDAV_CUSTOM_AUTH_HEADER": HEADER, "DVC_WEBDAV_PASSWORD": "incorrect-horse"},
}


@pytest.mark.parametrize("way", WRONG)
def test_wrong_credentials(webdav: Web, way: str, tmp_path: Path) -> None:
    (webdav.folder / tmp_path.name).mkdir()
    world = project(tmp_path, config(f"{webdav.urls[way]}/{tmp_path.name}"))
    said = refused(world, WRONG[way], "incorrect-horse", "glpat-of-somebody-else")
    assert f"refuses {' and '.join(WRONG[way])}" in said


@pytest.mark.parametrize("way", WRONG)
def test_no_credentials(webdav: Web, way: str, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{webdav.urls[way]}/{tmp_path.name}"))
    assert "set DVC_WEBDAV_TOKEN (token), or DVC_WEBDAV_USER and DVC_WEBDAV_PASSWORD" in refused(world, {})


def test_a_folder_that_is_not_there(webdav: Web, tmp_path: Path) -> None:
    world = project(tmp_path, config(f"{webdav.urls['open']}/not/made"))
    assert "create it" in refused(world, {})
