"""The figures of a journal: of images, by folder, of the last hour, and hour by hour."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.records import BUCKET, ending, open_journal, rule, sighting, store_all, take_one
from watcher.model import Event, FailedReason, Postponement
from watcher.records import activity, database, overview
from watcher.records.queries import OutboxCursor
from watcher.records.sqlite_journal import SqliteJournal
from watcher.records.views import JournalViews
from watcher.shown.figures import Counts
from watcher.shown.hours import duration_step
from watcher.shown.report import ApiFigures, DaemonReport, FolderState

HOUR = 3_600.0


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = open_journal(tmp_path / "journal.db")
    yield opened
    await opened.close()


@pytest.fixture
def connection(journal: SqliteJournal, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of one's own to the journal, as a command beside the daemon has."""
    with closing(database.open_beside(tmp_path / "journal.db", database.schema().version, writable=False)) as connection:
        yield connection


async def counts(journal: SqliteJournal) -> Counts:
    return (await journal.figures(10_000.0)).counts


async def test_an_image_with_renditions_counts_once(journal: SqliteJournal) -> None:
    """It waits, is in flight as soon as anything was sent, and has one outcome."""
    image = await take_one(journal, sighting(under=rule("thumb", "large")))
    assert await counts(journal) == Counts(1, 0, 0, {})

    await journal.requested(image.id, "thumb", (BUCKET, "k"), 1_001.0)
    assert await counts(journal) == Counts(0, 1, 0, {})

    await journal.postponed(image.id, "thumb", Postponement(1_003.0, 0, 1, False, "later"), 1_002.0)
    await store_all(journal, image)
    assert await counts(journal) == Counts(0, 0, 0, {"stored": 1})


async def test_one_failed_output_makes_a_failed_image(journal: SqliteJournal) -> None:
    """It is counted as failed until somebody retries it; then the ending stays and the failure is settled."""
    image = await take_one(journal, sighting(under=rule("thumb")))
    await journal.requested(image.id, None, (BUCKET, "k"), 1_001.0)
    await journal.end(image.id, None, ending(image, Event.IMAGE_STORED), 1_001.0)
    await journal.end(image.id, "thumb", ending(image, Event.IMAGE_FAILED, "thumb"), 1_002.0)
    assert await counts(journal) == Counts(0, 0, 1, {"failed": 1})

    await journal.retry(None, lambda _: rule("thumb"), 1_003.0)
    assert await counts(journal) == Counts(1, 0, 0, {"failed": 1})


async def test_a_newer_version_settles_a_failure(journal: SqliteJournal) -> None:
    """Nobody has to look at a file that was replaced."""
    await journal.give_up(sighting(version=1), FailedReason.EMPTY, "empty", "")
    await take_one(journal, sighting(version=2))

    figures = await journal.figures(10_000.0)
    assert (figures.counts.failed, figures.last_errors) == (0, [])


class TestDismissing:
    """Somebody has seen a failure, and it needs nothing more."""

    async def test_a_dismissed_failure_is_not_counted_and_stays_told(
        self, journal: SqliteJournal, connection: sqlite3.Connection
    ) -> None:
        """It has failed all the same: the ending stays, and its history says who settled it."""
        failed = await journal.give_up(sighting(), FailedReason.EMPTY, "empty", "")
        assert await journal.dismiss_failed([failed], 1_002.0) == [failed]

        figures = await journal.figures(10_000.0)
        assert (figures.counts.failed, figures.last_errors) == (0, [])
        assert figures.counts.ended == {"failed": 1}
        (story,) = JournalViews(connection).stories(failed)
        assert [step.event for step in story.steps][-1] == "dismissed"

    async def test_only_unsettled_failures_are_dismissed(self, journal: SqliteJournal) -> None:
        """Nothing else changes, and nothing twice."""
        stored = await take_one(journal, sighting(b"stored.jpg"))
        await store_all(journal, stored)
        first = await journal.give_up(sighting(b"a.jpg"), FailedReason.EMPTY, "empty", "")
        replaced = await journal.give_up(sighting(b"b.jpg"), FailedReason.EMPTY, "empty", "")
        await take_one(journal, sighting(b"b.jpg", version=2))

        assert await journal.dismiss_failed([stored.id, replaced, "nobody"], 1_002.0) == []
        assert await journal.dismiss_failed(None, 1_002.0) == [first]
        assert await journal.dismiss_failed(None, 1_003.0) == []

    async def test_retry_of_all_leaves_the_dismissed_alone(self, journal: SqliteJournal) -> None:
        """By its id one can still be retried."""
        failed = await journal.give_up(sighting(), FailedReason.EMPTY, "empty", "")
        await journal.dismiss_failed([failed], 1_002.0)

        assert await journal.retry(None, lambda _: rule(), 1_003.0) == []
        assert len(await journal.retry([failed], lambda _: rule(), 1_003.0)) == 1

    async def test_lists_of_failures_leave_out_the_dismissed(
        self, journal: SqliteJournal, connection: sqlite3.Connection
    ) -> None:
        """Lists of everything still have it."""
        failed = await journal.give_up(sighting(), FailedReason.EMPTY, "empty", "")
        await journal.dismiss_failed([failed], 1_002.0)

        def ids(state: str | None) -> list[str]:
            return [each.image.id for each in JournalViews(connection).page(state=state)]

        assert (ids("failed"), ids(None)) == ([], [failed])


async def test_figures_survive_pruning(journal: SqliteJournal) -> None:
    """What leaves the journal is no longer counted, folder by folder; what was done hour by hour stays."""
    for number in range(3):
        image = await take_one(journal, sighting(b"%d.jpg" % number, under=rule(folder=f"folder-{number % 2}")))
        await store_all(journal, image)
    await journal.advance_outbox(OutboxCursor(6, None, 6))
    await journal.prune(1e9)

    figures = await journal.figures(1e9)
    assert figures.counts.ended == {"stored": 0}


async def test_hours_tell_images_bytes_and_durations(journal: SqliteJournal, connection: sqlite3.Connection) -> None:
    """Images that ended, what they weighed before and after, and how long they took."""
    await store_all(journal, await take_one(journal, sighting(b"a.jpg", at=1_000.0)), 1_004.0)
    await store_all(journal, await take_one(journal, sighting(b"b.jpg", at=1_000.0, under=rule("thumb"))), 1_004.0)
    await journal.give_up(sighting(b"c.jpg", at=2 * HOUR), FailedReason.EMPTY, "empty", "")

    first, *others = activity.hours_since(connection, 0.0)
    assert (first.start, first.stored, first.bytes_in, first.bytes_out) == (0.0, 2, 3_000, 1_200)
    assert first.durations == {duration_step(4.0): 2}
    assert [hour.failed for hour in others] == [1]
    assert activity.hours_since(connection, 1e12) == []


async def test_the_daemon_says_how_it_does(journal: SqliteJournal, connection: sqlite3.Connection) -> None:
    """Commands read its last word, whatever bytes a path had."""
    folder = FolderState("products", "/srv/caf\udce9", "lost", "not mounted")
    await journal.keep_report("here", DaemonReport(ApiFigures("key_refused", 7.0, "401"), (folder,)), 1.0)
    await journal.keep_report("here", DaemonReport(ApiFigures("reachable"), (folder,)), 2.0)

    said = overview.report(connection)
    assert said is not None
    assert (said.api.state, said.folders[0].path) == ("reachable", "/srv/caf\\udce9")


@pytest.mark.parametrize("query", [overview.IN_FLIGHT, overview.FAILED, overview.LAST_ERRORS, overview.OLDEST, overview.OF_LATE])
def test_figures_are_read_from_indexes(connection: sqlite3.Connection, query: str) -> None:
    """No figure walks through all images: `status` and the page cost the same over a million of them."""
    values = (1,) * query.count("?")
    plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()

    assert not [row[3] for row in plan if row[3].startswith("SCAN images") and "INDEX images_failed" not in row[3]]
