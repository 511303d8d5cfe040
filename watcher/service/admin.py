"""The admin port: is it alive, how much is there to do, figures for Prometheus. Off unless `[admin] listen` is set.

It shows counts and states, never a file name, a key or a token; still it is meant for loopback or a network of operators.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from html import escape
from typing import TYPE_CHECKING, Final

from aiohttp import web

from watcher.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What the page and the metrics show. `waiting` to `vanished` count outputs."""

    alive: bool
    waiting: int
    in_flight: int
    stored: int
    failed: int
    superseded: int
    vanished: int
    folders: int
    folders_lost: int
    api: str
    """Where the way to the API stands: "closed" is good, as of a circuit."""


class AdminServer:
    """Serves `/`, `/healthz` and `/metrics`."""

    def __init__(self, figures: Callable[[], Awaitable[Figures]]) -> None:
        self._figures = figures
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the real port. Raises Unavailable where the address cannot be had."""
        application = web.Application()
        application.router.add_get("/", self._page)
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self.stop()
            raise Unavailable(
                f"the admin address {host}:{port} cannot be had: {error.strerror or error}", "set another [admin] listen"
            ) from None
        real_port: int = self._runner.addresses[0][1]
        return real_port

    async def stop(self) -> None:
        """Stop listening. May be called twice."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        """200 while every part moves, else 503."""
        alive = (await self._figures()).alive
        return web.Response(status=200 if alive else 503, text="ok\n" if alive else "stuck\n", headers=HEADERS)

    async def _metrics(self, _: web.Request) -> web.Response:
        text = exposition(await self._figures())
        headers = {**HEADERS, "Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=text.encode(), headers=headers)

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=page(await self._figures()), content_type="text/html", headers=HEADERS)


def exposition(figures: Figures) -> str:
    """The figures in Prometheus' text format (version 0.0.4)."""
    endings = {f'endings{{event="{name}"}}': getattr(figures, name) for name in ("stored", "failed", "superseded", "vanished")}
    gauges = {name: getattr(figures, name) for name in ("waiting", "in_flight", "folders", "folders_lost")}
    states = {"up": int(figures.alive), "api_available": int(figures.api == "closed")}
    head = "# TYPE compressor_watcher_endings gauge\n"
    return head + "".join(f"compressor_watcher_{name} {value}\n" for name, value in {**endings, **gauges, **states}.items())


def page(figures: Figures) -> str:
    """A page for people."""
    rows = "".join(
        f"<tr><th align=left>{escape(each.name.replace('_', ' '))}<td>{escape(str(getattr(figures, each.name)))}"
        for each in fields(figures)
    )
    return (
        f"<!doctype html><html lang=en><title>compressor-watcher</title><h1>compressor-watcher</h1><table>{rows}</table></html>\n"
    )
