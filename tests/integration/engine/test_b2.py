"""The B2 connector under Backblaze's ways: what is retried, what is refused, and in which words."""

from __future__ import annotations

import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.b2_quirks import B2Quirks, Fault, b2_quirks
from tests.support.engine import Client, Sources, running_engine
from tests.support.pictures import jpeg
from tests.support.publishing import HurriedClock
from tests.support.s3 import REGION, S3Server, s3  # noqa: F401 - a fixture
from watcher.engine.b2 import B2Connector
from watcher.engine.connectors import StoreError
from watcher.s3.client import TRIES, S3Client


@pytest_asyncio.fixture(loop_scope="module")
async def b2(s3: S3Server) -> AsyncIterator[B2Quirks]:  # noqa: F811 - the fixture imported above
    async with b2_quirks(s3) as quirks:
        yield quirks


@pytest_asyncio.fixture(loop_scope="module")
async def engine(tmp_path: Path, b2: B2Quirks) -> AsyncIterator[Client]:
    connector = {
        "kind": "b2",
        "endpoint": b2.endpoint,
        "key_id": b2.store.key_id,
        "application_key": b2.store.application_key,
    }
    async with running_engine(tmp_path, {"connectors": {"b2": connector}}) as client:
        yield client


def order(url: str, bucket: str, **changes: Any) -> dict[str, Any]:
    store = {"id": "b2", "bucket": bucket, "region": REGION, "path": "assets/image.jpg", **changes}
    return {"url": url, "image": {"compression": "ultra"}, "store": store}


def connector_of(endpoint: str | None, key_id: str = "id", application_key: str = "key") -> tuple[B2Connector, HurriedClock]:
    """A connector that does not wait between its tries; its clock remembers for how long it would have."""
    clock = HurriedClock()
    return B2Connector(S3Client(clock, lambda: 1.0), key_id, application_key, endpoint), clock


async def put(quirks: B2Quirks, bucket: str, folder: Path, **changes: Any) -> list[float]:
    """Store a small file through a connector that does not wait between its tries; the pauses it would have made."""
    keys = {"key_id": quirks.store.key_id, "application_key": quirks.store.application_key, **changes}
    connector, clock = connector_of(quirks.endpoint, keys["key_id"], keys["application_key"])
    source = folder / "object"
    source.write_bytes(b"content")
    try:
        await connector.put(bucket, REGION, "a.jpg", source, headers={}, metadata={}, acl=changes.get("acl", "public-read"))
    finally:
        await connector.close()
    return clock.slept


async def test_the_object_is_what_the_answer_says(engine: Client, b2: B2Quirks, sources: Sources) -> None:
    """Bytes, headers and metadata in the bucket are those of the order, and the answer's url names the key with its folder."""
    bucket = b2.store.new_bucket()
    headers = {"cache-control": "max-age=9", "Content-Disposition": "inline"}
    body = order(sources.add("/a.jpg", jpeg()), bucket, headers=headers, metadata={"source-sha1": "aa", "rule": "r"})
    status, answer = await engine.fetch(body)
    assert status == 200, answer
    stored = b2.store.boto.get_object(Bucket=bucket, Key="assets/image.jpg")
    content = stored["Body"].read()
    assert (len(content), stored["ContentType"]) == (answer["output"]["size"], "image/jpeg")
    assert (stored["CacheControl"], stored["ContentDisposition"]) == ("max-age=9", "inline")
    assert stored["Metadata"] == {"source-sha1": "aa", "rule": "r"}
    assert answer["url"] == f"{b2.endpoint}/{bucket}/assets/image.jpg"
    assert answer["output"]["name"] == "image.jpg"


async def test_only_headers_that_b2_takes_are_sent(b2: B2Quirks, tmp_path: Path) -> None:
    """Of the x-amz headers only those of the signature and the ACL are sent, all of them signed."""
    await put(b2, b2.store.new_bucket(), tmp_path)
    sent = b2.requests[-1].headers
    names = {name for name in sent if name.startswith("x-amz-")}
    assert names == {"x-amz-acl", "x-amz-date", "x-amz-content-sha256"}
    signed = sent["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert names <= set(signed)


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.NO_TOMES, Fault.INTERNAL, Fault.TIMEOUT, Fault.RESET])
async def test_a_busy_store_is_asked_again_on_a_new_connection(b2: B2Quirks, tmp_path: Path, fault: Fault) -> None:
    """503, 500, 408 and a reset are B2's everyday life: the upload succeeds, each try on a connection of its own."""
    bucket = b2.store.new_bucket()
    b2.faults.extend([fault] * 3)
    pauses = await put(b2, bucket, tmp_path)
    assert b2.store.keys(bucket) == ["a.jpg"]
    assert len({request.connection for request in b2.requests}) == 4
    assert pauses == sorted(pauses)
    assert len(pauses) == 3


async def test_a_store_that_stays_busy_is_said_to_be_busy(b2: B2Quirks, tmp_path: Path) -> None:
    """After as many tries as are made, the failure is one that may be tried again later."""
    b2.faults.extend([Fault.NO_TOMES] * TRIES)
    with pytest.raises(StoreError) as failure:
        await put(b2, b2.store.new_bucket(), tmp_path)
    assert failure.value.retryable
    assert len(b2.requests) == TRIES


async def test_a_busy_store_is_a_503_with_retry_after(engine: Client, b2: B2Quirks, sources: Sources) -> None:
    """The caller is told to come again: nothing is wrong with the order."""
    b2.faults.extend([Fault.SLOW_DOWN] * TRIES)
    body = order(sources.add("/a.jpg", jpeg()), b2.store.new_bucket())
    async with engine.session.post(engine.url("/1.0/fetch"), json=body, headers=engine.headers) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "5")
        assert "busy" in (await response.json())["message"]


async def test_a_cap_is_not_retried(b2: B2Quirks, tmp_path: Path) -> None:
    """A reached cap stays reached: one request, and words that say so."""
    b2.faults.append(Fault.CAP)
    with pytest.raises(StoreError, match="cap") as failure:
        await put(b2, b2.store.new_bucket(), tmp_path)
    assert not failure.value.retryable
    assert len(b2.requests) == 1


async def test_an_acl_unlike_the_buckets_is_named(engine: Client, b2: B2Quirks, sources: Sources) -> None:
    """With the default ACL a private bucket refuses; the message names the ACL; with the bucket's own it is stored."""
    bucket = b2.store.new_bucket()
    b2.bucket_acl = "private"
    url = sources.add("/a.jpg", jpeg())
    status, message = await engine.refused(order(url, bucket))
    assert (status, "store.acl" in message, "public-read" in message) == (422, True, True)
    status, _ = await engine.fetch(order(url, bucket, acl="private"))
    assert (status, b2.store.keys(bucket)) == (200, ["assets/image.jpg"])


async def test_a_key_without_the_capability_to_write_is_named(engine: Client, b2: B2Quirks, sources: Sources) -> None:
    """A 422 that says which capability is missing."""
    b2.capabilities.discard("writeFiles")
    status, message = await engine.refused(order(sources.add("/a.jpg", jpeg()), b2.store.new_bucket()))
    assert (status, "writeFiles" in message) == (422, True)


async def test_a_wrong_region_is_named_although_b2_blames_the_key(engine: Client, b2: B2Quirks, sources: Sources) -> None:
    """B2 calls the key invalid; the engine says what it most likely is, and repeats no key id."""
    b2.region = "us-east-005"
    status, message = await engine.refused(order(sources.add("/a.jpg", jpeg()), b2.store.new_bucket()))
    assert (status, "region" in message) == (422, True)
    assert b2.store.key_id not in message


async def test_an_unknown_bucket_is_named(engine: Client, sources: Sources) -> None:
    """A 422 that says there is no such bucket."""
    status, message = await engine.refused(order(sources.add("/a.jpg", jpeg()), "no-such-bucket"))
    assert (status, "no such bucket" in message) == (422, True)


async def test_a_wrong_application_key_is_named(b2: B2Quirks, tmp_path: Path) -> None:
    """A secret that does not fit is told apart from a key that is unknown; it is never repeated."""
    with pytest.raises(StoreError, match="application_key") as failure:
        await put(b2, b2.store.new_bucket(), tmp_path, application_key="wrong-secret")
    assert "wrong-secret" not in str(failure.value)


async def test_a_store_that_is_not_there_can_be_tried_again(tmp_path: Path) -> None:
    """A refused connection is no fault of the order."""
    connector, _ = connector_of("http://127.0.0.1:1")
    with pytest.raises(StoreError, match="cannot be reached") as failure:
        await connector.head("bucket", REGION, "a.jpg")
    await connector.close()
    assert failure.value.retryable


async def test_without_an_endpoint_the_address_is_backblazes(engine: Client) -> None:
    """The URL of an object is B2's virtual-host form, its key percent-encoded once, folders kept."""
    connector, _ = connector_of(None)
    assert connector.address("my-bucket", "eu-central-003", "assets/Zürich 50%+.jpg") == (
        "https://my-bucket.s3.eu-central-003.backblazeb2.com/assets/Z%C3%BCrich%2050%25%2B.jpg"
    )
    assert not connector.any_region


async def test_the_address_of_a_public_object_can_be_fetched(b2: B2Quirks, tmp_path: Path) -> None:
    """What the answer's url says is, signed, exactly the object's address: escaping included."""
    bucket = b2.store.new_bucket()
    connector, _ = connector_of(b2.store.endpoint, b2.store.key_id, b2.store.application_key)
    source = tmp_path / "object"
    source.write_bytes(b"awkward")
    stored = await connector.put(bucket, REGION, "a b/ü+&=#?.jpg", source, headers={}, metadata={}, acl="public-read")
    await connector.close()
    link = b2.store.boto.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b/ü+&=#?.jpg"})
    assert link.partition("?")[0] == stored.url
    with urllib.request.urlopen(link) as response:
        assert response.read() == b"awkward"
