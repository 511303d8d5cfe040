"""The admin port: is it alive, is it ready, figures for Prometheus, and the page. Off unless `[admin] listen` is set."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from watcher.errors import Unavailable
from watcher.network.listening import listening_sockets, shown_host
from watcher.service.page.guard import names_this_machine
from watcher.service.password import PasswordVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.typedefs import Handler

    from watcher.service.metrics import Metrics
    from watcher.service.password import PasswordCheck
    from watcher.shown.figures import Status

HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'",
}
METRICS_HEADERS: Final = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
OPEN_TO_ALL: Final = ("/healthz", "/readyz")
WRONG_NAME: Final = (
    "without a password this port answers to loopback names only (http://localhost:...), so that no other site can read it;"
    " set [admin] password, or let the proxy in front of it send the Host of its target\n"
)


@dataclass(frozen=True, slots=True)
class Health:
    """How the daemon does. `problems` say in few words why it is not ready; they name no file and no folder."""

    alive: bool
    problems: tuple[str, ...] = ()


BACKLOG: Final = 128


class AdminSource(Protocol):
    """What the admin port shows."""

    def health(self) -> Health:
        """How the daemon does now. Costs nothing."""

    async def status(self) -> Status:
        """The figures."""

    async def status_of_host(self, host: str) -> Status | None:
        """The figures of one host that shares the journal; None where there is none of this name. Raises Unavailable."""


class AdminServer:
    """Serves `/healthz`, `/readyz`, `/metrics` and whatever `routes` has besides."""

    def __init__(
        self, source: AdminSource, metrics: Metrics, password: PasswordCheck, routes: Sequence[web.AbstractRouteDef] = ()
    ) -> None:
        self._source = source
        self._metrics = metrics
        self._password = password
        self._routes = routes
        self._runner: web.AppRunner | None = None
        self._listen = ""

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the real port. Raises Unavailable where the address is not available."""
        self._listen = host
        application = web.Application(middlewares=[self._guarded])
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/readyz", self._readiness)
        application.router.add_get("/metrics", self._show_metrics)
        application.router.add_routes(self._routes)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            for each in await asyncio.to_thread(listening_sockets, host, port, BACKLOG):
                await web.SockSite(self._runner, each).start()
        except OSError as error:
            await self.stop()
            raise Unavailable(
                f"the admin address {shown_host(host)}:{port} is not available: {error.strerror or error}",
                "set another [admin] listen",
            ) from None
        real_port: int = self._runner.addresses[0][1]
        return real_port

    async def stop(self) -> None:
        """Stop listening. May be called twice."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The password, and headers that every answer has."""
        refusal = None if request.path in OPEN_TO_ALL else self._refusal(request)
        try:
            response = refusal if refusal is not None else await handler(request)
        except web.HTTPException as error:
            error.headers.update({name: value for name, value in HEADERS.items() if name not in error.headers})
            raise
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self._password.is_open and not names_this_machine(request.headers.get("Host", ""), self._listen):
            return web.Response(status=HTTPStatus.MISDIRECTED_REQUEST, text=WRONG_NAME)
        verdict = self._password.judge(request.headers.get("Authorization"), request.remote or "")
        if verdict is PasswordVerdict.RIGHT:
            return None
        if verdict is PasswordVerdict.TOO_MANY:
            return web.Response(status=429, text="too many wrong passwords; wait a minute\n", headers={"Retry-After": "60"})
        ask = {"WWW-Authenticate": 'Basic realm="compressor-watcher", charset="UTF-8"'}
        return web.Response(status=401, text="the password is that of [admin]; any user name will do\n", headers=ask)

    async def _health(self, _: web.Request) -> web.Response:
        """200 while every part moves, else 503."""
        alive = self._source.health().alive
        return web.Response(status=200 if alive else 503, text="ok\n" if alive else "stuck\n")

    async def _readiness(self, _: web.Request) -> web.Response:
        """200 while files that are dropped now would be delivered now, else 503 and why not."""
        problems = self._source.health().problems
        text = "".join(f"{problem}\n" for problem in problems) or "ready\n"
        return web.Response(status=503 if problems else 200, text=text)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        """Of all; with `?host=NAME` of one host that shares the journal."""
        if host := request.query.get("host"):
            return await self._show_host(host)
        health = self._source.health()
        body = self._metrics.exposition(await self._source.status(), alive=health.alive, ready=not health.problems)
        return web.Response(body=body, headers=METRICS_HEADERS)

    async def _show_host(self, host: str) -> web.Response:
        try:
            status = await self._source.status_of_host(host)
        except Unavailable as error:
            return web.Response(status=503, text=f"{error}\n")
        if status is None:
            return web.Response(status=404, text="no host of this name shares the journal\n")
        return web.Response(body=self._metrics.exposition_of_host(status), headers=METRICS_HEADERS)
