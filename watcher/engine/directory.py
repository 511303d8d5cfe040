"""The directory connector: a folder that plays the bucket."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import quote

from watcher.engine.connectors import StoredAt, StoredFacts, StoreError
from watcher.engine.orders import key_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_INCOMING: Final = ".incoming"
_METADATA: Final = ".metadata"
_PART: Final = re.compile(r"[0-9a-f]{32}")
"""The names of files in `.incoming`: objects that are being written."""
_LEFT_BEHIND_SECONDS: Final = 3600.0
"""A part to which nobody has written for so long was left by a crash. Engines on other machines, with clocks of their own, may
be at work in the same directory; one whose part is taken away all the same fails that call and may repeat it."""
DEFAULT_MODE: Final = 0o644
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryConnector:
    """A folder that plays the bucket: the object lies at `<root>/<bucket>/<key>`.

    Metadata and headers lie beside the buckets, in `<root>/.metadata`, tied to the object by its SHA-1: what a crash or another
    program leaves behind there is never taken for the facts of a different object. No symbolic link below the root is followed.
    """

    any_region: Final = False

    def __init__(self, root: Path, file_mode: int = DEFAULT_MODE) -> None:
        """`file_mode`: the rights of objects, whatever the umask; folders may be entered by whom it lets read."""
        self._root = root
        self._file_mode = file_mode
        self._directory_mode = file_mode | 0o100 | (file_mode & 0o044) >> 2

    async def put(
        self,
        bucket: str,
        region: str,
        key: str,
        content: Path,
        *,
        headers: Mapping[str, str],
        metadata: Mapping[str, str],
        acl: str,
    ) -> StoredAt:
        """See Connector. The bucket is made if it is missing."""
        _check(bucket, key)
        facts = {"bucket": bucket, "key": key, "acl": acl, "headers": dict(headers), "metadata": dict(metadata)}
        with _as_store_error("stored"):
            await asyncio.to_thread(self._put, bucket, key, content, facts)
        return StoredAt(self.address(bucket, region, key))

    def address(self, bucket: str, region: str, key: str) -> str:  # noqa: ARG002 - a folder has no region
        """See Connector."""
        return "file://" + quote(str(self._root / bucket / key))

    async def head(self, bucket: str, region: str, key: str) -> StoredFacts | None:  # noqa: ARG002 - as above
        """See Connector."""
        _check(bucket, key)
        with _as_store_error("read"):
            return await asyncio.to_thread(self._head, bucket, key)

    async def sweep(self, now: float) -> None:
        """See Connector. What cannot be swept now (the folder is away, or somebody else swept it) is looked at again."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._sweep, now - _LEFT_BEHIND_SECONDS)

    async def close(self) -> None:
        """Nothing is held."""

    def _put(self, bucket: str, key: str, content: Path, facts: dict[str, Any]) -> None:
        self._make_root()
        place = (bucket, *key.split("/"))
        with content.open("rb") as source:
            facts["sha1"] = hashlib.file_digest(source, _sha1).hexdigest()
            source.seek(0)
            with self._written(place) as file:
                shutil.copyfileobj(source, file, 1 << 20)
        with self._written(_facts_place(bucket, key)) as file:
            file.write(json.dumps(facts).encode())

    def _make_root(self) -> None:
        if not self._root.is_dir():
            self._root.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # file systems without modes
                self._root.chmod(self._directory_mode)

    @contextlib.contextmanager
    def _written(self, place: Sequence[str]) -> Iterator[BinaryIO]:
        """A new file, which takes its place below the root when it is whole and durable, or vanishes."""
        temporary = secrets.token_hex(16)
        made = self._directory_mode
        with _directory(self._root, (_INCOMING,), make=made) as incoming, _directory(self._root, place[:-1], make=made) as target:
            try:
                with open(temporary, "xb", opener=_opener(incoming)) as file:
                    yield file
                    file.flush()
                    with contextlib.suppress(OSError):  # file systems without modes
                        os.fchmod(file.fileno(), self._file_mode)
                    os.fsync(file.fileno())
                os.rename(temporary, place[-1], src_dir_fd=incoming, dst_dir_fd=target)
            except BaseException:  # whatever the caller's writing raised: half an object must not stay
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=incoming)
                raise
            os.fsync(target)

    def _sweep(self, before: float) -> None:
        with _directory(self._root, (_INCOMING,)) as incoming:
            for name in filter(_PART.fullmatch, os.listdir(incoming)):  # noqa: PTH208 - of a descriptor
                facts = os.stat(name, dir_fd=incoming, follow_symlinks=False)
                if stat.S_ISREG(facts.st_mode) and facts.st_mtime < before:
                    os.unlink(name, dir_fd=incoming)

    def _head(self, bucket: str, key: str) -> StoredFacts | None:
        *folders, name = (bucket, *key.split("/"))
        try:
            with _directory(self._root, folders) as folder, open(name, "rb", opener=_opener(folder)) as file:
                sha1 = hashlib.file_digest(file, _sha1).hexdigest()
                size = os.fstat(file.fileno()).st_size
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        facts = self._facts(bucket, key)
        if facts.get("sha1") != sha1:
            return StoredFacts(size, {}, None)
        metadata = {name.lower(): value for name, value in facts["metadata"].items()}
        return StoredFacts(size, metadata, facts["headers"].get("Content-Type"))

    def _facts(self, bucket: str, key: str) -> dict[str, Any]:
        try:
            facts: dict[str, Any] = json.loads(self._root.joinpath(*_facts_place(bucket, key)).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return facts


def _facts_place(bucket: str, key: str) -> tuple[str, ...]:
    name = hashlib.sha256(key.encode()).hexdigest()
    return (_METADATA, bucket, name[:2], f"{name}.json")


def _check(bucket: str, key: str) -> None:
    problem = key_problem(key) or ("is empty" if not key or key.endswith("/") else None)
    if problem:
        raise StoreError(f"the object key {problem}")
    if bucket.startswith(".") or "/" in bucket or not bucket:
        raise StoreError("the bucket's name cannot be a folder's")


@contextlib.contextmanager
def _directory(root: Path, folders: Sequence[str], *, make: int | None = None) -> Iterator[int]:
    """A descriptor of a folder below `root`; its ancestors are entered one by one, never through a symbolic link.

    Those that are missing are made with the mode `make`, if there is one.
    """
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in folders:
            made = make is not None and _made(name, current)
            if made:
                os.fsync(current)
            entered = os.open(name, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = entered
            if made and make is not None:
                with contextlib.suppress(OSError):  # file systems without modes
                    os.fchmod(current, make)
        yield current
    finally:
        os.close(current)


def _made(name: str, parent: int) -> bool:
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        return False
    return True


def _opener(folder: int) -> Callable[[str, int], int]:
    return lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)


def _sha1() -> hashlib._Hash:
    return hashlib.sha1(usedforsecurity=False)


@contextlib.contextmanager
def _as_store_error(done: str) -> Iterator[None]:
    try:
        yield
    except (NotADirectoryError, IsADirectoryError):
        raise StoreError(f"the object cannot be {done}: a part of its key is the key of another object") from None
    except OSError as error:
        lasting = error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EROFS)
        raise StoreError(f"the object cannot be {done}: {error.strerror}", retryable=not lasting) from None
