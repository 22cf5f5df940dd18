"""An HTTP server and a proxy that record requests, check who may pass, and fail on demand. HTTP/1.1, any method."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import aiohttp
from aiohttp import web
from typing_extensions import Self
from yarl import URL

HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}
S = TypeVar("S", bound="HttpServer")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(kw_only=True)
class Exchange:
    """One request and its answer: `sent` is the size of the answer's body; `status` is 0 if there was no answer."""

    method: str
    path: str
    query: str
    host: str
    status: int = 0
    sent: int = 0


@dataclass(kw_only=True)
class Fault:
    """A failure for the next `times` requests (None: all) that `matches`.

    `how` is a status, "reset" (the connection ends before the answer), "cut" (it ends in the middle of the answer) or
    "hang" (no answer).
    """

    how: int | str
    times: int | None
    matches: Callable[[web.Request], bool]
    count: int = 0


class HttpServer:
    """An HTTP server in its own thread that records its exchanges. Use it as a context manager."""

    def __init__(self, handler: Handler) -> None:
        self.exchanges: list[Exchange] = []
        self.faults: list[Fault] = []
        self.errors: list[str] = []
        self.url = ""
        self.port = 0
        self._handler = handler
        self._loop = asyncio.new_event_loop()
        application = web.Application(client_max_size=2**30)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._wait_for(self._start())
        self.port = int(self._runner.addresses[0][1])
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait_for(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not self.errors, "\n".join(self.errors)

    def fail(
        self, how: int | str, *, times: int | None = None, when: Callable[[web.Request], bool] = lambda _: True
    ) -> None:
        """Makes the next `times` matching requests fail (by default all)."""
        self.faults.append(Fault(how=how, times=times, matches=when))

    def forget(self) -> None:
        """Clears the record and ends all failures."""
        self.exchanges.clear()
        self.faults.clear()

    def _wait_for(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        exchange = Exchange(
            method=request.method, path=request.path, query=request.rel_url.query_string, host=request.host
        )
        self.exchanges.append(exchange)
        fault = next((each for each in self.faults if each.times != 0 and each.matches(request)), None)
        if fault:
            fault.times = None if fault.times is None else fault.times - 1
            fault.count += 1
            return await self._fail(request, exchange, fault.how)
        try:
            response = await self._handler(request)
        except Exception:
            self.errors.append(traceback.format_exc())
            raise
        exchange.status = response.status
        if isinstance(response, web.Response) and isinstance(response.body, bytes) and request.method != "HEAD":
            exchange.sent = len(response.body)
        return response

    async def _fail(self, request: web.Request, exchange: Exchange, how: int | str) -> web.StreamResponse:
        if isinstance(how, int):
            await request.read()
            exchange.status = how
            return web.Response(status=how, text="refused by the test's gate")
        if how == "hang":
            await asyncio.sleep(600)
        if how == "cut":
            whole = await self._handler(request)
            assert isinstance(whole, web.Response) and isinstance(whole.body, bytes)
            half = web.StreamResponse(status=whole.status, headers=whole.headers)
            half.content_length = len(whole.body)
            await half.prepare(request)
            await half.write(whole.body[: len(whole.body) // 2])
        if request.transport:
            request.transport.abort()
        return web.Response()


class HttpGate(HttpServer):
    """A proxy: forwards to `upstream` unless `may_pass` returns a refusal. It keeps the Host header, which is signed."""

    def __init__(
        self, upstream: str, *, may_pass: Callable[[web.Request], web.Response | None] = lambda _: None
    ) -> None:
        super().__init__(self._pass_on)
        self._upstream = upstream
        self._may_pass = may_pass

    async def _pass_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        if refusal := self._may_pass(request):
            return refusal
        kept = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_HEADERS]
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                URL(self._upstream + request.raw_path, encoded=True),
                headers=kept,
                data=body,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            ) as answer,
        ):
            back = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_HEADERS]
            return web.Response(status=answer.status, body=await answer.read(), headers=back)
