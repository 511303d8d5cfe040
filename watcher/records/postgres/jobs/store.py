"""The jobs of several engines: the JobStore on PostgreSQL. The event loop hands over and never waits for the database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import replace
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from watcher.errors import Unavailable
from watcher.model import Event
from watcher.records.database import Schema
from watcher.records.outage import Outage
from watcher.records.postgres import database, faults
from watcher.records.postgres.jobs import claims
from watcher.records.postgres.jobs.claims import CHANNEL
from watcher.records.postgres.jobs.engine import JobsEngine
from watcher.records.postgres.journal_engine import POLL_SECONDS
from watcher.records.postgres.start import once_there
from watcher.records.postgres.threads import Listener
from watcher.records.thread_jobs import call as call_in
from watcher.records.threads import WriteThread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from watcher.job_store import Ended, Job, JobState, NewJob, WebhookCall
    from watcher.ports import Clock, EventLog
    from watcher.records.dialect import Connection
    from watcher.records.postgres.adapter import PostgresConnection
    from watcher.records.postgres.database import Server

Answer = TypeVar("Answer")

NAMESPACE: Final = "compressor_watcher_engine"
"""The schema of the database in which the tables lie, beside the journal's own."""
PATIENCE_SECONDS: Final = 5.0
"""So long a caller waits for a database that does not answer."""
CLOSE_SECONDS: Final = 5.0
PART_BYTES: Final = 1 << 20
_AWAY: Final = "the jobs cannot be had now: their database is away or takes no changes"


@cache
def schema() -> Schema:
    """The schema of this release."""
    folder = files("watcher.records.postgres.jobs")
    names = sorted(each.name for each in (folder / "migrations").iterdir() if each.name.endswith(".sql"))
    scripts = tuple((folder / "migrations" / name).read_text(encoding="utf-8") for name in names)
    return Schema((folder / "schema.sql").read_text(encoding="utf-8"), scripts)


def jobs_server(server: Server) -> Server:
    """Where the jobs of a journal's database are."""
    return replace(server, namespace=NAMESPACE)


class PostgresJobs:
    """Implements `watcher.job_store.SharedStore`."""

    def __init__(self, server: Server, *, instance: str, events: EventLog, clock: Clock) -> None:
        """`server` as `jobs_server` gives it; its host is this engine's name, `instance` names its state folder."""
        self._server = server
        self._instance = instance
        self._events = events
        self._clock = clock
        self._outage = Outage(events, clock)
        self._parts: tuple[JobsEngine, WriteThread, Listener] | None = None
        self._polling: asyncio.Task[None] | None = None
        self.woken: Callable[[], None] = lambda: None

    async def open(self) -> None:
        """See JobStore. A server that is away is waited for. Raises Unavailable where waiting does not help."""
        loop = self._outage.loop = asyncio.get_running_loop()
        connection, number = await once_there(self._prepare, self._outage, self._clock, lambda _: None)
        means: dict[str, Any] = {"clock": self._clock, "tell": self._outage.tell, "schema": schema()}
        engine = JobsEngine(self._server, connection, instance=self._instance, number=number, **means)
        writer = WriteThread(engine, outage=self._outage, clock=self._clock)
        listener = Listener(self._server, lambda: call_in(loop, self._wake), CHANNEL)
        self._parts = engine, writer, listener
        self._polling = loop.create_task(self._poll())
        self._events.event(Event.CLUSTER_JOINED, host=self._server.host)

    def _prepare(self) -> tuple[PostgresConnection, int]:
        connection = database.open_own(self._server, schema())
        database.one_more(self._server, connection).close()  # the listener needs one of its own
        self._server.adopt(connection)

        def join() -> int:
            connection.execute("BEGIN")
            number = claims.join(connection, self._server.host, self._instance, self._server.lease)
            connection.execute("COMMIT")
            return number

        try:
            return connection, database.explained(self._server, join)
        except BaseException:  # nobody else knows of it
            connection.close()
            raise

    async def close(self) -> None:
        """See JobStore. What was submitted is written first, if the database is there; else the lease ends by itself."""
        if self._parts is None or self._polling is None:
            return
        _, writer, listener = self._parts
        self._polling.cancel()
        await asyncio.gather(self._polling, return_exceptions=True)
        await asyncio.to_thread(listener.stop)
        writer.accept_no_more()
        await asyncio.to_thread(writer.close, CLOSE_SECONDS)
        self._events.event(Event.CLUSTER_LEFT, host=self._server.host)

    # --- jobs -----------------------------------------------------------------------------------------------------------------

    async def add(self, new: NewJob, most: int, *, at_work: bool = False) -> Job:
        """See JobStore."""

        def add(connection: Connection) -> Job:
            holder = self._engine.number if at_work else None
            return claims.add(connection, new, self._clock.now(), most * self._engine.alive, holder)

        return await self._soon(add)

    async def claim(self, limit: int) -> list[Job]:
        """See JobStore."""
        return await self._insist(lambda connection: claims.claim(connection, self._engine.number, self._clock.now(), limit))

    async def holds(self, job: Job) -> bool:
        """See JobStore. The database is asked only where the lease may have ended meanwhile."""
        if job.holder != self._engine.number:
            return False
        return self._engine.is_fresh() or await self._soon(partial(claims.holds, job=job))

    async def requeue(self, job: Job) -> None:
        """See JobStore."""
        await self._insist(partial(claims.requeue, job=job))

    async def end(self, job: Job, status: Ended, answer: Mapping[str, Any]) -> bool:
        """See JobStore."""
        text, now = json.dumps(answer), self._clock.now()
        return await self._insist(lambda connection: claims.end(connection, job, status, text, now))

    async def find(self, identity: str) -> JobState | None:
        """See JobStore."""
        return await self._soon(partial(claims.find, identity=identity))

    async def forget_old(self) -> None:
        """See JobStore."""
        while await self._soon(partial(claims.forget_old, now=self._clock.now())) == claims.MOST_AT_ONCE:
            pass

    # --- webhooks -------------------------------------------------------------------------------------------------------------

    async def claim_calls(self, limit: int) -> tuple[list[WebhookCall], float | None]:
        """See JobStore."""
        now = self._clock.now()
        return await self._insist(lambda connection: claims.claim_calls(connection, self._engine.number, now, limit))

    async def delivered(self, call: WebhookCall) -> None:
        """See JobStore."""
        await self._insist(partial(claims.delivered, call=call))

    async def try_again(self, call: WebhookCall, due: float) -> None:
        """See JobStore."""
        await self._insist(partial(claims.try_again, call=call, due=due))

    async def release_calls(self) -> None:
        """See JobStore."""
        await self._insist(lambda connection: claims.release_calls(connection, self._engine.number))

    # --- files ----------------------------------------------------------------------------------------------------------------

    async def put_file(self, epoch: str, name: str, content: Path) -> None:
        """See ResultFiles."""
        with await asyncio.to_thread(content.open, "rb") as file:
            part = 0
            while data := await asyncio.to_thread(file.read, PART_BYTES):
                await self._soon(partial(claims.put_part, epoch=int(epoch), name=name, part=part, content=data))
                part += 1

    async def get_file(self, epoch: str, name: str, into: Path) -> bool:
        """See ResultFiles."""
        part = 0
        with await asyncio.to_thread(into.open, "wb") as file:
            while (data := await self._soon(partial(claims.get_part, epoch=int(epoch), name=name, part=part))) is not None:
                await asyncio.to_thread(file.write, data)
                part += 1
        return part > 0

    # --- the database ---------------------------------------------------------------------------------------------------------

    @property
    def _engine(self) -> JobsEngine:
        if self._parts is None:
            raise Unavailable("the jobs are not open")
        return self._parts[0]

    def _insist(self, change: Callable[[Connection], Answer]) -> asyncio.Future[Answer]:
        """Done when it is durable, however long the database is away."""
        if self._parts is None:
            raise Unavailable("the jobs are not open")
        return self._parts[1].submit(change)

    async def _soon(self, change: Callable[[Connection], Answer]) -> Answer:
        """The same for whoever cannot wait. Raises Unavailable; then it may have been made all the same, but never will be."""
        if self._outage.lasting:
            raise Unavailable(_AWAY, faults.ADVICE)
        given_up = threading.Event()

        def unless_given_up(connection: Connection) -> Answer | None:
            return None if given_up.is_set() else change(connection)

        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return cast("Answer", await self._insist(unless_given_up))
        except TimeoutError:
            raise Unavailable(_AWAY, faults.ADVICE) from None
        finally:
            given_up.set()

    async def _poll(self) -> None:
        """What was not heard of is found by looking; that the database is away is noticed, and said, by an idle engine too."""
        while True:
            await self._clock.sleep(POLL_SECONDS)
            self._wake()
            with contextlib.suppress(Unavailable):  # at the end
                await self._insist(_nothing)

    def _wake(self) -> None:
        self.woken()


def _nothing(_: Connection) -> None:
    """Only renews the lease."""
