"""The files of one folder that may be taken: looked at, waited for, taken, given up or left, each version once."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher.errors import CANNOT_TELL, NotAnswering
from watcher.intake.files import OWN_PREFIX
from watcher.intake.inspection import Inspector, Unsuitable, inspect_file, uninspected
from watcher.intake.judgements import RecentJudgements
from watcher.intake.pools import made_progress
from watcher.intake.settle import LONGEST_WAIT_CONTENT, GiveUp, Inspection, Leave, NotYet, Take, settle, unfinished
from watcher.intake.unreadable import UnreadableWords
from watcher.model import Event, FileRef, IgnoredReason, Observation, Sighting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from watcher.config.rules import FolderRules
    from watcher.intake.alarm import Alarm
    from watcher.intake.context import IntakeContext
    from watcher.intake.move_targets import MoveTargets
    from watcher.intake.roots import Place
    from watcher.model import Stamp

CHUNK: Final = 128
"""Files looked at in one go of a thread, and taken in one commit."""
WAITING_LIMIT: Final = 20_000
"""Files waited for at most; the others are found again by a scan when there is room."""
UNREADABLE_FEW: Final = 50
"""Files that may not be read and are looked at every few seconds; where there are more, it is once a minute."""
UNREADABLE_LIMIT: Final = 500
"""Files that may not be read and are looked at so; more than that are for the scans."""
HANGING_RETRY_SECONDS: Final = 60.0
"""Until a file on which a call hung is looked at again."""
TOLD_AFTER_SECONDS: Final = 10.0
"""A file that is not whole after so long is said."""
FRESH_SECONDS: Final = 2.0
"""A version that was changed so short a time ago, and since we began, is not looked up in the journal before it is taken."""

Judgement = Take | GiveUp | Leave | Unsuitable


@dataclass(frozen=True, slots=True)
class _Waiting:
    """`unreadable`: nothing is expected to happen to the file by itself, so nobody need stay for it; `known`: to the journal."""

    wait: NotYet
    unreadable: bool = False
    known: bool = False
    first: float = 0.0
    """When the wait for the file began, whatever version it had (Unix seconds)."""


class Candidates:
    """`rules` may be replaced while it runs; files taken before keep theirs."""

    def __init__(self, rules: FolderRules, context: IntakeContext, alarm: Alarm) -> None:
        self.rules = rules
        self._context = context
        self._alarm = alarm
        self._waiting: dict[bytes, _Waiting] = {}
        self._told: set[bytes] = set()
        """Those of the waiting files that were said."""
        self._recent = RecentJudgements()
        self._turn = asyncio.Lock()
        """One look and what follows from it at a time: what was seen earlier is never taken later."""
        self._born = context.clock.now()
        self._unreadable = 0
        """Those of the waiting files that cannot be read."""
        self._words = UnreadableWords(context.events)
        self.overflowed = False

    @property
    def waiting(self) -> int:
        """Files that are being waited for; not those that cannot be read."""
        return len(self._waiting) - self._unreadable

    @property
    def unreadable_for_now(self) -> int:
        """Files that cannot be read for another reason than rights, which may pass."""
        return sum(each.unreadable and not each.known for each in self._waiting.values())

    def say_unreadable(self, relative: bytes, message: str) -> None:
        """A file or directory that cannot be read."""
        self._words.say(self._file(relative), message)

    def scanned(self, *, all_readable: bool) -> None:
        """The folder was looked through."""
        self._words.scanned(self._file(b""), all_readable=all_readable)

    def is_waited_for(self, relative: bytes) -> bool:
        """Whether the file has its own time to be looked at."""
        return relative in self._waiting

    def reconsider(self, relative: bytes) -> None:
        """The pipeline found another version than was taken: the next judgement counts, even if it is the same."""
        self._recent.forget(relative)

    def judge_afresh(self) -> None:
        """The journal may not know any more what was judged lately."""
        self._recent.clear()

    def due(self) -> list[bytes]:
        """The files whose time to be looked at has come; sets the alarm for the next one."""
        now = self._context.clock.monotonic()
        ready = [relative for relative, each in self._waiting.items() if each.wait.check_at <= now]
        later = [each.wait.check_at for each in self._waiting.values() if each.wait.check_at > now]
        if later:
            self._alarm.ring_at(min(later))
        return ready

    def heard(self, relatives: Iterable[bytes]) -> Iterable[bytes]:
        """What is to be examined now: those of them whose names are for us, and the files whose time has come."""
        ours = [relative for relative in relatives if self._is_ours(relative)]
        return dict.fromkeys([*ours, *self.due()])

    def _is_ours(self, relative: bytes) -> bool:
        if (reason := self.rules.ignores(os.fsdecode(relative))) is None:
            return True
        self.left_by_name(relative, reason)
        return False

    def left_by_name(self, relative: bytes, reason: IgnoredReason) -> None:
        """A file whose name says that it is not for us. Said once; a name needs no place in the journal."""
        if not relative.rpartition(b"/")[2].startswith(OWN_PREFIX) and self._recent.is_new(relative, reason):
            self._context.events.event(Event.IMAGE_IGNORED, **self._file(relative).fields(), reason=reason)

    async def examine(self, relatives: Iterable[bytes], *, looked_up: bool = False, backlog: bool = False) -> int:
        """Look at files whose names are for us, and act on what is seen; gives how many were taken.

        `looked_up`: the journal was asked and does not know these versions. `backlog`: those that are older than this watch go
        behind what is dropped now.
        """
        taken = 0
        for place, todo in self._by_place(relatives).items():
            for start in range(0, len(todo), CHUNK):
                async with self._turn:
                    judgements = await self._inspect(todo[start : start + CHUNK], place)
                    news = judgements if looked_up else await self._without_known(judgements)
                    taken += await self._act(news, backlog=backlog)
                    await self._tell_waiting(todo[start : start + CHUNK])
        return taken

    async def _tell_waiting(self, relatives: Sequence[bytes]) -> None:
        """Those that are not whole after a while are said, once a file; and those that need no wait any more are forgotten."""
        now = self._context.clock.steady()
        over = [each for each in relatives if each in self._told and each not in self._waiting]
        late = {each: self._waiting[each] for each in relatives if each in self._waiting and each not in self._told}
        late = {each: wait for each, wait in late.items() if not wait.unreadable and now - wait.first >= TOLD_AFTER_SECONDS}
        if not over and not late:
            return
        told = {relative: unfinished(wait.wait, wait.first) for relative, wait in late.items()}
        self._told.difference_update(over)
        self._told.update(told)
        for relative, each in told.items():
            fields = {**self._file(relative).fields(), "reason": each.reason, "message": each.message}
            self._context.events.event(Event.IMAGE_WAITING, **fields)
        await self._context.journal.wait_for(self.rules.rule.folder, told, over)

    async def examine_unreadable(self, relatives: Sequence[bytes]) -> int:
        """Look again at files that the journal knows as unreadable. Those that still are need no word."""
        taken = 0
        for place, todo in self._by_place(relatives).items():
            for start in range(0, len(todo), CHUNK):
                async with self._turn:
                    judgements = await self._inspect(todo[start : start + CHUNK], place)
                    news = {path: each for path, each in judgements.items() if not _is_unreadable(each)}
                    taken += await self._act(news, backlog=False)
        return taken

    def _by_place(self, relatives: Iterable[bytes]) -> dict[Place, list[bytes]]:
        """The files by what they lie on: each is asked by threads of its own."""
        places: dict[Place, list[bytes]] = {}
        for relative in relatives:
            place = self._context.roots.place_of(self.rules.rule.root, relative)
            places.setdefault(place, []).append(relative)
        return places

    async def _inspect(self, relatives: Sequence[bytes], place: Place) -> dict[bytes, Judgement | None]:
        asked = [(relative, self._inspector(relative, place)) for relative in relatives]
        round_ = InspectionRound(self._real_root(), asked, self._context.roots.targets)
        try:
            await self._context.in_thread(place.threads, round_.run)
        except NotAnswering:
            if round_.at is None and place.threads == self.rules.rule.root:
                raise
            self._put_off(relatives[len(round_.seen) :])
        seen = list(round_.seen)  # a thread that hung goes on when it can
        return {relative: self._judge(relative, each) for relative, each in seen}

    def _put_off(self, relatives: Sequence[bytes]) -> None:
        """A file among them hangs, or the share that they lie on: look again later, and let nobody else wait."""
        now = self._context.clock.monotonic()
        for number, relative in enumerate(relatives):
            before = self._stop_waiting(relative)
            wait = before.wait if before is not None else NotYet(Observation(0, 0, 0, 0), now, now)
            later = now + (HANGING_RETRY_SECONDS if number == 0 else LONGEST_WAIT_CONTENT)
            self._wait(relative, _Waiting(replace(wait, check_at=later), unreadable=True))

    def _real_root(self) -> bytes:
        return self._context.roots.real(self.rules.rule.root)

    def _file(self, relative: bytes) -> FileRef:
        return FileRef(self.rules.rule.folder, self.rules.rule.root, relative)

    def _inspector(self, relative: bytes, place: Place) -> Inspector:
        waiting = self._waiting.get(relative)
        before = waiting.wait if waiting is not None else None
        now, patience = self._context.clock.monotonic(), self._context.patience
        still = patience.settle == 0 if before is None else before.stood_still(now, patience)
        return Inspector(place, self._context.roots.leases(self.rules.rule.root, place), before, still)

    def _judge(self, relative: bytes, inspection: Inspection | Unsuitable | None) -> Judgement | None:
        """What to do now about a file; None for nothing, or nothing yet. Keeps the book of what is waited for."""
        waiting = self._stop_waiting(relative)
        if inspection is None:
            return None
        if isinstance(inspection, Unsuitable):
            return self._unsuitable(relative, inspection, waiting)
        clock = self._context.clock
        before = waiting.wait if waiting is not None else None
        decision = settle(before, inspection, clock.monotonic(), clock.now(), self._context.patience)
        if isinstance(decision, NotYet):
            first = waiting.first if waiting is not None and waiting.first else clock.steady()
            self._wait(relative, _Waiting(decision, first=first))
            return None
        return decision

    def _unsuitable(self, relative: bytes, found: Unsuitable, waiting: _Waiting | None) -> Unsuitable | None:
        """The judgement; None where nothing is new. A file that cannot be read is looked at again: rights change unseen."""
        if found.reason is not IgnoredReason.UNREADABLE:
            return found
        same = waiting is not None and waiting.unreadable and waiting.wait.observation == found.observation
        if self._unreadable < UNREADABLE_LIMIT:
            pause = LONGEST_WAIT_CONTENT if self._unreadable < UNREADABLE_FEW else HANGING_RETRY_SECONDS
            again = NotYet(found.observation, 0.0, self._context.clock.monotonic() + pause)
            self._wait(relative, _Waiting(again, unreadable=True, known=found.lasting))
        return None if same else found

    def _stop_waiting(self, relative: bytes) -> _Waiting | None:
        waiting = self._waiting.pop(relative, None)
        if waiting is not None:
            self._unreadable -= waiting.unreadable
        return waiting

    def _wait(self, relative: bytes, waiting: _Waiting) -> None:
        if len(self._waiting) >= WAITING_LIMIT:
            self.overflowed = True
            return
        self._stop_waiting(relative)
        self._waiting[relative] = waiting
        self._unreadable += waiting.unreadable
        self._alarm.ring_at(waiting.wait.check_at)

    async def _without_known(self, judgements: dict[bytes, Judgement | None]) -> dict[bytes, Judgement | None]:
        """Leave out old versions that were taken long ago: hints also come of a directory that is moved away and back."""
        fresh = max(self._context.clock.now() - FRESH_SECONDS, self._born) * 1e9
        takes = {relative: each for relative, each in judgements.items() if isinstance(each, Take)}
        old = {relative: each for relative, each in takes.items() if each.observation.ctime_ns < fresh}
        if not old:
            return judgements
        directories = sorted({relative.rpartition(b"/")[0] for relative in old})
        found = await self._context.journal.known_in(self.rules.rule.folder, directories)
        stamps = {directory: known.stamps for directory, known in zip(directories, found, strict=True)}
        taken = {relative for relative, each in old.items() if _is_in(stamps, relative, each)}
        return {relative: each for relative, each in judgements.items() if relative not in taken}

    async def _act(self, judgements: dict[bytes, Judgement | None], *, backlog: bool) -> int:
        fresh = [(relative, judgement) for relative, judgement in judgements.items() if judgement is not None]
        fresh = [(relative, judgement) for relative, judgement in fresh if self._recent.is_new(relative, judgement)]
        try:
            takes = [(relative, each.observation) for relative, each in fresh if isinstance(each, Take)]
            taken = await self._take(takes, backlog=backlog)
            others = [(relative, each) for relative, each in fresh if not isinstance(each, Take)]
            await asyncio.gather(*(self._leave(relative, each) for relative, each in others))
        except BaseException:  # called off or broken: what was not done must not count as done
            for relative, _ in fresh:
                self._recent.forget(relative)
            raise
        return taken

    async def _take(self, complete: Sequence[tuple[bytes, Observation]], *, backlog: bool) -> int:
        if not complete:
            return 0
        sightings = [self._sighting(relative, observation, backlog=backlog) for relative, observation in complete]
        taken = await self._context.journal.take(sightings)
        for sighting, image_id in zip(sightings, taken, strict=True):
            if image_id in taken.new:
                self._context.events.event(Event.IMAGE_DETECTED, id=image_id, **sighting.file.fields())
        self._context.on_taken()
        return len(sightings)

    def _sighting(self, relative: bytes, observation: Observation, *, backlog: bool = False) -> Sighting:
        is_old = observation.ctime_ns < self._born * 1e9
        return Sighting(self._file(relative), observation, self.rules.rule, self._context.clock.now(), backlog and is_old)

    async def _leave(self, relative: bytes, judgement: GiveUp | Leave | Unsuitable | Take) -> None:
        journal, file = self._context.journal, self._file(relative)
        if isinstance(judgement, GiveUp):
            sighting = self._sighting(relative, judgement.observation)
            await journal.give_up(sighting, judgement.reason, judgement.message, judgement.hint)
            self._context.on_taken()
        elif isinstance(judgement, Unsuitable | Leave):
            message = {"message": judgement.message} if judgement.message else {}
            if not isinstance(judgement, Unsuitable) or judgement.lasting:
                await journal.ignore(file, judgement.observation, judgement.reason, judgement.message)
            if judgement.reason is IgnoredReason.UNREADABLE:
                self.say_unreadable(relative, judgement.message)
                return
            self._context.events.event(Event.IMAGE_IGNORED, **file.fields(), reason=judgement.reason, **message)


def _is_in(stamps: Mapping[bytes, Mapping[bytes, Stamp]], relative: bytes, take: Take) -> bool:
    directory, _, name = relative.rpartition(b"/")
    return stamps[directory].get(name) == take.observation.stamp


def _is_unreadable(judgement: Judgement | None) -> bool:
    return isinstance(judgement, Unsuitable) and judgement.reason is IgnoredReason.UNREADABLE


class InspectionRound:
    """A look at some files, in a thread. `seen` grows as it goes; `at` is the file that it is at."""

    def __init__(self, real_root: bytes, asked: Sequence[tuple[bytes, Inspector]], targets: MoveTargets) -> None:
        self._real_root = real_root
        self._asked = asked
        self._targets = targets
        self.seen: list[tuple[bytes, Inspection | Unsuitable | None]] = []
        self.at: bytes | None = None

    def run(self) -> None:
        """Look at one after the other. Raises OSError where this process has nothing left to open files with."""
        known: dict[bytes, bool] = {}
        for relative, inspector in self._asked:
            self.at = relative
            seen = _inspect_safely(self._real_root, relative, inspector)
            if seen is not None and self._targets.lie_below(self._real_root, relative, known):
                seen = Unsuitable(seen.observation, IgnoredReason.MOVE_TARGET, lasting=False)
            self.seen.append((relative, seen))
            made_progress()


def _inspect_safely(real_root: bytes, relative: bytes, inspector: Inspector) -> Inspection | Unsuitable | None:
    """One file that we cannot cope with must not end the watch on all the others."""
    try:
        return inspect_file(real_root, relative, inspector)
    except OSError as error:
        if error.errno in CANNOT_TELL:
            raise
        fault: Exception = error
    except Exception as error:  # noqa: BLE001 - the boundary of one file: whatever a look at it raises is said of it
        fault = error
    said = f"internal error ({type(fault).__name__}: {fault}); this is a fault of compressor-watcher, please report it"
    return uninspected(real_root, relative, inspector.place, said)
