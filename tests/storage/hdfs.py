"""A stand-in for HDFS's REST API (WebHDFS): a namenode that redirects (307) and a datanode with the bytes.

It has the calls that DVC makes. Both nodes check the user: by `user.name`, by a delegation token or by basic auth, as
Hadoop does without security, with security, and behind a Knox gateway. It has no blocks and no replication.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from aiohttp import web
from support.http_gate import HttpServer

USER, PASSWORD, TOKEN = "ada", "correct-horse-battery", "JAAEcm9vdARyb290AIoBXeOurOwnDelegationToken"
BASIC = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
AuthMethod = Literal["user", "token", "password"]
NAMES = {"user": ("user.name", USER), "token": ("delegation", TOKEN)}


class Hdfs:
    """One cluster with one auth method. `files` are its files, by path."""

    def __init__(self, method: AuthMethod) -> None:
        self.files: dict[str, bytes] = {}
        self.folders = {"/"}
        self.namenode, self.datanode = HttpServer(self._name), HttpServer(self._data)
        self._method = method

    @property
    def url(self) -> str:
        return f"webhdfs://127.0.0.1:{self.namenode.port}/dvc"

    async def _name(self, request: web.Request) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        path = posixpath.normpath(request.path.removeprefix("/webhdfs/v1"))
        match request.query["op"]:
            case "GETFILESTATUS" if self._exists(path):
                return web.json_response({"FileStatus": self._status(path, "")})
            case "LISTSTATUS" if self._exists(path):
                inside = {name for name in (*self.files, *self.folders) if posixpath.dirname(name) == path != name}
                found = [self._status(name, posixpath.basename(name)) for name in inside]
                return web.json_response({"FileStatuses": {"FileStatus": found}})
            case "MKDIRS":
                while path not in self.folders:
                    self.folders.add(path)
                    path = posixpath.dirname(path)
                return web.json_response({"boolean": True})
            case "RENAME" if path in self.files:
                self.files[request.query["destination"]] = self.files.pop(path)
                return web.json_response({"boolean": True})
            case "DELETE":
                return web.json_response({"boolean": self.files.pop(path, None) is not None})
            case "CREATE" | "APPEND" | "OPEN" as op if op == "CREATE" or path in self.files:
                return web.Response(status=307, headers={"Location": f"{self.datanode.url}{request.path_qs}"})
        return _error(404, "FileNotFoundException", f"File does not exist: {path}")

    async def _data(self, request: web.Request) -> web.Response:
        body = await request.read()
        if refusal := self._refusal(request):
            return refusal
        path = posixpath.normpath(request.path.removeprefix("/webhdfs/v1"))
        match request.query["op"]:
            case "CREATE":
                self.files[path] = body
                return web.Response(status=201)
            case "APPEND":
                self.files[path] += body
                return web.Response()
            case _:
                start = int(request.query["offset"])
                return web.Response(body=self.files[path][start : start + int(request.query["length"])])

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self._method == "password":
            if request.headers.get("Authorization") == BASIC:
                return None
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="knox"'})
        name, wanted = NAMES[self._method]
        if request.query.get(name) == wanted:
            return None
        if self._method == "token" and request.query.get(name):
            return _error(403, "InvalidToken", "token (token for ada) can't be found in cache")
        return _error(403, "AccessControlException", "Permission denied: user=dr.who, access=WRITE")

    def _exists(self, path: str) -> bool:
        return path in self.files or path in self.folders

    def _status(self, path: str, suffix: str) -> dict[str, object]:
        kind = "FILE" if path in self.files else "DIRECTORY"
        return {"pathSuffix": suffix, "type": kind, "length": len(self.files.get(path, b"")), "modificationTime": 0}


@contextmanager
def started(method: AuthMethod) -> Iterator[Hdfs]:
    cluster = Hdfs(method)
    with cluster.namenode, cluster.datanode:
        yield cluster


def _error(status: int, exception: str, message: str) -> web.Response:
    remote = {"exception": exception, "javaClassName": f"org.apache.hadoop.{exception}", "message": message}
    return web.json_response({"RemoteException": remote}, status=status)
