"""Every exception and every status has a class of failure, and no message tells a secret."""

from __future__ import annotations

import errno
import socket
import ssl

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey

from watcher.compressor import failures
from watcher.compressor.failures import (
    CAUGHT,
    EXCEPTIONS,
    MESSAGE_LIMIT,
    Reply,
    failure_of_exception,
    failure_of_reply,
    one_line,
    secrets_of_key,
    secrets_of_request,
    trouble_of,
)
from watcher.compressor.wire import FetchRequest, Refused
from watcher.model import Event, FailureKind

HOST = "api.compressor.app"


def descendants(kind: type[BaseException]) -> set[type[BaseException]]:
    """A class and all below it."""
    return {kind}.union(*(descendants(below) for below in kind.__subclasses__()))


HTTPX_TREE = sorted(descendants(httpx.HTTPError) | {httpx.InvalidURL}, key=lambda kind: kind.__name__)
AIOHTTP_TREE = sorted(
    (kind for kind in descendants(aiohttp.ClientError) if kind.__module__.startswith("aiohttp.")), key=lambda kind: kind.__name__
)


def instance(kind: type[BaseException]) -> BaseException:
    """An exception of a class without its constructor."""
    return kind.__new__(kind)


@pytest.mark.parametrize("kind", [*HTTPX_TREE, *AIOHTTP_TREE], ids=lambda kind: kind.__name__)
def test_every_exception_of_the_transports_is_caught_and_classified(kind: type[BaseException]) -> None:
    """Whatever httpx or aiohttp can raise at a call has an entry and is in what a call catches."""
    assert issubclass(kind, CAUGHT)
    assert any(base in EXCEPTIONS for base in kind.__mro__)
    assert trouble_of(instance(kind)) in EXCEPTIONS.values()


# Written out, so that a change of the table or of a library's tree is seen.
LOST = {"unknown": True, "unreachable": False}
NOT_SENT = {"unknown": False, "unreachable": True}
NEITHER = {"unknown": False, "unreachable": False}
EXPECTED = {
    "CloseError": LOST,
    "ConnectError": NOT_SENT,
    "ConnectTimeout": NEITHER,
    "DecodingError": LOST,
    "HTTPError": LOST,
    "HTTPStatusError": LOST,
    "LocalProtocolError": NEITHER,
    "NetworkError": LOST,
    "PoolTimeout": NEITHER,
    "ProtocolError": LOST,
    "ProxyError": NOT_SENT,
    "ReadError": LOST,
    "ReadTimeout": LOST,
    "RemoteProtocolError": LOST,
    "RequestError": LOST,
    "TimeoutException": LOST,
    "TooManyRedirects": NEITHER,
    "TransportError": LOST,
    "UnsupportedProtocol": NEITHER,
    "WriteError": LOST,
    "WriteTimeout": LOST,
    "InvalidURL": NEITHER,
}
"""Whether the work may be done all the same, and whether nobody can get through."""


def test_each_exception_of_httpx_has_the_class_that_its_moment_demands() -> None:
    """After sending the outcome is unknown; before it nothing was sent; no class of httpx is left out."""
    classes = {
        kind.__name__: {"unknown": trouble_of(instance(kind)).unknown, "unreachable": trouble_of(instance(kind)).unreachable}
        for kind in HTTPX_TREE
        if kind.__module__ == "httpx"
    }
    assert classes == EXPECTED


def behind_httpx(cause: BaseException) -> httpx.ConnectTimeout:
    """What the aiohttp transport makes of nearly every trouble with a connection."""
    error = httpx.ConnectTimeout("")
    error.__cause__ = cause
    return error


def connector_error(kind: type[aiohttp.ClientConnectorError], below: OSError) -> aiohttp.ClientConnectorError:
    """What aiohttp raises where no connection came about."""
    return kind(ConnectionKey(HOST, 443, True, True, None, None, None), below)


@pytest.mark.parametrize(
    ("cause", "unknown", "unreachable", "words"),
    [
        (aiohttp.ServerDisconnectedError(), True, False, "lost"),
        (aiohttp.ClientOSError(errno.ECONNRESET, "x"), True, False, "connection reset by peer"),
        (aiohttp.ClientConnectionResetError(), True, False, "lost"),
        (aiohttp.ClientPayloadError(), True, False, "lost"),
        (aiohttp.SocketTimeoutError(), True, False, "too long"),
        (aiohttp.ConnectionTimeoutError(), False, False, "connecting took too long"),
        (
            connector_error(aiohttp.ClientConnectorError, ConnectionRefusedError(errno.ECONNREFUSED, "x")),
            False,
            True,
            "connection refused",
        ),
        (
            connector_error(aiohttp.ClientConnectorDNSError, socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
            False,
            True,
            "name or service not known",
        ),
        (connector_error(aiohttp.ClientConnectorSSLError, ssl.SSLError(1, "x")), False, True, "no TLS connection"),
    ],
)
def test_what_aiohttp_says_counts_where_its_transport_hides_it(
    cause: BaseException, unknown: bool, unreachable: bool, words: str
) -> None:
    """The transport calls lost connections ConnectTimeout; believing it would send paid work twice."""
    failure = failure_of_exception(behind_httpx(cause), HOST)
    assert (failure.kind, failure.unknown, failure.unreachable) == (FailureKind.TRANSIENT, unknown, unreachable)
    assert words in failure.message
    assert HOST in failure.message


@pytest.mark.parametrize(
    ("below", "hint"), [(socket.gaierror(-2, "Name or service not known"), "DNS"), (ssl.SSLError(1, "x"), "SSL_CERT_FILE")]
)
def test_a_connect_error_says_what_is_below_it(below: OSError, hint: str) -> None:
    """DNS and TLS have hints of their own, however deep they lie."""
    error, middle = httpx.ConnectError("x"), OSError("x")
    error.__cause__, middle.__context__ = middle, below
    assert hint in failure_of_exception(error, HOST).hint


def test_a_certificate_that_is_not_trusted_is_named() -> None:
    """The message has the verification's own words, the hint the ways out."""
    below = ssl.SSLCertVerificationError(1, "x")
    below.verify_message = "self-signed certificate"
    error = httpx.ConnectError("x")
    error.__cause__ = below
    failure = failure_of_exception(error, HOST)
    assert failure.message == "no TLS connection (api.compressor.app: self-signed certificate)"
    assert "clock" in failure.hint


def test_the_librarys_own_text_is_not_repeated() -> None:
    """Libraries put whole URLs into their messages."""
    error = httpx.ReadError("while reading https://drops.example.com/t/SECRET/x.jpg")
    assert "SECRET" not in failure_of_exception(error, HOST).message


ENVELOPE = Refused("because", "id", enveloped=True)
IN_FRONT = Refused("Internal server error")
NONE, UNKNOWN, MAYBE = (False, False), (True, False), (False, True)
"""Of `unknown` and `maybe_done`."""


@pytest.mark.parametrize(
    ("reply", "kind", "doubt", "event"),
    [
        (Reply(301), FailureKind.PERMANENT, NONE, None),
        (Reply(307), FailureKind.PERMANENT, NONE, None),
        (Reply(400, ENVELOPE), FailureKind.PERMANENT, NONE, None),
        (Reply(401, ENVELOPE), FailureKind.BLOCKED, NONE, Event.API_UNAUTHORIZED),
        (Reply(401, html=True), FailureKind.BLOCKED, NONE, Event.API_UNAUTHORIZED),
        (Reply(402, ENVELOPE), FailureKind.BLOCKED, NONE, Event.API_QUOTA),
        (Reply(403, Refused("the key is revoked", enveloped=True)), FailureKind.BLOCKED, NONE, Event.API_QUOTA),
        (Reply(404, html=True), FailureKind.PERMANENT, NONE, None),
        (Reply(404, about_job=True), FailureKind.TRANSIENT, UNKNOWN, None),
        (Reply(410, about_job=True), FailureKind.TRANSIENT, UNKNOWN, None),
        (Reply(408), FailureKind.TRANSIENT, MAYBE, None),
        (Reply(409), FailureKind.PERMANENT, NONE, None),
        (Reply(413), FailureKind.PERMANENT, NONE, None),
        (Reply(415), FailureKind.PERMANENT, NONE, None),
        (Reply(422, ENVELOPE), FailureKind.PERMANENT, NONE, None),
        (Reply(429), FailureKind.THROTTLED, NONE, None),
        (Reply(429, retry_after=3.0), FailureKind.THROTTLED, NONE, None),
        (Reply(500, ENVELOPE), FailureKind.TRANSIENT, NONE, None),
        (Reply(500, IN_FRONT), FailureKind.TRANSIENT, MAYBE, None),
        (Reply(500), FailureKind.TRANSIENT, MAYBE, None),
        (Reply(502, html=True), FailureKind.TRANSIENT, MAYBE, None),
        (Reply(503), FailureKind.TRANSIENT, NONE, None),
        (Reply(503, retry_after=3.0), FailureKind.THROTTLED, NONE, None),
        (Reply(507, retry_after=30.0), FailureKind.THROTTLED, NONE, None),
        (Reply(507), FailureKind.TRANSIENT, MAYBE, None),
        (Reply(504), FailureKind.TRANSIENT, MAYBE, None),
        (Reply(599), FailureKind.TRANSIENT, MAYBE, None),
        (Reply(200, Refused("no", code=422, enveloped=True)), FailureKind.PERMANENT, NONE, None),
        (Reply(200, Refused("no", enveloped=True)), FailureKind.PERMANENT, NONE, None),
        (Reply(200, Refused("no", code=200, enveloped=True)), FailureKind.PERMANENT, NONE, None),
        (Reply(200, Refused("no", code=401, enveloped=True)), FailureKind.BLOCKED, NONE, Event.API_UNAUTHORIZED),
        (Reply(200, Refused("no", code=429, enveloped=True)), FailureKind.THROTTLED, NONE, None),
        (Reply(200, Refused("no", code=500, enveloped=True)), FailureKind.TRANSIENT, NONE, None),
        (Reply(200, Refused("no", code=7, enveloped=True)), FailureKind.PERMANENT, NONE, None),
        (
            Reply(200, Refused("no", code=500, status="failed", enveloped=True), about_job=True),
            FailureKind.PERMANENT,
            NONE,
            None,
        ),
        (Reply(500, Refused("no", status="failed", enveloped=True), about_job=True), FailureKind.PERMANENT, NONE, None),
    ],
)
def test_a_status_has_its_class(reply: Reply, kind: FailureKind, doubt: tuple[bool, bool], event: Event | None) -> None:
    """By the status, or under a 2xx by the code in the body; never by the wording."""
    failure = failure_of_reply(reply)
    assert (failure.kind, (failure.unknown, failure.maybe_done), failure.event) == (kind, doubt, event)
    assert not failure.unreachable
    assert failure.retry_after == reply.retry_after or failure.kind is not FailureKind.THROTTLED


@pytest.mark.parametrize("status", [301, 404, 405])
def test_a_wrong_address_is_hinted_at(status: int) -> None:
    """Where the endpoint itself is not there, the configured address is the likely cause."""
    assert "compressor.url" in failure_of_reply(Reply(status)).hint


def test_every_status_from_300_to_599_gives_a_failure_with_words() -> None:
    """No status falls through."""
    for status in range(300, 600):
        for about_job in (False, True):
            failure = failure_of_reply(Reply(status, about_job=about_job))
            assert str(status) in failure.message
            assert failure.status == status
            assert (failure.event is not None) == (failure.kind is FailureKind.BLOCKED)


KEY = "live-0123456789abcdef"
REQUEST = FetchRequest(
    "https://user:pass-word-1@drops.example.com/t/TOKENTOKENTOKENTOKEN/cat.jpg?X-Amz-Signature=SIGNATURESIGNATURE",
    headers={"X-Drop-Secret": "SECONDSECRETSECONDSECRET"},
)
SECRETS = (*secrets_of_key(KEY), *secrets_of_request(REQUEST))


@pytest.mark.parametrize(
    "text",
    [
        f"could not fetch {REQUEST.url}",
        f'could not fetch "{REQUEST.url}"; sorry',
        "no such token: TOKENTOKENTOKENTOKEN",
        "header SECONDSECRETSECONDSECRET was refused",
        f"the key {KEY} is revoked",
        "Authorization: Basic bGl2ZS0wMTIzNDU2Nzg5YWJjZGVmOg==",
        "signature SIGNATURESIGNATURE is wrong",
        "pass-word-1 is wrong",
        "see https://example.com/help?token=TOKENTOKENTOKENTOKEN",
    ],
)
def test_a_message_tells_no_secret(text: str) -> None:
    """Neither the key, in any form, nor what opens the temporary URL."""
    line = one_line(text, SECRETS)
    for secret in ("TOKEN", "SECONDSECRET", KEY, "bGl2ZS", "SIGNATURES", "pass-word-1", "?"):
        assert secret not in line


def test_a_url_in_a_message_keeps_its_host() -> None:
    """So much helps the reader: whose address it was."""
    assert one_line("cannot get http://user@cdn.example.com:81/a/b?c=d.", ()) == "cannot get http://cdn.example.com:81/…"


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\t", "\x00", "\x1b[31m", "\x85", "\u2028", "\u2029"])
def test_a_message_is_one_line(separator: str) -> None:
    """No answer can write a second log line or colour a terminal."""
    line = one_line(f"first{separator}second", ())
    assert line.isprintable()
    assert "first" in line
    assert "second" in line


def test_a_message_is_capped() -> None:
    """A page of text becomes 300 characters, with a sign that it was more."""
    line = one_line("word " * 1000, ())
    assert len(line) <= MESSAGE_LIMIT
    assert line.endswith("…")


def test_no_hint_is_empty_where_the_operator_must_act() -> None:
    """A wrong key, a spent quota and an API that cannot be reached come with what to do."""
    for hint in (failures.CHECK_KEY, failures.CHECK_QUOTA, failures.CHECK_URL, failures.CHECK_DNS, failures.CHECK_TLS):
        assert len(hint) > 20
    assert failure_of_reply(Reply(401)).hint == failures.CHECK_KEY
    assert failure_of_reply(Reply(402)).hint == failure_of_reply(Reply(403)).hint == failures.CHECK_QUOTA
