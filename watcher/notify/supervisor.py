"""The daemon's side of its notifications: keeps the process that tells receivers, and writes down what they confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import uuid
from collections import deque
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, Final

from watcher.backoff import exponential
from watcher.config.units import human_duration
from watcher.log import line_fields
from watcher.model import Event
from watcher.notify.plan import OUTAGES
from watcher.notify.programs import environment_for
from watcher.one_processor import THREADS
from watcher.shown.report import ReceiverState

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence

    from watcher.model import Record
    from watcher.notify.plan import ReceiverPlan
    from watcher.ports import Clock, EventLog, Followers

COMMAND: Final = (sys.executable, "-m", "watcher.assembly.notifier")
GOODBYE_SECONDS: Final = 2.0
"""So long a process that was told to end may take; then it is killed."""
SPARE_SECONDS: Final = 1.0
MOST_OUTAGES: Final = 1000
"""Outages kept until the process is up."""
LONGEST_PAUSE_SECONDS: Final = 60.0
_LONGEST_LINE: Final = 1_000_000
_MOST_UNREAD: Final = 1_000_000
"""Bytes that wait for a process which does not read; what comes beyond is left out."""


class NotifierSupervisor:
    """Receivers come and go by `use`. The process reads what they are told from `journal`, in the order of the audit file."""

    def __init__(
        self, journal: str | None, followers: Followers, events: EventLog, clock: Clock, command: Sequence[str] = COMMAND
    ) -> None:
        """`journal` is the file that the process reads; None where only this process can, which is then asked for each line."""
        self._journal = journal
        self._followers = followers
        self._events = events
        self._clock = clock
        self._command = tuple(command)
        self._plans: dict[str, ReceiverPlan] = {}
        self._states: dict[str, ReceiverState] = {}
        self._stands: dict[str, int] = {}
        self._confirmed: dict[str, int] = {}
        self._confirming = asyncio.Event()
        self._settled = asyncio.Event()
        self._is_up = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._unsaid: deque[Record] = deque(maxlen=MOST_OUTAGES)
        self._process: Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False

    # --- for its owner ----------------------------------------------------------------------------------------------------------

    @property
    def states(self) -> tuple[ReceiverState, ...]:
        """How each receiver does."""
        return tuple(self._states.values())

    @property
    def process_id(self) -> int | None:
        """Of the process that tells receivers; None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def is_quiet(self) -> bool:
        """Whether there is nobody to tell anything."""
        return not self._plans

    async def use(self, plans: Sequence[ReceiverPlan]) -> None:
        """Tell these receivers and no others. A new one begins behind the last line of the audit file.

        Whoever is told of outages alone is there at once; the others wait until the journal has noted where they begin.
        """
        async with self._one_at_a_time:
            self._plans = {plan.name: plan for plan in plans}
            self._states = {plan.name: _still(self._states.get(plan.name) or _unknown(plan), plan) for plan in plans}
            following = [plan.name for plan in plans if plan.follows]
            self._stands = {name: seq for name, seq in self._stands.items() if name in following}
            await self._start_or_stop()
            self._say_plans()
            stands = await asyncio.gather(*(self._followers.begin(name) for name in following))
            await self._followers.keep_only(following)
            self._stands = dict(zip(following, stands, strict=True))
            self._say_plans()

    async def _start_or_stop(self) -> None:
        if not self._plans:
            await self._stop_process()
        elif not self._tasks:
            self._is_ending = False
            self._tasks = [asyncio.create_task(self._keep(), name="notifier"), asyncio.create_task(self._write_down())]

    def look(self) -> None:
        """Lines were written to the audit file."""
        self._say({"look": True})

    def heard(self, event: Event, fields: Mapping[str, Any]) -> None:
        """A line of the log: told to who wants to know of outages."""
        if event in OUTAGES and any(plan.outage for plan in self._plans.values()):
            rest = {key: value for key, value in fields.items() if key not in ("timestamp", "level", "event")}
            message = {"outage": line_fields(event, self._clock.now(), **rest), "id": f"msg_{uuid.uuid4()}"}
            if self._process is None:
                self._unsaid.append(message)
            else:
                self._say(message)

    def healthy(self) -> None:
        """The daemon is well now, and so are its folders and the way to the API."""
        if any(plan.heartbeat is not None for plan in self._plans.values()):
            self._say({"healthy": True})

    async def settle(self, patience: float, *, hurry: bool = False) -> None:
        """Have told what there is to tell, as far as receivers confirm it within `patience` seconds.

        `hurry`: also what is still being gathered.
        """
        if self.is_quiet:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience + SPARE_SECONDS):
                await self._is_up.wait()
                self._settled.clear()
                self._say({"settle": patience, "hurry": hurry})
                await self._settled.wait()
                await self._note_confirmed()

    async def stop(self) -> None:
        """End the process. What receivers did not confirm is told after the next start.

        A journal that takes nothing now is not waited for: what was confirmed is told once more.
        """
        await self._stop_process()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SPARE_SECONDS):
                await self._note_confirmed()

    async def _stop_process(self) -> None:
        self._is_ending = True
        if self._process is not None:
            await _end(self._process)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    # --- the process ------------------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Keep the process running while there are receivers. One that dies is started again, and said."""
        deaths = 0
        while True:
            began = self._clock.monotonic()
            ended = await self._until_it_ends()
            if self._is_ending:
                return
            deaths = 1 if self._clock.monotonic() - began > LONGEST_PAUSE_SECONDS else deaths + 1
            pause = exponential(1.0, LONGEST_PAUSE_SECONDS, deaths)
            message = f"the process that tells receivers ended ({ended}); another one is started in {human_duration(pause)}"
            self._events.event(Event.NOTIFY_UNAVAILABLE, message=message, hint="nothing is lost: endings are told later")
            await self._clock.sleep(pause)

    async def _until_it_ends(self) -> str:
        """One process from its start to its end; gives how it ended."""
        try:
            return f"status {await self._run_process()}"
        except OSError as error:
            return error.strerror or str(error)

    async def _run_process(self) -> int | None:
        """From its start to its end; gives its exit status."""
        with THREADS.apart():
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment_for(os.environ),
                limit=_LONGEST_LINE,
                start_new_session=True,
            )
        self._process = process
        self._is_up.set()
        try:
            self._say_plans()
            while self._unsaid:
                self._say(self._unsaid.popleft())
            while process.stdout is not None and (line := await process.stdout.readline()).endswith(b"\n"):
                await self._hear(json.loads(line))
        finally:
            self._process = None
            self._is_up.clear()
            await _end(process)
        return process.returncode

    def _say_plans(self) -> None:
        ready = [plan for plan in self._plans.values() if not plan.follows or plan.name in self._stands]
        plans = [plan.to_json() for plan in ready]
        positions = {name: max(seq, self._confirmed.get(name, 0)) for name, seq in self._stands.items()}
        self._say({"use": plans, "positions": positions, "journal": self._journal})

    def _say(self, message: Record) -> None:
        stdin = self._process.stdin if self._process is not None else None
        if stdin is None or stdin.is_closing() or stdin.transport.get_write_buffer_size() > _MOST_UNREAD:
            return
        stdin.write(json.dumps(message).encode() + b"\n")

    # --- what it says -----------------------------------------------------------------------------------------------------------

    async def _hear(self, message: Record) -> None:
        match message:
            case {"after": seq, "limit": limit, "number": number}:
                lines = await self._followers.lines_after(seq, limit)
                self._say({"lines": [astuple(line) for line in lines], "number": number})
            case {"confirmed": positions}:
                self._confirmed.update(positions)
                self._confirming.set()
            case {"unavailable": name, "message": words, "hint": hint} if name in self._states:
                self._note_unavailable(name, words, hint)
            case {"recovered": name, "seconds": seconds, "lost": lost} if name in self._states:
                self._note_recovered(name, seconds, lost)
            case {"settled": _}:
                self._settled.set()

    def _note_unavailable(self, name: str, words: str, hint: str) -> None:
        before = self._states[name]
        since = before.since if before.state == "unavailable" else self._clock.now()
        self._states[name] = before.changed("unavailable", since, words)
        if before.state != "unavailable":
            more = {"hint": hint} if hint else {}
            self._events.event(Event.NOTIFY_UNAVAILABLE, receiver=name, message=words, **more)

    def _note_recovered(self, name: str, seconds: float, lost: int) -> None:
        self._states[name] = self._states[name].changed("ok", None, "")
        more = {"lost": lost, "message": f"{lost} endings were older than `keep` by then and are not told"} if lost else {}
        self._events.event(Event.NOTIFY_RECOVERED, receiver=name, seconds=seconds, **more)

    async def _write_down(self) -> None:
        """Note in the journal how far each receiver has come: what comes together in one turn."""
        while True:
            await self._confirming.wait()
            await self._note_confirmed()

    async def _note_confirmed(self) -> None:
        self._confirming.clear()
        for name, seq in list(self._confirmed.items()):
            before = self._stands.get(name)
            if before is None or seq <= before:
                self._confirmed.pop(name, None)
            elif await self._followers.advance(name, seq, before):
                self._stands[name] = seq
            else:  # somebody else moved it
                self._stands[name] = await self._followers.begin(name)


async def _end(process: Process) -> None:
    """Let it end by itself, which it does when its stdin ends; kill it where it does not."""
    if process.returncode is None and process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(GOODBYE_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _unknown(plan: ReceiverPlan) -> ReceiverState:
    return ReceiverState(plan.name, plan.kind, plan.target, plan.endings, plan.folders)


def _still(state: ReceiverState, plan: ReceiverPlan) -> ReceiverState:
    """What was known of a receiver holds for as long as it is the same."""
    now = _unknown(plan)
    same = (state.kind, state.target) == (now.kind, now.target)
    return now.changed(state.state, state.since, state.message) if same else now
