"""Staged links in front of a store with Backblaze B2's ways, and while it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.b2_quirks import B2Quirks, Fault, b2_quirks, error
from tests.support.publishing import HurriedClock, OpenedFile, RecordedLog, curl, new_ticket, wait_until, write_original
from tests.support.s3 import S3Server
from watcher.config.publish_settings import PresignSettings
from watcher.errors import Unavailable
from watcher.model import Event
from watcher.publish.presign import REMOVAL_PAUSES, SWEEP_SECONDS, StagedLinks, staged_key
from watcher.s3.client import TRIES


@pytest.fixture
def log() -> RecordedLog:
    return RecordedLog()


@pytest.fixture
def clock() -> HurriedClock:
    return HurriedClock()


@pytest.fixture
def bucket(s3: S3Server) -> str:
    return s3.new_bucket(versioned=True)


@pytest.fixture
async def b2(s3: S3Server) -> AsyncIterator[B2Quirks]:
    async with b2_quirks(s3) as quirks:
        yield quirks


@pytest.fixture
async def links(b2: B2Quirks, bucket: str, log: RecordedLog, clock: HurriedClock) -> AsyncIterator[StagedLinks]:
    settings = PresignSettings(
        endpoint=b2.endpoint,
        region=b2.store.region,
        bucket=bucket,
        key_id=b2.store.key_id,
        application_key=b2.store.application_key,
    )
    links = StagedLinks(settings, log, clock, owner="me")
    yield links
    await links.stop(1.0)


@pytest.fixture
def photo(tmp_path: Path) -> OpenedFile:
    return OpenedFile(write_original(tmp_path, b"photo" * 1000))


async def removals_done(links: StagedLinks) -> None:
    await wait_until(lambda: not links.removals)


async def test_b2_takes_all_that_is_sent(b2: B2Quirks, links: StagedLinks, s3: S3Server, bucket: str, photo: OpenedFile) -> None:
    """No header that B2 refuses, no HeadBucket: publish, fetch, withdraw and sweep go through."""
    ticket = new_ticket()
    publication = await links.publish(ticket, photo)
    assert await curl(publication.url) == (200, b"photo" * 1000)
    await links.withdraw(ticket)
    await removals_done(links)
    await links.sweep(())
    assert s3.versions(bucket) == []
    assert not [seen for seen in b2.requests if seen.method == "HEAD"]


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.NO_TOMES, Fault.INTERNAL, Fault.TIMEOUT, Fault.RESET])
async def test_busy_answers_are_tried_again_on_new_connections(
    b2: B2Quirks, links: StagedLinks, bucket: str, photo: OpenedFile, fault: Fault
) -> None:
    """Five refusals in a row, each over another connection, do not keep the original from being staged whole."""
    b2.faults.extend([fault] * (TRIES - 1))
    publication = await links.publish(new_ticket(), photo)
    puts = [seen for seen in b2.requests if seen.method == "PUT"]
    assert len(puts) == TRIES
    assert len({seen.connection for seen in puts}) == TRIES
    assert await curl(publication.url) == (200, b"photo" * 1000)


async def test_the_first_retry_goes_out_at_once(b2: B2Quirks, links: StagedLinks, photo: OpenedFile, clock: HurriedClock) -> None:
    """A busy storage pod is left for another without waiting; a Retry-After is kept."""
    b2.faults.append(Fault.NO_TOMES)
    await links.publish(new_ticket(), photo)
    b2.faults.append(Fault.SLOW_DOWN)
    await links.publish(new_ticket(), photo)
    assert clock.slept == [0.0, 1.0]


async def test_a_store_that_stays_busy_is_unavailable_for_now(b2: B2Quirks, links: StagedLinks, photo: OpenedFile) -> None:
    """After the last try the caller learns it, and the next call works again."""
    ticket = new_ticket()
    b2.faults.extend([Fault.NO_TOMES] * TRIES)
    with pytest.raises(Unavailable, match="no tomes available"):
        await links.publish(ticket, photo)
    assert (await curl((await links.publish(ticket, photo)).url))[0] == 200


async def test_a_cap_is_not_tried_again(b2: B2Quirks, links: StagedLinks, photo: OpenedFile) -> None:
    """A cap is for the operator to raise: one request, and a hint that says where."""
    b2.faults.append(Fault.CAP)
    with pytest.raises(Unavailable, match="cap exceeded") as caught:
        await links.publish(new_ticket(), photo)
    assert "Caps & Alerts" in caught.value.hint
    assert len(b2.requests) == 1


async def test_a_try_whose_answer_was_lost_leaves_no_version(
    links: StagedLinks, s3: S3Server, bucket: str, photo: OpenedFile, b2: B2Quirks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PUT that was stored though its answer never came makes a second version; the withdrawal finds both."""
    pass_on, lost = b2.pass_on, []

    async def lose_the_first(request: object, body: bytes) -> object:
        answer = await pass_on(request, body)
        if request.method == "PUT" and not lost:
            lost.append(answer)
            request.transport.abort()
        return answer

    monkeypatch.setattr(b2, "pass_on", lose_the_first)
    ticket = new_ticket()
    await links.publish(ticket, photo)
    assert len(s3.versions(bucket)) == 2
    await links.withdraw(ticket)
    await removals_done(links)
    assert s3.versions(bucket) == []


async def test_an_expired_link_is_refused_as_b2_does(links: StagedLinks, photo: OpenedFile) -> None:
    """The store itself looks at the time."""
    publication = await links.publish(new_ticket(lifetime=-5), photo)
    assert (await curl(publication.url))[0] == 401


@pytest.mark.parametrize(
    ("missing", "failing"),
    [
        ("writeFiles", ["put an object"]),
        ("readFiles", ["read it through a link"]),
        ("listFiles", ["list the prefix"]),
        ("deleteFiles", ["delete it"]),
    ],
)
async def test_check_names_the_missing_capability(b2: B2Quirks, links: StagedLinks, missing: str, failing: list[str]) -> None:
    """Each capability that the key lacks is told from the others."""
    b2.capabilities.discard(missing)
    lines = await links.check()
    assert [line.name.removeprefix("staging: ") for line in lines if not line.ok] == failing
    assert [line.hint for line in lines if not line.ok] == [f"the application key needs `{missing}` for this bucket and prefix"]


async def test_check_explains_the_misleading_error_of_a_wrong_region(b2: B2Quirks, links: StagedLinks) -> None:
    """B2 calls a key of another region invalid; the hint says that it may be the endpoint."""
    b2.region = "eu-central-003"
    (line,) = await links.check()
    assert "InvalidAccessKeyId" in line.message
    assert "endpoint" in line.hint


async def test_what_cannot_be_deleted_is_said_and_swept_later(
    b2: B2Quirks, links: StagedLinks, s3: S3Server, bucket: str, photo: OpenedFile, log: RecordedLog, clock: HurriedClock
) -> None:
    """After several rounds one line says what is wrong, without the token; once the right is there, a sweep cleans up."""
    ticket = new_ticket()
    await links.publish(ticket, photo)
    b2.capabilities.discard("deleteFiles")
    await links.withdraw(ticket)
    await removals_done(links)
    (line,) = log.of(Event.IMAGE_RETRY)
    assert "not entitled" in line["message"]
    assert ticket.token not in repr(log.lines)
    assert [pause for pause in clock.slept if pause] == list(REMOVAL_PAUSES)
    b2.capabilities.add("deleteFiles")
    assert await links.sweep(()) == 1
    assert s3.versions(bucket) == []


async def test_a_store_that_is_down_for_a_while_loses_no_deletion(
    b2: B2Quirks,
    links: StagedLinks,
    s3: S3Server,
    bucket: str,
    photo: OpenedFile,
    log: RecordedLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Deletions that fail are made in a later round, without a word."""
    refused: list[object] = []
    pass_on = b2.pass_on

    async def fail_twice(request: object, body: bytes) -> object:
        if request.method == "DELETE" and len(refused) < 2 * TRIES:
            refused.append(request)
            request.transport.abort()
            return web.Response()
        return await pass_on(request, body)

    monkeypatch.setattr(b2, "pass_on", fail_twice)
    ticket = new_ticket()
    await links.publish(ticket, photo)
    await links.withdraw(ticket)
    await removals_done(links)
    assert len(refused) == 2 * TRIES
    assert s3.versions(bucket) == []
    assert log.lines == []


async def test_without_list_versions_plain_objects_are_swept(
    b2: B2Quirks, links: StagedLinks, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that does not know ListObjectVersions is asked for a plain listing."""
    pass_on = b2.pass_on

    async def without_versions(request: object, body: bytes) -> object:
        if "versions" in request.query:
            return error(501, "NotImplemented", "ListObjectVersions is not implemented")
        return await pass_on(request, body)

    monkeypatch.setattr(b2, "pass_on", without_versions)
    plain = s3.new_bucket()
    links.bucket.name = plain
    s3.boto.put_object(Bucket=plain, Key=staged_key("staging/", "other", new_ticket(-7200), "x.jpg"), Body=b"x")
    assert await links.sweep() == 1
    assert s3.keys(plain) == []


async def test_a_sweep_that_fails_says_so_once(b2: B2Quirks, links: StagedLinks, log: RecordedLog, clock: HurriedClock) -> None:
    """A missing right to list is one line, however often it is tried; asked directly it is Unavailable."""
    b2.capabilities.discard("listFiles")
    await links.start()
    await wait_until(lambda: clock.slept.count(SWEEP_SECONDS) >= 3)
    assert len(log.of(Event.IMAGE_RETRY)) == 1
    with pytest.raises(Unavailable, match="cannot be swept"):
        await links.sweep()


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    "change",
    [lambda path: path.write_bytes(b"other" * 1000), lambda path: path.write_bytes(b"short")],
    ids=["overwritten", "shortened"],
)
async def test_what_was_not_hashed_is_never_staged(
    links: StagedLinks, s3: S3Server, bucket: str, tmp_path: Path, change: Change
) -> None:
    """A file that changes under the upload is not put: the last bytes are held back until all are known to be right."""
    path = write_original(tmp_path, b"photo" * 1000)
    source = OpenedFile(path)
    change(path)
    with pytest.raises(Unavailable, match="changed while it was staged"):
        await links.publish(new_ticket(), source)
    assert s3.versions(bucket) == []


async def test_stopping_does_not_wait_for_a_store_that_hangs(
    b2: B2Quirks, links: StagedLinks, photo: OpenedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion without an answer holds the stop for its grace and no longer."""
    asked = asyncio.Event()

    async def hang(request: object, body: bytes) -> object:
        asked.set()
        await asyncio.sleep(3600)
        return web.Response()

    ticket = new_ticket()
    await links.publish(ticket, photo)
    monkeypatch.setattr(b2, "pass_on", hang)
    await links.withdraw(ticket)
    await asked.wait()
    assert links.removals
    await asyncio.wait_for(links.stop(0.2), 20)
    assert not links.removals
