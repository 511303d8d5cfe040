"""Staged links against a real store that keeps versions: what lies in the bucket, and what does not stay there."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.publishing import (
    HurriedClock,
    MovedClock,
    OpenedFile,
    RecordedLog,
    curl,
    new_ticket,
    wait_until,
    write_original,
)
from tests.support.s3 import S3Server
from watcher.config.publish_settings import PresignSettings
from watcher.errors import Unavailable
from watcher.publish.presign import StagedLinks, staged_key
from watcher.s3.listing import Version

Maker = Callable[..., StagedLinks]


@pytest.fixture(params=[True, False], ids=["versioned", "plain"])
def bucket(request: pytest.FixtureRequest, s3: S3Server) -> str:
    return s3.new_bucket(versioned=request.param)


@pytest.fixture
async def make(s3: S3Server, log: RecordedLog) -> AsyncIterator[Maker]:
    """Makes publishers; they end with the test."""
    made: list[StagedLinks] = []

    def maker(bucket: str, *, owner: str = "", clock: MovedClock | None = None, **settings: Any) -> StagedLinks:
        given = {
            "endpoint": s3.endpoint,
            "region": s3.region,
            "bucket": bucket,
            "key_id": s3.key_id,
            "application_key": s3.application_key,
            **settings,
        }
        made.append(StagedLinks(PresignSettings(**given), log, clock or HurriedClock(), owner=owner))
        return made[-1]

    yield maker
    for each in made:
        await each.stop()


async def removals_done(links: StagedLinks) -> None:
    await wait_until(lambda: not links.removals)


async def test_the_object_lies_under_the_prefix(make: Maker, s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """One object below the prefix, named with the token, holding type and bytes."""
    links, ticket = make(bucket), new_ticket()
    await links.publish(ticket, OpenedFile(write_original(tmp_path, b"bytes")))
    (key,) = s3.keys(bucket)
    assert key.startswith("staging/watcher-")
    assert f"/{ticket.token}/" in key
    head = s3.boto.head_object(Bucket=bucket, Key=key)
    assert (head["ContentType"], head["ContentLength"]) == ("image/jpeg", 5)


async def test_withdrawing_leaves_no_version(make: Maker, s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """Not the object, not a hidden version, not a marker stays behind to be billed."""
    links, ticket = make(bucket), new_ticket()
    await links.publish(ticket, OpenedFile(write_original(tmp_path, b"bytes")))
    await links.withdraw(ticket)
    await removals_done(links)
    assert s3.versions(bucket) == []


async def test_a_second_version_from_before_a_restart_goes_too(make: Maker, s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """The process that was killed put one, the next one another, under one key: both are deleted."""
    ticket, source = new_ticket(), OpenedFile(write_original(tmp_path, b"bytes"))
    await make(bucket).publish(ticket, source)
    second = make(bucket)
    await second.publish(ticket, source)
    await second.withdraw(ticket)
    await removals_done(second)
    assert s3.versions(bucket) == []


async def test_what_an_earlier_process_staged_goes_with_its_ticket(
    make: Maker, s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    """Killed while it was staged, the file deleted meanwhile: the next process withdraws a ticket it never published."""
    first = make(bucket, owner="me")
    ticket, other = new_ticket(), new_ticket()
    for each in (ticket, other):
        await first.publish(each, OpenedFile(write_original(tmp_path, b"bytes")))
    second = make(bucket, owner="me")
    for _ in range(2):
        await second.withdraw(ticket)
    await removals_done(second)
    assert ticket.token not in str(s3.versions(bucket)) + str(s3.keys(bucket))
    assert other.token in str(s3.keys(bucket))


async def test_a_ticket_of_this_process_that_was_never_published_costs_no_question(
    make: Maker, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listings are paid for."""
    links = make(bucket)
    monkeypatch.setattr(links.bucket, "versions", None)
    await links.withdraw(new_ticket(lifetime=3700))
    assert not links.removals


async def test_publishing_again_does_not_upload_again(make: Maker, s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """While it lies there, the same content under the same ticket is only signed."""
    links, ticket, source = make(bucket), new_ticket(), OpenedFile(write_original(tmp_path, b"bytes"))
    await links.publish(ticket, source)
    await links.publish(ticket, source)
    assert len(s3.versions(bucket)) == 1


async def test_publishing_right_after_withdrawing_works(make: Maker, s3: S3Server, bucket: str, tmp_path: Path) -> None:
    """A deletion that is still under way does not take the new object with it, and in the end nothing stays."""
    links, ticket, source = make(bucket), new_ticket(), OpenedFile(write_original(tmp_path, b"bytes"))
    for _ in range(5):
        publication = await links.publish(ticket, source)
        assert await curl(publication.url) == (200, b"bytes")
        await links.withdraw(ticket)
    await removals_done(links)
    assert s3.versions(bucket) == []


async def test_a_sweep_removes_what_is_dead_and_nothing_else(make: Maker, s3: S3Server, bucket: str) -> None:
    """Dead by age whoever staged it; one's own of no live ticket; never what others use or own, over several pages."""
    links = make(bucket, owner="me")
    links.bucket.page_size = 2
    live, crashed, foreign = new_ticket(), new_ticket(), new_ticket()
    gone = [staged_key("staging/", owner, new_ticket(lifetime=-7200), "x.jpg") for owner in ("me", "other", "")]
    gone.append(staged_key("staging/", "me", crashed, "x.jpg"))
    kept = [
        staged_key("staging/", "me", live, "x.jpg"),
        staged_key("staging/", "other", foreign, "x.jpg"),
        "staging/photo.jpg",
        "watcher-1000000000/t/x.jpg",
    ]
    for key in (*gone, *kept):
        s3.boto.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert await links.sweep({live.token}) == 4
    assert sorted(s3.keys(bucket)) == sorted(kept)
    assert len(s3.versions(bucket)) == 4


async def test_a_sweep_without_live_tickets_goes_by_age_alone(make: Maker, s3: S3Server, bucket: str) -> None:
    """Who does not say which tickets are live gets nothing removed that might be in use."""
    fresh, dead = (staged_key("staging/", "me", new_ticket(lifetime), "x.jpg") for lifetime in (600.0, -7200.0))
    for key in (fresh, dead):
        s3.boto.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert await make(bucket, owner="me").sweep() == 1
    assert s3.keys(bucket) == [fresh]


async def test_the_start_sweeps_by_itself(make: Maker, s3: S3Server, bucket: str) -> None:
    """What an earlier run left and time has killed is gone soon after the start."""
    s3.boto.put_object(Bucket=bucket, Key=staged_key("staging/", "", new_ticket(-7200), "x.jpg"), Body=b"x")
    links = make(bucket, clock=MovedClock())
    await links.start()
    assert links.alive()
    await wait_until(lambda: s3.versions(bucket) == [])
    await links.stop()
    assert not links.alive()


async def test_a_large_original_is_streamed(make: Maker, s3: S3Server, tmp_path: Path) -> None:
    """Memory is bounded by a few read buffers, not by the size of the file."""
    path = write_original(tmp_path, b"")
    with path.open("wb") as file:
        for _ in range(40):
            file.write(os.urandom(1_000_000))
    source, links = OpenedFile(path), make(s3.new_bucket())
    tracemalloc.start()
    try:
        publication = await links.publish(new_ticket(), source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000
    status, body = await curl(publication.url)
    assert (status, body) == (200, path.read_bytes())


async def test_check_of_a_good_bucket(make: Maker, s3: S3Server, bucket: str) -> None:
    """Four things are tried for real, all work, and nothing is left behind."""
    lines = await make(bucket).check()
    assert [(line.ok, line.hint) for line in lines] == [(True, "")] * 4
    assert s3.versions(bucket) == []


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"key_id": "nobody"}, "key_id"),
        ({"application_key": "wrong"}, "application_key"),
        ({"bucket": "no-such-bucket"}, "bucket"),
        ({"endpoint": "http://127.0.0.1:9"}, "network"),
    ],
)
async def test_check_tells_what_is_wrong(make: Maker, s3: S3Server, wrong: dict[str, str], word: str) -> None:
    """A wrong key, secret, bucket or endpoint is one line that names it."""
    given = {"bucket": s3.new_bucket(), **wrong}
    (line,) = await make(given.pop("bucket"), **given).check()
    assert not line.ok
    assert word in line.hint
    assert "testing" not in repr(line)


async def test_a_wrong_key_makes_publishing_unavailable(make: Maker, s3: S3Server, tmp_path: Path) -> None:
    """The error says what the store said and what to do; no try is wasted on repeating it."""
    clock = HurriedClock()
    links = make(s3.new_bucket(), clock=clock, application_key="wrong")
    with pytest.raises(Unavailable, match="SignatureDoesNotMatch") as caught:
        await links.publish(new_ticket(), OpenedFile(write_original(tmp_path, b"x")))
    assert "application_key" in caught.value.hint
    assert clock.slept == []


async def test_deleting_what_is_not_there_is_fine(make: Maker, s3: S3Server, bucket: str) -> None:
    """A second deletion of a version, or of an object in a store without versions, is no failure."""
    links = make(bucket)
    stored = await links.bucket.put("staging/one", {"Content-Type": "text/plain"}, 1, _one_byte)
    for _ in range(2):
        await links.bucket.delete(Version("staging/one", stored.version))
    assert s3.versions(bucket) == []


async def _one_byte() -> AsyncIterator[bytes]:
    yield b"x"
