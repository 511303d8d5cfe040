"""How far each receiver of notifications has come, and the lines it has yet to get. Functions of a connection, and their port."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Final

from watcher.model import AuditLine
from watcher.records.chain import compose, line_hash, linked

if TYPE_CHECKING:
    from collections.abc import Collection

    from watcher.records.dialect import Connection
    from watcher.records.thread_jobs import Connected

PREFIX: Final = "notify."
_AUDITED: Final = "(SELECT coalesce(max(seq), 0) FROM cursors WHERE name = 'audit' /*! AND host = here() */)"
_LINES: Final = f"""
SELECT seq, image_id, rendition, at, event, record, prev FROM endings
WHERE seq > ? AND seq <= {_AUDITED} /*! AND host = here() */ ORDER BY seq LIMIT ?
"""  # noqa: S608 - a constant


class JournalFollowers:
    """The Followers of `watcher.ports`, beside a journal that makes its changes and asks its questions."""

    def __init__(self, change: Connected, ask: Connected) -> None:
        self._change = change
        self._ask = ask

    async def begin(self, name: str) -> int:
        """See `Followers.begin`."""
        return await self._change(partial(begin, name=name))

    async def advance(self, name: str, seq: int, before: int) -> bool:
        """See `Followers.advance`."""
        return await self._change(partial(advance, name=name, seq=seq, before=before))

    async def keep_only(self, names: Collection[str]) -> None:
        """See `Followers.keep_only`."""
        await self._change(partial(keep_only, names=frozenset(names)))

    async def lines_after(self, seq: int, limit: int) -> list[AuditLine]:
        """See `Followers.lines_after`."""
        return await self._ask(partial(lines_after, seq=seq, limit=limit))


def begin(connection: Connection, name: str) -> int:
    """Where the receiver stands; a new one stands behind the last line of the audit file."""
    connection.execute(
        f"INSERT INTO cursors (name, seq) VALUES (?, {_AUDITED}) ON CONFLICT (name /*!, host */) DO NOTHING",  # noqa: S608 - a constant
        (PREFIX + name,),
    )
    return stands_at(connection, name) or 0


def stands_at(connection: Connection, name: str) -> int | None:
    """The number of the last line that the receiver has dealt with; None where it is not known."""
    row = connection.execute("SELECT seq FROM cursors WHERE name = ? /*! AND host = here() */", (PREFIX + name,)).fetchone()
    return int(row[0]) if row else None


def advance(connection: Connection, name: str, seq: int, before: int) -> bool:
    """From `before` on to `seq`; False where it does not stand at `before` any more."""
    statement = "UPDATE cursors SET seq = ? WHERE name = ? AND seq = ? /*! AND host = here() */"
    return connection.execute(statement, (seq, PREFIX + name, before)).rowcount == 1


def keep_only(connection: Connection, names: Collection[str]) -> None:
    """Forget every receiver but these."""
    rows = connection.execute("SELECT name FROM cursors WHERE name LIKE 'notify.%' /*! AND host = here() */").fetchall()
    gone = [(name,) for (name,) in rows if name.removeprefix(PREFIX) not in names]
    connection.executemany("DELETE FROM cursors WHERE name = ? /*! AND host = here() */", gone)


def lines_after(connection: Connection, seq: int, limit: int) -> list[AuditLine]:
    """The lines of the audit file behind `seq`, in order, as far as the journal still has them."""
    lines, before = [], _line_before(connection, seq)
    for number, image_id, rendition, at, event, text, prev in connection.execute(_LINES, (seq, limit)):
        record = json.loads(text)
        # a crash between the file and the note of it: the line follows the one before it
        known = prev if prev is not None else before
        before = line_hash(compose(record, number, known))
        whole = linked(record, number, known)
        lines.append(AuditLine(number, image_id, rendition, at, event, str(record.get("folder")), whole))
    return lines


def _line_before(connection: Connection, seq: int) -> str | None:
    """The hash of the line with this number; None where the journal cannot tell."""
    row = connection.execute("SELECT record, prev FROM endings WHERE seq = ? /*! AND host = here() */", (seq,)).fetchone()
    if row is None or (row[1] is None and seq > 1):
        return None
    return line_hash(compose(json.loads(row[0]), seq, row[1]))


def behind(connection: Connection, name: str, events: Collection[str], folders: Collection[str]) -> int:
    """How many lines the receiver has yet to get; `folders` empty means all."""
    words = ", ".join("?" for _ in events)
    places = ", ".join("?" for _ in folders)
    inside = f" AND record ->> 'folder' IN ({places})" if folders else ""
    query = f"SELECT count(*) FROM endings WHERE /*! host = here() AND */ seq > ? AND event IN ({words}){inside}"  # noqa: S608 - placeholders only
    seq = stands_at(connection, name)
    return 0 if seq is None else int(connection.execute(query, (seq, *events, *folders)).fetchone()[0])
