"""The pipeline and the dispatcher over a real journal, real files and the real gate, in a world that fails and crashes on demand.

Time is the event loop's own and jumps to the next moment at which anything is due, so that an hour of backing off costs nothing.
A crash makes every edge of a life refuse to do anything more; the next life has nothing but the journal, the store and the files.
Nothing runs in threads, so that the same choices always lead to the same history.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import random
import selectors
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.publishing import RecordedLog
from watcher.compressor.gate import CircuitGate
from watcher.compressor.wire import FetchRequest, FileFacts, Pending, Result
from watcher.delivery.delivery import Policy, Ports
from watcher.delivery.dispatcher import Dispatcher
from watcher.delivery.pipeline import Pipeline
from watcher.errors import CallFailed
from watcher.intake.originals import FileOriginals
from watcher.intake.pools import Lane
from watcher.intake.roots import Roots
from watcher.model import (
    Absence,
    Event,
    Failure,
    FailureKind,
    FileRef,
    HeadAnswer,
    Observation,
    OutputRule,
    Rule,
    Sighting,
    Ticket,
)
from watcher.ports import Publication, Source
from watcher.records import database, queries, upkeep
from watcher.records.bell import FolderBells
from watcher.records.sqlite_journal import SqliteJournal

BUCKET, REGION = "bucket", "eu-central-003"
EPOCH = 1_750_000_000.0
TTL = 600.0
ATTEMPTS = 4


class Dead(BaseException):
    """The process has ended: what is still called does nothing."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: where nothing is ready, time jumps to the next thing due."""

    def __init__(self) -> None:
        self.moment = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since the loop was made, jumps included."""
        return self.moment


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is due any more, and somebody waits for it"
            self._loop.moment += timeout
        return ready


class LoopClock:
    """The loop's time as `watcher.model.Clock`."""

    def __init__(self, loop: JumpingLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        """Unix seconds."""
        return EPOCH + self._loop.moment

    def monotonic(self) -> float:
        """Seconds."""
        return self._loop.moment

    def steady(self) -> float:
        """Unix seconds."""
        return self.now()

    async def sleep(self, seconds: float) -> None:
        """Wait, by the loop's time."""
        await asyncio.sleep(seconds)


class InPlace:
    """Pools that run what they are given at once, in the caller's thread."""

    async def run(self, root: Path, lane: Lane, work: Callable[[], Any], *, undo: Callable[[Any], None] | None = None) -> Any:
        return work()

    def start(self, root: Path, lane: Lane, work: Callable[[], object]) -> None:
        work()


class StraightJournal(SqliteJournal):
    """The journal without its threads: every change is one transaction, made at once."""

    def __init__(self, connection: Any, clock: LoopClock) -> None:
        self._clock = clock
        self._keep = 1e9
        self._connection = connection
        self._new_id = lambda: f"image-{next(_numbers)}"
        self.endings_added = asyncio.Event()
        self.objects_changed = FolderBells()
        self._handed_over: list[Callable[..., Any]] = []
        connection.execute("BEGIN IMMEDIATE")
        upkeep.recover(connection, clock.now())
        connection.execute("COMMIT")

    async def _change(self, change: Callable[..., Any], *, ends: bool = False) -> Any:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            while self._handed_over:
                self._handed_over.pop(0)(connection)
            answer = change(connection)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        await asyncio.sleep(0)
        return answer

    def _hand_over(self, change: Callable[..., Any]) -> None:
        """Made with the next change, so as late as may be: a life that ends before has lost it."""
        self._handed_over.append(change)

    async def _ask(self, question: Callable[..., Any]) -> Any:
        await asyncio.sleep(0)
        return question(self._connection)


_numbers = itertools.count(1)


@dataclass
class Life:
    """One run of the process. `ends_in` is after how many effects it ends, None: not by itself."""

    ends_in: int | None = None
    ends_before: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        return self.over.is_set()

    async def effect(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something that the world can see, unless the process has ended; it may end right before or right after."""
        due = False
        if not self.dead and self.ends_in is not None:
            self.ends_in -= 1
            due = self.ends_in <= 0
        if self.dead or (due and self.ends_before):
            self.over.set()
            work.close()
            raise Dead
        answer = await work
        if due or self.dead:
            self.over.set()
            raise Dead
        return answer


class Edge:
    """An edge whose every coroutine is an effect of one life."""

    def __init__(self, life: Life, inner: Any) -> None:
        self._life = life
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def effect(*arguments: Any, **options: Any) -> Any:
            return await self._life.effect(found(*arguments, **options))

        return effect


CHANGED = b"changed"
"""In place of a file that was written over: whoever fetches it is answered 404."""


class Urls:
    """The publisher: which open file is behind which token, for as long as this life serves it."""

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock
        self._sources: dict[str, tuple[Ticket, Source]] = {}
        self._fetched = Counter[str]()

    async def publish(self, ticket: Ticket, source: Source) -> Publication:
        """See `Publisher.publish`."""
        self._sources[ticket.token] = (ticket, source)
        return Publication(ticket.token)

    async def withdraw(self, ticket: Ticket) -> None:
        """See `Publisher.withdraw`."""
        self._sources.pop(ticket.token, None)
        self._fetched.pop(ticket.token, None)

    def times_fetched(self, ticket: Ticket) -> int:
        """See `Publisher.times_fetched`."""
        return self._fetched[ticket.token]

    def refusals(self, _: Ticket) -> int:
        """See `Publisher.refusals`."""
        return 0

    def moved_at(self, _: Ticket) -> None:
        """See `Publisher.moved_at`."""

    def read(self, token: str) -> bytes | None:
        """What somebody who fetches the URL gets; None where it is not good."""
        ticket, source = self._sources.get(token, (None, None))
        if ticket is None or source is None or ticket.expires_at <= self._clock.now():
            return None
        self._fetched[token] += source.is_intact()
        if source.held is not None:
            return source.held
        return os.pread(source.fileno(), 1_000_000, 0) if source.is_intact() else CHANGED


WORKING = ("ok", "slow", "lost_after", "e502_after", "late", "job", "job_lost", "job_slow", "wrong_input")
"""The API does the work, now or later."""
OUTAGES = ("refused", "throttled", "unauthorized", "quota", "way_is_out")
REFUSALS = ("lost", "e500", "e502", "rejected", "job_failed")
MODES = (*WORKING, *OUTAGES, *REFUSALS)
SLOW_SECONDS = 5.0


def _failed(kind: FailureKind, message: str, **more: Any) -> CallFailed:
    return CallFailed(Failure(kind, message, **more))


FAILURES = {
    "lost": _failed(FailureKind.TRANSIENT, "lost", unknown=True),
    "lost_after": _failed(FailureKind.TRANSIENT, "lost", unknown=True),
    "late": _failed(FailureKind.TRANSIENT, "late", unknown=True),
    "e500": _failed(FailureKind.TRANSIENT, "500", status=500),
    "e502": _failed(FailureKind.TRANSIENT, "502", status=502, maybe_done=True),
    "e502_after": _failed(FailureKind.TRANSIENT, "502", status=502, maybe_done=True),
    "refused": _failed(FailureKind.TRANSIENT, "refused", unreachable=True),
    "throttled": _failed(FailureKind.THROTTLED, "429", status=429, retry_after=3.0),
    "unauthorized": _failed(FailureKind.BLOCKED, "401", status=401, event=Event.API_UNAUTHORIZED),
    "quota": _failed(FailureKind.BLOCKED, "402", status=402, event=Event.API_QUOTA),
    "way_is_out": _failed(FailureKind.PERMANENT, "could not be fetched", status=422, not_fetched=True),
    "rejected": _failed(FailureKind.PERMANENT, "422", status=422),
}


@dataclass
class Stored:
    """An object in the store, and the number of the payment that made it."""

    sha1: str
    rule: str
    size: int
    payment: int


@dataclass
class Vendor:
    """The API and the store behind it: they outlive the process. What is wrong with what they are asked is in `complaints`."""

    clock: LoopClock
    script: deque[str] = field(default_factory=deque)
    """How the next requests are answered; afterwards all goes well."""
    outage: str | None = None
    """How everything is answered for now, whatever the script says."""
    store_mode: Absence | None = None
    objects: dict[str, Stored] = field(default_factory=dict)
    paid: Counter[tuple[str, str]] = field(default_factory=Counter)
    jobs: dict[str, tuple[str, Result, float]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    modes_met: Counter[str] = field(default_factory=Counter)
    store_met: set[Absence] = field(default_factory=set)
    lives: int = 0
    read: Callable[[str], bytes | None] = lambda _: None
    versions: Callable[[str], int] = lambda _: 0
    """How many images there were of the path whose output lies at a key."""

    async def account(self) -> None:
        """`GET /account`: refuses while the next request would be refused so."""
        mode = self.outage or (self.script[0] if self.script else "ok")
        if mode in OUTAGES and mode != "way_is_out":
            if mode != "throttled" and self.outage is None:
                self.script.popleft()
            raise FAILURES[mode]

    async def fetch(self, request: FetchRequest) -> Result | Pending:
        """`POST /fetch`, as the script says."""
        key, asked = str(request.store["path"]), request.store["metadata"]
        there = self.objects.get(key)
        if there is not None and (there.sha1, there.rule) == (asked["source-sha1"], asked["rule"]) and not self.is_excused(key):
            self.complaints.append(f"{key} was sent although the store says that it is done")
        mode = self.outage or (self.script.popleft() if self.script else "ok")
        self.modes_met[mode] += 1
        if mode in OUTAGES or mode in ("lost", "e500", "e502", "rejected"):
            raise FAILURES[mode]
        content = self.read(request.url)
        if content is None:
            self.complaints.append(f"{key} was to be fetched from a URL that is not good")
        if content is None or content is CHANGED:
            raise FAILURES["rejected"]
        if mode == "slow":
            await self.clock.sleep(SLOW_SECONDS)
        return self._work(mode, key, asked, content)

    def is_excused(self, key: str) -> bool:
        """Whether something was met after which sending again is right although the store holds the work.

        A store that does not say; an answer about other bytes; work that lands when its image has long been replaced, and is
        put back; a 502, or an older version's request, after which the store is asked but not insisted on.
        """
        if Absence.FORBIDDEN in self.store_met or self.modes_met["wrong_input"] or self.modes_met["late"]:
            return True
        if self.store_met and self.versions(key) > 1:
            return True
        return bool(self.modes_met["e502_after"]) and (bool(self.store_met) or self.lives > 1)

    def _work(self, mode: str, key: str, asked: Any, content: bytes) -> Result | Pending:
        sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        stated = "0" * 40 if mode == "wrong_input" else sha1
        url = f"https://{BUCKET}.s3.{REGION}.backblazeb2.com/{key}"
        output = FileFacts(size=len(content) - 1, sha1=hashlib.sha1(b"output" + content).hexdigest())
        result = Result(f"request-{next(_numbers)}", url, FileFacts(size=len(content), sha1=stated), output)
        store = (key, asked["source-sha1"], asked["rule"], len(content) - 1)
        if mode in ("late", "job_slow"):
            asyncio.get_running_loop().call_later(SLOW_SECONDS, self._put, *store)
        elif mode != "job_failed":
            self._put(*store)
        if mode in FAILURES:
            raise FAILURES[mode]
        if mode.startswith("job"):
            wait = SLOW_SECONDS if mode == "job_slow" else 0.0
            if mode != "job_lost":
                self.jobs[result.id] = (mode, result, self.clock.monotonic() + wait)
            return Pending(result.id, "enqueued")
        return result

    def _put(self, key: str, sha1: str, rule: str, size: int) -> None:
        self.paid[key, sha1] += 1
        self.objects[key] = Stored(sha1, rule, size, sum(self.paid.values()))

    async def job(self, job_id: str) -> Result | Pending:
        """`GET /jobs/{id}`."""
        if job_id not in self.jobs:
            raise _failed(FailureKind.TRANSIENT, "no such job", status=404, unknown=True)
        mode, result, done_at = self.jobs[job_id]
        if mode == "job_failed":
            raise _failed(FailureKind.PERMANENT, "the job failed", status=422)
        return result if self.clock.monotonic() >= done_at else Pending(job_id, "processing")

    async def head(self, bucket: str, region: str, key: str, *, connector: str) -> HeadAnswer:
        """HEAD on the object."""
        if self.store_mode is not None:
            self.store_met.add(self.store_mode)
            return HeadAnswer(self.store_mode, message=str(self.store_mode))
        there = self.objects.get(key)
        if there is None:
            return HeadAnswer(Absence.ABSENT)
        return HeadAnswer(size=there.size, metadata={"source-sha1": there.sha1, "rule": there.rule})


class Bench:
    """A folder, a journal, a vendor, and the life that works on them now."""

    def __init__(
        self, root: Path, *, renditions: int = 0, on_success: str = "keep", verify: Any = "recovery", seed: int = 1
    ) -> None:
        self.root = root
        self.loop = JumpingLoop()
        self.loop.set_exception_handler(self._in_loop)
        self.clock = LoopClock(self.loop)
        self.vendor = Vendor(self.clock)
        self.events = RecordedLog()
        self.random = random.Random(seed)
        self.policy = Policy(max_attempts=ATTEMPTS, verify=verify, timeout=30.0, job_patience=TTL)
        store = {"id": "connector", "bucket": BUCKET, "region": REGION}
        names = [None, *(f"r{number}" for number in range(renditions))]
        outputs = tuple(OutputRule(name, {"width": 1}, {**store, "path": f"{name or 'own'}/{{name}}"}) for name in names)
        self.rule = Rule("drop", root, outputs, on_success, "keep")
        self.connection = database.open_own(database.MEMORY, database.schema(), EPOCH).connection
        self.noticed: dict[str, Observation] = {}
        self.look_again: set[str] = set()
        self.problems: list[str] = []
        self.begin()

    def begin(self) -> None:
        """A new process: it knows the journal, the store and the files."""
        self.life = Life()
        self.noticed, self.look_again = {}, set()
        self.journal = self.loop.run_until_complete(self._opened())
        urls = Urls(self.clock)
        self.vendor.read = urls.read
        self.vendor.versions = self._versions
        self.vendor.lives += 1
        roots = Roots()
        gate = CircuitGate(self.vendor.account, self.events, self.clock, self.random.random)
        edge = lambda inner: Edge(self.life, inner)  # noqa: E731 - one word for one thing
        journal = edge(self.journal)
        originals = edge(FileOriginals(roots, InPlace()))
        ports = Ports(
            journal,
            originals,
            edge(urls),
            edge(self.vendor),
            gate,
            edge(self.vendor),
            self.events,
            self.clock,
            random=self.random.random,
            look_again=lambda file: self.look_again.add(file.relative_text),
        )
        self.pipeline = Pipeline(
            ports,
            self.policy,
            concurrency=4,
            new_ticket=lambda now: Ticket(f"token-{next(_numbers)}", "secret", now + TTL),
        )
        self.dispatcher = Dispatcher(journal, self.pipeline, self.events, self.clock, slots=8, random=self.random.random)
        self.gate = gate
        self._running = self.loop.create_task(self.dispatcher.run())

    async def _opened(self) -> StraightJournal:
        return StraightJournal(self.connection, self.clock)

    def _versions(self, key: str) -> int:
        name = os.fsencode(key.partition("/")[2])
        return len({row[0] for row in self.states() if row[2] == name})

    def crash(self) -> None:
        """The process ends, now, whatever it was doing."""
        self.life.over.set()
        self.loop.run_until_complete(self._bury())
        self.begin()

    async def _bury(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _in_loop(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), Dead):
            self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")

    def pass_time(self, seconds: float) -> None:
        """Let it work for so long. A process that ends meanwhile is followed by the next one."""
        until = self.loop.moment + seconds
        while self.loop.moment < until - 1e-6:  # timers run that early, by the clock's resolution
            self.dispatcher.wake()
            self.loop.run_until_complete(self._until(until))
            if self.life.dead:
                self.crash()
            elif self._running.done():
                self._running.result()

    async def _until(self, moment: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(moment):
                await self.life.over.wait()

    def notice(self) -> None:
        """What the intake does: take the versions that it has not seen yet."""
        sightings = []
        for path in sorted(self.root.iterdir()):
            observation = Observation.of(path.stat())
            if self.noticed.get(path.name) != observation or path.name in self.look_again:
                self.noticed[path.name] = observation
                file = FileRef("drop", self.root, os.fsencode(path.name))
                sightings.append(Sighting(file, observation, self.rule, self.clock.now()))
        self.look_again.clear()
        if sightings:
            self.loop.run_until_complete(self._take(sightings))
        if self.life.dead:
            self.crash()

    async def _take(self, sightings: list[Sighting]) -> None:
        try:
            await self.life.effect(self.journal.take(sightings))
        except Dead:
            return
        self.dispatcher.wake()

    def endings(self) -> list[dict[str, Any]]:
        """The records of all endings, in order."""
        return [ending.record for ending in queries.endings_after(self.connection, 0, 1_000_000)]

    def states(self) -> list[tuple[str, str, bytes, str, str | None, str]]:
        """Of every output of every image: id, image's state, path, rendition, output's state; oldest image first."""
        query = """SELECT images.id, images.state, relative, ifnull(rendition, ''), key, outputs.state
                   FROM images JOIN outputs ON outputs.image = images.number ORDER BY number, position"""
        return self.connection.execute(query).fetchall()

    def close(self) -> None:
        """Let go of everything."""
        self.life.over.set()
        self.loop.run_until_complete(self._bury())
        self.loop.close()
        self.connection.close()
