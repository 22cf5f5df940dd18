"""A real HTTP server for a stand-in forge: requests and answers, a record of all of them, and faults on demand.

The forge makes the answers. TLS, HTTP/2 and compression are not modelled.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import socket
import struct
import threading
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, cast

CHUNK = 65536
CONTROL_PREFIX = "/_standin/"  # see remote_control.py
SHUTDOWN_SECONDS = 5
HTML = b"<!DOCTYPE html><html><body><h1>Something is in the way</h1></body></html>"


@dataclass(kw_only=True)
class Response:
    """An answer: bytes, or pieces that are sent as they come."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)


def json_response(data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Returns an answer of a forge's API."""
    content = {"Content-Type": "application/json; charset=utf-8"}
    return Response(status=status, body=json.dumps(data).encode(), headers={**content, **(headers or {})})


class Body:
    """The body of a request, read by its length or in chunks."""

    def __init__(self, stream: BinaryIO, headers: Message) -> None:
        self._stream = stream
        self._chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        self._left = 0 if self._chunked else int(headers.get("Content-Length") or 0)
        self._ended = not self._chunked and not self._left

    def read(self, size: int = CHUNK) -> bytes:
        """Returns the next piece, empty at the end."""
        if self._chunked and not self._left and not self._ended:
            self._left = int(self._stream.readline().split(b";")[0] or b"0", 16)
            if not self._left:
                self._ended = True
                while self._stream.readline().strip():
                    pass
        if self._ended:
            return b""
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        if not data or (not self._left and not self._chunked):
            self._ended = True
        if self._chunked and not self._left and data:
            self._stream.readline()
        return data

    def read_all(self) -> bytes:
        return b"".join(iter(self.read, b""))


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request. `path` is as it was sent (quoted), without the query; `pairs` are all parameters of the query."""

    method: str
    path: str
    pairs: list[tuple[str, str]]
    headers: Message
    body: Body

    @property
    def query(self) -> dict[str, str]:
        """The query by name; if a name is there twice, the last."""
        return dict(self.pairs)

    @property
    def authorizations(self) -> list[str]:
        return self.headers.get_all("Authorization") or []


@dataclass(kw_only=True)
class Exchange:
    """The record of one request. `path` has the query, but not the API's prefix. `status` is 0 if none was sent.

    `note` names a mistake of the client: an unknown route, a wrong field. `json` is the body, if it was JSON.
    """

    method: str
    path: str
    authorization: str
    status: int = 0
    note: str = ""
    fault: str = ""
    json: Any = None
    at: float = 0.0


@dataclass(kw_only=True)
class Fault:
    """Makes matching requests fail: not the first `skip` of them, then `times` of them (None: all)."""

    route: str
    how: str | Response
    times: int | None
    skip: int
    seconds: float

    def applies_to(self, method: str, path: str) -> bool:
        wanted, _, pattern = self.route.rpartition(" ")
        if wanted not in ("", "*", method) or not fnmatch.fnmatchcase(path, pattern) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Site:
    """A server in its own threads. `answer` makes the answers, `identify` names the kind of a request's token."""

    def __init__(
        self, answer: Callable[[Request, Exchange], Response], identify: Callable[[Request], str], *, prefix: str
    ) -> None:
        self.answer = answer
        self.identify = identify
        self.prefix = prefix
        self.exchanges: list[Exchange] = []
        self.errors: list[str] = []
        self.faults: list[Fault] = []
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self._server: _Server | None = None

    def start(self, port: int = 0) -> str:
        """Starts the server; returns its base URL."""
        self._server = server = _Server(self, port)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    def stop(self) -> None:
        """Ends every connection, also those that hang."""
        self.closing.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server.end_connections()

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self.lock:
            return next((fault for fault in self.faults if fault.applies_to(method, path)), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._open.discard(request)

    def end_connections(self) -> None:
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        while self._open and time.monotonic() < deadline:
            for connection in list(self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            time.sleep(0.005)

    def handle_error(self, request: Any, client_address: Any) -> None:
        text = traceback.format_exc()
        if "ConnectionResetError" not in text and "BrokenPipeError" not in text and not self.site.closing.is_set():
            self.site.errors.append(text)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _answer(self) -> None:
        site = self.server.site
        path, _, query = self.path.partition("?")
        request = Request(
            method=self.command,
            path=path,
            pairs=urllib.parse.parse_qsl(query, keep_blank_values=True),
            headers=self.headers,
            body=Body(cast("BinaryIO", self.rfile), self.headers),
        )
        short = path.removeprefix(site.prefix)
        exchange = Exchange(
            method=self.command,
            path=short + (f"?{query}" if query else ""),
            authorization=site.identify(request),
            at=time.time(),
        )
        if not path.startswith(CONTROL_PREFIX):
            site.exchanges.append(exchange)
        fault = site.fault_for(self.command, short)
        try:
            if fault:
                self._fail(request, exchange, fault)
            else:
                self._send(self._run(request, exchange), exchange)
        finally:
            if not self.close_connection and not self.rfile.closed:
                request.body.read_all()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the base class's names

    def _run(self, request: Request, exchange: Exchange) -> Response:
        try:
            return self.server.site.answer(request, exchange)
        except Exception:
            self.server.site.errors.append(traceback.format_exc())
            return Response(status=500, body=b"the stand-in broke: see its errors")

    def _fail(self, request: Request, exchange: Exchange, fault: Fault) -> None:
        how = fault.how
        exchange.fault = how if isinstance(how, str) else str(how.status)
        if isinstance(how, Response):
            self._send(how, exchange)
            return
        done = how.removeprefix("done-")  # with the prefix, the request is carried out before it fails
        response = self._run(request, exchange) if how != done or how == "truncated" else Response()
        body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
        match done:
            case "hang":
                self.server.site.closing.wait(fault.seconds)
                self._reset()
            case "reset":
                self._reset()
            case "truncated":
                cut = Response(status=response.status, body=body[: len(body) // 2], headers=dict(response.headers))
                self._send(cut, exchange, promised=len(body))
                self.close_connection = True
            case "html":
                self._send(Response(body=HTML, headers={"Content-Type": "text/html"}), exchange)
            case _:
                text = {"message": "Server Error"}
                self._send(json_response(text, status=int(done)), exchange)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def _send(self, response: Response, exchange: Exchange, promised: int | None = None) -> None:
        exchange.status = response.status
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        body = response.body
        if isinstance(body, bytes):
            if response.status != 204:
                self.send_header("Content-Length", str(len(body) if promised is None else promised))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in body:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Prints nothing: the exchanges are the log."""
