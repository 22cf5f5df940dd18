"""A stand-in for Google Drive's API (version 2) as PyDrive2 uses it, under its real host name; it requires a token.

It has files and folders by id, the search for children by title, and resumable uploads in one piece. It has no shared
drives, permissions or quotas.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from support.http_gate import HttpServer

from storage.cloud import Cloud
from storage.google import CLIENT, CLIENT_SECRET, REFRESH, TOKEN_URI, Tokens

HOST = "www.googleapis.com"
FOLDER = "application/vnd.google-apps.folder"


@dataclass(kw_only=True)
class Item:
    title: str
    parent: str
    kind: str
    content: bytes = b""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Drive:
    """One drive. `env` has the variables to reach it, without credentials."""

    def __init__(self, cloud: Cloud, tokens: Tokens) -> None:
        self.cloud, self.tokens = cloud, tokens
        self.items: dict[str, Item] = {}
        self._uploads: dict[str, Item] = {}

    def folder(self) -> str:
        """Makes a new folder; returns its id."""
        return self._add(Item(title="dvc", parent="root", kind=FOLDER)).id

    def user(self) -> dict[str, Any]:
        """Returns the file that `dvc push` keeps for a user who signed in; its access token has expired."""
        return {
            "access_token": "ya29.an-access-token-that-ran-out",
            "client_id": CLIENT,
            "client_secret": CLIENT_SECRET,
            "refresh_token": REFRESH,
            "token_expiry": "2020-01-01T00:00:00Z",
            "token_uri": TOKEN_URI,
            "user_agent": None,
            "revoke_uri": "https://oauth2.googleapis.com/revoke",
            "id_token": None,
            "id_token_jwt": None,
            "token_response": {"expires_in": 3599, "token_type": "Bearer"},
            "scopes": ["https://www.googleapis.com/auth/drive", "https://www.googleapis.com/auth/drive.appdata"],
            "token_info_uri": "https://oauth2.googleapis.com/tokeninfo",
            "invalid": False,
            "_class": "OAuth2Credentials",
            "_module": "oauth2client.client",
        }

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if refusal := self.tokens.may_pass(request):
            return refusal
        if upload := self._uploads.pop(request.query.get("upload_id", ""), None):
            upload.content = body
            return web.json_response(_shown(self._add(upload)))
        _, _, name = request.path.partition("/drive/v2/files")
        match request.method, name.strip("/"):
            case "GET", "":
                return web.json_response({"items": [_shown(item) for item in self._search(request.query["q"])]})
            case "POST", "":
                given = json.loads(body)
                new = Item(title=given["title"], parent=given["parents"][0]["id"], kind=given.get("mimeType", "text"))
                if request.query.get("uploadType") != "resumable":
                    return web.json_response(_shown(self._add(new)))
                self._uploads[new.id] = new
                where = f"https://{HOST}{request.path}?uploadType=resumable&upload_id={new.id}"
                return web.Response(headers={"Location": where})
            case "GET", ident if item := self.items.get(ident):
                if request.query.get("alt") == "media":
                    return _media(request, item.content)
                return web.json_response(_shown(item))
            case "POST", path if path.endswith("/trash"):
                return web.json_response(_shown(self.items.pop(path.removesuffix("/trash"))))
            case "DELETE", ident if self.items.pop(ident, None):
                return web.Response(status=204)
        said = f"File not found: {name}"
        error = {"code": 404, "message": said, "errors": [{"reason": "notFound", "message": said}]}
        return web.json_response({"error": error}, status=404)

    def _add(self, item: Item) -> Item:
        self.items[item.id] = item
        return item

    def _search(self, query: str) -> list[Item]:
        parents = set(re.findall(r"'([^']+)' in parents", query))
        title = re.search(r"title='([^']*)'", query)
        found = (item for item in self.items.values() if item.parent in parents)
        return [item for item in found if not title or item.title.lower() == title[1].lower()]


@contextlib.contextmanager
def started(cloud: Cloud, tokens: Tokens) -> Iterator[Drive]:
    drive = Drive(cloud, tokens)
    with HttpServer(drive.answer) as site:
        cloud.hosts[HOST] = site.port
        yield drive


def _media(request: web.Request, content: bytes) -> web.Response:
    if "Range" not in request.headers:
        return web.Response(body=content)
    start, stop = request.http_range.start or 0, min(request.http_range.stop or len(content), len(content))
    span = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
    return web.Response(status=206, body=content[start:stop], headers=span)


def _shown(item: Item) -> dict[str, Any]:
    shown = {"id": item.id, "title": item.title, "mimeType": item.kind, "parents": [{"id": item.parent}]}
    if item.kind == FOLDER:
        return shown
    md5 = hashlib.md5(item.content, usedforsecurity=False).hexdigest()
    return {**shown, "fileSize": str(len(item.content)), "md5Checksum": md5, "downloadUrl": f"https://{HOST}/x"}
