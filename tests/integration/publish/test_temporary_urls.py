"""Temporary URLs over real sockets, from real files."""

import asyncio
import hashlib
import os
import random
import socket
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from yarl import URL

from tests.integration.publish.conftest import Starter
from tests.support.publishing import MovedClock, OpenedFile, RecordedLog, new_ticket, wait_until, write_original
from watcher.config.publish_settings import ServeSettings
from watcher.errors import Unavailable
from watcher.model import Event, Format, Ticket
from watcher.publish.responder import KEY_HEADER
from watcher.publish.serve import TemporaryUrls
from watcher.publish.traffic import QUIET_SECONDS

PHOTO = random.Random(1).randbytes(300_000)


@pytest.fixture
def photo(tmp_path: Path) -> OpenedFile:
    return OpenedFile(write_original(tmp_path, PHOTO))


@pytest.mark.parametrize("just_seen", [True, False])
async def test_what_is_held_is_looked_after_where_that_is_some_time_ago(
    serving: Starter, client: aiohttp.ClientSession, tmp_path: Path, just_seen: bool
) -> None:
    """A small original whose path was looked at just now goes out as it was hashed; else one written over is refused."""
    path = write_original(tmp_path, PHOTO)
    source = OpenedFile(path, hold=True, just_seen=just_seen)
    published = await (await serving()).publish(new_ticket(), source)
    path.write_bytes(b"another")
    async with client.get(published.url, headers=published.headers) as response:
        body = await response.read()
    assert (response.status, body == PHOTO) == ((200, True) if just_seen else (404, False))


async def test_the_bytes_and_headers_of_an_original(
    serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile, log: RecordedLog
) -> None:
    """A GET gives the very bytes, with type, length, entity tag, and nobody may keep or index it."""
    ticket = new_ticket()
    published = await (await serving()).publish(ticket, photo)
    async with client.get(published.url) as response:
        assert response.status == 200
        assert await response.read() == PHOTO
        assert response.headers["Content-Type"] == "image/jpeg"
        assert response.headers["Content-Length"] == "300000"
        assert response.headers["ETag"] == f'"{hashlib.sha1(PHOTO).hexdigest()}"'
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Robots-Tag"] == "noindex"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    await wait_until(lambda: log.of(Event.IMAGE_FETCHED))
    fetched = log.of(Event.IMAGE_FETCHED)[0]
    assert (fetched["name"], fetched["bytes"], fetched["sha1"]) == ("photo.jpg", 300_000, photo.facts.sha1)
    assert ticket.token not in repr(log.lines)


async def test_the_type_is_that_of_the_bytes(serving: Starter, client: aiohttp.ClientSession, tmp_path: Path) -> None:
    """The format that was recognised decides, not the name."""
    svg = OpenedFile(write_original(tmp_path, b"<svg/>", "odd.jpg"), Format.SVG)
    published = await (await serving()).publish(new_ticket(), svg)
    async with client.get(published.url) as response:
        assert response.headers["Content-Type"] == "image/svg+xml"
        assert "sandbox" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("seconds", [-(2**31), 0, 1_000_000_000, 4_000_000_000, 13_000_000_000])
async def test_no_date_to_come_is_told(serving: Starter, client: aiohttp.ClientSession, tmp_path: Path, seconds: int) -> None:
    """Files have any date; Last-Modified lies between 1970 and the answer's own Date, as HTTP wants it."""
    path = write_original(tmp_path, PHOTO)
    os.utime(path, (seconds, seconds))
    published = await (await serving()).publish(new_ticket(), OpenedFile(path))
    async with client.get(published.url) as response:
        told, now = (parsedate_to_datetime(response.headers[name]).timestamp() for name in ("Last-Modified", "Date"))

        assert await response.read() == PHOTO
        assert told <= now
        assert told == max(seconds, 0) or (seconds > now and told > now - 60)


async def test_head_tells_the_same_without_the_bytes(serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile) -> None:
    """HEAD has the headers of GET and no body, and the connection is good for more."""
    published = await (await serving()).publish(new_ticket(), photo)
    for _ in range(2):
        async with client.head(published.url) as response:
            assert (response.status, response.headers["Content-Length"], await response.read()) == (200, "300000", b"")


@pytest.mark.parametrize(
    ("asked", "status", "content_range", "body"),
    [
        ("bytes=0-9", 206, "bytes 0-9/300000", PHOTO[:10]),
        ("bytes=299990-", 206, "bytes 299990-299999/300000", PHOTO[-10:]),
        ("bytes=-5", 206, "bytes 299995-299999/300000", PHOTO[-5:]),
        ("bytes=300000-", 416, "bytes */300000", b""),
        ("bytes=0-1,4-5", 200, None, PHOTO),
    ],
)
async def test_ranges(
    serving: Starter,
    client: aiohttp.ClientSession,
    photo: OpenedFile,
    asked: str,
    status: int,
    content_range: str | None,
    body: bytes,
) -> None:
    """A range brings its bytes, one behind the end 416, several at once the whole."""
    published = await (await serving()).publish(new_ticket(), photo)
    async with client.get(published.url, headers={"Range": asked}) as response:
        assert (response.status, response.headers.get("Content-Range"), await response.read()) == (status, content_range, body)


async def test_conditional_requests(serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile) -> None:
    """Who has the version is told so, who wants another gets none, and the connection stays in step."""
    published = await (await serving()).publish(new_ticket(), photo)
    etag = f'"{photo.facts.sha1}"'
    for headers, status in [({"If-None-Match": etag}, 304), ({"If-Match": '"x"'}, 412), ({"If-Match": etag}, 200)]:
        async with client.get(published.url, headers=headers) as response:
            body = await response.read()
            assert (response.status, body == PHOTO) == (status, status == 200)


async def test_unknown_expired_withdrawn_and_changed_look_alike(
    serving: Starter, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Status, body and headers (but the date) of every URL that leads nowhere are the same."""
    server = await serving()
    unknown = await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, b"1")))
    expired = await server.publish(new_ticket(lifetime=-1), OpenedFile(write_original(tmp_path, b"2")))
    withdrawn_ticket = new_ticket()
    withdrawn = await server.publish(withdrawn_ticket, OpenedFile(write_original(tmp_path, b"3")))
    await server.withdraw(withdrawn_ticket)
    path = write_original(tmp_path, b"4")
    changed = await server.publish(new_ticket(), OpenedFile(path))
    path.write_bytes(b"other bytes")
    origin = unknown.url.partition("/t/")[0]
    urls = [
        *(unknown.url.replace("/photo.jpg", "x/photo.jpg"), f"{origin}/t//photo.jpg", f"{origin}/t/x"),
        *(expired.url, withdrawn.url, changed.url, f"{origin}/", f"{origin}/robots.txt", f"{origin}/t"),
    ]
    answers = set()
    for url in urls:
        async with client.get(url) as response:
            headers = tuple(sorted((name, value) for name, value in response.headers.items() if name != "Date"))
            answers.add((response.status, headers, await response.read()))
    assert len(answers) == 1
    status, headers, body = answers.pop()
    assert (status, body) == (404, b"Not Found\n")
    assert ("Cache-Control", "no-store") in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_other_methods_are_refused(serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile, method: str) -> None:
    """Only GET and HEAD are answered, and the answer says so."""
    published = await (await serving()).publish(new_ticket(), photo)
    async with client.request(method, published.url) as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_the_key_is_needed_where_it_is_asked_for(
    serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile, log: RecordedLog
) -> None:
    """With require_header the URL alone, or a wrong key, gives 403; both secrets together give the file."""
    ticket = new_ticket()
    published = await (await serving(require_header=True)).publish(ticket, photo)
    assert published.headers == {KEY_HEADER: ticket.secret}
    for headers, status in [({}, 403), ({KEY_HEADER: "wrong"}, 403), ({KEY_HEADER: "\udcff"}, 403), (published.headers, 200)]:
        raw = await _raw_request(published.url, headers)
        assert raw.startswith(f"HTTP/1.1 {status} ".encode())
        assert raw.endswith(PHOTO) is (status == 200)
    assert {line["reason"] for line in log.of(Event.SERVE_DENIED)} == {"key_missing", "key_wrong"}
    assert ticket.secret not in repr(log.lines)
    assert ticket.token not in repr(log.lines)


async def _raw_request(url: str, headers: dict[str, str] | object) -> bytes:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    lines = [f"GET {parts.path} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in dict(headers).items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape"))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_without_the_option_no_key_is_asked_or_given(serving: Starter, photo: OpenedFile) -> None:
    """The fetch body needs no headers then."""
    assert (await (await serving()).publish(new_ticket(), photo)).headers == {}


async def test_the_same_ticket_gives_the_same_url(serving: Starter, client: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Publishing again keeps the URL and serves the newest source: what a restart or another try needs."""
    server, ticket = await serving(), new_ticket()
    path = write_original(tmp_path, b"content")
    first, second = OpenedFile(path), OpenedFile(path)
    urls = {(await server.publish(ticket, first)).url, (await server.publish(ticket, second)).url}
    first.close()
    assert len(urls) == 1
    async with client.get(urls.pop()) as response:
        assert await response.read() == b"content"


@pytest.mark.parametrize("kept", ["/a/b", "/b", "/a", ""])
async def test_any_way_of_passing_the_public_path_on_works(
    serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile, kept: str
) -> None:
    """A proxy may keep, cut or strip the path of public_url."""
    server = await serving(public_url="https://drops.example.com/a/b")
    published = await server.publish(new_ticket(), photo)
    assert published.url.startswith("https://drops.example.com/a/b/t/")
    own = server.local_url
    async with client.get(own + kept + "/t/" + published.url.partition("/t/")[2]) as response:
        assert response.status == 200


@pytest.mark.parametrize("before", ["/", "//", "/a//b//", "//a/b/"])
async def test_slashes_that_a_proxy_doubled_count_once(
    serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile, before: str
) -> None:
    """nginx with `location /drop { proxy_pass http://upstream/; }` passes "//t/..." on."""
    server = await serving(public_url="https://drops.example.com/a/b")
    published = await server.publish(new_ticket(), photo)
    path = f"{before}/t//{published.url.partition('/t/')[2]}"
    url = URL(server.local_url + path, encoded=True)
    async with client.get(url) as response:
        assert response.status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("prefix", ["", "/a/b", "/"])
async def test_health_checks_of_proxies_find_something(
    serving: Starter, client: aiohttp.ClientSession, log: RecordedLog, method: str, prefix: str
) -> None:
    """HAProxy asks with OPTIONS, Caddy with GET: 200, nothing in it, and no line in the log."""
    server = await serving(public_url="https://drops.example.com/a/b")
    url = URL(server.local_url + prefix + "/t/", encoded=True)
    async with client.request(method, url) as response:
        assert (response.status, await response.read()) == (200, b"")
    assert log.lines == []


async def test_both_families_are_served_where_all_addresses_are_meant(
    serving: Starter, photo: OpenedFile, log: RecordedLog
) -> None:
    """`listen = "[::]:..."` takes IPv4 too, and shows its clients by their own address."""
    server = await serving(listen="[::]:0", public_url="http://drops.example.com")
    port = urlsplit(server.local_url).port
    for host in ("127.0.0.1", "::1"):
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /t/nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        await wait_until(lambda: log.of(Event.SERVE_DENIED))
        writer.close()
    assert await server.probe()
    assert log.of(Event.SERVE_DENIED)[0]["remote"] == "127.0.0.1"


async def test_an_address_of_ipv6_stands_in_brackets(serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile) -> None:
    """In the URL that is given out, which works."""
    published = await (await serving(listen="[::1]:0")).publish(new_ticket(), photo)
    assert published.url.startswith("http://[::1]:")
    async with client.get(published.url) as response:
        assert response.status == 200


async def test_it_is_known_whether_the_bytes_were_fetched(
    serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile
) -> None:
    """Not by looking (HEAD), not by a part; by all bytes, in one response or several."""
    server, ticket = await serving(), new_ticket()
    url = (await server.publish(ticket, photo)).url
    assert (server.times_fetched(ticket), server.moved_at(ticket)) == (False, None)
    async with client.head(url):
        assert server.times_fetched(ticket) == 0
    for span, done in (("bytes=0-199999", False), ("bytes=200000-", True)):
        async with client.get(url, headers={"Range": span}) as response:
            await response.read()
        if done:
            await wait_until(lambda: server.times_fetched(ticket))
        else:
            await wait_until(lambda: server.moved_at(ticket) is not None)
            assert server.times_fetched(ticket) == 0


def _new(_: int) -> Ticket:
    return new_ticket()


async def test_a_thin_line_is_not_offered_more_than_it_can_send(serving: Starter, tmp_path: Path, clock: MovedClock) -> None:
    """The third large original waits until the others are withdrawn or nobody takes of them any more; small ones do not."""
    server = await serving()
    path = tmp_path / "large.tif"
    with path.open("wb") as file:
        file.truncate(20_000_000)
    tickets = {asyncio.create_task(server.publish(ticket, OpenedFile(path))): ticket for ticket in map(_new, range(3))}
    done, waiting = await asyncio.wait(tickets, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.05)
    assert [len(done), sum(each.done() for each in waiting)] == [1, 0]
    await server.withdraw(tickets[done.pop()])
    done, waiting = await asyncio.wait(waiting, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert [len(done), len(waiting)] == [1, 1]
    clock.move(QUIET_SECONDS + 1)
    await asyncio.wait_for(waiting.pop(), 20)


async def test_a_deleted_or_replaced_path_changes_nothing(
    serving: Starter, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """What was opened is served, though the path is gone or leads elsewhere."""
    server = await serving()
    path = write_original(tmp_path, b"first")
    published = await server.publish(new_ticket(), OpenedFile(path))
    other = path.with_suffix(".new")
    other.write_bytes(b"other")
    for change in (lambda: other.replace(path), path.unlink):
        change()
        async with client.get(published.url) as response:
            assert await response.read() == b"first"


async def test_refusals_are_logged_once_a_minute(
    serving: Starter, client: aiohttp.ClientSession, log: RecordedLog, clock: MovedClock
) -> None:
    """A flood is one line with the asker's address, and after a minute one with the count, even if nobody asks any more."""
    server = await serving()
    for number in range(5):
        async with client.get(f"{server.local_url}/t/nothing{number}/x.jpg"):
            pass
    assert [(line["reason"], line["count"], line["remote"]) for line in log.of(Event.SERVE_DENIED)] == [
        ("unknown_url", 1, "127.0.0.1")
    ]
    await wait_until(lambda: clock.sleepers)
    clock.move(61)
    await wait_until(lambda: len(log.of(Event.SERVE_DENIED)) == 2)
    assert log.of(Event.SERVE_DENIED)[1]["count"] == 4
    assert "nothing" not in repr(log.lines)


@pytest.mark.parametrize("hours", [-24, 24])
async def test_a_clock_that_is_set_changes_no_expiry(
    serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile, clock: MovedClock, hours: int
) -> None:
    """What was published lasts as long as was promised, by the time that passes."""
    server = await serving()
    url = (await server.publish(new_ticket(lifetime=60), photo)).url
    clock.set(hours * 3600.0)
    async with client.get(url) as response:
        assert response.status == 200
    clock.move(61)
    async with client.get(url) as response:
        assert response.status == 404


async def test_expired_tickets_are_forgotten(serving: Starter, photo: OpenedFile, clock: MovedClock) -> None:
    """What expired does not stay in memory."""
    server = await serving()
    await server.publish(new_ticket(lifetime=30), photo)
    await server.publish(new_ticket(lifetime=3000), photo)
    await wait_until(lambda: clock.sleepers)
    clock.move(61)
    await wait_until(lambda: server.tickets == 1)


async def test_a_url_dies_when_its_time_is_over(
    serving: Starter, client: aiohttp.ClientSession, photo: OpenedFile, clock: MovedClock, log: RecordedLog
) -> None:
    """Expiry is looked at with every request, not only when the house is kept."""
    server = await serving()
    published = await server.publish(new_ticket(lifetime=20), photo)
    clock.move(21)
    async with client.get(published.url) as response:
        assert response.status == 404
    assert [line["reason"] for line in log.of(Event.SERVE_DENIED)] == ["expired"]


async def test_alive_and_probe(serving: Starter, log: RecordedLog) -> None:
    """The watchdog sees a serving server as alive and a stopped one as dead; asking leaves no trace in the log."""
    server = await serving()
    assert server.alive()
    assert await server.probe()
    await server.stop(0.0)
    assert not server.alive()
    assert not await server.probe()
    assert log.lines == []


async def test_a_taken_port_is_said_in_words(serving: Starter, log: RecordedLog, clock: MovedClock) -> None:
    """The message names the address, the hint says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable) as caught:
            await serving(listen=address)
    assert address in caught.value.message
    assert "listen" in caught.value.hint


async def test_an_address_of_another_machine_is_said_in_words(serving: Starter) -> None:
    """An address that this machine does not have is told apart."""
    with pytest.raises(Unavailable, match="address of this machine"):
        await serving(listen="192.0.2.7:0")


async def test_publishing_before_the_start_is_refused(log: RecordedLog, clock: MovedClock, photo: OpenedFile) -> None:
    """Without a port there is no URL to give."""
    with pytest.raises(Unavailable):
        await TemporaryUrls(ServeSettings(), log, clock).publish(new_ticket(), photo)


async def test_stop_lets_a_download_end(serving: Starter, tmp_path: Path) -> None:
    """A fetch under way at a stop gets all its bytes within the grace, and nobody new gets in."""
    content = os.urandom(20_000_000)
    server = await serving()
    published = await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, content)))
    parts = urlsplit(published.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    stopping = asyncio.create_task(server.stop(30.0))
    await wait_until(lambda: not server.alive())
    assert await reader.readexactly(len(content)) == content
    await stopping
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(parts.hostname, parts.port)
    writer.close()


async def test_stop_cuts_who_does_not_read(serving: Starter, tmp_path: Path) -> None:
    """A client that does not take its bytes cannot hold the stop for longer than the grace."""
    server = await serving()
    published = await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, bytes(20_000_000))))
    parts = urlsplit(published.url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1024)
    writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await wait_until(lambda: server.downloads)
    await asyncio.wait_for(server.stop(0.2), 20)
    assert not server.downloads
    writer.close()


async def test_the_public_url_is_the_own_address_if_none_is_set(log: RecordedLog, clock: MovedClock) -> None:
    """For an API on this machine nothing need be configured."""
    server = TemporaryUrls(ServeSettings(), log, clock)
    base = await server.start()
    assert base.startswith("http://127.0.0.1:")
    await server.stop(0.0)
