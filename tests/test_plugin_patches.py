"""Patches of storage plugins: installed when a remote signs in, removed at the end; and the one for HTTP.

Those for plugins that are not installed with CML itself are tested in `storage/test_plugin_contract.py`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

import pytest

from cml.remotes.plugin_patches import HttpExists, patched_plugins

HTTPFileSystem = import_module("dvc_http").HTTPFileSystem
LibraryFileSystem = import_module("dvc_http.spec").HTTPFileSystem
OBJECT = "/files/md5/ab/" + "0" * 30


class Handler(BaseHTTPRequestHandler):
    """Answers every request with the status that the first part of its path names."""

    def do_HEAD(self) -> None:
        self.send_response(int(self.path.split("/")[1]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815 - the library's name

    def log_message(self, *_: Any) -> None:
        """The base class would write to stderr."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def exists(url: str) -> bool:
    async def ask() -> bool:
        file_system = LibraryFileSystem(asynchronous=True, skip_instance_cache=True)
        session = await file_system.set_session()
        try:
            return bool(await file_system._exists(url))
        finally:
            await session.close()

    return asyncio.run(ask())


def test_http_without_the_patch_takes_a_refusal_for_a_missing_object(server: str) -> None:
    assert not exists(f"{server}/403{OBJECT}"), "dvc-http raises now: the patch can go"


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_http_with_the_patch_raises_when_the_server_refuses_or_fails(server: str, status: int) -> None:
    with HttpExists(), pytest.raises(Exception, match=str(status)):
        exists(f"{server}/{status}{OBJECT}")


def test_http_with_the_patch_answers_yes_and_no(server: str) -> None:
    with HttpExists():
        assert exists(f"{server}/200{OBJECT}")
        assert not exists(f"{server}/404{OBJECT}")
        assert not exists(f"{server}/410{OBJECT}")
        assert not exists(f"{server}/403/files/md5"), "the URL of a folder may be refused"


def test_plugins_are_patched_at_sign_in_and_restored_at_the_end() -> None:
    before = dict(vars(HTTPFileSystem)), dict(vars(LibraryFileSystem))
    with patched_plugins({"http", "https", "s3", "remote"}, known_hosts="", may_ask=False):
        assert dict(vars(LibraryFileSystem)) == before[1]
        HTTPFileSystem(url="https://data.example/dvc")
        HTTPFileSystem(url="http://data.example/dvc")
        _ = HTTPFileSystem(url="https://data.example/dvc").fs_args
        assert "_exists" in vars(LibraryFileSystem)
    assert (dict(vars(HTTPFileSystem)), dict(vars(LibraryFileSystem))) == before
