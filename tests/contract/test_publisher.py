"""What both ways of publishing promise alike."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.publishing import MovedClock, OpenedFile, RecordedLog, curl, new_ticket, wait_until, write_original
from tests.support.s3 import S3Server
from watcher.config.publish_settings import PresignSettings, ServeSettings
from watcher.model import Format
from watcher.ports import Publication, Publisher
from watcher.publish.presign import StagedLinks
from watcher.publish.serve import TemporaryUrls

Starter = Callable[[], Awaitable[Publisher]]
PHOTO = os.urandom(200_000)


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=["serve", "presign"])
async def starter(request: pytest.FixtureRequest, log: RecordedLog, clock: MovedClock) -> AsyncIterator[Starter]:
    """Starts a publisher; a second one stands where the first one stood, as after a restart."""
    started: list[TemporaryUrls | StagedLinks] = []
    make = _served(log, clock) if request.param == "serve" else _staged(log, clock, request.getfixturevalue("s3"))

    async def start() -> Publisher:
        if started:
            await started[-1].stop(0.0)
        started.append(make())
        await started[-1].start()
        return started[-1]

    yield start
    await started[-1].stop(5.0)


def _served(log: RecordedLog, clock: MovedClock) -> Callable[[], TemporaryUrls]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return lambda: TemporaryUrls(ServeSettings(listen=address), log, clock)


def _staged(log: RecordedLog, clock: MovedClock, store: S3Server) -> Callable[[], StagedLinks]:
    settings = PresignSettings(
        endpoint=store.endpoint,
        region=store.region,
        bucket=store.new_bucket(versioned=True),
        key_id=store.key_id,
        application_key=store.application_key,
    )
    return lambda: StagedLinks(settings, log, clock)


@pytest.fixture
async def publisher(starter: Starter) -> Publisher:
    return await starter()


@pytest.fixture(params=["behind a descriptor", "held"])
def photo(request: pytest.FixtureRequest, tmp_path: Path) -> OpenedFile:
    return OpenedFile(write_original(tmp_path, PHOTO), hold=request.param == "held")


async def fetch(publication: Publication, *arguments: str) -> tuple[int, bytes]:
    return await curl(publication.url, *arguments, headers=publication.headers)


async def test_a_published_original_can_be_fetched(publisher: Publisher, photo: OpenedFile) -> None:
    """The URL with its headers gives the very bytes, as often as asked."""
    publication = await publisher.publish(new_ticket(), photo)
    for _ in range(2):
        assert await fetch(publication) == (200, PHOTO)


async def test_a_part_can_be_fetched(publisher: Publisher, photo: OpenedFile) -> None:
    """A range brings its bytes only."""
    publication = await publisher.publish(new_ticket(), photo)
    assert await fetch(publication, "-r", "100-199") == (206, PHOTO[100:200])


async def test_the_type_goes_with_it(publisher: Publisher, tmp_path: Path) -> None:
    """The media type is that of the recognised format."""
    publication = await publisher.publish(new_ticket(), OpenedFile(write_original(tmp_path, b"x"), Format.WEBP))
    _, head = await fetch(publication, "-D", "-")
    assert b"content-type: image/webp\r\n" in head.lower()


async def test_the_same_ticket_gives_the_same_url(publisher: Publisher, photo: OpenedFile, clock: MovedClock) -> None:
    """Publishing again changes nothing for who holds the URL."""
    ticket = new_ticket()
    first = await publisher.publish(ticket, photo)
    clock.move(90.0)
    assert await publisher.publish(ticket, photo) == first
    assert (await fetch(first))[0] == 200


async def test_different_tickets_share_nothing(publisher: Publisher, photo: OpenedFile) -> None:
    """The end of one ticket leaves another of the same file alone."""
    one, other = new_ticket(), new_ticket()
    publication = await publisher.publish(one, photo)
    await publisher.publish(other, photo)
    await publisher.withdraw(other)
    assert (await fetch(publication))[0] == 200


async def test_withdrawn_is_gone(publisher: Publisher, photo: OpenedFile) -> None:
    """After the withdrawal the URL leads nowhere, and the source may be closed at once."""
    ticket = new_ticket()
    publication = await publisher.publish(ticket, photo)
    await publisher.withdraw(ticket)
    photo.close()
    deadline = asyncio.get_running_loop().time() + 20
    while (await fetch(publication))[0] == 200:
        assert asyncio.get_running_loop().time() < deadline
    assert (await fetch(publication))[0] in (403, 404)


async def test_an_expired_ticket_opens_nothing(publisher: Publisher, photo: OpenedFile) -> None:
    """What is past its time is refused, though it was published."""
    publication = await publisher.publish(new_ticket(lifetime=-5), photo)
    assert (await fetch(publication))[0] in (401, 403, 404)


async def test_a_tampered_url_opens_nothing(publisher: Publisher, photo: OpenedFile) -> None:
    """Every changed character of what is secret in the URL spoils it."""
    ticket = new_ticket()
    publication = await publisher.publish(ticket, photo)
    swapped = ticket.token.swapcase()
    last = publication.url[-1]
    tampered = [publication.url.replace(ticket.token, swapped)]
    if "X-Amz-Signature" in publication.url:
        tampered.append(publication.url[:-1] + ("0" if last != "0" else "1"))
        tampered.append(publication.url.replace("X-Amz-Expires=3", "X-Amz-Expires=9"))
        tampered.append(publication.url.partition("?")[0])
    for url in tampered:
        assert url != publication.url
        assert (await curl(url, headers=publication.headers))[0] in (400, 401, 403, 404)


async def test_whether_the_bytes_left_is_known_or_said_to_be_unknown(
    publisher: Publisher, photo: OpenedFile, clock: MovedClock
) -> None:
    """0 before anybody came, 1 after all were sent, None where somebody else sends them; nothing of unknown tickets."""
    ticket = new_ticket()
    publication = await publisher.publish(ticket, photo)
    seen = publisher.times_fetched(ticket)
    assert (seen in (0, None), publisher.moved_at(ticket)) == (True, None)
    await fetch(publication)
    if seen is not None:
        await wait_until(lambda: publisher.times_fetched(ticket) == 1)
        assert publisher.moved_at(ticket) <= clock.monotonic()
    assert (publisher.times_fetched(new_ticket()), publisher.moved_at(new_ticket())) == (None, None)
    assert (publisher.refusals(ticket), publisher.refusals(new_ticket())) == (0, 0)


async def test_unknown_tickets_can_be_withdrawn(publisher: Publisher) -> None:
    """Withdrawing what was never published, or twice, is fine."""
    ticket = new_ticket()
    await publisher.withdraw(ticket)
    await publisher.withdraw(ticket)


async def test_after_a_restart_the_same_ticket_works_again(starter: Starter, photo: OpenedFile) -> None:
    """A second process that publishes under the journalled ticket gives the same URL, and it works."""
    ticket = new_ticket()
    before = await (await starter()).publish(ticket, photo)
    after = await (await starter()).publish(ticket, photo)
    assert after == before
    assert await fetch(after) == (200, PHOTO)


async def test_a_file_gone_from_its_path_is_published_all_the_same(publisher: Publisher, tmp_path: Path) -> None:
    """The open descriptor counts, not the path."""
    path = write_original(tmp_path, PHOTO)
    source = OpenedFile(path)
    path.unlink()
    assert await fetch(await publisher.publish(new_ticket(), source)) == (200, PHOTO)


@pytest.mark.parametrize("name", ["a b+c&d=e?#%.jpg", "Größe 写真.jpg", "..", "bad\udcff\n.jpg", "x" * 255, "-rf.jpg"])
async def test_any_name_can_be_published(publisher: Publisher, tmp_path: Path, name: str) -> None:
    """Whatever the file is called, the URL is ASCII and works."""
    source = OpenedFile(write_original(tmp_path, b"content"), name=name)
    publication = await publisher.publish(new_ticket(), source)
    assert publication.url.isascii()
    assert await fetch(publication) == (200, b"content")


async def test_many_at_once_are_each_their_own(publisher: Publisher, tmp_path: Path) -> None:
    """Parallel publications do not mix."""
    contents = [os.urandom(50_000) for _ in range(6)]
    sources = [OpenedFile(write_original(tmp_path, content)) for content in contents]
    publications = await asyncio.gather(*(publisher.publish(new_ticket(), source) for source in sources))
    answers = await asyncio.gather(*(fetch(publication) for publication in publications))
    assert answers == [(200, content) for content in contents]


async def test_nothing_secret_is_told(publisher: Publisher, photo: OpenedFile, log: RecordedLog) -> None:
    """Neither the log nor a repr holds token, key or URL."""
    ticket = new_ticket()
    publication = await publisher.publish(ticket, photo)
    await fetch(publication)
    await curl(publication.url.replace(ticket.token, "x" * 43))
    await publisher.withdraw(ticket)
    await wait_until(lambda: not getattr(publisher, "removals", 0))
    told = repr((log.lines, publication, ticket, publisher))
    for secret in (ticket.token, ticket.secret, "testing", "X-Amz-Signature"):
        assert secret not in told
