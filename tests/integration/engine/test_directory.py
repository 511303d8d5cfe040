"""The directory connector: whole or not at all, never outside its root, and no facts of another object."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import REGION, running_engine, wait_until
from watcher.engine.connectors import StoreError
from watcher.engine.directory import DirectoryConnector

NOW = 1_800_000_000.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


async def put(root: Path, key: str, content: bytes = b"content", **changes: Any) -> str:
    source = root.parent / f"source-{hashlib.sha1(content).hexdigest()}"
    source.write_bytes(content)
    options: dict[str, Any] = {"headers": {}, "metadata": {"source-sha1": "1"}, "acl": "public-read", **changes}
    return (await DirectoryConnector(root).put("my-bucket", REGION, key, source, **options)).url


async def metadata(root: Path, key: str) -> dict[str, str] | None:
    facts = await DirectoryConnector(root).head("my-bucket", REGION, key)
    return None if facts is None else dict(facts.metadata)


async def test_the_url_names_the_file(root: Path) -> None:
    """The answer's url is the file's own address, percent-encoded."""
    assert await put(root, "a b/ü#?.jpg") == f"file://{root}/my-bucket/a%20b/%C3%BC%23%3F.jpg"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
@pytest.mark.parametrize(("mode", "entered"), [(0o644, 0o755), (0o640, 0o750), (0o600, 0o700), (0o664, 0o775)], ids=oct)
async def test_objects_have_their_rights_under_any_umask(root: Path, umask: int, mode: int, entered: int) -> None:
    """So that a web server may read them; folders that were there before keep theirs."""
    (root / "my-bucket").mkdir(parents=True)
    (root / "my-bucket").chmod(0o711)
    source = root.parent / "source"
    source.write_bytes(b"content")
    before = os.umask(umask)
    try:
        await DirectoryConnector(root, mode).put("my-bucket", REGION, "a/b/c.jpg", source, headers={}, metadata={}, acl="private")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((root / "my-bucket" / name).stat().st_mode) for name in ("", "a", "a/b", "a/b/c.jpg")]
    assert modes == [0o711, entered, entered, mode]


@pytest.mark.parametrize("key", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "a//b", ".", "", "folder/"])
async def test_keys_that_lead_elsewhere_are_refused(root: Path, key: str) -> None:
    """No key leaves the bucket's folder, and nothing is written for one that tries."""
    with pytest.raises(StoreError) as failure:
        await put(root, key)
    assert not failure.value.retryable
    assert not root.exists()


@pytest.mark.parametrize("place", ["my-bucket", "my-bucket/folder"])
async def test_no_symbolic_link_is_followed(root: Path, tmp_path: Path, place: str) -> None:
    """A link that was planted in the tree does not lead a write, or a question, out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link = root / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises(StoreError):
        await put(root, "folder/a.jpg")
    assert list(outside.rglob("*")) == []


async def test_a_link_at_the_objects_own_place_is_replaced(root: Path, tmp_path: Path) -> None:
    """The new object takes the link's place; what the link named stays as it was, and is never shown as the object."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (root / "my-bucket").mkdir(parents=True)
    (root / "my-bucket" / "a.jpg").symlink_to(secret)
    with pytest.raises(StoreError):
        await DirectoryConnector(root).head("my-bucket", REGION, "a.jpg")
    await put(root, "a.jpg")
    assert (secret.read_bytes(), (root / "my-bucket" / "a.jpg").is_symlink()) == (b"secret", False)


async def test_a_key_below_another_objects_key_is_refused(root: Path) -> None:
    """A folder cannot be a file as well: the cause is said, in both directions."""
    await put(root, "a")
    with pytest.raises(StoreError, match="key of another object"):
        await put(root, "a/b")
    await put(root, "c/d")
    with pytest.raises(StoreError, match="key of another object"):
        await put(root, "c")
    assert await metadata(root, "a/b") is None


async def test_facts_of_another_content_are_not_taken(root: Path) -> None:
    """After a crash between the object and its facts, or an edit by hand, the old facts do not speak for the new bytes."""
    await put(root, "a.jpg", metadata={"source-sha1": "old"})
    assert await metadata(root, "a.jpg") == {"source-sha1": "old"}
    (root / "my-bucket" / "a.jpg").write_bytes(b"written by somebody else")
    assert await metadata(root, "a.jpg") == {}


async def test_torn_facts_are_no_facts(root: Path) -> None:
    """A facts file that is cut is as good as none."""
    await put(root, "a.jpg")
    (facts,) = (root / ".metadata").rglob("*.json")
    assert json.loads(facts.read_bytes())["key"] == "a.jpg"
    facts.write_bytes(facts.read_bytes()[:20])
    assert await metadata(root, "a.jpg") == {}


async def test_a_failed_write_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails, the old object stays whole, no part of the new one lies about, and the call may be tried again."""
    await put(root, "a.jpg", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left") as failure:
            await put(root, "a.jpg", b"new")
    assert failure.value.retryable
    assert (root / "my-bucket" / "a.jpg").read_bytes() == b"old"
    assert list((root / ".incoming").iterdir()) == []


async def test_many_writers_of_one_key_leave_one_whole_object(root: Path) -> None:
    """Whoever comes last wins; the file is always one of the contents, and the facts never another's."""
    contents = [bytes([number]) * 50_000 for number in range(8)]
    await asyncio.gather(*(put(root, "a.jpg", each, metadata={"source-sha1": each[:1].hex()}) for each in contents))
    stored = (root / "my-bucket" / "a.jpg").read_bytes()
    assert stored in contents
    assert await metadata(root, "a.jpg") in ({"source-sha1": stored[:1].hex()}, {})


def part(root: Path, name: str, age: float) -> Path:
    """A file in `.incoming` to which nobody has written for `age` seconds."""
    path = root / ".incoming" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (NOW - age, NOW - age))
    return path


async def test_what_a_crash_left_is_swept_and_nothing_else(root: Path, tmp_path: Path) -> None:
    """Old parts go; those that somebody may be writing, other names and what links lead to stay."""
    kept = [part(root, "0" * 32, 3500.0), part(root, "notes.txt", 1e6), part(root, "A" * 32, 1e6)]
    target = tmp_path / "target"
    target.write_bytes(b"not ours")
    (root / ".incoming" / ("c" * 32)).symlink_to(target)
    left = [part(root, "a" * 32, 3700.0), part(root, "b" * 32, 1e6)]
    await put(root, "a.jpg")
    await DirectoryConnector(root).sweep(NOW)

    assert [path.exists() for path in left] == [False, False]
    assert {path.name for path in (root / ".incoming").iterdir()} == {*(path.name for path in kept), "c" * 32}
    assert (target.exists(), (root / "my-bucket" / "a.jpg").exists()) == (True, True)


async def test_sweeping_a_folder_that_is_away_raises_nothing(root: Path) -> None:
    """It is made by the first object, and may be unmounted."""
    await DirectoryConnector(root).sweep(NOW)
    assert not root.exists()


async def test_an_engine_sweeps_when_it_starts(tmp_path: Path) -> None:
    """Old parts that an engine finds at its start are gone a moment later."""
    left = part(tmp_path / "buckets", "a" * 32, 1e6)
    async with running_engine(tmp_path, clock=lambda: NOW):
        await wait_until(gone(left))


def gone(path: Path) -> Callable[[], Awaitable[bool]]:
    """Whether a file is gone, to be asked again and again."""

    async def ask() -> bool:
        return not path.exists()

    return ask
