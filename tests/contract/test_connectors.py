"""What every store must do, asked of each: a directory, a plain S3-compatible store, and one with Backblaze's ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.b2_quirks import b2_quirks
from tests.support.s3 import REGION, s3  # noqa: F401 - a fixture
from watcher.clock import SystemClock
from watcher.engine.b2 import B2Connector
from watcher.engine.connectors import Connector
from watcher.engine.directory import DirectoryConnector
from watcher.s3.client import S3Client

AWKWARD_KEYS = [
    "image.jpg",
    "assets/deep/er/image.jpg",
    "with space and+plus.jpg",
    "100%25 of 50%.jpg",
    "question?mark#hash&amp;=,;:@!$'()*.jpg",
    "Zürich/東京/été.jpg",
    '[brackets]{braces}~tilde^caret`tick|pipe<less>"quote.jpg',
    ".hidden/…dots...jpg",
    "a" * 250 + "/" + "b" * 246 + ".jpg",
]


@dataclass
class Place:
    """A store under test, a bucket in it, and an independent reading of what lies there."""

    connector: Connector
    bucket: str
    read: Callable[[str], bytes]


@pytest.fixture(params=["directory", "s3", "b2"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "directory":
        root = tmp_path / "root"
        yield Place(DirectoryConnector(root), "my-bucket", lambda key: (root / "my-bucket" / key).read_bytes())
        return
    store = request.getfixturevalue("s3")
    bucket, witness = store.new_bucket(), store.boto

    def read(key: str) -> bytes:
        content: bytes = witness.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    async with b2_quirks(store) as quirks:
        endpoint = store.endpoint if request.param == "s3" else quirks.endpoint
        connector = B2Connector(S3Client(SystemClock(), lambda: 0.5), store.key_id, store.application_key, endpoint)
        yield Place(connector, bucket, read)
        await connector.close()


async def put(place: Place, folder: Path, key: str, content: bytes = b"content", **changes: Any) -> str:
    source = folder / "output"
    source.write_bytes(content)
    options: dict[str, Any] = {"headers": {"Content-Type": "image/jpeg"}, "metadata": {}, "acl": "public-read", **changes}
    return (await place.connector.put(place.bucket, REGION, key, source, **options)).url


@pytest.mark.parametrize("key", AWKWARD_KEYS)
async def test_an_object_lies_at_exactly_its_key(place: Place, tmp_path: Path, key: str) -> None:
    """Whatever characters a key has, the bytes lie at that key, and the store finds them there again."""
    content = f"content of {key}".encode()
    await put(place, tmp_path, key, content)
    assert place.read(key) == content
    facts = await place.connector.head(place.bucket, REGION, key)
    assert facts is not None
    assert facts.size == len(content)


async def test_facts_are_kept_with_the_object(place: Place, tmp_path: Path) -> None:
    """Metadata (under lower-case names), size and content type can be asked for afterwards."""
    headers = {"Content-Type": "image/webp", "Cache-Control": "max-age=5", "Content-Disposition": 'inline; filename="a.webp"'}
    await put(place, tmp_path, "a.webp", b"12345", headers=headers, metadata={"source-sha1": "ab" * 20, "Rule": "products"})
    facts = await place.connector.head(place.bucket, REGION, "a.webp")
    assert facts is not None
    assert (facts.size, facts.content_type) == (5, "image/webp")
    assert {name: facts.metadata[name] for name in ("source-sha1", "rule")} == {"source-sha1": "ab" * 20, "rule": "products"}


async def test_what_is_not_there_is_none(place: Place) -> None:
    """Asking for an object that was never stored gives None, not an error."""
    assert await place.connector.head(place.bucket, REGION, "nothing/here.jpg") is None


async def test_a_second_object_of_a_key_replaces_the_first(place: Place, tmp_path: Path) -> None:
    """The newest content and its own facts are what is found."""
    await put(place, tmp_path, "a.jpg", b"first, and longer", metadata={"source-sha1": "1"})
    await put(place, tmp_path, "a.jpg", b"second", metadata={"source-sha1": "2"})
    facts = await place.connector.head(place.bucket, REGION, "a.jpg")
    assert place.read("a.jpg") == b"second"
    assert facts is not None
    assert (facts.size, facts.metadata["source-sha1"]) == (6, "2")
