"""The gate that every request to the API goes through: waits while the circuit says so, paces, and asks how the API is.

The decisions are in `circuit`; here are the waiting, the clock, the call of `GET /account`, and the log.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from watcher.compressor import circuit as rules
from watcher.compressor.circuit_state import Circuit, CircuitChange, Phase, Request
from watcher.compressor.pacing import Pace, SharedPace
from watcher.compressor.peers import Member, Standing, alone, hear
from watcher.errors import CallFailed
from watcher.model import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from watcher.compressor.peers import MemberChange, Peer
    from watcher.model import Event
    from watcher.ports import Clock, EventLog


@dataclass(frozen=True, slots=True)
class ApiState:
    """How the way to the API stands, for status pages: the phase, since when it is not free (Unix seconds), why, who waits."""

    phase: Phase
    cause: Event | None
    since: float | None
    message: str
    waiting: int
    in_flight: int

    @property
    def is_free(self) -> bool:
        """Whether everybody may send."""
        return self.phase is Phase.CLOSED


class CircuitGate:
    """Lets requests to the API through, or makes them wait.

    Each `enter` that returns is followed by exactly one of `succeeded`, `failed` and `abandoned` with the same name. A name is
    what is sent as one request, one output of one image; one name is in at most once at a time. A failure may turn out later
    to have used an attempt, when somebody else gets through: ask `attempts_charged` before each new try.

    Must be used from one running event loop. `random` gives values in [0, 1).
    """

    def __init__(
        self,
        account: Callable[[], Awaitable[None]],
        log: EventLog,
        clock: Clock,
        random: Callable[[], float],
        requests_per_second: float | None = None,
    ) -> None:
        self._account = account
        self._log = log
        self._clock = clock
        self._random = random
        self._pace = Pace(requests_per_second)
        self._shared_pace: SharedPace | None = None
        self._circuit = Circuit()
        self._member = Member("")
        self._since: float | None = None
        self._over: float | None = None
        self._tell: Callable[[], None] = _nobody
        self._marks: dict[str, int] = {}
        self._waiting: dict[asyncio.Future[None], str] = {}
        self._charges: Counter[str] = Counter()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at: float | None = None
        self._probing: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def state(self) -> ApiState:
        """How things stand."""
        episode = self._circuit.episode
        since = None if episode is None else self._clock.now() - (self._clock.monotonic() - episode.since)
        message = "" if episode is None else episode.message
        return ApiState(self._circuit.phase, self._circuit.cause, since, message, len(self._waiting), len(self._marks))

    def pace(self, requests_per_second: float | None) -> None:
        """Change the limit (reload)."""
        self._pace.per_second = requests_per_second

    # --- where several hosts share a journal ----------------------------------------------------------------------------------

    def join(self, name: str, tell: Callable[[], None], take: Callable[[int, float], Awaitable[float]]) -> None:
        """This is one host of several, by this name. `tell` is called when its standing is another one, `take` see SharedPace."""
        self._member = Member(name, self.standing)
        self._tell = tell
        self._shared_pace = SharedPace(take, self._pace, self._clock)

    @property
    def standing(self) -> Standing:
        """For the other hosts."""
        circuit = self._circuit
        throttled = circuit.phase is Phase.THROTTLED and circuit.wake_at is not None
        wait = max(0.0, circuit.wake_at - self._clock.monotonic()) if throttled and circuit.wake_at is not None else 0.0
        message = "" if circuit.episode is None else circuit.episode.message
        idle = circuit.phase is not Phase.HALF_OPEN or (circuit.trial is None and not self._waiting)
        return Standing(circuit.phase, self._since, self._over, wait, message, idle, led=bool(circuit.led_by))

    def hear(self, peers: Sequence[Peer]) -> None:
        """Take note of how the way stands on the other hosts."""
        told = self._member.standing
        member = replace(self._member, standing=replace(self.standing, idle=not self._waiting))
        heard = hear(self._circuit, member, peers, self._clock.monotonic())
        self._heed(replace(heard, member=replace(heard.member, standing=told)))

    def hear_nobody(self) -> None:
        """The other hosts cannot be heard."""
        self._heed(alone(self._circuit, self._member, self._clock.monotonic()))

    def _heed(self, heard: MemberChange) -> None:
        self._member = heard.member
        if heard.change.circuit != self._circuit:
            self._apply(heard.change)

    # --- who may send ---------------------------------------------------------------------------------------------------------

    def recheck(self) -> None:
        """Something changed for the better, a new key say: ask the account now instead of at the next probe."""
        if self._circuit.phase in (Phase.OPEN, Phase.BLOCKED):
            self._apply(CircuitChange(rules.hastened(self._circuit, self._clock.monotonic())))

    async def enter(self, name: str) -> None:
        """Wait until `name` may send."""
        try:
            await self._admission(name)
        except asyncio.CancelledError:
            self._apply(CircuitChange(rules.abandoned(self._circuit, name)))
            raise
        self._marks[name] = self._circuit.passed.count

    async def _admission(self, name: str) -> None:
        while True:
            while not self._let_in(name):
                await self._turn(name)
            shared = self._shared_pace
            delay = self._pace.reserve(self._clock.monotonic()) if shared is None else await shared.reserve()
            if delay <= 0:
                return
            await self._clock.sleep(delay)
            if self._let_in(name):
                return

    def _let_in(self, name: str) -> bool:
        if not rules.may_enter(self._circuit, name):
            return False
        self._circuit = rules.entered(self._circuit, name)
        return True

    async def _turn(self, name: str) -> None:
        self._circuit = rules.waits(self._circuit, name)
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = name
        try:
            await turn
        finally:
            self._waiting.pop(turn, None)

    def succeeded(self, name: str, *, pending: bool = False) -> None:
        """The API gave `name` a result, or took it as a job (`pending`)."""
        self._marks.pop(name, None)
        now = self._clock.monotonic()
        if pending:
            self._apply(rules.taken_as_job(self._circuit, name, now))
            return
        self._charges.pop(name, None)
        self._apply(rules.succeeded(self._circuit, name, now))

    def failed(self, name: str, failure: Failure) -> bool:
        """The request of `name` failed. True where that used one attempt; `attempts_charged` does not count it again."""
        mark = self._marks.pop(name, self._circuit.passed.count)
        others = frozenset(self._marks) | frozenset(self._waiting.values())
        request = Request(name, mark, others - {name})
        step = rules.failed(self._circuit, request, failure, self._clock.monotonic(), self._random())
        self._apply(step, told=name)
        return name in step.charged

    def abandoned(self, name: str) -> None:
        """`name` was let in, but nothing can be learnt from what came of it (it was cancelled, its file is gone)."""
        self._marks.pop(name, None)
        self._apply(CircuitChange(rules.abandoned(self._circuit, name)))

    def attempts_charged(self, name: str) -> int:
        """How many attempts earlier failures of `name` turned out to have used since this was last asked."""
        return self._charges.pop(name, 0)

    def forget(self, name: str) -> None:
        """`name` has ended; nothing of it needs to be kept."""
        self._charges.pop(name, None)
        if (circuit := rules.forgotten(self._circuit, name)) is not self._circuit:
            self._apply(CircuitChange(circuit))

    async def close(self) -> None:
        """Stop asking the account. Whoever waits keeps waiting; cancel them first."""
        self._closed = True
        tasks = [task for task in (self._timer, self._probing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _apply(self, step: CircuitChange, told: str | None = None) -> None:
        self._circuit = step.circuit
        self._note_episode()
        for line in step.lines:
            self._log.event(line.event, **line.fields)
        self._charges.update(step.charged - {told})
        self._release()
        self._arm()
        if self._shared_pace is not None and (standing := replace(self.standing, wait=0.0)) != self._member.standing:
            self._member = replace(self._member, standing=standing)
            self._tell()

    def _note_episode(self) -> None:
        if self._shared_pace is None:
            return
        if self._circuit.episode is None:
            self._over, self._since = self._since or self._over, None
        elif self._since is None:
            self._since = round(self._clock.now(), 3)

    def _release(self) -> None:
        if self._circuit.phase is Phase.CLOSED:
            for turn in self._waiting:
                _wake(turn)
        elif self._circuit.phase is Phase.HALF_OPEN and self._circuit.trial is None and (turns := self._awaiting_turns()):
            chosen = self._choose(turns)
            self._circuit = rules.entered(self._circuit, self._waiting[chosen])
            _wake(chosen)

    def _awaiting_turns(self) -> list[asyncio.Future[None]]:
        return [turn for turn in self._waiting if not turn.done()]

    def _choose(self, turns: list[asyncio.Future[None]]) -> asyncio.Future[None]:
        """Who tries first: one that did not fail lately, so that an image that fails by itself does not keep the way shut."""
        failing = self._circuit.streak | self._circuit.suspects
        return next((turn for turn in turns if self._waiting[turn] not in failing), turns[0])

    def _arm(self) -> None:
        """Have the next step of the circuit made when it is due."""
        due = self._circuit.wake_at
        if self._closed or self._probing is not None or due == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = None
        if due is not None:
            self._timer = asyncio.create_task(self._sleep_until(due), name="gate-timer")

    async def _sleep_until(self, due: float) -> None:
        if (delay := due - self._clock.monotonic()) > 0:
            await self._clock.sleep(delay)
        self._timer = None
        self._timer_at = None
        if self._circuit.phase in (Phase.THROTTLED, Phase.HALF_OPEN):
            self._apply(rules.woke(self._circuit))
        else:
            self._probing = asyncio.create_task(self._probe(), name="gate-probe")

    async def _probe(self) -> None:
        try:
            await self._account()
            failure = None
        except CallFailed as error:
            failure = error.failure
        except Exception as error:  # noqa: BLE001 - a defect of ours in one probe must not keep everybody waiting forever
            traceback.print_exception(error, file=sys.stderr)
            message = f"internal error ({type(error).__name__}); this is a fault of compressor-watcher, please report it"
            failure = Failure(FailureKind.TRANSIENT, message)
        self._probing = None
        idle = not self._waiting
        self._apply(rules.probed(self._circuit, failure, self._clock.monotonic(), self._random(), idle=idle))


def _nobody() -> None:
    """Nobody wants to know."""


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
