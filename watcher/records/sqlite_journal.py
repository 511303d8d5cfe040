"""The journal: what is remembered of files, images and endings, in SQLite, durable before anybody goes on.

One thread makes changes and commits them in groups (threads.py, commit.py, changes.py); another answers questions on a connection
of its own (queries.py), so that they never wait for the disk. The file is opened, migrated or set aside by database.py, and
filled from the audit file by rebuild.py where it had to begin anew.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watcher.errors import Unavailable
from watcher.model import Event
from watcher.records import database, queries, taking, taking_many, upkeep
from watcher.records.journal import ThreadedJournal
from watcher.records.outage import Outage
from watcher.records.place import JournalPlace
from watcher.records.put_back import put_back
from watcher.records.rebuild import rebuild
from watcher.records.sqlite_engine import SqliteEngine
from watcher.records.threads import ReadThread, WriteThread
from watcher.records.viewing import Viewing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from watcher.model import Sighting, Taken
    from watcher.ports import Clock, EventLog
    from watcher.records.dialect import Connection

OLDER: Final = "the journal was older than the audit file, as a backup is: the endings that it lacked are put back"


class SqliteJournal(ThreadedJournal):
    """The Journal of `watcher.ports` on SQLite. Made by `open` (the daemon) or `attach` (commands beside a running daemon)."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        reading: sqlite3.Connection | None,
        *,
        events: EventLog,
        clock: Clock,
        keep: float,
        new_id: Callable[[], str],
    ) -> None:
        """`reading` None: questions share the writing connection (":memory:"). `keep` in seconds."""
        reader = ReadThread(reading) if reading is not None else None
        writer = WriteThread(SqliteEngine(connection), outage=Outage(events, clock), clock=clock)
        super().__init__(writer, reader, clock=clock, keep=keep, new_id=new_id)
        self.views: Viewing | None = None
        """For who looks; the daemon's journal has it where it is a file."""

    def _taking(self, sightings: Sequence[Sighting]) -> Callable[[Connection], Taken]:
        return taking.telling_new(taking_many.take, sightings, self._new_id)

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        events: EventLog,
        clock: Clock,
        keep: float,
        new_id: Callable[[], str],
        audit: Path | None = None,
        roots: Mapping[str, Path] | None = None,
    ) -> SqliteJournal:
        """Open the daemon's journal, or begin one (mode 0600); `path` may be ":memory:". `keep` in seconds.

        What was under way when the last process stopped is put in order. A damaged file is set aside and said; a journal that
        begins anew learns from the audit file what lies in the store, so that nothing is sent twice (`roots`: the folders'
        paths by name). Raises Unavailable where a newer version wrote the file or it cannot be opened.
        """
        schema = database.schema()
        opened = database.open_own(path, schema, clock.now())
        connection = opened.connection
        try:
            _tell_set_aside(opened, events)
            brought, lacked = _put_in_order(connection, clock.now(), audit, roots or {})
            _tell_rebuilt(opened, events, brought)
            if lacked:
                events.event(Event.JOURNAL_RECOVERED, message=OLDER, endings=lacked)
            reading = None if path == database.MEMORY else database.open_beside(Path(path), schema.version, writable=False)
        except sqlite3.Error as error:
            connection.close()
            raise Unavailable(f"the journal {path} cannot be written: {error}", "make room on its disk") from error
        except BaseException:  # nobody else knows of the connection
            connection.close()
            raise
        journal = cls(connection, reading, events=events, clock=clock, keep=keep, new_id=new_id)
        journal.views = None if reading is None else Viewing(JournalPlace(Path(path)))
        return journal

    async def close(self) -> None:
        """See `ThreadedJournal.close`."""
        await super().close()
        if self.views is not None:
            await self.views.close()

    @classmethod
    def attach(cls, path: Path, *, events: EventLog, clock: Clock, keep: float, new_id: Callable[[], str]) -> SqliteJournal:
        """Open an existing journal beside the daemon, to steer it (`retry`). Nothing is repaired. Raises Unavailable."""
        version = database.schema().version
        connection = database.open_beside(path, version, writable=True)
        reading = database.open_beside(path, version, writable=False)
        return cls(connection, reading, events=events, clock=clock, keep=keep, new_id=new_id)


def _put_in_order(connection: sqlite3.Connection, now: float, audit: Path | None, roots: Mapping[str, Path]) -> tuple[int, int]:
    """Recovery, and the rebuilding of a journal that is new or older than its audit file, in one transaction. Gives how many
    objects a new one learnt of, and how many endings an older one lacked.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        upkeep.recover(connection, now)
        brought = lacked = 0
        if audit is not None and queries.is_rebuilt(connection):
            lacked = put_back(connection, audit, roots, now)
        elif audit is not None:
            brought = rebuild(connection, audit, roots, now)
    except BaseException:  # half of it must not stay, whatever stopped it
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return brought, lacked


def _tell_set_aside(opened: database.Opened, events: EventLog) -> None:
    if opened.set_aside is not None:
        message = f"the journal was damaged ({opened.problem}) and is set aside as {opened.set_aside}"
        hint = "a new one is built from the audit file and a scan; look at the disk, then remove the old one"
        events.event(Event.JOURNAL_UNAVAILABLE, message=message, hint=hint)


def _tell_rebuilt(opened: database.Opened, events: EventLog, objects: int) -> None:
    if opened.set_aside is not None or objects:
        message = "a new journal was built; the audit file tells what lies in the store"
        events.event(Event.JOURNAL_RECOVERED, message=message, objects=objects)
