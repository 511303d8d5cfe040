"""How the API gets at an original: the port, the certificate, and whether `public_url` leads here."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from watcher.clock import SystemClock
from watcher.commands.checks.finding import fail, ok, warn
from watcher.commands.checks.recording import RecordingLog
from watcher.commands.checks.tiny import tiny_png, tiny_source
from watcher.compressor.failures import CAUGHT, failure_of_exception
from watcher.config.values import is_loopback, split_address
from watcher.errors import ConfigurationError, Unavailable
from watcher.model import Event, Ticket
from watcher.publish.listen_words import default_listen
from watcher.publish.serve import TemporaryUrls
from watcher.publish.tls import ServerCertificate

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.commands.checks.finding import Finding
    from watcher.config.publish_settings import ServeSettings
    from watcher.config.schema import Settings

ANSWER_SECONDS: Final = 15.0
CERTIFICATE_DAYS: Final = 14
_DAY: Final = 86_400.0
OWN_POLICY: Final = "default-src 'none'; sandbox"
"""The Content-Security-Policy of every answer of ours; proxies leave it alone."""
HAIRPIN: Final = (
    "ask from outside: `curl -I {url}` must answer 404. If it does, all is well: many routers do not let machines inside reach "
    "their own outside address (hairpin NAT). If it does not, look at port forwarding, firewall, proxy or tunnel"
)


async def check_serving(settings: Settings, *, running: bool, now: float) -> list[Finding]:
    """The lines about temporary URLs. `running`: a daemon has the port, so it is asked instead of opening it."""
    serve = settings.publish.serve
    findings = list(check_certificate(serve, now))
    if running:
        findings.append(await _own_port(serve))
    if serve.public_url is None:
        where = "the engine of this process" if settings.compressor.embedded else "the API on this machine"
        findings.append(ok("public_url", f"not set: {where} fetches from the port itself"))
    else:
        findings += judge_public_url(serve.public_url, require_header=serve.require_header)
        findings.append(await _resolves(serve.public_url, api_is_here=api_is_here(settings)))
    if not running:
        findings += await _try_for_real(serve, embedded=settings.compressor.embedded)
    elif serve.public_url is not None:
        findings.append(await _ask_running(serve.public_url))
    return findings


def api_is_here(settings: Settings) -> bool:
    """Whether the API runs on this machine, so that nobody from outside has to reach us."""
    return settings.compressor.embedded or is_loopback(urlsplit(settings.compressor.url).hostname)


# --- public_url -------------------------------------------------------------------------------------------------------------


def judge_public_url(url: str, *, require_header: bool) -> list[Finding]:
    """What the address itself says."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "example.com" or host.endswith((".example.com", ".example", ".invalid")):
        return [fail("public_url", f"{url} is still the example's", "set it to how the API reaches this machine; see README")]
    if parts.scheme == "http" and not is_loopback(host):
        what = "the URL and the second secret travel" if require_header else "the URL travels"
        todo = "use https: a reverse proxy, a tunnel, or `certificate` and `private_key`"
        return [warn("public_url", f"{url} is plain http: {what} readable, and so do the originals", todo)]
    return []


async def _resolves(url: str, *, api_is_here: bool) -> Finding:
    host = urlsplit(url).hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no host can have this name"
        return fail("public_url: name", f"{host} does not resolve: {why}", "correct it, or set its DNS record")
    return judge_addresses(host, list(dict.fromkeys(str(each[4][0]) for each in found)), api_is_here=api_is_here)


def judge_addresses(host: str, addresses: list[str], *, api_is_here: bool) -> Finding:
    """Whether somebody outside can use the addresses that a name has here."""
    found = f"{host} is {', '.join(addresses)}"
    outside = [each for each in addresses if ipaddress.ip_address(each.partition("%")[0]).is_global]
    if outside or api_is_here:
        return ok("public_url: name", found)
    todo = "the API cannot reach a private address; fine only where the name has a public one outside (split DNS)"
    return warn("public_url: name", found, todo)


# --- asking -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reached:
    """What came back from an address: a status, and whether it is an answer of ours; or why nothing came."""

    status: int = 0
    ours: bool = False
    content: bytes = b""
    problem: str = ""
    certain: bool = False
    """The problem is there for everybody, not only from inside."""


async def ask(url: str, headers: dict[str, str], *, verify: bool = True) -> Reached:
    """GET it, as the API would."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS, verify=verify, trust_env=not is_loopback(host)) as client:
            answer = await client.get(url, headers=headers)
    except (*CAUGHT, UnicodeError) as error:
        certain = is_loopback(host) or _is_tls(error)
        return Reached(problem=failure_of_exception(error, parts.netloc).message.replace("the API", "it"), certain=certain)
    ours = answer.headers.get("Content-Security-Policy") == OWN_POLICY
    return Reached(answer.status_code, ours, answer.content)


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError) or "SSL" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


async def _own_port(serve: ServeSettings) -> Finding:
    """The running daemon's port, asked at the path that leaves no line in its log."""
    address = serve.listen or default_listen(serve.public_url)
    host, port = split_address(address)
    if port == 0:
        return ok("port", "the running daemon has chosen one")
    secure = serve.certificate is not None
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - the wildcard is not asked but recognised
    shown = f"[{shown}]" if ":" in shown else shown
    reached = await ask(f"http{'s' if secure else ''}://{shown}:{port}/t/", {}, verify=False)
    if reached.ours:
        return ok("port", f"the running daemon answers on {address}")
    found = reached.problem or f"something else answers there ({reached.status})"
    return fail(
        "port", f"the running daemon does not answer on {address}: {found}", "look at its log; restart it if `listen` changed"
    )


async def _ask_running(public_url: str) -> Finding:
    reached = await ask(f"{public_url}/t/", {})
    if reached.ours and reached.status == 404:
        return ok("public_url: reached", f"{public_url} leads to a running daemon")
    return judge_unreached(public_url, reached)


async def _try_for_real(serve: ServeSettings, *, embedded: bool) -> list[Finding]:
    """Open the port as the daemon does, publish a tiny image for a moment, and fetch it at its public address."""
    if serve.listen is None and embedded:
        serve = serve.model_copy(update={"listen": "127.0.0.1:0"})
    log, clock = RecordingLog(), SystemClock()
    try:
        urls = TemporaryUrls(serve, log, clock)
        base = await urls.start()
    except Unavailable as error:
        return [fail("port", error.message, error.hint)]
    except ConfigurationError:
        return []  # the certificate has a line of its own
    try:
        port = ok("port", _free(serve.listen or default_listen(serve.public_url)))
        return [port, await _fetch_own(urls, base, log, is_public=serve.public_url is not None)]
    finally:
        await urls.stop(0.0)


def _free(address: str) -> str:
    host, port = split_address(address)
    return f"free: {address}" if port else f"any free one of {host}"


async def _fetch_own(urls: TemporaryUrls, base: str, log: RecordingLog, *, is_public: bool) -> Finding:
    content = tiny_png(secrets.token_bytes(8))
    ticket = Ticket(secrets.token_urlsafe(32), secrets.token_urlsafe(32), SystemClock().now() + 60)
    with tiny_source(content) as source:
        published = await urls.publish(ticket, source)
        # without a public address, only this machine asks, and the certificate names another host
        reached = await ask(published.url, dict(published.headers), verify=is_public)
        await urls.withdraw(ticket)
    denied = [str(line["reason"]) for line in log.of(Event.SERVE_DENIED)]
    return judge_fetched(base, reached, content, denied)


def judge_fetched(base: str, reached: Reached, content: bytes, denied: list[str]) -> Finding:
    """What it means that a published image came back like this. `denied`: the reasons for which our server refused it."""
    what = "public_url: reached"
    if reached.status == 200 and reached.content == content:
        return ok(what, f"{base} leads here: a published image came back whole")
    if "key_missing" in denied or "key_wrong" in denied:
        todo = "let the proxy pass the header X-Watcher-Key, or set require_header = false"
        return fail(what, f"{base} leads here, but the header with the second secret was lost on the way", todo)
    if "unknown_url" in denied:
        todo = "let the proxy pass the path as it is (/t/...), percent-encoding included"
        return fail(what, f"{base} leads here, but the path was changed on the way", todo)
    return judge_unreached(base, reached)


def judge_unreached(base: str, reached: Reached) -> Finding:
    """What it means that our own server did not get the request, or that its answer did not come back."""
    what = "public_url: reached"
    if reached.problem:
        found = f"from inside, {base} could not be reached: {reached.problem}"
        return (fail if reached.certain else warn)(what, found, HAIRPIN.format(url=f"{base}/t/x"))
    if reached.ours:
        return fail(what, f"another daemon answers at {base}", "give each daemon a host name, a port or a path of its own")
    if reached.status in (502, 503, 504):
        return fail(
            what, f"the proxy at {base} answers {reached.status}: it does not reach `listen`", "correct its upstream address"
        )
    todo = "correct `public_url`, or let the proxy pass /t/ to `listen`"
    return fail(what, f"something else answers at {base} (status {reached.status})", todo)


# --- other ports ------------------------------------------------------------------------------------------------------------


def check_ports(settings: Settings) -> list[Finding]:
    """Whether the addresses of the status page and of the embedded engine are free, where they are set."""
    wanted = {"[admin] listen": settings.admin.listen}
    if settings.compressor.embedded:
        wanted["[engine] listen"] = settings.engine.listen
    return [judge_address(what, address) for what, address in wanted.items() if address is not None]


def judge_address(what: str, address: str) -> Finding:
    """Whether it can be listened on."""
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(1)
    except OSError as error:
        return fail(what, f"cannot listen on {address}: {error.strerror}", "set it to a free address of this machine")
    return ok(what, f"free: {address}")


# --- TLS in the daemon ------------------------------------------------------------------------------------------------------


def check_certificate(serve: ServeSettings, now: float) -> list[Finding]:
    """Whether the certificate can be used, until when, and for which host. Nothing where the daemon does no TLS."""
    if serve.certificate is None or serve.private_key is None:
        return []
    try:
        certificate = ServerCertificate(serve.certificate, serve.private_key)
    except ConfigurationError as error:
        return [fail("certificate", "; ".join(error.problems), "fix the files, or let a reverse proxy do TLS")]
    host = urlsplit(serve.public_url or "").hostname
    try:
        expires = certificate_expiry(certificate.context, serve.certificate, host)
    except ssl.SSLCertVerificationError as error:
        return [fail("certificate", f"{serve.certificate}: {error.verify_message}", "renew it for the host of `public_url`")]
    return [judge_expiry(serve.certificate, expires, now)]


def judge_expiry(certificate: Path, expires: float, now: float) -> Finding:
    """Whether a certificate that ends at `expires` (Unix seconds) lives long enough."""
    days = (expires - now) / _DAY
    found = f"{certificate}: valid for {days:.0f} more days"
    if days < CERTIFICATE_DAYS:
        return warn("certificate", found, "renew it; the running daemon takes a new one within a minute")
    return ok("certificate", found)


def certificate_expiry(server: ssl.SSLContext, certificate: Path, host: str | None) -> float:
    """When (Unix seconds) the certificate of a server's context ends, out of a handshake in memory.

    Raises SSLCertVerificationError where it has ended, or names another host.
    """
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = host is not None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=host)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    while not _shake(client):
        _shake(other)
    shown = client.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(shown["notAfter"])))


def _shake(side: ssl.SSLObject) -> bool:
    """One step of a handshake; True when it is done."""
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
