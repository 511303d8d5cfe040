"""The client against an API that does what the vendor's pages show, and everything else; over both transports."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.standin import DEFAULT_KEY, Fault, Standin, facts_of
from watcher import __version__
from watcher.compressor.client import MAX_ANSWER_BYTES, CompressorClient, Transport
from watcher.compressor.wire import FetchRequest, Pending, Result
from watcher.errors import CallFailed
from watcher.model import Event, Failure, FailureKind
from watcher.network.proxies import Proxies

TOKEN = "TOKENTOKENTOKENTOKENTOKENTOKEN"
SECRET = "SECONDSECRETSECONDSECRETSECOND"
PHOTO = b"\xff\xd8\xff\xe0 a photograph \xff\xd9"
STORE = {
    "id": "your-connector-id",
    "bucket": "my-bucket",
    "region": "eu-central-003",
    "path": "assets/image.jpg",
    "headers": {"Cache-Control": "max-age=2592000000"},
}
TRANSPORTS: tuple[Transport, ...] = ("aiohttp", "httpx")


@contextlib.asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]], **site: Any) -> AsyncIterator[int]:
    """A server with one handler for everything; gives its port."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, **site).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture
async def original() -> AsyncIterator[str]:
    """The temporary URL of a photograph that asks for a second secret."""

    async def photo(request: web.Request) -> web.Response:
        return web.Response(body=PHOTO) if request.headers.get("X-Drop") == SECRET else web.Response(status=403)

    async with serving(photo) as port:
        yield f"http://127.0.0.1:{port}/t/{TOKEN}/image.jpg"


@pytest.fixture
async def standin() -> AsyncIterator[Standin]:
    async with Standin() as server:
        yield server


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Transport:
    name: Transport = request.param
    return name


@pytest.fixture
async def client(standin: Standin, transport: Transport) -> AsyncIterator[CompressorClient]:
    async with CompressorClient(standin.url, lambda: DEFAULT_KEY, transport=transport, timeout=30) as made:
        yield made


def request_for(url: str, **more: Any) -> FetchRequest:
    """The vendor page's example, for our photograph."""
    image = {"resize": {"width": 640, "height": 480, "mode": "fit"}}
    return FetchRequest(url, image, {**STORE, **more}, {"X-Drop": SECRET})


async def failure_of(call: Awaitable[object]) -> Failure:
    """How a call fails, with what must hold of every failure."""
    with pytest.raises(CallFailed) as caught:
        await call
    failure = caught.value.failure
    told = f"{failure.message} {failure.hint} {caught.value}"
    assert not any(
        secret in told for secret in (TOKEN, SECRET, DEFAULT_KEY, base64.b64encode(f"{DEFAULT_KEY}:".encode()).decode())
    )
    assert failure.message.isprintable()
    assert len(failure.message) <= 300
    return failure


# --- what works -----------------------------------------------------------------------------------------------------------


async def test_the_vendor_pages_request_gives_the_vendor_pages_answer(
    client: CompressorClient, standin: Standin, original: str
) -> None:
    """The object's address, and true facts of input and output."""
    result = await client.fetch(request_for(original))
    assert isinstance(result, Result)
    assert result.url == "https://my-bucket.s3.eu-central-003.backblazeb2.com/assets/image.jpg"
    assert result.input.body() == facts_of("image.jpg", PHOTO)
    stored = standin.objects["my-bucket", "assets/image.jpg"]
    assert result.output.body() == facts_of("image.jpg", stored.body)
    assert stored.headers == STORE["headers"]


async def test_a_request_goes_out_as_the_vendors_pages_want_it(transport: Transport) -> None:
    """JSON, Basic authentication with the key as user and no password, our name, and the body as it is on the page."""
    seen: list[web.Request] = []
    bodies: list[bytes] = []

    async def record(request: web.Request) -> web.Response:
        seen.append(request)
        bodies.append(await request.read())
        return web.json_response({"id": "1", "status": "enqueued"}, headers={"Set-Cookie": "session=1"})

    async with (
        serving(record) as port,
        CompressorClient(f"http://127.0.0.1:{port}/1.0/", lambda: "my:key-ü", transport=transport) as client,
    ):
        sent = FetchRequest("https://www.website.com/image.jpg", {"resize": {"width": 640}}, STORE)
        await client.fetch(sent)
        await client.job("a/b c")
        await client.account()
    assert [(each.method, each.raw_path) for each in seen] == [
        ("POST", "/1.0/fetch"),
        ("GET", "/1.0/jobs/a%2Fb%20c"),
        ("GET", "/1.0/account"),
    ]
    assert seen[0].headers["Content-Type"] == "application/json"
    assert json.loads(bodies[0]) == {"url": sent.url, "image": sent.image, "store": STORE}
    for each in seen:
        assert base64.b64decode(each.headers["Authorization"].removeprefix("Basic ")).decode() == "my:key-ü:"
        assert each.headers["User-Agent"] == f"compressor-watcher/{__version__}"
        assert "Cookie" not in each.headers


async def test_an_acknowledgement_is_pending_whatever_its_status(
    client: CompressorClient, standin: Standin, original: str
) -> None:
    """200 or 202; then the job is looked at until it gives the result."""
    standin.faults = [Fault("enqueue", polls=1)]
    for standin.options.acknowledgement in (200, 202):
        pending = await client.fetch(request_for(original))
        assert isinstance(pending, Pending)
        assert await client.job(pending.id) == Pending(pending.id, "processing")
        assert isinstance(await client.job(pending.id), Result)


async def test_a_large_input_is_enqueued(client: CompressorClient, standin: Standin, original: str) -> None:
    """Nothing in the request tells; the answer does."""
    standin.options.async_above = len(PHOTO) - 1
    assert isinstance(await client.fetch(request_for(original)), Pending)


async def test_a_new_key_is_used_from_the_next_call_on(standin: Standin, transport: Transport) -> None:
    """Without building the client anew."""
    keys = ["old"]
    async with CompressorClient(standin.url, lambda: keys[0], transport=transport) as client:
        assert (await failure_of(client.account())).event is Event.API_UNAUTHORIZED
        keys[0] = DEFAULT_KEY
        await client.account()


@pytest.mark.parametrize(
    ("body", "status"), [("", 200), ("", 204), ("OK", 200), ("[]", 200), ('{"success": true}', 200), ('{"plan": "x"}', 201)]
)
async def test_any_good_answer_of_the_account_page_will_do(
    client: CompressorClient, standin: Standin, body: str, status: int
) -> None:
    """Its body is documented nowhere."""
    standin.faults = [Fault("body", on=("account",), body=body, status=status)]
    await client.account()


async def test_connections_are_kept_and_bounded(original: str, transport: Transport) -> None:
    """Thirty calls, four at once: no more connections than four and the two spare ones, and each is used again."""
    connections: set[object] = set()

    async def slow(request: web.Request) -> web.Response:
        connections.add(request.transport)
        await asyncio.sleep(0.01)
        return web.json_response({"id": "1", "status": "enqueued"})

    async with (
        serving(slow) as port,
        CompressorClient(f"http://127.0.0.1:{port}/1.0", lambda: "key", transport=transport, concurrency=4) as client,
    ):
        await asyncio.gather(*(client.fetch(request_for(original)) for _ in range(30)))
    assert 1 <= len(connections) <= 6


# --- what fails -----------------------------------------------------------------------------------------------------------

T, P, H, B = FailureKind.TRANSIENT, FailureKind.PERMANENT, FailureKind.THROTTLED, FailureKind.BLOCKED
NONE, UNKNOWN, MAYBE = (False, False), (True, False), (False, True)
"""Of `unknown` and `maybe_done`."""


@pytest.mark.parametrize(
    ("fault", "kind", "doubt", "paid"),
    [
        (Fault("reset"), T, UNKNOWN, 0),
        (Fault("reset_after"), T, UNKNOWN, 1),
        (Fault("truncated"), T, UNKNOWN, 1),
        (Fault("body_after", status=200, body="<html><body>Welcome to the hotel</body></html>", html=True), T, UNKNOWN, 1),
        (Fault("body_after", status=200, body='{"id": "38a8bb5e", "url": "https://my-buck'), T, UNKNOWN, 1),
        (Fault("body_after", status=200, body=""), T, UNKNOWN, 1),
        (Fault("body_after", status=204, body=""), T, UNKNOWN, 1),
        (Fault("body_after", status=200, body="[" * 100_000), T, UNKNOWN, 1),
        (Fault("body_after", status=200, body="9" * 10_000), T, UNKNOWN, 1),
        (Fault("body_after", status=200, body='{"id": "1", "status": "completed"}'), T, UNKNOWN, 1),
        (Fault("body_after", status=200, body='"' + "x" * MAX_ANSWER_BYTES + '"'), T, UNKNOWN, 1),
        (Fault("body", status=200, body='{"success": false, "code": 422, "id": "1", "message": "no image"}'), P, NONE, 0),
        (Fault("body", status=200, body='{"success": false, "code": 402, "id": "1", "message": "quota"}'), B, NONE, 0),
        (Fault("status", status=400), P, NONE, 0),
        (Fault("status", status=401), B, NONE, 0),
        (Fault("status", status=402), B, NONE, 0),
        (Fault("status", status=403), B, NONE, 0),
        (Fault("status", status=404), P, NONE, 0),
        (Fault("status", status=408), T, NONE, 0),
        (Fault("status", status=408, html=True), T, MAYBE, 0),
        (Fault("status", status=413), P, NONE, 0),
        (Fault("status", status=415), P, NONE, 0),
        (Fault("status", status=422), P, NONE, 0),
        (Fault("status", status=429), H, NONE, 0),
        (Fault("status", status=500), T, NONE, 0),
        (Fault("status", status=500, html=True), T, MAYBE, 0),
        (Fault("status_after", status=502, html=True), T, MAYBE, 1),
        (Fault("status", status=503), T, NONE, 0),
        (Fault("status", status=503, retry_after="9"), H, NONE, 0),
        (Fault("status_after", status=504, html=True), T, MAYBE, 1),
        (Fault("status", status=307), P, NONE, 0),
    ],
    ids=lambda value: f"{value.name}-{value.status}-{value.body[:12]}" if isinstance(value, Fault) else None,
)
async def test_each_fault_has_its_class(
    client: CompressorClient,
    standin: Standin,
    original: str,
    fault: Fault,
    kind: FailureKind,
    doubt: tuple[bool, bool],
    paid: int,
) -> None:
    """And says so wherever the work may have been done; the next call is as good as ever."""
    standin.faults = [fault]
    failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, (failure.unknown, failure.maybe_done), failure.unreachable) == (kind, doubt, False)
    assert standin.paid["image.jpg"] == paid
    standin.faults = []
    assert isinstance(await client.fetch(request_for(original)), Result)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7.0), ("Sun, 22 Nov 2026 12:01:00 GMT", 60.0), ("Fri, 01 Jan 2100 00:00:00 GMT", 2_307_096_000.0), ("soon", None)],
)
async def test_the_wait_that_an_answer_asks_for_is_read(
    standin: Standin, original: str, transport: Transport, retry_after: str, seconds: float | None
) -> None:
    """Seconds or date, by our clock; capping is for those who wait."""
    standin.faults = [Fault("status", status=429, retry_after=retry_after)]
    noon = 1_795_348_800.0
    async with CompressorClient(standin.url, lambda: DEFAULT_KEY, transport=transport, wall_clock=lambda: noon) as client:
        assert (await failure_of(client.fetch(request_for(original)))).retry_after == seconds


@pytest.mark.parametrize("name", ["never", "never_after"])
async def test_an_answer_that_never_comes_is_given_up(standin: Standin, original: str, transport: Transport, name: str) -> None:
    """After `timeout`, unknown whether the work was done."""
    standin.faults = [Fault(name)]
    async with CompressorClient(standin.url, lambda: DEFAULT_KEY, transport=transport, timeout=0.5) as client:
        failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, failure.unknown) == (T, True)
    assert "compressor.timeout" in failure.hint


async def test_an_answer_that_drips_is_given_up(original: str, transport: Transport) -> None:
    """`timeout` bounds the whole call, not each piece of it."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(600):
                await response.write(b" ")
                await asyncio.sleep(0.1)
        return response

    async with (
        serving(drip) as port,
        CompressorClient(f"http://127.0.0.1:{port}/1.0", lambda: "key-of-mine", transport=transport, timeout=0.6) as client,
    ):
        failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, failure.unknown) == (T, True)


async def test_a_refusal_whose_body_is_cut_is_still_a_refusal(original: str, transport: Transport) -> None:
    """The status was there; a 422 does not become an unknown answer."""

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=422, headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"success": fal')
        assert request.transport is not None
        request.transport.close()
        return response

    async with (
        serving(cut) as port,
        CompressorClient(f"http://127.0.0.1:{port}/1.0", lambda: "key-of-mine", transport=transport) as client,
    ):
        failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, failure.status) == (P, 422)


async def test_a_source_that_cannot_be_had_tells_no_token(client: CompressorClient, standin: Standin, original: str) -> None:
    """The API names the whole temporary URL in its message; we do not."""
    wrong = FetchRequest(original, {}, STORE, {"X-Drop": "wrong"})
    failure = await failure_of(client.fetch(wrong))
    assert failure.kind is P
    assert failure.message.startswith("the API answered 422: The file could not be fetched: http://127.0.0.1:")
    assert failure.message.endswith("answered 403")


async def test_secrets_that_an_answer_repeats_are_not_passed_on(
    client: CompressorClient, standin: Standin, original: str
) -> None:
    """Key, token and header value, wherever they stand in the message, and no second line."""
    standin.faults = [
        Fault("status", status=422, message=f"token {TOKEN}\nheader {SECRET}\r\nkey {DEFAULT_KEY} at {original}?a=b")
    ]
    failure = await failure_of(client.fetch(request_for(original)))
    assert failure.message.startswith("the API answered 422: token *** header *** key *** at http://127.0.0.1:")


async def test_a_redirect_is_not_followed(standin: Standin, original: str, transport: Transport) -> None:
    """The key goes to the configured address and nowhere else."""
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=308, headers={"Location": standin.url + request.path.removeprefix("/1.0")})

    async with (
        serving(elsewhere) as port,
        CompressorClient(f"http://127.0.0.1:{port}/1.0", lambda: DEFAULT_KEY, transport=transport) as client,
    ):
        failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, failure.status) == (P, 308)
    assert "compressor.url" in failure.hint
    assert (asked, standin.calls["fetch"]) == (["/1.0/fetch"], 0)


# --- jobs -----------------------------------------------------------------------------------------------------------------


async def test_a_job_that_is_not_known_any_more_leaves_the_outcome_unknown(client: CompressorClient) -> None:
    """The work may be done; the store will tell."""
    failure = await failure_of(client.job("38a8bb5e-7b50-4a22-a0a6-b9602fccb225"))
    assert (failure.kind, failure.unknown, failure.status) == (T, True, 404)


@pytest.mark.parametrize("status", [200, 422, 500])
async def test_a_failed_job_fails_the_image(client: CompressorClient, standin: Standin, original: str, status: int) -> None:
    """Whatever HTTP status it comes with."""
    standin.options.failed_job_status = status
    standin.faults = [Fault("job_failed", polls=0)]
    pending = await client.fetch(request_for(original))
    assert isinstance(pending, Pending)
    failure = await failure_of(client.job(pending.id))
    assert (failure.kind, failure.unknown) == (P, False)
    assert "made to fail" in failure.message


async def test_a_poll_that_fails_says_nothing_of_the_job(client: CompressorClient, standin: Standin, original: str) -> None:
    """A 500 on the way; the next poll gives the result."""
    standin.faults = [Fault("enqueue", polls=0)]
    pending = await client.fetch(request_for(original))
    assert isinstance(pending, Pending)
    standin.faults = [Fault("status", on=("job",), times=1)]
    assert (await failure_of(client.job(pending.id))).kind is T
    assert isinstance(await client.job(pending.id), Result)


# --- the account ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("status", status=401), B),
        (Fault("status", status=402), B),
        (Fault("status", status=404), P),
        (Fault("status", status=429), H),
        (Fault("status", status=503, html=True), T),
        (Fault("body", status=200, body='{"success": false, "code": 401, "message": "no"}'), B),
        (Fault("body", status=200, body="<!doctype html><title>Sign in</title>", html=True), T),
        (Fault("body", status=200, body=" <html>", html=False), T),
        (Fault("reset"), T),
    ],
)
async def test_an_account_that_does_not_work_says_why(
    client: CompressorClient, standin: Standin, fault: Fault, kind: FailureKind
) -> None:
    """A page for people under a 200 is somebody's sign-in, not the API."""
    fault.on = ("account",)
    standin.faults = [fault]
    assert (await failure_of(client.account())).kind is kind


# --- no way there ---------------------------------------------------------------------------------------------------------


async def test_a_refused_connection_sent_nothing(standin: Standin, original: str, transport: Transport) -> None:
    """Unreachable, and nothing unknown; also over a connection that was open before."""
    async with CompressorClient(standin.url, lambda: DEFAULT_KEY, transport=transport) as client:
        await client.account()
        await standin.stop()
        failures = [await failure_of(client.fetch(request_for(original))) for _ in range(2)]
    assert (failures[1].kind, failures[1].unreachable, failures[1].unknown) == (T, True, False)
    assert "connection refused" in failures[1].message


async def test_a_name_that_does_not_resolve_is_hinted_at(
    monkeypatch: pytest.MonkeyPatch, original: str, transport: Transport
) -> None:
    """The resolver says no; the operator hears where to look."""

    def unresolved(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    async with CompressorClient("https://api.compressor.test/1.0", lambda: "key-of-mine", transport=transport) as client:
        failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, failure.unreachable, failure.unknown) == (T, True, False)
    assert "DNS" in failure.hint
    assert "api.compressor.test" in failure.message


async def test_a_connection_that_does_not_come_about_sent_nothing(original: str, transport: Transport) -> None:
    """The other side drops what we send: given up, and nothing is unknown."""
    with socket.socket() as listening, contextlib.ExitStack() as fillers:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):  # the queue of the kernel takes one or two; the rest is never answered
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/1.0"
        async with CompressorClient(url, lambda: "key-of-mine", transport=transport, timeout=4) as client:
            failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, failure.unknown, failure.unreachable) == (T, False, False)
    assert "connecting took too long" in failure.message


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that nobody has signed."""
    directory = tmp_path_factory.mktemp("tls")
    files = directory / "server.crt", directory / "server.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", "/CN=api.test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(files[1]), "-out", str(files[0])),
        ],
        check=True,
        capture_output=True,
    )
    return files


@pytest.fixture
async def over_tls(certificate: tuple[Path, Path]) -> AsyncIterator[str]:
    """An API with that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"id": "1", "status": "enqueued"})

    async with serving(answer, ssl_context=context) as port:
        yield f"https://127.0.0.1:{port}/1.0"


async def test_a_certificate_that_is_not_trusted_is_refused(over_tls: str, original: str, transport: Transport) -> None:
    """No key is sent, and the hint names the ways out."""
    async with CompressorClient(over_tls, lambda: "key-of-mine", transport=transport) as client:
        failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, failure.unreachable, failure.unknown) == (T, True, False)
    assert "self-signed certificate" in failure.message
    assert "SSL_CERT_FILE" in failure.hint


async def test_a_certificate_authority_of_ones_own_is_trusted(
    over_tls: str, original: str, transport: Transport, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE, as the hint says."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    async with CompressorClient(over_tls, lambda: "key-of-mine", transport=transport) as client:
        assert isinstance(await client.fetch(request_for(original)), Pending)


async def test_https_to_a_server_without_it_is_a_tls_failure(standin: Standin, original: str, transport: Transport) -> None:
    """Not an unknown answer: nothing was sent."""
    url = standin.url.replace("http:", "https:")
    async with CompressorClient(url, lambda: "key-of-mine", transport=transport) as client:
        failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, failure.unreachable, failure.unknown) == (T, True, False)
    assert "clock" in failure.hint


async def test_something_that_is_not_http_is_an_unknown_answer(original: str, transport: Transport) -> None:
    """Somebody took the request and said something else."""

    async def chatter(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/1.0"
    async with server, CompressorClient(url, lambda: "key-of-mine", transport=transport) as client:
        failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, failure.unknown) == (T, True)


# --- proxies --------------------------------------------------------------------------------------------------------------


async def test_an_answer_is_not_late_while_the_original_is_fetched(transport: Transport, original: str) -> None:
    """The timeout counts from the last byte that moved, and ends the wait once nothing moves any more."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    moving_until = loop.time() + 0.9

    async def never(_: web.Request) -> web.StreamResponse:
        await stop.wait()
        return web.Response()

    def moved_at(request: FetchRequest) -> float:
        assert request.url == original
        return min(loop.time(), moving_until)

    async with serving(never) as port:
        url, began = f"http://127.0.0.1:{port}/1.0", loop.time()
        async with CompressorClient(url, lambda: "key", transport=transport, timeout=0.3, moved_at=moved_at) as client:
            failure = await failure_of(client.fetch(request_for(original)))
        stop.set()
    assert failure.unknown
    assert loop.time() - began > 0.9


async def test_a_proxy_that_is_down_is_named(original: str, transport: Transport) -> None:
    """Nothing was sent, and the hint points at the proxy or the network."""
    url = "https://api.compressor.test/1.0"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxies = Proxies.of_environment({"HTTPS_PROXY": f"http://127.0.0.1:{unused.getsockname()[1]}"})
        async with CompressorClient(url, lambda: "key-of-mine", transport=transport, proxies=proxies) as client:
            failure = await failure_of(client.fetch(request_for(original)))
    assert (failure.kind, failure.unreachable, failure.unknown) == (T, True, False)
    assert "PROXY" in failure.hint or "proxy" in failure.hint


async def test_the_embedded_engine_is_reached_though_a_proxy_is_set(standin: Standin, transport: Transport) -> None:
    """A proxy elsewhere cannot reach this machine's loopback address."""
    proxies = Proxies.of_environment({"ALL_PROXY": "http://127.0.0.1:1"})
    async with CompressorClient(standin.url, lambda: DEFAULT_KEY, transport=transport, proxies=proxies) as client:
        await client.account()


async def test_the_environment_is_not_read_behind_our_back(
    standin: Standin, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the libraries would make of these variables ends in a traceback; they are read in one place, and refused in words."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "localhost,fe80::/10,[::1]")
    async with CompressorClient(standin.url, lambda: DEFAULT_KEY, transport=transport) as client:
        await client.account()
