"""Follows the endings in the journal and writes each down once: first into the audit file, then into the log."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from watcher.backoff import exponential
from watcher.model import Event
from watcher.records.audit_file import Disturbed
from watcher.records.bell import Bell
from watcher.records.chain import ChainEnd
from watcher.records.queries import OutboxCursor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from watcher.ports import EventLog
    from watcher.records.audit_file import AuditFile
    from watcher.records.journal import ThreadedJournal
    from watcher.records.queries import NumberedEnding

Answer = TypeVar("Answer")

BATCH: Final = 500
"""Endings in one write to the audit file."""
LOOK_SECONDS: Final = 5.0
"""How often the file is looked at when nothing ends: whether it is still there."""
STUCK_SECONDS: Final = 60.0
"""A write or a look at the audit file that takes so long hangs."""
PATIENCE_SECONDS: Final = 5.0
"""A start or a stop does not wait longer for what makes no progress."""
FIRST_BACKOFF_SECONDS: Final = 0.1
MAX_BACKOFF_SECONDS: Final = 5.0
REOPEN_SECONDS: Final = 1.0
LOG_SECONDS: Final = 0.05
"""Who reads the log is waited for so long, before the journal notes how far the log is; what is read later is noted later."""
LAST_LINES_SECONDS: Final = 1.0
"""The same at a stop: what nobody reads until then is logged again by the next start."""
MAX_DISTURBANCES: Final = 10
"""How often in a row the file may be found changed before that counts as a failure."""


class OutboxRelay:
    """Keeps audit file and log level with the journal. `start` repairs, `stop` writes down what is there and ends.

    A disk that takes no audit lines is said once (journal.unavailable, `what` "audit"); the log goes on meanwhile, and the
    lines follow when there is room.
    """

    def __init__(
        self,
        journal: ThreadedJournal,
        audit: AuditFile,
        events: EventLog,
        log_written: Callable[[], asyncio.Future[None] | None] | None = None,
    ) -> None:
        """`log_written` tells when what `events` was given so far is written; None where each line is at once."""
        self._journal = journal
        self._audit = audit
        self._events = events
        self._log_written = log_written or _at_once
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._is_open = False
        self._caught_up = asyncio.Event()
        self._failures = 0
        self._moved_at = 0.0
        self._at_file = False
        self._logged = 0
        self._on_its_way: asyncio.Future[None] | None = None
        self._read = 0
        self._noted = OutboxCursor(0, None, 0)
        self._rewinds = journal.rewinds.count
        self._links: list[tuple[int, str | None]] = []
        self.written = Bell()
        """Rings when lines were written down and the journal knows it."""

    # --- for its owner --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Repair the audit file from the journal, write down what is missing, and follow the endings from now on.

        A disk that hangs, or a journal that takes nothing now, is not waited for: what is missing follows when it is there.
        """
        cursor = await self._journal.outbox_cursor()
        self._audit.place = ChainEnd(cursor.audited, cursor.hash)
        self._logged = self._read = cursor.logged
        self._noted = cursor
        self._task = asyncio.create_task(self._follow(), name="recorder")
        caught_up = asyncio.ensure_future(self._caught_up.wait())
        await self._while_it_moves(caught_up, self._task)
        caught_up.cancel()
        if self._task.done():
            await self._task  # it broke

    async def flush(self) -> bool:
        """Write down every ending that is committed now. False where the audit file does not take its lines."""
        async with self._lock:
            while await self._step():
                pass
            return self._failures == 0

    async def reopen(self) -> None:
        """The audit file may have been rotated (SIGHUP): look at the path again. A journal that is away is not waited for."""
        self._is_open = False
        flushing = asyncio.ensure_future(self.flush())
        flushing.add_done_callback(_heard)
        await asyncio.wait({flushing}, timeout=REOPEN_SECONDS)

    async def stop(self) -> None:
        """Write down what is committed, then end. May be called twice.

        A disk that hangs, or a journal that takes nothing now, is not waited for: the next start does the rest, as after a crash.
        """
        if self._task is not None:
            task, self._task = self._task, None
            self._stopping = True
            self._journal.endings_added.set()
            if await self._while_it_moves(task):
                await task
                await self._in_thread(self._audit.close)
            else:
                task.cancel()
                await asyncio.wait([task])
            self._thread.shutdown(wait=False)

    async def _while_it_moves(self, *awaited: asyncio.Future[Any]) -> bool:
        """Wait for one of these. False where there was no progress for PATIENCE_SECONDS, and none has ended."""
        loop = asyncio.get_running_loop()
        while True:
            done, _ = await asyncio.wait(awaited, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if done or loop.time() - self._moved_at >= PATIENCE_SECONDS:
                return bool(done)

    def alive(self) -> bool:
        """Whether it follows the endings. Waiting for room for the audit file is part of it, a write that hangs is not."""
        if self._task is None or self._task.done():
            return False
        waits_for_journal = not self._at_file and self._journal.is_away
        return waits_for_journal or self._task.get_loop().time() - self._moved_at < STUCK_SECONDS

    # --- following ------------------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while not self._stopping:
            self._journal.endings_added.clear()
            await self.flush()
            self._caught_up.set()
            await self._wait()
        await self.flush()
        for _ in range(2):  # the line that is waited for, and those behind it
            if self._on_its_way is not None:
                await asyncio.wait([self._on_its_way], timeout=LAST_LINES_SECONDS)
                await self.flush()

    async def _wait(self) -> None:
        """Until there is another ending; or for a while, to look after the file or to try it again."""
        failures = self._failures
        pause = exponential(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, failures + 1) if failures else LOOK_SECONDS
        try:
            async with asyncio.timeout(pause):
                await self._journal.endings_added.wait()
        except TimeoutError:
            await self._look()

    async def _look(self) -> None:
        async with self._lock:
            try:
                await self._in_thread(self._audit.check)
            except (Disturbed, OSError):
                # the flush that follows opens it again, and says what there is to say
                self._is_open = False

    async def _step(self) -> bool:
        """A batch for the audit file, and the same for the log. True where anything was written down."""
        before = (self._audit.place, self._logged)
        self._moved_at = asyncio.get_running_loop().time()
        self._log(await self._unlogged(await self._audit_some()))
        await self._await_log()
        await self._note_cursor()
        return (self._audit.place, self._logged) != before

    async def _audit_some(self) -> Sequence[NumberedEnding]:
        """Bring the audit file on by a batch. Gives the endings written, none where it does not take them."""
        try:
            endings = await self._append_some()
        except OSError as error:
            self._is_open = False
            self._tell_failure(error)
            return ()
        self._tell_recovered()
        return endings

    async def _append_some(self) -> Sequence[NumberedEnding]:
        for _ in range(MAX_DISTURBANCES):
            if not self._is_open:
                await self._resume()
            known = self._notice_rewind()
            endings = await self._journal.endings_after(self._audit.place.seq, BATCH)
            try:
                if endings:
                    self._links += await self._in_thread(partial(self._append, endings, known))
            except Disturbed:
                self._is_open = False
                continue
            return endings
        raise OSError(None, "another process keeps changing it")

    def _append(self, endings: Sequence[NumberedEnding], known: int) -> list[tuple[int, str | None]]:
        with self._journal.rewinds.writing(known):
            return self._audit.append(endings)

    def _notice_rewind(self) -> int:
        """How often the journal was set back. What the log is ahead of the file has numbers that others may get now."""
        if self._rewinds != self._journal.rewinds.count:
            self._rewinds = self._journal.rewinds.count
            self._logged = min(self._logged, self._audit.place.seq)
            self._read = min(self._read, self._logged)
        return self._rewinds

    async def _resume(self) -> None:
        place = self._audit.place
        found = await self._in_thread(self._audit.resume)
        self._is_open = True
        if not found:
            self._tell_lost(place.seq)

    async def _unlogged(self, audited: Sequence[NumberedEnding]) -> Sequence[NumberedEnding]:
        """What the log has not been told and may be told: what the audit file holds, or all while it takes nothing."""
        if audited and audited[0].seq <= self._logged + 1:
            return audited
        endings = await self._journal.endings_after(self._logged, BATCH)
        return [ending for ending in endings if self._failures or ending.seq <= self._audit.place.seq]

    def _log(self, endings: Sequence[NumberedEnding]) -> None:
        for ending in endings:
            if ending.seq > self._logged:
                fields = {name: value for name, value in ending.record.items() if name != "event"}
                self._events.event(Event(ending.record["event"]), **fields)
                self._logged = ending.seq

    async def _await_log(self) -> None:
        """Learn how far the log is written. A reader that takes nothing is waited for once, not at every step."""
        if self._on_its_way is None and self._read < self._logged:
            self._on_its_way = self._log_written()
            if self._on_its_way is None:
                self._read = self._logged
                return
            self._on_its_way.add_done_callback(partial(self._is_written, self._logged))
            await asyncio.wait([self._on_its_way], timeout=LOG_SECONDS)

    def _is_written(self, seq: int, _done: asyncio.Future[None]) -> None:
        self._on_its_way = None
        self._read = min(seq, self._logged)

    async def _note_cursor(self) -> None:
        """Note in the journal how far this is: the next start leaves out nothing, and repeats only what a kill left unknown."""
        cursor = OutboxCursor(self._audit.place.seq, self._audit.place.hash, self._read)
        if cursor != self._noted:
            links, self._links = self._links, []
            await self._journal.advance_outbox(cursor, links)
            self._noted = cursor
            self.written.ring()

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        self._at_file = True
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._at_file = False

    # --- what is said ---------------------------------------------------------------------------------------------------------

    def _tell_failure(self, error: OSError) -> None:
        self._failures += 1
        if self._failures == 1:
            reason = error.strerror or str(error)
            hint = "make room or give the right to write it; the lines are kept in the journal and follow by themselves"
            message = f"the audit file {self._audit.path} cannot be written: {reason}"
            self._events.event(Event.JOURNAL_UNAVAILABLE, what="audit", message=message, hint=hint)

    def _tell_recovered(self) -> None:
        if self._failures:
            self._failures = 0
            message = f"the audit file {self._audit.path} can be written again"
            self._events.event(Event.JOURNAL_RECOVERED, what="audit", message=message)

    def _tell_lost(self, seq: int) -> None:
        message = f"the audit file {self._audit.path} was deleted, and no rotated file beside it holds its last line"
        hint = "let logrotate keep old files in the same folder; the journal still knows the images of the last `keep`"
        self._events.event(Event.JOURNAL_UNAVAILABLE, what="audit", message=message, hint=hint)
        self._events.event(Event.JOURNAL_RECOVERED, what="audit", message=f"a new chain begins after line {seq}", chain="new")


def _at_once() -> None:
    """Each line of the log is written when it is given."""


def _heard(flushing: asyncio.Future[bool]) -> None:
    """What became of a flush that nobody waits for any more; the next one meets the same."""
    if not flushing.cancelled():
        flushing.exception()
