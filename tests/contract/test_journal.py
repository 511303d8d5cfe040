"""What every Journal promises, on SQLite in a file or in memory, and on PostgreSQL, alike."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import Postgres, open_postgres
from tests.support.records import (
    BUCKET,
    FACTS,
    TICKET,
    ending,
    image_of,
    open_journal,
    output_state,
    rule,
    sighting,
    store_all,
    stored,
    stored_object,
    take_one,
)
from watcher.errors import Paused
from watcher.model import (
    ENDINGS,
    Event,
    FailedReason,
    IgnoredReason,
    ImageState,
    Known,
    KnownDirectory,
    Observation,
    OutputState,
    Postponement,
    Record,
    Subtree,
)
from watcher.ports import Journal
from watcher.records import activity
from watcher.records.chain import compose, line_hash
from watcher.records.journal import ThreadedJournal
from watcher.records.queries import OutboxCursor


@pytest.fixture(params=["memory", "file", "postgresql"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ThreadedJournal]:
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        opened: ThreadedJournal = await open_postgres(server.journal())
    else:
        opened = open_journal(":memory:" if request.param == "memory" else tmp_path / "journal.db")
    yield opened
    await opened.close()


def test_implements_the_protocol(journal: ThreadedJournal) -> None:
    """The type checker and this line hold it to `watcher.model.Journal`: every method of the Protocol is there."""
    promised: Journal = journal
    names = [name for name in vars(Journal) if not name.startswith("_")]

    assert names
    assert all(callable(getattr(promised, name)) for name in names)


class TestTaking:
    async def test_gives_a_queued_image_with_all_outputs(self, journal: ThreadedJournal) -> None:
        """A taken file comes back as a whole image, outputs in the order of its rule."""
        seen = sighting(b"d/a.jpg", under=rule("thumb", "large"))

        image = await take_one(journal, seen)

        assert (seen.file, seen.observation, seen.rule, seen.detected_at) == (
            image.file,
            image.observation,
            image.rule,
            image.detected_at,
        )
        assert [(output.rendition, output.state) for output in image.outputs] == [
            (None, OutputState.WAITING),
            ("thumb", OutputState.WAITING),
            ("large", OutputState.WAITING),
        ]

    async def test_remembers_the_file(self, journal: ThreadedJournal) -> None:
        """Scans find the observation of a taken file, in its directory only."""
        seen = sighting(b"d/a.jpg")
        await journal.take([seen])

        assert {b"a.jpg": Known(seen.observation)} == await journal.known("products", b"d")
        assert await journal.known("products", b"") == {}
        stamp = (seen.observation.size, seen.observation.mtime_ns, seen.observation.ctime_ns, seen.observation.inode)
        expected = [KnownDirectory({b"a.jpg": stamp}, {}), KnownDirectory({}, {})]
        assert expected == await journal.known_in("products", [b"d", b""])

    async def test_same_version_is_taken_once(self, journal: ThreadedJournal) -> None:
        """The same observation gives the same id, within one call and after the image has ended; and counts as new once."""
        taken = await journal.take([sighting(), sighting()])
        first, again = taken
        await store_all(journal, await image_of(journal, first))

        later = await journal.take([sighting()])
        assert [first, first] == [again, *later]
        assert (taken.new, later.new) == ({first}, set())

    @pytest.mark.parametrize("more", [0, 45])
    async def test_many_at_once_are_taken_as_one_by_one(self, journal: ThreadedJournal, more: int) -> None:
        """New ones, known ones, newer versions, lost ones that are back and twins in one call: each as if it came alone."""
        known, newer, lost = await journal.take([sighting(b"known.jpg"), sighting(b"newer.jpg"), sighting(b"lost.jpg")])
        gone = await image_of(journal, lost)
        assert await journal.end(lost, None, ending(gone, Event.IMAGE_VANISHED), 1_001.0)
        wide = replace(sighting(b"d/new.jpg", under=rule("thumb")), keys=("a/new.jpg", "a/new-thumb.jpg"), backlog=True)
        again = [sighting(b"known.jpg"), sighting(b"newer.jpg", version=2), sighting(b"lost.jpg")]

        others = [sighting(b"o/%d.jpg" % number, under=rule("thumb", folder="products")) for number in range(more)]
        found = await journal.take([wide, *again, *others, sighting(b"twin.jpg"), sighting(b"twin.jpg")])
        first, *same, one, two = [*found[:4], *found[-2:]]

        new = await image_of(journal, first)
        assert [(each.rendition, each.key) for each in new.outputs] == [(None, "a/new.jpg"), ("thumb", "a/new-thumb.jpg")]
        assert same[0] == known
        assert same[1] != newer
        assert same[2] != lost
        assert one == two
        assert found.new == {*found} - {known}
        due = await journal.due(2_000.0, 100, ())
        taken = {each.id: each for each in due if each.state is ImageState.OPEN}
        assert [identity for identity in taken if identity not in found[4:-2]] == [known, same[1], same[2], one, first]
        assert [(taken[identity].file, len(taken[identity].outputs)) for identity in found[4:-2]] == [
            (each.file, 2) for each in others
        ]
        assert len(await journal.known("products", b"o")) == more
        ended = [each.record["event"] for each in await journal.endings_after(0, 10)]
        assert ended == [Event.IMAGE_VANISHED, Event.IMAGE_SUPERSEDED]

    async def test_ids_come_in_the_order_of_the_sightings(self, journal: ThreadedJournal) -> None:
        """However many there are, the ids answer the sightings one by one."""
        seen = [sighting(b"%d.jpg" % number) for number in range(1_100)]

        identities = await journal.take(seen)

        images = {image.id: image.file for image in await journal.due(2_000.0, 2_000, ())}
        assert [each.file for each in seen] == [images[identity] for identity in identities]

    async def test_new_version_supersedes_one_that_waits(self, journal: ThreadedJournal) -> None:
        """A waiting image whose file was replaced ends as superseded, and says by whom."""
        old = await take_one(journal, sighting(version=1))
        new = await take_one(journal, sighting(version=2))

        (ended,) = await journal.endings_after(0, 10)
        assert (old.id, "image.superseded", new.id) == (ended.image_id, ended.record["event"], ended.record["by"])
        assert ImageState.ENDED is (await image_of(journal, old.id)).state

    async def test_new_version_leaves_a_request_on_its_way_alone(self, journal: ThreadedJournal) -> None:
        """An output whose answer is awaited, or in doubt, keeps its own ending; only what waits is superseded."""
        old = await take_one(journal, sighting(version=1, under=rule("thumb", "large")))
        await journal.requested(old.id, None, (BUCKET, "a"), 1_000.0)
        await journal.requested(old.id, "thumb", (BUCKET, "t"), 1_000.0)
        await journal.postponed(old.id, "thumb", Postponement(1_000.0, 0, 1, True, "lost"), 1_000.0)
        await journal.take([sighting(version=2, under=rule("thumb", "large"))])

        old = await image_of(journal, old.id)
        states = [output_state(old, rendition) for rendition in (None, "thumb", "large")]
        assert states == [OutputState.REQUESTED, OutputState.WAITING, OutputState.SUPERSEDED]

    async def test_given_up_file_fails_with_all_outputs(self, journal: ThreadedJournal) -> None:
        """A file that never became whole ends at once, once for each output, and is not given up twice."""
        seen = sighting(under=rule("thumb"))
        identity = await journal.give_up(seen, FailedReason.TRUNCATED, "cut", "save it again")

        again = await journal.give_up(seen, FailedReason.TRUNCATED, "cut", "save it again")

        endings = await journal.endings_after(0, 10)
        assert identity == again
        assert [(each.rendition, each.record["reason"]) for each in endings] == [(None, "truncated"), ("thumb", "truncated")]
        assert ImageState.ENDED is (await image_of(journal, identity)).state

    async def test_file_made_good_is_taken(self, journal: ThreadedJournal) -> None:
        """A later version of a file that was given up is an image like any other."""
        await journal.give_up(sighting(version=1), FailedReason.EMPTY, "empty", "")

        image = await take_one(journal, sighting(version=2))

        assert OutputState.WAITING is output_state(image)

    async def test_names_are_bytes(self, journal: ThreadedJournal) -> None:
        """A name that is no UTF-8 comes back as it went in, in paths and in facts; a large inode as well."""
        seen = sighting(b"d\xff/\xe9.jpg")
        seen = replace(seen, observation=Observation(1, -5, 7, 2**64 - 3))
        image = await take_one(journal, seen)
        facts = replace(FACTS, name="\udce9.jpg", width=3, height=4, no_formal_end=True)
        await journal.hashed(image.id, facts, TICKET)
        await journal.postponed(image.id, None, Postponement(1_000.0, 0, 0, False, "busy"), 1_000.0)

        image = await image_of(journal, image.id)
        assert (seen.file, seen.observation, facts) == (image.file, image.observation, image.facts)
        assert {b"\xe9.jpg": Known(seen.observation)} == await journal.known("products", b"d\xff")


class TestFiles:
    @pytest.mark.parametrize("event", [Event.IMAGE_VANISHED, Event.IMAGE_SUPERSEDED])
    async def test_what_was_not_there_is_taken_when_it_is_back(self, journal: ThreadedJournal, event: Event) -> None:
        """A directory moved away before its files' turn, and back: not one stat value differs, and they are taken again."""
        seen = sighting(b"d/a.jpg", under=rule("thumb"))
        image = await take_one(journal, seen)
        await journal.end(image.id, None, stored(image), 1_001.0)
        await journal.end(image.id, "thumb", ending(image, event, "thumb"), 1_001.0)

        assert await journal.known("products", b"d") == {}
        again = await take_one(journal, seen)
        assert again.id != image.id
        assert len(again.open_outputs) == 2
        assert await journal.take([seen]) == [again.id]

    async def test_a_newer_version_is_not_forgotten_with_the_older_one(self, journal: ThreadedJournal) -> None:
        """What is known of a path is its newest version."""
        older = await take_one(journal, sighting())
        await journal.requested(older.id, None, (BUCKET, "products/a.jpg"), 1_000.5)
        newer = sighting(version=2)
        await journal.take([newer])
        await journal.end(older.id, None, ending(older, Event.IMAGE_SUPERSEDED), 1_001.0)

        assert {b"a.jpg": Known(newer.observation)} == await journal.known("products", b"")

    async def test_ignored_version_is_remembered_with_its_reason(self, journal: ThreadedJournal) -> None:
        """What was judged needs no second look; a later take of another version replaces the judgement."""
        seen = sighting()
        await journal.ignore(seen.file, seen.observation, IgnoredReason.NOT_AN_IMAGE)
        judged = await journal.known("products", b"")
        await journal.take([sighting(version=2)])

        assert {b"a.jpg": Known(seen.observation, "not_an_image")} == judged
        assert {b"a.jpg": Known(sighting(version=2).observation)} == await journal.known("products", b"")

    async def test_forgotten_files_keep_their_images(self, journal: ThreadedJournal) -> None:
        """A path gone from the tree is no longer known; what was taken goes on."""
        seen = sighting(b"d/a.jpg")
        image = await take_one(journal, seen)
        await journal.forget("products", dict.fromkeys([b"d/a.jpg", b"d/never.jpg"], seen.observation.stamp))

        assert await journal.known("products", b"d") == {}
        assert OutputState.WAITING is output_state(await image_of(journal, image.id))

    async def test_what_is_back_unchanged_is_known_again_and_is_no_new_image(self, journal: ThreadedJournal) -> None:
        """A directory moved away and back: what was stored, and what was dismissed, with its reason."""
        kept, own = sighting(b"d/a.jpg"), sighting(b"d/own.jpg")
        image, output = await take_one(journal, kept), await take_one(journal, own)
        await store_all(journal, image)
        await journal.dismiss(output.id, IgnoredReason.OWN_OUTPUT, 1_001.0)
        before = await journal.known("products", b"d")
        await journal.forget("products", {each.file.relative: each.observation.stamp for each in (kept, own)})

        assert await journal.known("products", b"d") == {}
        assert await journal.take([kept, own]) == [image.id, output.id]
        assert await journal.known("products", b"d") == before
        assert before[b"own.jpg"].ignored == IgnoredReason.OWN_OUTPUT

    async def test_only_the_version_that_is_gone_is_forgotten(self, journal: ThreadedJournal) -> None:
        """A scan that read the directory before a newer version was taken does not make it unknown."""
        await take_one(journal, sighting(b"d/a.jpg"))
        newer = sighting(b"d/a.jpg", version=2)
        await take_one(journal, newer)
        await journal.forget("products", {b"d/a.jpg": sighting(b"d/a.jpg").observation.stamp})

        assert {b"a.jpg": Known(newer.observation)} == await journal.known("products", b"d")


class TestTurns:
    async def test_due_gives_oldest_first_up_to_the_limit(self, journal: ThreadedJournal) -> None:
        """Waiting images come in the order they are due, without those named, never more than asked for."""
        identities = await journal.take([sighting(b"%d.jpg" % number, at=1_000.0 + number) for number in range(6)])

        due = await journal.due(1_004.0, 3, {identities[1]})

        assert [identities[0], identities[2], identities[3]] == [image.id for image in due]

    async def test_what_is_away_is_not_due(self, journal: ThreadedJournal) -> None:
        """A whole folder, or what lies at and below a path of it; neither its outputs nor originals to be put away."""
        names = [b"a.jpg", b"nas/b.jpg", b"nas", b"nas0", b"nasty.jpg", b"nas/c/d.jpg"]
        for name in names:
            await take_one(journal, sighting(name))
        await take_one(journal, sighting(b"e.jpg", under=rule(folder="others")))
        (put_away,) = await journal.take([sighting(b"nas/ended.jpg")])
        await store_all(journal, await image_of(journal, put_away), finished=False)

        async def due(*away: Subtree) -> set[bytes]:
            return {image.file.relative for image in await journal.due(1e9, 100, (), away)}

        everything = await due()
        assert everything == {*names, b"e.jpg", b"nas/ended.jpg"}
        assert await due(Subtree("products")) == {b"e.jpg"}
        assert await due(Subtree("products", b"nas")) == {b"a.jpg", b"nas0", b"nasty.jpg", b"e.jpg"}
        assert await due(Subtree("others"), Subtree("products", b"nas/c")) == everything - {b"e.jpg", b"nas/c/d.jpg"}
        assert await journal.open_images() == 8
        assert await journal.open_images([Subtree("products", b"nas")]) == 4

    async def test_image_is_given_once_however_many_outputs_are_due(self, journal: ThreadedJournal) -> None:
        """Two due outputs are one turn."""
        image = await take_one(journal, sighting(under=rule("thumb")))

        assert [image.id] == [each.id for each in await journal.due(2_000.0, 10, ())]

    async def test_requested_output_is_not_due(self, journal: ThreadedJournal) -> None:
        """While an answer is awaited there is nothing to do."""
        image = await take_one(journal)
        await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)

        assert await journal.due(1e9, 10, ()) == []

    async def test_new_version_is_due_when_the_older_one_has_ended(self, journal: ThreadedJournal) -> None:
        """What is asked for later must arrive later, so a version waits for what is on its way of the one before."""
        old = await take_one(journal, sighting(version=1))
        await journal.requested(old.id, None, (BUCKET, "k"), 1_000.0)
        (new,) = await journal.take([sighting(version=2)])
        meanwhile = await journal.due(1e9, 10, ())
        await journal.end(old.id, None, stored(old, key="k"), 1_001.0)

        assert meanwhile == []
        assert {old.id, new} == {image.id for image in await journal.due(1e9, 10, ())}

    async def test_broken_turn_leaves_its_requests_in_doubt(self, journal: ThreadedJournal) -> None:
        """What was asked for is asked about; a job is followed on, and what was not asked for waits as before."""
        image = await take_one(journal, sighting(under=rule("thumb", "large")))
        await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)
        await journal.requested(image.id, "thumb", (BUCKET, "t"), 1_000.0)
        await journal.enqueued(image.id, "thumb", "job-1", 1_000.0)
        await journal.interrupted(image.id, 1_001.0)

        states = [(output.state, output.doubt) for output in (await image_of(journal, image.id)).outputs]
        assert states == [(OutputState.WAITING, True), (OutputState.ENQUEUED, False), (OutputState.WAITING, False)]

    async def test_job_is_due_at_once(self, journal: ThreadedJournal) -> None:
        """A job has to be followed, also after a restart."""
        image = await take_one(journal)
        await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)
        await journal.enqueued(image.id, None, "job-1", 1_000.0)

        (due,) = await journal.due(1_000.0, 10, ())
        assert (due.outputs[0].job_id, due.outputs[0].state, due.outputs[0].key) == ("job-1", OutputState.ENQUEUED, "k")

    async def test_next_due_is_the_first_after_now(self, journal: ThreadedJournal) -> None:
        """Who has nothing to do learns how long; nobody waits for what is due already, or for nothing."""
        image = await take_one(journal, sighting(at=1_000.0))
        before = await journal.next_due(999.0)
        now = await journal.next_due(1_000.0)
        await journal.postponed(image.id, None, Postponement(1_050.0, 0, 1, False, "busy"), 1_000.0)

        assert (before, now, await journal.next_due(1_000.0)) == (1_000.0, None, 1_050.0)

    async def test_ended_image_is_due_until_it_is_finished(self, journal: ThreadedJournal) -> None:
        """The original has to be put away after all outputs ended; put off, it comes again; finished, never."""
        image = await take_one(journal)
        await journal.end(image.id, None, stored(image), 1_001.0)
        first = await journal.due(1_001.0, 10, ())
        await journal.finish_later(image.id, 1_100.0, "the target is full", 1_001.0)
        meanwhile = await journal.due(1_099.0, 10, ())
        later = await journal.due(1_100.0, 10, ())
        await journal.finish(image.id, "kept", 1_100.0)

        assert (
            [each.state for each in first],
            meanwhile,
            [each.state for each in later],
            await journal.due(1e9, 10, ()),
        ) == ([ImageState.ENDED], [], [ImageState.ENDED], [])

    @pytest.mark.parametrize("gone", [True, False])
    async def test_a_file_that_was_put_away_is_known_no_more(self, journal: ThreadedJournal, gone: bool) -> None:
        """No scan has to find out that it is not there; one of another name, or that stays, is known as before."""
        image = await take_one(journal)
        await take_one(journal, sighting(b"b.jpg"))
        await journal.end(image.id, None, stored(image), 1_001.0)
        await journal.finish(image.id, "deleted" if gone else "kept", 1_001.0, gone=gone)

        assert set(await journal.known("products", b"")) == ({b"b.jpg"} if gone else {b"a.jpg", b"b.jpg"})

    async def test_what_is_put_off_again_and_again_is_one_step(self, journal: ThreadedJournal) -> None:
        """A move that never succeeds must not fill the history; another reason is another step."""
        image = await take_one(journal)
        await journal.end(image.id, None, stored(image), 1_001.0)
        for number, reason in enumerate(["read-only"] * 5 + ["full"] * 5):
            await journal.finish_later(image.id, 1_100.0 + number, reason, 1_001.0 + number)
        query = "SELECT count(*) FROM history WHERE event = 'image.retry'"
        steps = await journal._ask(lambda connection: connection.execute(query).fetchone())  # noqa: SLF001 - no view counts steps
        assert steps[0] == 2


class TestOutputs:
    async def test_hashed_facts_and_ticket_come_back(self, journal: ThreadedJournal) -> None:
        """What the open descriptor said survives as soon as anything else of the image does, and so does the ticket."""
        image = await take_one(journal, sighting(under=rule("thumb")))
        await journal.hashed(image.id, FACTS, TICKET)
        await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)

        image = await image_of(journal, image.id)
        assert (image.facts, image.ticket) == (FACTS, TICKET)

    async def test_postponed_output_has_its_new_values(self, journal: ThreadedJournal) -> None:
        """Attempts, tries, doubt and time are what was said, and the job is forgotten."""
        image = await take_one(journal)
        await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)
        await journal.enqueued(image.id, None, "job-1", 1_000.0)

        assert await journal.postponed(image.id, None, Postponement(1_030.0, 2, 5, True, "timeout"), 1_000.0)

        (output,) = (await image_of(journal, image.id)).outputs
        assert (
            output.state,
            output.key,
            output.attempts,
            output.tries,
            output.doubt,
            output.job_id,
            output.due_at,
        ) == (OutputState.WAITING, "k", 2, 5, True, None, 1_030.0)

    async def test_request_settles_doubt(self, journal: ThreadedJournal) -> None:
        """A new request begins with a clean slate."""
        image = await take_one(journal)
        await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)
        await journal.postponed(image.id, None, Postponement(1_000.0, 0, 1, True, "lost"), 1_000.0)
        await journal.requested(image.id, None, (BUCKET, "k"), 1_001.0)
        await journal.postponed(image.id, None, Postponement(1_002.0, 0, 0, False, "throttled"), 1_001.0)

        assert not (await image_of(journal, image.id)).outputs[0].doubt

    @pytest.mark.parametrize("event", sorted(ENDINGS))
    async def test_output_ends_once(self, journal: ThreadedJournal, event: Event) -> None:
        """After an ending every change says False and changes nothing."""
        image = await take_one(journal, sighting(under=rule("thumb")))
        assert await journal.end(image.id, None, ending(image, event), 1_001.0)
        before = (await image_of(journal, image.id)).outputs

        answers = [
            await journal.end(image.id, None, ending(image, Event.IMAGE_FAILED), 1_002.0),
            await journal.requested(image.id, None, (BUCKET, "k"), 1_002.0),
            await journal.enqueued(image.id, None, "job", 1_002.0),
            await journal.postponed(image.id, None, Postponement(1_002.0, 0, 0, False, ""), 1_002.0),
            await journal.unchanged(image.id, None, "k", stored_object(image), 1_002.0),
        ]

        assert answers == [False] * 5
        assert before == (await image_of(journal, image.id)).outputs
        assert len(await journal.endings_after(0, 10)) == 1

    async def test_job_needs_a_request(self, journal: ThreadedJournal) -> None:
        """An output that waits cannot become a job."""
        image = await take_one(journal)

        assert not await journal.enqueued(image.id, None, "job", 1_000.0)
        assert OutputState.WAITING is output_state(await image_of(journal, image.id))

    async def test_image_ends_with_its_last_output(self, journal: ThreadedJournal) -> None:
        """One open output keeps the image open."""
        image = await take_one(journal, sighting(under=rule("thumb")))
        await journal.end(image.id, None, stored(image, None, "a"), 1_001.0)
        halfway = (await image_of(journal, image.id)).state
        await journal.end(image.id, "thumb", stored(image, "thumb", "t"), 1_001.0)

        assert (halfway, (await image_of(journal, image.id)).state) == (ImageState.OPEN, ImageState.ENDED)

    @pytest.mark.parametrize("event", sorted(ENDINGS))
    async def test_image_whose_original_is_kept_is_finished_with_its_last_ending(
        self, journal: ThreadedJournal, event: Event
    ) -> None:
        """Nothing is left to do, so that it is due no more; where something is, it is due at once."""
        kept = await take_one(journal, sighting(b"kept.jpg", under=rule("thumb", after="keep")))
        moved = await take_one(journal, sighting(b"moved.jpg", under=rule("thumb", after="move:/elsewhere")))
        for image in (kept, moved):
            await journal.end(image.id, None, stored(image, None, image.file.relative_text), 1_001.0)
        halfway = (await journal.totals()).unfinished_images
        for image in (kept, moved):
            await journal.end(image.id, "thumb", ending(image, event, "thumb"), 1_001.0)

        assert (halfway, (await journal.totals()).unfinished_images) == (2, 1)
        assert [moved.id] == [image.id for image in await journal.due(1_001.0, 10, ())]

    async def test_unchanged_and_dismissed_images_are_finished_where_originals_are_kept(self, journal: ThreadedJournal) -> None:
        """The ways to end without a line are no others."""
        for name in (b"a.jpg", b"b.jpg"):
            await take_one(journal, sighting(name, under=rule(after="keep")))
        same, own = await journal.due(2_000.0, 10, ())
        await journal.unchanged(same.id, None, "k", stored_object(same), 1_001.0)
        await journal.dismiss(own.id, IgnoredReason.OWN_OUTPUT, 1_001.0)

        assert (await journal.totals()).unfinished_images == 0

    async def test_unknown_image_is_an_error(self, journal: ThreadedJournal) -> None:
        """A mistake of the caller is told to the caller, and nobody else notices."""
        image = await take_one(journal)

        with pytest.raises(KeyError):
            await journal.requested("nobody", None, (BUCKET, "k"), 1_000.0)

        assert await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)


class TestObjects:
    async def test_stored_ending_tells_what_lies_at_the_key(self, journal: ThreadedJournal) -> None:
        """The object is known in the same commit as the ending."""
        image = await take_one(journal)
        await journal.end(image.id, None, stored(image), 1_001.0)

        place = (BUCKET, "products/a.jpg")
        assert {place: stored_object(image)} == await journal.stored_at([place, (BUCKET, "other")])

    async def test_unchanged_takes_the_object_over(self, journal: ThreadedJournal) -> None:
        """The same content from another path owns the key from now on, and whose output it is stays known."""
        image = await take_one(journal, sighting(b"a.jpg"))
        await journal.end(image.id, None, stored(image), 1_001.0)
        other = await take_one(journal, sighting(b"b.jpg"))
        mine = replace(stored_object(other), output_sha1=None)

        assert await journal.unchanged(other.id, None, mine.key, mine, 1_002.0)

        assert {(BUCKET, mine.key): replace(mine, output_sha1="0" * 40)} == await journal.stored_at([(BUCKET, mine.key)])
        assert len(await journal.endings_after(0, 10)) == 1

    async def test_a_request_leaves_the_key_in_doubt(self, journal: ThreadedJournal) -> None:
        """Whatever becomes of a request, the content at its key is not known before something is stored there again."""
        image = await take_one(journal, sighting(b"a.jpg"))
        await journal.end(image.id, None, stored(image), 1_001.0)
        before, place = stored_object(image), (BUCKET, stored_object(image).key)
        other = await take_one(journal, sighting(b"b.jpg"))

        await journal.requested(other.id, None, (BUCKET, place[1]), 1_002.0)

        assert await journal.stored_at([place]) == {place: replace(before, sha1="")}

    async def test_own_output_is_recognised_in_its_folder(self, journal: ThreadedJournal) -> None:
        """Content that came out of this folder's images is ours; of another folder, or what also went in, is not."""
        image = await take_one(journal)
        await journal.end(image.id, None, stored(image), 1_001.0)
        same = await take_one(journal, sighting(b"tiny.jpg"))
        tiny = stored(same, None, "tiny")
        assert tiny.stored
        itself = replace(tiny.stored, sha1="b" * 40, output_sha1="b" * 40)
        await journal.end(same.id, None, replace(tiny, stored=itself), 1_001.0)

        answers = [
            await journal.is_own_output("products", "0" * 40),
            await journal.is_own_output("editorial", "0" * 40),
            await journal.is_own_output("products", "b" * 40),
            await journal.is_own_output("products", "a" * 40),
        ]
        assert answers == [True, False, False, False]

    async def test_dismissed_image_is_finished_without_an_ending(self, journal: ThreadedJournal) -> None:
        """One of our own outputs needs nothing: no line, nothing to put away, and the file is remembered as ignored."""
        image = await take_one(journal)
        await journal.dismiss(image.id, IgnoredReason.OWN_OUTPUT, 1_001.0)

        assert (await journal.due(1e9, 10, ()), await journal.endings_after(0, 10), await journal.open_images()) == ([], [], 0)
        assert {b"a.jpg": Known(image.observation, "own_output")} == await journal.known("products", b"")


class TestTotals:
    async def test_totals_follow_every_change(self, journal: ThreadedJournal) -> None:
        """The figures of the status are those of the rows."""
        first = await take_one(journal, sighting(b"a.jpg", under=rule("thumb")))
        second = await take_one(journal, sighting(b"b.jpg"))
        await journal.take([sighting(b"c.jpg")])
        await journal.requested(first.id, None, (BUCKET, "a"), 1_000.0)
        await journal.requested(second.id, None, (BUCKET, "b"), 1_000.0)
        await journal.enqueued(second.id, None, "job", 1_000.0)
        await journal.end(first.id, "thumb", stored(first, "thumb"), 1_001.0)

        totals = await journal.totals()
        assert (
            totals.waiting,
            totals.requested,
            totals.enqueued,
            totals.stored,
            totals.open,
            totals.ended,
            totals.unfinished_images,
        ) == (1, 1, 1, 1, 3, 1, 3)


class TestManyAtOnce:
    async def test_concurrent_changes_are_all_made(self, journal: ThreadedJournal) -> None:
        """Hundreds of callers at once get their own answers, and one caller's mistake spoils nobody's change."""
        await journal.take([sighting(b"%d.jpg" % number) for number in range(400)])
        identities = [image.id for image in await journal.due(2_000.0, 400, ())]

        answers = await asyncio.gather(
            *(journal.requested(identity, None, (BUCKET, "k"), 1_000.0) for identity in identities),
            journal.requested("nobody", None, (BUCKET, "k"), 1_000.0),
            return_exceptions=True,
        )

        assert answers[:-1] == [True] * 400
        assert isinstance(answers[-1], KeyError)
        assert (await journal.totals()).requested == 400

    @pytest.mark.parametrize("mistake", [False, True])
    async def test_all_that_many_changes_did_is_told_and_counted(self, journal: ThreadedJournal, mistake: bool) -> None:
        """Steps of histories and counts of the hour are those of each change by itself, once, also beside a wrong one."""
        await journal.take([sighting(b"%d.jpg" % number) for number in range(40)])
        images = await journal.due(2_000.0, 40, ())
        ends = [journal.end(image.id, None, stored(image), 1_001.0) for image in images]
        wrong = [journal.finish("nobody", "kept", 1_001.0)] if mistake else []
        later = [journal.finish_later(image.id, 1_100.0, "full", 1_001.0) for image in images for _ in range(2)]
        await asyncio.gather(*ends, *wrong, *later, return_exceptions=True)

        (hour,) = await journal._ask(lambda connection: activity.hours_since(connection, 0.0))  # noqa: SLF001 - for the page only
        counted = (hour.stored, hour.failed, hour.bytes_out, sum(hour.durations.values()))
        query = "SELECT image, event FROM history ORDER BY image, number"
        steps = await journal._ask(lambda connection: connection.execute(query).fetchall())  # noqa: SLF001 - no view gives them all
        assert counted == (40, 0, 40 * 400, 40)
        assert [event for _, event in steps] == ["image.stored", "image.retry"] * 40

    async def test_cancelled_caller_does_not_undo_the_change(self, journal: ThreadedJournal) -> None:
        """What was handed over is made, whether or not somebody still waits for the word."""
        image = await take_one(journal)
        journal.endings_added.clear()
        waiting = asyncio.create_task(journal.end(image.id, None, stored(image), 1_001.0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(journal.endings_added.wait(), 20)

        assert len(await journal.endings_after(0, 10)) == 1

    async def test_impossible_state_is_refused_by_the_database(self, journal: ThreadedJournal) -> None:
        """A change that would break the rules of the schema fails alone."""
        image = await take_one(journal)

        with pytest.raises(Exception, match="constraint"):
            await journal.postponed(image.id, None, Postponement(1.0, -1, 0, False, ""), 1_000.0)

        assert OutputState.WAITING is output_state(await image_of(journal, image.id))


class TestFreshFirst:
    async def test_backlog_waits_behind_what_is_dropped_now(self, journal: ThreadedJournal) -> None:
        """However old it is, and however many there are; among themselves both are taken oldest first."""
        await journal.take([replace(sighting(b"%d.jpg" % number, at=100.0 + number), backlog=True) for number in range(3)])
        await journal.take([sighting(b"new.jpg", at=900.0), sighting(b"newer.jpg", at=901.0)])

        due = await journal.due(1_000.0, 10, ())

        assert [image.file.relative for image in due] == [b"new.jpg", b"newer.jpg", b"0.jpg", b"1.jpg", b"2.jpg"]

    async def test_next_due_counts_the_backlog(self, journal: ThreadedJournal) -> None:
        """What waits for later in the backlog is not slept through."""
        await journal.take([replace(sighting(at=2_000.0), backlog=True)])

        assert await journal.next_due(1_000.0) == 2_000.0


class TestPauses:
    async def test_paused_folder_has_nothing_due(self, journal: ThreadedJournal) -> None:
        """Of one folder, or of all; other folders go on, and all go on after a resume."""
        ours = await take_one(journal, sighting())
        theirs = await take_one(journal, sighting(b"b.jpg", under=rule(folder="drafts", root=Path("/srv/drafts"))))

        async def due() -> list[str]:
            return [image.id for image in await journal.due(2_000.0, 10, ())]

        assert await journal.pauses.pause("products", 1_000.0)
        assert not await journal.pauses.pause("products", 1_001.0)
        assert await due() == [theirs.id]
        assert await journal.pauses.pause(None, 1_002.0)
        assert await due() == []
        assert await journal.pauses.paused() == {"products": 1_000.0, None: 1_002.0}
        assert await journal.pauses.resume(None)
        assert not await journal.pauses.resume(None)
        assert await due() == [ours.id, theirs.id]

    async def test_resuming_one_folder_leaves_the_others(self, journal: ThreadedJournal) -> None:
        """Each pause ends by its own name."""
        await journal.pauses.pause("products", 1_000.0)
        await journal.pauses.pause("drafts", 1_000.0)

        assert await journal.pauses.resume("products")
        assert not await journal.pauses.resume("nobody")
        assert await journal.pauses.paused() == {"drafts": 1_000.0}

    async def test_job_at_work_is_followed_in_a_paused_folder(self, journal: ThreadedJournal) -> None:
        """It is paid for: only new requests wait."""
        image = await take_one(journal)
        await journal.requested(image.id, None, (BUCKET, "k"), 1_000.0)
        await journal.enqueued(image.id, None, "job-1", 1_000.0)
        await journal.pauses.pause(None, 1_000.0)

        assert [each.id for each in await journal.due(2_000.0, 10, ())] == [image.id]

    async def test_no_request_begins_in_a_paused_folder(self, journal: ThreadedJournal) -> None:
        """Whoever had its turn before the pause is told, and nothing was changed; other folders may."""
        ours = await take_one(journal, sighting())
        theirs = await take_one(journal, sighting(b"b.jpg", under=rule(folder="drafts", root=Path("/srv/drafts"))))
        await journal.pauses.pause("products", 1_000.0)

        with pytest.raises(Paused):
            await journal.requested(ours.id, None, (BUCKET, "k"), 1_000.0)
        assert await journal.requested(theirs.id, None, (BUCKET, "l"), 1_000.0)
        await journal.pauses.resume("products")
        assert output_state(await image_of(journal, ours.id)) is OutputState.WAITING
        assert await journal.requested(ours.id, None, (BUCKET, "k"), 1_000.0)

    async def test_held_images_are_those_that_only_the_pause_keeps(self, journal: ThreadedJournal) -> None:
        """A request on its way is not one of them, nor is an image of another folder."""
        under_way, _ = await take_one(journal, sighting()), await take_one(journal, sighting(b"b.jpg"))
        await take_one(journal, sighting(b"c.jpg", under=rule(folder="drafts", root=Path("/srv/drafts"))))
        await journal.requested(under_way.id, None, (BUCKET, "k"), 1_000.0)
        assert await journal.pauses.held() == 0

        await journal.pauses.pause("products", 1_000.0)
        assert await journal.pauses.held() == 1
        await journal.pauses.pause(None, 1_000.0)
        assert await journal.pauses.held() == 2


class TestFollowers:
    async def _line(self, journal: ThreadedJournal, relative: bytes, prev: str | None) -> None:
        """One stored ending that stands in the audit file."""
        image = await take_one(journal, sighting(relative))
        await store_all(journal, image)
        seq = await journal.last_seq()
        await journal.advance_outbox(OutboxCursor(seq, "later", seq), [(seq, prev)])

    async def test_new_receiver_begins_behind_the_last_line(self, journal: ThreadedJournal) -> None:
        """It gets what ends from then on; one that is known stays where it was."""
        await self._line(journal, b"a.jpg", None)

        assert await journal.followers.begin("cms") == 1
        await self._line(journal, b"b.jpg", "hash-1")
        assert await journal.followers.begin("cms") == 1
        assert await journal.followers.begin("late") == 2

    async def test_lines_are_those_of_the_audit_file(self, journal: ThreadedJournal) -> None:
        """In order, with `seq` and `prev`; what the file does not hold yet is not there."""
        await self._line(journal, b"a.jpg", None)
        await self._line(journal, b"b.jpg", "hash-1")
        await store_all(journal, await take_one(journal, sighting(b"unwritten.jpg")))

        lines = await journal.followers.lines_after(0, 10)

        assert [(line.seq, line.record["seq"], line.record["prev"]) for line in lines] == [(1, 1, None), (2, 2, "hash-1")]
        assert [(line.event, line.folder, line.rendition) for line in lines] == [("image.stored", "products", None)] * 2
        assert [line.seq for line in await journal.followers.lines_after(1, 10)] == [2]

    async def test_link_that_a_crash_lost_is_worked_out(self, journal: ThreadedJournal) -> None:
        """The file had the line, the journal had no time to note it: `prev` follows from the line before."""
        await self._line(journal, b"a.jpg", None)
        await store_all(journal, await take_one(journal, sighting(b"b.jpg")))
        await journal.advance_outbox(OutboxCursor(2, "later", 2))

        first, second = await journal.followers.lines_after(0, 10)
        (alone,) = await journal.followers.lines_after(1, 10)

        bare = {name: value for name, value in first.record.items() if name not in ("seq", "prev")}
        assert second.record["prev"] == alone.record["prev"] == line_hash(compose(bare, 1, None))

    async def test_advances_from_where_it_stands(self, journal: ThreadedJournal) -> None:
        """Two who move the same receiver cannot both do so."""
        await journal.followers.begin("cms")

        assert await journal.followers.advance("cms", 5, before=0)
        assert not await journal.followers.advance("cms", 7, before=0)
        assert await journal.followers.begin("cms") == 5

    async def test_receiver_that_was_removed_begins_anew(self, journal: ThreadedJournal) -> None:
        """The others keep their places."""
        await journal.followers.begin("cms")
        await journal.followers.begin("old")
        await self._line(journal, b"a.jpg", None)

        await journal.followers.keep_only(["cms"])

        assert (await journal.followers.begin("cms"), await journal.followers.begin("old")) == (0, 1)


class TestReplaced:
    async def _stored(
        self, journal: ThreadedJournal, version: int, output_sha1: str | None, *, hides_replaced: bool = False, **more: Any
    ) -> Record:
        image = await take_one(journal, sighting(version=version))
        await journal.requested(image.id, None, (BUCKET, "products/a.jpg"), 1_000.0)
        end = stored(image)
        assert end.stored is not None
        there = replace(end.stored, output_sha1=output_sha1)
        end = replace(end, record={**end.record, **more}, stored=there, hides_replaced=hides_replaced)
        await journal.end(image.id, None, end, 1_001.0)
        return (await journal.endings_after(0, 10))[-1].record

    async def test_line_says_whether_other_content_lay_at_the_key(self, journal: ThreadedJournal) -> None:
        """The first is new, the same again replaces nothing, another one does; so does one that nobody can tell."""
        first = await self._stored(journal, 1, "1" * 40)
        again = await self._stored(journal, 2, "1" * 40)
        other = await self._stored(journal, 3, "2" * 40)
        unknown = await self._stored(journal, 4, None)

        assert [each["replaced"] for each in (first, again, other, unknown)] == [False, False, True, True]

    async def test_line_warns_of_a_replaced_picture_that_caches_keep(self, journal: ThreadedJournal) -> None:
        """Only where something was replaced, and behind what the line warns of already."""
        first = await self._stored(journal, 1, "1" * 40, hides_replaced=True, warnings=["no_formal_end"])
        other = await self._stored(journal, 2, "2" * 40, hides_replaced=True, warnings=["no_formal_end"])
        short = await self._stored(journal, 3, "3" * 40)

        assert first["warnings"] == ["no_formal_end"]
        assert other["warnings"] == ["no_formal_end", "cached_forever"]
        assert "warnings" not in short
