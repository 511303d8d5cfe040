"""The journal against a model: whatever is tried, in whatever order, with crashes in between, each output ends once.

A crash is a copy of the files as they lie there at that moment, with the end of the audit file cut anywhere, opened anew.
"""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from tests.support.publishing import RecordedLog
from tests.support.records import BUCKET, ending, lines_of, open_journal, sighting, stored_object
from tests.support.records import rule as folder_rule
from watcher.model import ENDINGS, IgnoredReason, Image, ImageState, OutputState, Postponement
from watcher.records.audit_file import AuditFile
from watcher.records.audit_verification import verify
from watcher.records.outbox import OutboxRelay
from watcher.records.views import JournalViews

RULES = {"delete": folder_rule("thumb", after="delete"), "keep": folder_rule("thumb", after="keep")}
RENDITIONS = st.sampled_from([None, "thumb"])
OPEN = (OutputState.WAITING, OutputState.REQUESTED, OutputState.ENQUEUED)
STATE_OF = {event: OutputState(event.value.removeprefix("image.")) for event in ENDINGS}


@dataclass
class ModelImage:
    """What we expect of an image."""

    path: bytes
    version: int
    image: Image
    outputs: dict[str | None, OutputState] = field(
        default_factory=lambda: {None: OutputState.WAITING, "thumb": OutputState.WAITING}
    )
    doubts: set[str | None] = field(default_factory=set)
    finished: bool = False

    @property
    def ended(self) -> bool:
        return not any(state in OPEN for state in self.outputs.values())

    @property
    def is_finished(self) -> bool:
        """Where every original is kept, nothing is left to do after the last ending."""
        return self.finished or (self.ended and self.image.rule.keeps_originals)

    @property
    def was_lost(self) -> bool:
        """Whether the file was not there at its turn: when it is back, it is taken again."""
        return any(state in (OutputState.VANISHED, OutputState.SUPERSEDED) for state in self.outputs.values())


class JournalStates(RuleBasedStateMachine):
    """Every change of the Journal, on images in any state."""

    images = Bundle("images")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="journal-states-"))
        self.generation = 0
        self.model: dict[str, ModelImage] = {}
        self.newest: dict[bytes, str] = {}
        self.expected_endings: list[tuple[str, str | None, str]] = []
        self.run(self.start())

    def run(self, work):  # type: ignore[no-untyped-def]
        return self.loop.run_until_complete(work)

    @property
    def place(self) -> Path:
        return self.folder / str(self.generation)

    async def start(self) -> None:
        self.place.mkdir(exist_ok=True)
        self.log = RecordedLog()
        self.journal = open_journal(self.place / "journal.db", events=self.log)
        self.recorder = OutboxRelay(self.journal, AuditFile(self.place / "audit.jsonl"), self.log)
        await self.recorder.start()

    async def stop(self) -> None:
        await self.recorder.stop()
        await self.journal.close()

    def teardown(self) -> None:
        self.run(self.stop())
        self.loop.close()
        shutil.rmtree(self.folder)

    # --- what may happen ------------------------------------------------------------------------------------------------------

    @rule(
        target=images,
        path=st.sampled_from([b"a.jpg", b"d/b.jpg"]),
        version=st.integers(1, 3),
        after=st.sampled_from(sorted(RULES)),
    )
    def take(self, path: bytes, version: int, after: str) -> str:
        seen = sighting(path, version, under=RULES[after])
        (identity,) = self.run(self.journal.take([seen]))
        before = self.newest.get(path)
        if before is not None and self.model[before].version == version and not self.model[before].was_lost:
            assert identity == before
            return identity
        assert identity not in self.model
        if before is not None:
            self._supersede(before)
        with JournalViews.open(self.place / "journal.db") as desk:
            (story,) = desk.stories(identity)
        image = story.image
        self.model[identity] = ModelImage(path, version, image)
        self.newest[path] = identity
        return identity

    def _supersede(self, identity: str) -> None:
        known = self.model[identity]
        for rendition, state in known.outputs.items():
            if state is OutputState.WAITING and rendition not in known.doubts:
                known.outputs[rendition] = OutputState.SUPERSEDED
                self.expected_endings.append((identity, rendition, "image.superseded"))

    @rule(identity=images, rendition=RENDITIONS)
    def requested(self, identity: str, rendition: str | None) -> None:
        self._move(
            identity,
            rendition,
            (OutputState.WAITING,),
            OutputState.REQUESTED,
            self.journal.requested(identity, rendition, (BUCKET, "k"), 1.0),
        )

    @rule(identity=images, rendition=RENDITIONS)
    def enqueued(self, identity: str, rendition: str | None) -> None:
        work = self.journal.enqueued(identity, rendition, "job", 1.0)
        self._move(identity, rendition, (OutputState.REQUESTED,), OutputState.ENQUEUED, work)

    @rule(identity=images, rendition=RENDITIONS, doubt=st.booleans())
    def postponed(self, identity: str, rendition: str | None, doubt: bool) -> None:
        known = self.model[identity]
        was_sent = known.outputs[rendition] in (OutputState.REQUESTED, OutputState.ENQUEUED) or rendition in known.doubts
        doubt = doubt and was_sent
        work = self.journal.postponed(identity, rendition, Postponement(2.0, 1, 1, doubt, "later"), 1.0)
        if self._move(identity, rendition, OPEN, OutputState.WAITING, work) and doubt:
            known.doubts.add(rendition)

    @rule(identity=images, rendition=RENDITIONS)
    def unchanged(self, identity: str, rendition: str | None) -> None:
        stored = stored_object(self.model[identity].image, rendition)
        work = self.journal.unchanged(identity, rendition, stored.key, stored, 1.0)
        self._move(identity, rendition, (OutputState.WAITING,), OutputState.UNCHANGED, work)

    @rule(identity=images, rendition=RENDITIONS, event=st.sampled_from(sorted(ENDINGS)))
    def end(self, identity: str, rendition: str | None, event) -> None:  # type: ignore[no-untyped-def]
        made = ending(self.model[identity].image, event, rendition)
        if self._move(identity, rendition, OPEN, STATE_OF[event], self.journal.end(identity, rendition, made, 1.0)):
            self.expected_endings.append((identity, rendition, str(event)))

    @rule(identity=images)
    def dismiss(self, identity: str) -> None:
        known = self.model[identity]
        self.run(self.journal.dismiss(identity, IgnoredReason.OWN_OUTPUT, 1.0))
        waiting = [rendition for rendition, state in known.outputs.items() if state is OutputState.WAITING]
        known.outputs.update(dict.fromkeys(waiting, OutputState.UNCHANGED))
        known.doubts -= set(waiting)
        known.finished = known.finished or (bool(waiting) and known.ended)

    @rule(identity=images)
    def interrupted(self, identity: str) -> None:
        self.run(self.journal.interrupted(identity, 1.0))
        self._doubt(self.model[identity])

    @rule(identity=images)
    def finish(self, identity: str) -> None:
        self.run(self.journal.finish(identity, "kept", 1.0))
        self.model[identity].finished |= self.model[identity].ended

    @rule()
    def restart(self) -> None:
        self.run(self.stop())
        self.run(self.start())
        self._recover()

    @rule(cut=st.integers(0, 2_000), flushed=st.booleans())
    def crash(self, cut: int, flushed: bool) -> None:
        """Go on with a copy of what lies on the disk now, the audit file shorter by up to `cut` bytes."""
        if flushed:
            self.run(self.recorder.flush())
        before, self.generation = self.place, self.generation + 1
        self.place.mkdir()
        for name in ("audit.jsonl", "journal.db-wal", "journal.db"):
            if (before / name).exists():
                shutil.copy(before / name, self.place / name)
        audit = self.place / "audit.jsonl"
        if audit.stat().st_size > cut:
            with audit.open("r+b") as file:
                file.truncate(audit.stat().st_size - cut)
        self.run(self.stop())
        self.run(self.start())
        self._recover()

    def _recover(self) -> None:
        for known in self.model.values():
            self._doubt(known)

    def _doubt(self, known: ModelImage) -> None:
        for rendition, state in known.outputs.items():
            if state is OutputState.REQUESTED:
                known.outputs[rendition] = OutputState.WAITING
                known.doubts.add(rendition)

    def _move(self, identity, rendition, sources, target, work) -> bool:  # type: ignore[no-untyped-def]
        known = self.model[identity]
        allowed = known.outputs[rendition] in sources
        assert self.run(work) is allowed
        if allowed:
            known.outputs[rendition] = target
            known.doubts.discard(rendition)
        return allowed

    # --- what always holds ----------------------------------------------------------------------------------------------------

    @invariant()
    def journal_is_what_the_model_says(self) -> None:
        with JournalViews.open(self.place / "journal.db") as desk:
            images = {image.id: image for image in desk.images()}
            totals = desk.totals()
        assert images.keys() == self.model.keys()
        for identity, known in self.model.items():
            image = images[identity]
            assert {output.rendition: output.state for output in image.outputs} == known.outputs
            assert {output.rendition for output in image.outputs if output.doubt} == known.doubts
            assert image.state is (
                ImageState.FINISHED if known.is_finished else ImageState.ENDED if known.ended else ImageState.OPEN
            )
        states = [state for known in self.model.values() for state in known.outputs.values()]
        assert {str(state): states.count(state) for state in OutputState} == {
            str(state): getattr(totals, state) for state in OutputState
        }

    @invariant()
    def every_ending_is_written_down_once(self) -> None:
        self.run(self.recorder.flush())
        lines = lines_of(self.place / "audit.jsonl")

        assert self.expected_endings == [(line["id"], line["rendition"], line["event"]) for line in lines]
        with JournalViews.open(self.place / "journal.db") as desk:
            found = verify(self.place / "audit.jsonl", desk)
        assert (found.problems, found.notes) == ((), ())


class TestJournalStates(JournalStates.TestCase):  # type: ignore[name-defined,misc]
    """Some histories."""

    settings = settings(max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.soak
@pytest.mark.timeout(1800)
class TestManyMoreJournalStates(JournalStates.TestCase):  # type: ignore[name-defined,misc]
    """Longer ones, and twenty times as many."""

    settings = settings(max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
