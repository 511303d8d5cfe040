"""The Journal of `watcher.ports` over an engine: every method hands a function of the connection to one of its two threads."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from watcher.model import Taken
from watcher.records import (
    changes,
    cluster,
    known_files,
    overview,
    published,
    queries,
    reprocessing,
    retention,
    taking,
    upkeep,
    watched,
)
from watcher.records.bell import FolderBells
from watcher.records.followers import JournalFollowers
from watcher.records.pauses import JournalPauses
from watcher.records.rewinds import Rewinds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from watcher.model import (
        Ending,
        FailedReason,
        FileRef,
        IgnoredReason,
        Image,
        Known,
        KnownDirectory,
        Observation,
        Postponement,
        PublishedObject,
        Rule,
        Sighting,
        SourceFacts,
        Stamp,
        StoredObject,
        Subtree,
        Ticket,
        Unfinished,
    )
    from watcher.ports import Clock
    from watcher.records.dialect import Connection
    from watcher.records.peers import PeerRecords
    from watcher.records.queries import NumberedEnding, OutboxCursor, Totals
    from watcher.records.reprocessing import Again
    from watcher.records.retention import Place, Portion, Prune
    from watcher.records.threads import ReadThread, WriteThread
    from watcher.records.viewing import Viewing
    from watcher.shown.figures import HostFigures, JournalFigures
    from watcher.shown.report import DaemonReport

Answer = TypeVar("Answer")

TAKE_AT_ONCE: Final = 250
"""Sightings in one change, so that others are not kept waiting by a large folder."""
LONGEST_REST_SECONDS: Final = 1.0
CLOSE_PATIENCE_SECONDS: Final = 5.0


class ThreadedJournal:
    """A Journal with a thread that writes and, unless questions share its connection, one that reads."""

    def __init__(
        self, writer: WriteThread, reader: ReadThread | None, *, clock: Clock, keep: float, new_id: Callable[[], str]
    ) -> None:
        """`keep` in seconds."""
        self._clock = clock
        self._keep = keep
        self._new_id = new_id
        self._reader = reader
        self._writer = writer
        self.followers = JournalFollowers(self._change, self._ask)
        self.pauses = JournalPauses(self._change, self._ask)
        self.objects_changed = FolderBells()
        """Rings when something of a folder was stored, or a file of it has gone."""
        self.views: Viewing | None = None
        """For the page: a reader of its own."""
        self.peers: PeerRecords | None = None
        """The other hosts, where several share the journal."""
        self.rewinds = Rewinds()
        """For who writes the audit file."""
        self.endings_added = asyncio.Event()
        """Set whenever an ending was committed; who follows the endings clears it before looking."""

    async def close(self) -> None:
        """Write what was handed over, then let go of the database. May be called twice.

        A database that refuses is waited for some seconds; what cannot be written then is told to its callers with Unavailable.
        """
        self._writer.accept_no_more()
        await asyncio.to_thread(self._writer.close, CLOSE_PATIENCE_SECONDS)
        if self._reader is not None:
            self._reader.accept_no_more()
            await asyncio.to_thread(self._reader.close)

    def on_call(self, called: Callable[[], None]) -> None:
        """Have `called` called, in the event loop, when another host has something to share."""

    def on_move(self, called: Callable[[], None]) -> None:
        """Have `called` called, in the event loop, when the database may lack what was written last."""

    def is_unsure(self) -> bool:
        """See `Journal.is_unsure`."""
        return False

    @property
    def hosts_alive(self) -> int:
        """How many hosts share the journal now, this one included."""
        return 1

    def alive(self) -> bool:
        """Whether the writer does its work (for the service's watchdog). Waiting for room on the disk is part of it."""
        return self._writer.alive()

    @property
    def is_away(self) -> bool:
        """Whether its disk or server takes and gives nothing now, and that was said."""
        return self._writer.is_away

    def changed_by_others(self) -> bool:
        """Whether another process (`retry`) changed the journal since this was last asked; noticed within half a second."""
        return self._writer.changed_by_others()

    async def _change(self, change: Callable[[Connection], Answer], *, ends: bool = False) -> Answer:
        """Have a change made; it is made even if the caller is cancelled while it waits."""
        return await self._writer.submit(change, self.endings_added.set if ends else None)

    def _hand_over(self, change: Callable[[Connection], None]) -> None:
        """Have a change made that nobody waits for."""
        self._writer.submit(change).add_done_callback(_heard)

    def _ask(self, question: Callable[[Connection], Answer]) -> Awaitable[Answer]:
        return self._change(question) if self._reader is None else self._reader.ask(question)

    # --- files and images -----------------------------------------------------------------------------------------------------

    async def known(self, folder: str, directory: bytes) -> dict[bytes, Known]:
        """See `Journal.known`."""
        return await self._ask(partial(queries.known, folder=folder, directory=directory))

    async def known_in(self, folder: str, directories: Sequence[bytes]) -> list[KnownDirectory]:
        """See `Journal.known_in`."""
        return await self._ask(partial(queries.known_in, folder=folder, directories=directories))

    async def take(self, sightings: Sequence[Sighting]) -> Taken:
        """See `Journal.take`."""
        slices = [sightings[start : start + TAKE_AT_ONCE] for start in range(0, len(sightings), TAKE_AT_ONCE)]
        return Taken.all_of(await asyncio.gather(*(self._change(self._taking(each), ends=True) for each in slices)))

    def _taking(self, sightings: Sequence[Sighting]) -> Callable[[Connection], Taken]:
        return taking.telling_new(taking.take, sightings, self._new_id)

    async def give_up(self, sighting: Sighting, reason: FailedReason, message: str, hint: str) -> str:
        """See `Journal.give_up`."""
        told = (reason, message, hint)
        change = partial(taking.give_up, sighting=sighting, told=told, now=self._clock.now(), new_id=self._new_id)
        return await self._change(change, ends=True)

    async def ignore(self, file: FileRef, observation: Observation, reason: IgnoredReason, message: str = "") -> None:
        """See `Journal.ignore`."""
        change = partial(known_files.remember, file=file, observation=observation, ignored=reason, message=message)
        await self._change(change)

    async def wait_for(self, folder: str, files: Mapping[bytes, Unfinished], over: Collection[bytes]) -> None:
        """See `Journal.wait_for`."""
        await self._change(partial(watched.wait_for, folder=folder, files=files, over=over))

    async def forget(self, folder: str, versions: Mapping[bytes, Stamp]) -> None:
        """See `Journal.forget`."""
        await self._change(partial(known_files.forget, folder=folder, versions=versions))
        self.objects_changed.ring(folder)

    async def due(self, now: float, limit: int, excluding: Collection[str], away: Collection[Subtree] = ()) -> list[Image]:
        """See `Journal.due`."""
        return await self._ask(partial(queries.due, now=now, limit=limit, excluding=frozenset(excluding), away=away))

    async def next_due(self, now: float) -> float | None:
        """See `Journal.next_due`."""
        return await self._ask(partial(queries.next_due, now=now))

    async def stored_at(self, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], StoredObject]:
        """See `Journal.stored_at`."""
        return await self._ask(partial(queries.stored_at, places=places))

    def is_own_output(self, folder: str, sha1: str) -> Awaitable[bool]:
        """See `Journal.is_own_output`."""
        return self._ask(partial(queries.is_own_output, folder=folder, sha1=sha1))

    async def live_tokens(self, now: float) -> set[str]:
        """Tokens of temporary URLs whose images have not ended; whatever else was published is a leftover."""
        return await self._ask(partial(queries.live_tokens, now=now))

    # --- one image's way ------------------------------------------------------------------------------------------------------

    async def hashed(self, image_id: str, facts: SourceFacts, ticket: Ticket) -> None:
        """See `Journal.hashed`. Changes are made in order: none that follows is durable before this one."""
        self._hand_over(partial(changes.hashed, image_id=image_id, facts=facts, ticket=ticket))

    async def requested(self, image_id: str, rendition: str | None, place: tuple[str, str], now: float) -> bool:
        """See `Journal.requested`."""
        return await self._change(partial(changes.requested, image_id=image_id, rendition=rendition, place=place, now=now))

    async def enqueued(self, image_id: str, rendition: str | None, job_id: str, now: float) -> bool:
        """See `Journal.enqueued`."""
        return await self._change(partial(changes.enqueued, image_id=image_id, rendition=rendition, job_id=job_id, now=now))

    async def postponed(self, image_id: str, rendition: str | None, wait: Postponement, now: float) -> bool:
        """See `Journal.postponed`."""
        return await self._change(partial(changes.postponed, image_id=image_id, rendition=rendition, wait=wait, now=now))

    async def interrupted(self, image_id: str, now: float) -> None:
        """See `Journal.interrupted`."""
        await self._change(partial(changes.interrupted, image_id=image_id, now=now))

    async def unchanged(self, image_id: str, rendition: str | None, key: str, stored: StoredObject, now: float) -> bool:
        """See `Journal.unchanged`."""
        change = partial(changes.unchanged, image_id=image_id, rendition=rendition, key=key, stored=stored, now=now)
        done = await self._change(change)
        self.objects_changed.ring(stored.folder)
        return done

    async def dismiss(self, image_id: str, reason: IgnoredReason, now: float) -> None:
        """See `Journal.dismiss`; this version of the file is ignored from now on."""
        await self._change(partial(changes.dismiss, image_id=image_id, reason=reason, now=now))

    async def end(self, image_id: str, rendition: str | None, ending: Ending, now: float) -> bool:
        """See `Journal.end`."""
        change = partial(changes.end, image_id=image_id, rendition=rendition, ending=ending, now=now)
        done = await self._change(change, ends=True)
        if ending.stored is not None:
            self.objects_changed.ring(ending.stored.folder)
        return done

    async def finish(self, image_id: str, note: str, now: float, *, gone: bool = False) -> None:
        """See `Journal.finish`."""
        await self._change(partial(changes.finish, image_id=image_id, note=note, now=now, gone=gone))

    async def finish_later(self, image_id: str, due_at: float, reason: str, now: float) -> None:
        """The original of an ended image cannot be moved or deleted now: the image is due again at `due_at`."""
        await self._change(partial(changes.finish_later, image_id=image_id, due_at=due_at, reason=reason, now=now))

    async def totals(self) -> Totals:
        """How many outputs stand where. Cheap."""
        return await self._ask(queries.totals)

    async def open_images(self, away: Collection[Subtree] = ()) -> int:
        """Images that still have something to come: an ending, or the moving or deleting of their original.

        Those in `away` are left out. Cheap where there is none.
        """
        if not away:
            return (await self.totals()).unfinished_images
        return await self._ask(partial(queries.unfinished, away=away))

    async def unreadable(self) -> int:
        """How many files were left since they could not be read."""
        return await self._ask(watched.unreadable)

    async def figures(self, now: float) -> JournalFigures:
        """What `status` and the page show; `now` in Unix seconds."""
        return await self._ask(partial(overview.journal_figures, now=now))

    async def hosts(self) -> Sequence[HostFigures]:
        """Those that share the journal; none where it belongs to this one alone."""
        return await self._ask(cluster.hosts) if self.peers is not None else ()

    async def keep_report(self, name: str, report: DaemonReport, now: float) -> None:
        """Keep what the daemon of this name says of itself, for commands beside it."""
        await self._change(partial(overview.keep_report, name=name, said=report, now=now))

    # --- what the operator wants ----------------------------------------------------------------------------------------------

    async def published_page(self, folder: str, after: bytes | None, limit: int) -> tuple[list[PublishedObject], bytes | None]:
        """What lies in the store of the files that belong to a folder, by their paths; see `published.page`."""
        return await self._ask(partial(published.page, folder=folder, after=after, limit=limit))

    async def retry(self, image_ids: Collection[str] | None, rule_for: Callable[[str], Rule | None], now: float) -> list[str]:
        """Take failed images again, under the rule that `rule_for` gives for their folder (None: not taken). Gives the new ids.

        `image_ids` None means all failed ones. A file that has a newer image is left to that one.
        """
        found = await self._ask(partial(queries.failed_images, image_ids=image_ids, rule_for=rule_for, now=now))
        return await self._change(partial(upkeep.retry, sightings=found, now=now, new_id=self._new_id))

    async def dismiss_failed(self, image_ids: Collection[str] | None, now: float) -> list[str]:
        """Failed images, by their ids or all (None), need nothing more: they count as failed no longer. What happened stays told.

        Gives the ids of those that nobody had retried, replaced or dismissed before.
        """
        return await self._change(partial(upkeep.dismiss_failed, image_ids=image_ids, now=now))

    async def reprocess(self, wanted: Sequence[Again], now: float) -> int:
        """Take stored images again, each under the rule of its sighting. Gives how many; see `reprocessing.requeue`."""
        slices = [wanted[start : start + TAKE_AT_ONCE] for start in range(0, len(wanted), TAKE_AT_ONCE)]
        step = partial(reprocessing.requeue, now=now, new_id=self._new_id)
        return sum([await self._change(partial(step, wanted=each)) for each in slices])

    async def prune(self, now: float, listed: Collection[str] = ()) -> None:
        """Let go of finished images, and of endings that stand in the audit file, older than `keep`.

        Which files are known, and what lies at the keys of present files, stays. So does, in the folders that are `listed`, what
        came of originals that were put away when they were stored: their manifests go on to tell of it.
        """
        portion = retention.Portion(now - self._keep, now, listed=frozenset(listed))
        for prune in (retention.prune_images, retention.prune_endings, retention.prune_objects):
            await self._in_portions(prune, portion)
        await self._change(partial(retention.prune_rest, portion=portion))
        self.objects_changed.ring_all()

    async def _in_portions(self, prune: Prune, portion: Portion) -> None:
        """Others write at least as long as this does: a rest follows each portion."""
        after: Place | None = portion.after
        while after is not None:
            began = self._clock.monotonic()
            after = await self._change(partial(prune, portion=replace(portion, after=after)))
            seconds = self._clock.monotonic() - began
            portion = replace(portion, limit=retention.next_limit(portion.limit, seconds))
            await self._clock.sleep(min(seconds, LONGEST_REST_SECONDS))

    # --- the endings, for who writes them down --------------------------------------------------------------------------------

    async def endings_after(self, seq: int, limit: int) -> list[NumberedEnding]:
        """The committed endings after `seq`, in order."""
        return await self._ask(partial(queries.endings_after, seq=seq, limit=limit))

    async def last_seq(self) -> int:
        """The number of the newest ending there ever was."""
        return await self._ask(queries.last_seq)

    async def outbox_cursor(self) -> OutboxCursor:
        """How far the endings are written down."""
        return await self._ask(queries.outbox_cursor)

    async def advance_outbox(self, cursor: OutboxCursor, links: Sequence[tuple[int, str | None]] = ()) -> None:
        """Note how far the endings are written down, durably in the audit file and in the log; `links` as the file has them."""
        await self._change(partial(upkeep.advance_outbox, cursor=cursor, links=links))


def _heard(future: asyncio.Future[None]) -> None:
    """What nobody waits for fails without a word; what follows it meets the same."""
    if not future.cancelled():
        future.exception()
