"""The API, the account, the clock, and the stores that the folders name."""

from __future__ import annotations

import os
import secrets
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import httpx

from watcher.commands.checks.finding import fail, ok, skip, warn
from watcher.commands.checks.folders import RIGHTS_HINT, existing
from watcher.compressor.client import CompressorClient
from watcher.compressor.failures import CAUGHT
from watcher.compressor.stored import HttpObjectStore
from watcher.config.engine_settings import B2ConnectorSettings, DirectoryConnectorSettings
from watcher.config.rules import folder_rules
from watcher.errors import CallFailed
from watcher.model import Absence, FailureKind
from watcher.network.certificates import client_context
from watcher.network.proxies import Proxies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.commands.checks.finding import Finding
    from watcher.config.engine_settings import ConnectorSettings
    from watcher.config.schema import Settings
    from watcher.model import HeadAnswer

SKEW_SECONDS: Final = 300.0
"""Presigned links and many servers' tokens do not forgive more."""
STORE_SECONDS: Final = 15.0
_EXAMPLES: Final = {"id": "your-connector-id", "bucket": "my-bucket"}


async def check_api(settings: Settings) -> list[Finding]:
    """The lines about the API, or about the engine that takes its place."""
    if settings.compressor.embedded:
        return list(check_engine(settings))
    findings = [await _account(settings)]
    difference = await _clock_difference(settings.compressor.url)
    if difference is not None:
        findings.append(judge_clock(difference))
    return findings


async def _account(settings: Settings) -> Finding:
    compressor = settings.compressor
    key = compressor.api_key.get_secret_value() if compressor.api_key else ""
    async with CompressorClient(
        compressor.url,
        lambda: key,
        timeout=compressor.timeout,
        transport=compressor.transport,
        concurrency=1,
        proxies=_proxies(),
    ) as client:
        try:
            await client.account()
        except CallFailed as error:
            return judge_call(error)
    return ok("account", f"{compressor.url} accepts the API key")


def _proxies() -> Proxies:
    return Proxies.of_environment(os.environ)


def judge_call(error: CallFailed) -> Finding:
    """A failed look at the account, in the operator's words."""
    failure = error.failure
    if failure.kind is FailureKind.THROTTLED:
        return warn("account", failure.message, "the key could not be tried just now; check again in a while")
    what = "account" if failure.status is not None else "API"
    todo = failure.hint or "try again later; the daemon waits and goes on by itself, and no image is lost"
    return fail(what, failure.message, todo)


async def _clock_difference(url: str) -> float | None:
    """Seconds by which this machine's clock is ahead of the API's Date header; None where there is none."""
    proxy = _proxies().for_url(url)
    try:
        async with httpx.AsyncClient(timeout=STORE_SECONDS, proxy=proxy, verify=client_context(), trust_env=False) as client:
            before = time.time()
            answer = await client.get(f"{url.rstrip('/')}/account")
            now = (before + time.time()) / 2
        return now - parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (*CAUGHT, KeyError, ValueError):
        return None  # the account's line says what is wrong with the connection; without a Date there is nothing to compare


def judge_clock(difference: float) -> Finding:
    """Whether the clock is right, by the API's."""
    if abs(difference) <= SKEW_SECONDS:
        return ok("clock", f"{abs(difference):.0f} s from the API's")
    direction = "ahead of" if difference > 0 else "behind"
    found = f"{abs(difference) / 60:.0f} minutes {direction} the API's"
    return warn("clock", found, "let NTP set it (timedatectl set-ntp true): signed links and certificates go by the clock")


# --- stores -----------------------------------------------------------------------------------------------------------------


def check_stores(settings: Settings) -> list[Finding]:
    """A line for each connector, bucket and region that a folder names."""
    return [judge_store(*each) for each in stores(settings)]


def stores(settings: Settings) -> list[tuple[str, str, str]]:
    """Each (connector, bucket, region) once."""
    rules = [output.store for each in folder_rules(settings).values() for output in each.rule.outputs]
    return list(dict.fromkeys((str(store["id"]), str(store["bucket"]), str(store["region"])) for store in rules))


def judge_store(connector: str, bucket: str, region: str) -> Finding:
    """Whether these are the user's own, as far as they tell."""
    found = f"connector {connector}, bucket {bucket}, region {region}"
    for name, value in (("id", connector), ("bucket", bucket)):
        if value == _EXAMPLES[name]:
            return warn("store", found, f"store.{name} is the example's; set your own, unless it really is called so")
    return skip("store", f"{found}: not asked", "`check --probe` stores one tiny image there")


async def check_verify(settings: Settings) -> list[Finding]:
    """Whether the store can be asked for an object, with one that is not there."""
    if settings.verify.mode == "never" or settings.compressor.embedded:
        return []
    places = list(dict.fromkeys((bucket, region) for _, bucket, region in stores(settings)))
    store = HttpObjectStore(settings.verify, timeout=STORE_SECONDS, proxies=_proxies())
    try:
        key = f".compressor-watcher-check/{secrets.token_hex(16)}"
        return [judge_head(bucket, await store.head(bucket, region, key, connector="")) for bucket, region in places]
    finally:
        await store.aclose()


def judge_head(bucket: str, head: HeadAnswer) -> Finding:
    """The store's answer about an object that cannot be there."""
    what = f"verify: bucket {bucket}"
    if head.absence is Absence.ABSENT:
        return ok(what, "the store says whether an object is there")
    if head.absence is Absence.FORBIDDEN:
        todo = (
            "set [verify] key_id and application_key (readFiles), or mode; till then an image whose answer is lost is paid again"
        )
        return warn(what, f"it does not say what is there: {head.message}", todo)
    if head.absence is Absence.UNREACHABLE:
        todo = "look at store.bucket, store.region, [verify] url and the network; images whose answer is lost wait for it"
        return warn(what, head.message, todo)
    return warn(what, "it has an object at a key nobody has used", "[verify] url does not tell objects apart; correct it")


# --- the embedded engine ----------------------------------------------------------------------------------------------------


def check_engine(settings: Settings) -> Iterator[Finding]:
    """Whether its parts are installed, and each connector that a folder names is there and usable."""
    yield check_engine_parts()
    for name in dict.fromkeys(connector for connector, _, _ in stores(settings)):
        yield judge_connector(name, settings.engine.connectors.get(name))


def check_engine_parts() -> Finding:
    """Whether they are installed."""
    try:
        import watcher.engine.server  # noqa: F401 - an extra: whether it can be imported is the question
    except ImportError as error:
        return fail("engine", f"cannot be loaded: {error}", "pip install 'compressor-watcher[engine]'")
    return ok("engine", "its parts are installed")


def judge_connector(name: str, connector: ConnectorSettings | None) -> Finding:
    """Whether it is there and usable, as far as can be seen from here."""
    what = f"connector {name}"
    if connector is None:
        return fail(what, "is not configured", f"add [engine.connectors.{name}] with its `kind`")
    if isinstance(connector, DirectoryConnectorSettings):
        there = existing(connector.path)
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
            return fail(what, f"{there} may not be written by this user", RIGHTS_HINT)
        return ok(what, f"objects go to {connector.path}")
    missing = [key for key in ("key_id", "application_key") if getattr(connector, key) is None]
    if missing:
        todo = f"set WATCHER_ENGINE__CONNECTORS__{name.upper()}__{missing[0].upper()}, or the credential"
        return fail(what, f"{' and '.join(missing)} missing", todo)
    return skip(what, f"{_kind(connector)}: its key is tried when the first image is stored, or by --probe")


def _kind(connector: B2ConnectorSettings) -> str:
    return connector.endpoint or "Backblaze B2"


# --- staging ----------------------------------------------------------------------------------------------------------------


async def check_staging(settings: Settings) -> list[Finding]:
    """Whether originals can be staged and fetched, tried with one tiny object."""
    from watcher.clock import SystemClock
    from watcher.commands.checks.recording import RecordingLog

    presign = settings.publish.presign
    if presign is None:
        return []
    try:
        from watcher.publish.presign import StagedLinks  # an extra: whether it can be imported is part of the question
    except ImportError as error:
        return [fail("staging", f"cannot be loaded: {error}", "pip install 'compressor-watcher[presign]'")]
    links = StagedLinks(presign, RecordingLog(), SystemClock(), proxies=_proxies())
    try:
        lines = await links.check()
    finally:
        await links.stop(0.0)
    return [ok(line.name, line.message) if line.ok else fail(line.name, line.message, line.hint) for line in lines]
