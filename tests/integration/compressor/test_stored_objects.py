"""HEAD on real stores: the stand-in's bucket, and an S3-compatible one that checks signatures."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from tests.support.s3 import S3Server, s3  # noqa: F401 - a fixture
from tests.support.standin import Fault, Standin, StoredItem
from watcher.compressor.answer_check import is_done
from watcher.compressor.stored import HttpObjectStore
from watcher.config.schema import VerifySettings
from watcher.model import Absence, HeadAnswer, StoredObject

KEYS = ["cat.jpg", "products/a b/c+d&e=f.jpg", "Größe/猫 №1.jpg", "100%25?#.jpg", "it's (1) [2] {3} ~!@$,;:*.jpg"]
SHA1 = "a" * 40
ASKED = StoredObject("b", "k", "f", b"r", SHA1, "r1")


async def head(store: HttpObjectStore, bucket: str, key: str) -> HeadAnswer:
    """The answer for an object of these tests' region."""
    return await store.head(bucket, "us-west-004", key, connector="any")


@pytest.fixture
async def standin() -> AsyncIterator[Standin]:
    async with Standin() as server:
        yield server


@pytest.fixture
async def store(standin: Standin) -> AsyncIterator[HttpObjectStore]:
    made = HttpObjectStore(VerifySettings(url=standin.verify_url), timeout=20)
    yield made
    await made.aclose()


@pytest.mark.parametrize("key", KEYS)
async def test_an_object_is_found_with_size_and_metadata(standin: Standin, store: HttpObjectStore, key: str) -> None:
    """Whatever letters its key has, it is this one and no other."""
    standin.objects["bu", key] = StoredItem(b"12345", {}, {"source-sha1": SHA1, "Rule": "r1"})
    answer = await head(store, "bu", key)
    assert (answer.absence, answer.size) == (None, 5)
    assert is_done(answer, ASKED)
    assert (await head(store, "bu", key + "x")).absence is Absence.ABSENT
    assert (await head(store, "other", key)).absence is Absence.ABSENT


@pytest.mark.parametrize(
    ("fault", "absence"),
    [
        (Fault("status", status=401), Absence.FORBIDDEN),
        (Fault("status", status=403), Absence.FORBIDDEN),
        (Fault("status", status=301), Absence.FORBIDDEN),
        (Fault("status", status=500), Absence.UNREACHABLE),
        (Fault("status", status=503), Absence.UNREACHABLE),
        (Fault("reset"), Absence.UNREACHABLE),
    ],
    ids=lambda value: f"{value.name}-{value.status}" if isinstance(value, Fault) else None,
)
async def test_a_store_that_does_not_answer_is_no_absence(
    standin: Standin, store: HttpObjectStore, fault: Fault, absence: Absence
) -> None:
    """Only a clear no allows to send again without a doubt; the next question is as good as ever."""
    standin.objects["bu", "cat.jpg"] = StoredItem(b"12345", {}, {})
    fault.on = ("bucket",)
    standin.faults = [fault]
    answer = await head(store, "bu", "cat.jpg")
    assert answer.absence is absence
    assert answer.message
    standin.faults = []
    assert (await head(store, "bu", "cat.jpg")).absence is None


async def test_a_store_that_never_answers_is_given_up(standin: Standin) -> None:
    """After the timeout, as unreachable."""
    standin.faults = [Fault("never", on=("bucket",))]
    store = HttpObjectStore(VerifySettings(url=standin.verify_url), timeout=0.3)
    assert (await head(store, "bu", "cat.jpg")).absence is Absence.UNREACHABLE
    await store.aclose()


async def test_a_store_that_is_not_there_is_unreachable() -> None:
    """Refused; the message says where and why."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        store = HttpObjectStore(VerifySettings(url=f"http://127.0.0.1:{port}/{{key}}"))
        answer = await head(store, "bu", "cat.jpg")
        await store.aclose()
    assert answer.absence is Absence.UNREACHABLE
    assert f"127.0.0.1:{port}" in answer.message
    assert "refused" in answer.message


async def test_no_more_questions_are_asked_at_once_than_allowed(standin: Standin) -> None:
    """The others wait for their turn, which is not counted against them."""
    standin.faults = [Fault("delay", on=("bucket",), seconds=0.05)]
    store = HttpObjectStore(VerifySettings(url=standin.verify_url), concurrency=2, timeout=20)
    began = time.monotonic()
    answers = await asyncio.gather(*(head(store, "bu", "cat.jpg") for _ in range(10)))
    await store.aclose()
    assert {answer.absence for answer in answers} == {Absence.ABSENT}
    assert time.monotonic() - began >= 5 * 0.05


# --- a private bucket -----------------------------------------------------------------------------------------------------


def private(server: S3Server, **keys: str) -> HttpObjectStore:
    """A store that signs, path style, with the server's key unless others are given."""
    key_id, application_key = keys.get("key_id", server.key_id), keys.get("application_key", server.application_key)
    url = f"{server.endpoint}/{{bucket}}/{{key}}"
    return HttpObjectStore(VerifySettings(url=url, key_id=SecretStr(key_id), application_key=SecretStr(application_key)))


async def test_a_signed_head_opens_a_private_bucket(s3: S3Server) -> None:  # noqa: F811 - the fixture
    """Every odd key, with metadata, on a store that is strict about signatures."""
    bucket = s3.new_bucket()
    store = private(s3)
    for key in KEYS:
        s3.boto.put_object(Bucket=bucket, Key=key, Body=b"12345", Metadata={"source-sha1": SHA1, "rule": "r1"})
        answer = await head(store, bucket, key)
        assert (answer.absence, answer.size, is_done(answer, ASKED)) == (None, 5, True), key
    assert (await head(store, bucket, "not-there.jpg")).absence is Absence.ABSENT
    await store.aclose()


async def test_a_wrong_key_is_forbidden(s3: S3Server) -> None:  # noqa: F811 - the fixture
    """The store refuses the signature; nothing is learnt."""
    bucket = s3.new_bucket()
    s3.boto.put_object(Bucket=bucket, Key="cat.jpg", Body=b"12345")
    store = private(s3, application_key="not-the-secret")
    assert (await head(store, bucket, "cat.jpg")).absence is Absence.FORBIDDEN
    await store.aclose()


async def test_a_private_bucket_without_a_key_is_forbidden(s3: S3Server) -> None:  # noqa: F811 - the fixture
    """Not absent: sending again for that reason would be wrong."""
    bucket = s3.new_bucket()
    s3.boto.put_object(Bucket=bucket, Key="cat.jpg", Body=b"12345")
    store = HttpObjectStore(VerifySettings(url=f"{s3.endpoint}/{{bucket}}/{{key}}"))
    assert (await head(store, bucket, "cat.jpg")).absence is Absence.FORBIDDEN
    await store.aclose()
