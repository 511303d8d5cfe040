"""`engine`: the local API on its own."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Final

from watcher.commands.signals import stop_on_signals
from watcher.config.values import split_address
from watcher.engine.server import Engine
from watcher.log import quiet_libraries
from watcher.network.listening import shown_host
from watcher.network.proxies import Proxies
from watcher.service.instance import InstanceLock

if TYPE_CHECKING:
    from watcher.config.schema import Settings

DEFAULT_ENGINE_ADDRESS: Final = "127.0.0.1:8787"


async def run_engine(settings: Settings) -> int:
    """The local API on its own, until a signal says stop."""
    quiet_libraries()
    host, port = split_address(settings.engine.listen or DEFAULT_ENGINE_ADDRESS)
    state_dir = settings.state_dir / "engine"
    lock = InstanceLock.take(state_dir)
    keys = {key.get_secret_value() for key in settings.engine.api_keys}
    proxies = Proxies.of_environment(os.environ)
    engine = Engine(settings.engine, state_dir, api_keys=keys, proxies=proxies)
    port = await engine.start(host, port)
    stopping = asyncio.Event()
    stop_on_signals(lambda _: stopping.set())
    print(f"compressor-watcher engine: listening on http://{shown_host(host)}:{port}/1.0", file=sys.stderr, flush=True)  # noqa: T201 - for people
    try:
        await stopping.wait()
    finally:
        await engine.stop()
        lock.release()
    return 0
