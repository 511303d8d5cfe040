"""The admin port over a real socket."""

from __future__ import annotations

import aiohttp
import pytest

from watcher.errors import Unavailable
from watcher.service.admin import AdminServer, Figures

FIGURES = Figures(
    alive=True,
    waiting=3,
    in_flight=2,
    stored=40,
    failed=1,
    superseded=0,
    vanished=0,
    folders=5,
    folders_lost=1,
    api="closed",
)


async def test_health_metrics_and_page_say_how_it_is() -> None:
    """200 while alive, 503 when stuck; the figures are in the metrics and on the page."""
    now = {"figures": FIGURES}

    async def figures() -> Figures:
        return now["figures"]

    server = AdminServer(figures)
    port = await server.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            assert 200 == (await session.get("/healthz")).status
            metrics = await (await session.get("/metrics")).text()
            assert "compressor_watcher_waiting 3\n" in metrics
            assert 'compressor_watcher_endings{event="stored"} 40\n' in metrics
            assert "<td>40" in await (await session.get("/")).text()
            assert 404 == (await session.get("/t/anything")).status
            now["figures"] = Figures(**{**{name: getattr(FIGURES, name) for name in FIGURES.__slots__}, "alive": False})
            assert 503 == (await session.get("/healthz")).status
    finally:
        await server.stop()


async def test_a_taken_address_is_told() -> None:
    """The message names the address and what to do."""

    async def figures() -> Figures:
        return FIGURES

    first, second = AdminServer(figures), AdminServer(figures)
    port = await first.start("127.0.0.1", 0)
    try:
        with pytest.raises(Unavailable, match=str(port)):
            await second.start("127.0.0.1", port)
    finally:
        await first.stop()
        await second.stop()
