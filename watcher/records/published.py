"""What lies in the store, for links and manifests. Functions of a connection.

Of each file the newest object of each output counts. A file whose original was to stay belongs to its folder while it is there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from watcher.model import PublishedObject
from watcher.records.rows import split_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from watcher.model import Record
    from watcher.records.dialect import Connection

Place = tuple[str, bytes]
"""A folder's name, and the path of a file inside it."""

FILES_AT_ONCE: Final = 20
_OBJECT: Final = "SELECT folder, relative, rendition, bucket, key, published FROM objects"
_COUNTS: Final = "folder = ? AND newest = 1 AND published IS NOT NULL"
_OF_FOLDER: Final = (
    f"SELECT folder, relative, rendition, bucket, key, published, kept FROM objects WHERE {_COUNTS} AND relative > ?"  # noqa: S608 - constants
)
_LAST_OF_PAGE: Final = f"SELECT relative FROM objects WHERE {_COUNTS} AND relative > ? ORDER BY relative LIMIT 1 OFFSET ?"  # noqa: S608 - constants


def of_file(connection: Connection, folder: str, relative: bytes) -> list[PublishedObject]:
    """What lies in the store of a file, whether that is still in its folder or not."""
    query = f"{_OBJECT} WHERE {_COUNTS} AND relative = ?"
    return [_object(row) for row in connection.execute(query, (folder, relative))]


def page(connection: Connection, folder: str, after: bytes | None, limit: int) -> tuple[list[PublishedObject], bytes | None]:
    """What lies in the store of the files that belong to a folder, by their paths: the next `limit` objects, no file cut in two.

    `after` is where the page before ended (None: the first). Gives where this one ends; None where nothing follows.
    """
    last = connection.execute(_LAST_OF_PAGE, (folder, after or b"", limit - 1)).fetchone()
    bound: tuple[Any, ...] = () if last is None else (last[0],)
    query = f"{_OF_FOLDER}{' AND relative <= ?' if bound else ''} ORDER BY relative"
    rows = connection.execute(query, (folder, after or b"", *bound)).fetchall()
    return [_object(row[:-1]) for row in _present(connection, rows)], None if last is None else bytes(last[0])


def _present(connection: Connection, rows: Sequence[Any]) -> Iterator[Any]:
    """Those whose originals were not to stay, and those whose originals are there."""
    query = "SELECT 1 FROM files WHERE folder = ? AND directory = ? AND name = ?"
    for row in rows:
        if not row[-1] or connection.execute(query, (row[0], *split_path(row[1]))).fetchone() is not None:
            yield row


def _object(row: Any) -> PublishedObject:
    folder, relative, rendition, bucket, key, published = row
    return PublishedObject(folder, bytes(relative), rendition, bucket, key, json.loads(published))


# --- whose is it? -----------------------------------------------------------------------------------------------------------


def owners_of_key(connection: Connection, key: str, buckets: Collection[str]) -> list[Place]:
    """The files whose outputs lie at the key in these buckets; else those that were to be stored there, newest first."""
    query = "SELECT folder, relative FROM objects WHERE bucket = ? AND key = ?"
    found = [row for bucket in buckets if (row := connection.execute(query, (bucket, key)).fetchone()) is not None]
    if not found:
        asked = """SELECT images.folder, images.relative FROM outputs JOIN images ON images.number = outputs.image
                   WHERE outputs.key = ? ORDER BY images.number DESC LIMIT ?"""
        found = connection.execute(asked, (key, FILES_AT_ONCE)).fetchall()
    return list(dict.fromkeys((folder, bytes(relative)) for folder, relative in found))


def owners_of_url(connection: Connection, url: str, buckets: Collection[str]) -> list[Place]:
    """The file whose output lies at an address: as the API returned it, as `link` has it, or any address that ends in the key."""
    places = [(bucket, key) for key in possible_keys(url) for bucket in buckets]
    likely: list[Place] = []
    for bucket, key in places:
        row = connection.execute(f"{_OBJECT} WHERE bucket = ? AND key = ?", (bucket, key)).fetchone()
        if row is None:
            continue
        place = (str(row[0]), bytes(row[1]))
        if row[5] is not None and is_address_of(url, json.loads(row[5])):
            return [place]
        likely.append(place)
    return likely[:1] or _owners_by_text(connection, url)


def owners_of_failures(connection: Connection, what: str) -> list[Place]:
    """The files of which an output failed that was to lie at this key, or at the key that this address ends in."""
    query = """SELECT images.folder, images.relative FROM outputs JOIN images ON images.number = outputs.image
               WHERE outputs.state = 'failed' AND outputs.key = ? ORDER BY images.number DESC LIMIT ?"""
    keys = possible_keys(what) if is_url(what) else [what]
    rows = (row for key in keys for row in connection.execute(query, (key, FILES_AT_ONCE)))
    return list(dict.fromkeys((folder, bytes(relative)) for folder, relative in rows))


def _owners_by_text(connection: Connection, url: str) -> list[Place]:
    """For addresses that do not end in the key. Reads all that is known."""
    parts = _split(url)
    encoded = url if parts is None else urlunsplit(parts._replace(path=quote(unquote(parts.path), safe="/-._~")))
    found: dict[Place, None] = {}
    for form in dict.fromkeys((url, encoded)):
        text = json.dumps(form, ensure_ascii=False).replace("!", "!!").replace("%", "!%").replace("_", "!_")
        rows = connection.execute(
            f"{_OBJECT} WHERE CAST(published AS TEXT) LIKE ? ESCAPE '!' LIMIT ?", (f"%{text}%", FILES_AT_ONCE)
        )
        found |= dict.fromkeys((row[0], bytes(row[1])) for row in rows if is_address_of(url, json.loads(row[5])))
    return list(found)


def is_url(what: str) -> bool:
    """Whether it is an address, not a key."""
    return what.startswith(("http://", "https://", "file:///"))


def possible_keys(url: str) -> list[str]:
    """The keys that an address may lead to: its path, and what follows each of its slashes, longest first."""
    parts = _split(url)
    path = unquote(parts.path).lstrip("/") if parts is not None else ""
    starts = [0, *(place + 1 for place, letter in enumerate(path) if letter == "/")]
    return [path[start:] for start in starts if path[start:]]


def is_address_of(url: str, facts: Record) -> bool:
    """Whether what was published is known by this address, percent-encoded or not."""
    told = [facts.get(name) for name in ("url", "link")]
    return any(isinstance(each, str) and _same_address(url, each) for each in told)


def _same_address(one: str, other: str) -> bool:
    if one == other:
        return True
    first, second = _split(one), _split(other)
    if first is None or second is None:
        return False
    hosts = (first.netloc.lower(), second.netloc.lower())
    return hosts[0] == hosts[1] and unquote(first.path) == unquote(second.path) and first.query == second.query


def _split(url: str) -> SplitResult | None:
    """Its parts; None where it is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return None
