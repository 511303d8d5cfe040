"""Builds the way to the API, and to what it stored; where the API is embedded, the engine."""

from __future__ import annotations

import random
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from watcher.assembly.parts import ApiAccess, Context, Publishing
from watcher.compressor.client import CompressorClient
from watcher.compressor.gate import CircuitGate
from watcher.compressor.stored import HttpObjectStore
from watcher.config.schema import MOST_REQUESTS
from watcher.config.values import split_address
from watcher.network.listening import origin
from watcher.service.observed_api import ObservedApi

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.config.schema import Settings
    from watcher.ports import Api, ObjectStore


DEFAULT_PORTS: Final = {"http": 80, "https": 443}
STORE_TIMEOUT_SECONDS: Final = 30.0


async def start_api(context: Context, publishing: Publishing) -> ApiAccess:
    """Make the client and its gate; where the API is embedded, start the engine."""
    if context.settings.compressor.embedded:
        return await _start_engine(context, publishing)
    verify = HttpObjectStore(context.settings.verify, timeout=STORE_TIMEOUT_SECONDS, proxies=context.proxies)
    context.life.on_stop(verify.aclose)
    context.life.on_reload(lambda settings: verify.use_keys(settings.verify))
    return _api_access(context, publishing, context.settings.compressor.url, lambda: _configured_key(context), verify)


def _configured_key(context: Context) -> str:
    key = context.settings.compressor.api_key
    return key.get_secret_value() if key else ""


async def _start_engine(context: Context, publishing: Publishing) -> ApiAccess:
    """The embedded engine on a loopback port, with a key that nobody else knows."""
    from watcher.engine.server import Engine  # an extra: only who runs the engine needs its parts
    from watcher.engine.store import ConnectorStore

    settings, own_key = context.settings.engine, secrets.token_urlsafe(32)
    host, port = split_address(settings.listen or "127.0.0.1:0")
    keys = {own_key, *(key.get_secret_value() for key in settings.api_keys)}
    own_addresses = _own_addresses(context.settings, publishing)
    state_dir, proxies = context.settings.state_dir, context.proxies
    engine = Engine(settings, state_dir, api_keys=keys, allow_addresses=own_addresses, proxies=proxies)
    port = await engine.start(host, port)
    context.life.on_stop(engine.stop)
    return _api_access(context, publishing, f"{origin(host, port)}/1.0", lambda: own_key, ConnectorStore(engine.connectors))


def _own_addresses(settings: Settings, publishing: Publishing) -> list[tuple[str, int]]:
    """Where this daemon's own originals can be fetched: all that the embedded engine may reach besides public addresses."""
    presign = settings.publish.presign
    parts = urlsplit(publishing.public_url or (presign.endpoint if presign else ""))
    return [(parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])] if parts.hostname else []


def _api_access(context: Context, publishing: Publishing, url: str, api_key: Callable[[], str], store: ObjectStore) -> ApiAccess:
    compressor = context.settings.compressor
    client = CompressorClient(
        url,
        api_key,
        concurrency=MOST_REQUESTS,  # the pipeline keeps to the limit, which may be changed while connections are in use
        timeout=compressor.timeout,
        transport=compressor.transport,
        proxies=context.proxies,
        moved_at=publishing.moved_at,
    )
    context.life.on_stop(client.aclose)
    metrics = context.metrics
    observed: Api = client if metrics is None else ObservedApi(client, metrics.call, context.clock)
    gate = CircuitGate(observed.account, context.events, context.clock, random.random, compressor.requests_per_second)
    context.life.on_stop(gate.close)

    def reload(settings: Settings) -> None:
        client.timeout = settings.compressor.timeout
        gate.pace(settings.compressor.requests_per_second)
        gate.recheck()

    context.life.on_reload(reload)
    return ApiAccess(observed, gate, store)
