"""The journal on PostgreSQL: the same changes and questions as on SQLite, of one host among several."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from watcher.errors import NotAnswering
from watcher.model import Event, KnownDirectory, Taken
from watcher.records import changes, queries, taking
from watcher.records.journal import TAKE_AT_ONCE, ThreadedJournal
from watcher.records.outage import Outage
from watcher.records.peers import PeerRecords
from watcher.records.place import JournalPlace
from watcher.records.postgres import bulk, claims, database
from watcher.records.postgres.faults import AuditHangs
from watcher.records.postgres.host_engine import HostEngine
from watcher.records.postgres.journal_engine import PostgresEngine
from watcher.records.postgres.start import once_there
from watcher.records.postgres.threads import CHANNEL, Listener, PatientReadThread
from watcher.records.put_back import put_back
from watcher.records.rebuild import rebuild
from watcher.records.thread_jobs import call
from watcher.records.threads import WriteThread
from watcher.records.viewing import Viewing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from watcher.errors import Away
    from watcher.model import Image, Sighting, Subtree
    from watcher.ports import Clock, EventLog
    from watcher.records.dialect import Connection
    from watcher.records.postgres.adapter import PostgresConnection
    from watcher.records.postgres.database import Server
    from watcher.records.sightings import HostFolder

Answer = TypeVar("Answer")

CALL_SECONDS: Final = 0.25
"""Other hosts are called at most so often: a call makes the commits of all hosts wait for each other."""


class PostgresJournal(ThreadedJournal):
    """The Journal of `watcher.ports` on PostgreSQL. Made by `open` (a host) or `attach` (commands beside the hosts)."""

    def __init__(
        self,
        server: Server,
        engine: PostgresEngine,
        reading: PostgresConnection,
        *,
        outage: Outage,
        events: EventLog,
        clock: Clock,
        keep: float,
        new_id: Callable[[], str],
        folders: Mapping[str, HostFolder],
    ) -> None:
        """`reading` is a connection for questions. `keep` in seconds."""
        writer = WriteThread(engine, outage=outage, clock=clock)
        self._questions = PatientReadThread(server, reading, outage)
        super().__init__(writer, self._questions, clock=clock, keep=keep, new_id=new_id)
        self._server = server
        self._host = server.host
        self._engine = engine
        self._loop = outage.loop
        self._listener: Listener | None = None
        self._called_at = 0.0
        self._events = events
        self.folders = folders
        """As this host has them now."""
        self._on_call: list[Callable[[], None]] = []
        self._on_move: list[Callable[[], None]] = []
        self.peers = PeerRecords(self._change, self._ask, self._tell_others)

    @classmethod
    async def open(
        cls,
        server: Server,
        *,
        instance: str,
        events: EventLog,
        clock: Clock,
        keep: float,
        new_id: Callable[[], str],
        audit: Path | None = None,
        folders: Mapping[str, HostFolder] | None = None,
        waits: Callable[[Away], None] | None = None,
    ) -> PostgresJournal:
        """Join the cluster under `server.host`; `instance` names this host's state folder. `keep` in seconds.

        What was under way when the last process of this host stopped is put in order. A host that joins for the first time
        learns from its audit file, if there is one, what lies in the store. Raises Unavailable; where `waits` is given, a server
        that is away is waited for instead, and each try that failed is told.
        """
        outage = Outage(events, clock)
        outage.loop = asyncio.get_running_loop()
        folders = folders or {}
        roots = {name: folder.root for name, folder in folders.items()}

        def prepare() -> tuple[PostgresConnection, PostgresConnection, _Joined]:
            return _connected(server, lambda connection: _join(server, connection, instance, clock.now(), audit, roots))

        def restore(connection: Connection) -> int:
            return journal._learn_again(connection, audit, roots)

        joining = asyncio.to_thread(prepare) if waits is None else once_there(prepare, outage, clock, waits)
        connection, reading, joined = await joining
        tools: dict[str, Any] = {"instance": instance, "clock": clock, "tell": outage.tell, "put_back": restore}
        engine = HostEngine(server, connection, epoch=joined.epoch, **tools)
        means: dict[str, Any] = {"events": events, "clock": clock, "keep": keep, "new_id": new_id}
        journal = cls(server, engine, reading, outage=outage, **means, folders=folders)
        journal._begin(engine, joined)
        return journal

    def _begin(self, engine: HostEngine, joined: _Joined) -> None:
        """Work as a host that has joined."""
        if joined.lacked or joined.has_moved:
            engine.look_out(joined.others)
        engine.on_move = self._moved
        self.listen(self._server)
        self.views = Viewing(_place(self._server))
        self._events.event(Event.CLUSTER_JOINED, host=self._host)
        if joined.lacked:
            engine.tell_set_back(joined.lacked)

    @classmethod
    async def attach(
        cls, server: Server, *, events: EventLog, clock: Clock, keep: float, new_id: Callable[[], str], begin: bool = False
    ) -> PostgresJournal:
        """Open the journal beside the hosts, to steer them (`retry`). `begin`: make it where it is not there yet.

        Nothing is repaired. Raises Unavailable.
        """
        outage = Outage(events, clock)
        outage.loop = asyncio.get_running_loop()

        def prepare() -> tuple[PostgresConnection, PostgresConnection]:
            schema = database.schema()
            connection = database.open_own(server, schema) if begin else database.open_beside(server, schema, writable=True)
            return connection, database.one_more(server, connection)

        connection, reading = await asyncio.to_thread(prepare)
        engine = PostgresEngine(server, connection)
        return cls(server, engine, reading, outage=outage, events=events, clock=clock, keep=keep, new_id=new_id, folders={})

    def use_password(self, password: str | None) -> None:
        """For connections that are made from now on (reload)."""
        self._server.password.value = password
        if self.views is not None:
            self.views.use(_place(self._server))

    def listen(self, server: Server) -> None:
        """Hear of other hosts from now on."""
        self._listener = Listener(server, self._hear)

    async def close(self) -> None:
        """See `ThreadedJournal.close`; a host leaves the cluster."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await asyncio.to_thread(listener.stop)
        await super().close()
        if self.views is not None:
            await self.views.close()
        if listener is not None:
            self._events.event(Event.CLUSTER_LEFT, host=self._host)

    @property
    def hosts_alive(self) -> int:
        """See `ThreadedJournal.hosts_alive`."""
        return self._engine.alive if isinstance(self._engine, HostEngine) else 1

    def on_call(self, called: Callable[[], None]) -> None:
        """See `ThreadedJournal.on_call`."""
        self._on_call.append(called)

    def on_move(self, called: Callable[[], None]) -> None:
        """See `ThreadedJournal.on_move`."""
        self._on_move.append(called)

    def is_unsure(self) -> bool:
        """See `Journal.is_unsure`."""
        return isinstance(self._engine, HostEngine) and self._engine.is_unsure

    def _learn_again(self, connection: Connection, audit: Path | None, roots: Mapping[str, Path]) -> int:
        """See `_learn`. What was read of the endings before, and is not in the audit file yet, is read again."""
        self._questions.renew()
        try:
            with self.rewinds.learning(audit):
                return _learn(connection, audit, roots, self._clock.now())
        except NotAnswering as error:
            raise AuditHangs(error.message) from None

    def _moved(self) -> None:
        self._questions.renew()
        self.rewinds.note()
        if self._loop is not None:
            call(self._loop, self._look_again)

    def _look_again(self) -> None:
        for each in self._on_move:
            each()

    def _hear(self) -> None:
        self._engine.notice()
        if self._loop is not None:
            call(self._loop, self._wake)

    def _wake(self) -> None:
        for each in self._on_call:
            each()

    # --- what several hosts do otherwise --------------------------------------------------------------------------------------

    async def known_in(self, folder: str, directories: Sequence[bytes]) -> list[KnownDirectory]:
        """See `Journal.known_in`."""
        return await self._ask(partial(_known_in, folder=folder, directories=directories))

    async def take(self, sightings: Sequence[Sighting]) -> Taken:
        """See `Journal.take`. Other changes of this host, and other hosts, have their turn between a slice and the next."""
        slices = [sightings[start : start + TAKE_AT_ONCE] for start in range(0, len(sightings), TAKE_AT_ONCE)]
        return Taken.all_of([await self._change(self._taking(each), ends=True) for each in slices])

    def _taking(self, sightings: Sequence[Sighting]) -> Callable[[Connection], Taken]:
        take = taking.telling_new(bulk.take, sightings, self._new_id)

        def change(connection: Connection) -> Taken:
            claims.lock_folders(connection, {sighting.file.folder for sighting in sightings})
            taken = take(connection)
            self._call_others(connection)
            return taken

        return change

    async def due(self, now: float, limit: int, excluding: Collection[str], away: Collection[Subtree] = ()) -> list[Image]:
        """See `Journal.due`. What is given is in this host's hands until it is asked for again without being named."""
        wanted = claims.Wanted(now, limit, frozenset(excluding), tuple(away))

        def claim(connection: Any) -> list[Image]:
            if isinstance(self._engine, HostEngine) and self._engine.holds_back(connection):
                return []
            return claims.due(connection, wanted, self.folders)

        return await self._change(claim)

    async def requested(self, image_id: str, rendition: str | None, place: tuple[str, str], now: float) -> bool:
        """See `Journal.requested`. Raises Unavailable where another host has a request for the same key out."""

        def change(connection: Connection) -> bool:
            claims.hold_key(connection, image_id, place[1])
            return changes.requested(connection, image_id, rendition, place, now)

        return await self._change(change)

    def _call_others(self, connection: Connection) -> None:
        """Within the transaction: they hear of it when it is committed."""
        now = time.monotonic()
        if now - self._called_at >= CALL_SECONDS:
            self._called_at = now
            self._tell_others(connection)

    def _tell_others(self, connection: Connection) -> None:
        connection.execute("SELECT pg_notify(?, ?)", (CHANNEL, self._host))


def _place(server: Server) -> JournalPlace:
    return JournalPlace(Path(), server.url, server.password.value, server.host, server.lease)


def _known_in(connection: Connection, folder: str, directories: Sequence[bytes]) -> list[KnownDirectory]:
    found = {directory: KnownDirectory({}, {}) for directory in directories}
    for directory, name, size, mtime, ctime, inode, ignored in claims.known_in(connection, folder, directories):
        found[directory].stamps[name] = (size, mtime, ctime, inode)
        if ignored is not None:
            found[directory].ignored[name] = ignored
    return [found[directory] for directory in directories]


@dataclass(frozen=True, slots=True)
class _Joined:
    """A host that is a member now. `lacked` endings of its audit file were not in the database; `has_moved`: it is another server
    than the last time. `others` are the leases of the other hosts.
    """

    epoch: int
    lacked: int
    has_moved: bool
    others: dict[str, object]


def _connected(
    server: Server, join: Callable[[PostgresConnection], _Joined]
) -> tuple[PostgresConnection, PostgresConnection, _Joined]:
    """Connections for changes and for questions, and what `join` gave; none stays open where it fails."""
    connection = database.open_own(server, database.schema())
    reading = database.one_more(server, connection)
    try:
        return connection, reading, database.explained(server, partial(join, connection))
    except BaseException:  # nobody else knows of them
        connection.close()
        reading.close()
        raise


def _join(
    server: Server, connection: PostgresConnection, instance: str, now: float, audit: Path | None, roots: Mapping[str, Path]
) -> _Joined:
    """In one transaction: this host is a member, and its audit file is known."""
    has_moved = server.adopt(connection)
    connection.execute("BEGIN")
    epoch = claims.join(connection, instance, server.lease, now)
    connection.execute("UPDATE hosts SET api = '{}' WHERE name = here()")  # what its last process said is of no use
    lacked = _learn(connection, audit, roots, now)
    others = claims.other_members(connection)
    connection.execute("COMMIT")
    return _Joined(epoch, lacked, has_moved, others)


def _learn(connection: Connection, audit: Path | None, roots: Mapping[str, Path], now: float) -> int:
    """What the audit file holds and the journal lacks. Gives how many endings of a journal that it had learnt from before."""
    if audit is None:
        return 0
    if queries.is_rebuilt(connection):
        return put_back(connection, audit, roots, now)
    rebuild(connection, audit, roots, now)
    return 0
