"""`notify test` and `notify replay`: a sample, or endings once more, to one receiver; beside a running daemon or without one."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from watcher.clock import SystemClock
from watcher.commands.printing import console, note, say
from watcher.config.apprise_check import INSTALL, is_installed
from watcher.config.spelling import did_you_mean
from watcher.config.units import human_duration
from watcher.errors import Unavailable, WatcherError
from watcher.log import quiet_libraries
from watcher.log.console import plain
from watcher.model import AuditLine
from watcher.network.proxies import Proxies
from watcher.notify.messages import Gathered, ending_message, sample_message, sample_record
from watcher.notify.plan import ReceiverPlan
from watcher.notify.programs import environment_for
from watcher.notify.receivers import Ways
from watcher.notify.sender import NotConfirmed
from watcher.records import followers
from watcher.records.chain import linked
from watcher.records.place import JournalPlace
from watcher.records.rotated import audit_files, our_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rich.console import Console

    from watcher.config.schema import Settings
    from watcher.notify.messages import Message
    from watcher.notify.sender import Sender

AT_ONCE: Final = 500
"""Endings that the journal is asked for together."""
CREDENTIALS_HINT: Final = (
    "secrets of the service are not in your environment: as root, try CREDENTIALS_DIRECTORY=/etc/compressor-watcher/credentials"
)


class NoReceiver(WatcherError):
    """The configuration has no such receiver, or not all that is needed to reach it."""


async def send_sample(settings: Settings, name: str) -> int:
    """Send one sample (to a heartbeat: one beat), and say what came of it. Exit status 0 where it was confirmed."""
    plan = _plan(settings, name)
    ways, clock, began = _ways(), SystemClock(), time.monotonic()
    bucket, region = settings.store.bucket or "my-bucket", settings.store.region or "eu-central-003"
    try:
        if plan.heartbeat is not None:
            web = ways.web(plan, clock)
            try:
                answer = await web.beat()
            finally:
                await web.aclose()
        else:
            message = sample_message(sample_record(clock.now(), bucket, region), f"msg_test_{uuid.uuid4()}")
            answer = await _send(ways, plan, [message])
    except NotConfirmed as refusal:
        _say_refusal(plan, refusal)
        return 1
    say(console(), f"{name}: {plain(answer)} after {human_duration(time.monotonic() - began)}")
    return 0


async def replay(settings: Settings, name: str, start: int, host: str | None = None) -> int:
    """Send the endings from number `start` on once more, as far as the receiver wants them. Exit status 0 where all arrived.

    `host`: those of this one that shares the journal.
    """
    plan = _plan(settings, name)
    if not plan.follows:
        raise NoReceiver(f"the receiver {name} is told of no endings", "look at its `events` and `heartbeat`")
    lines = lines_from(settings.audit_path, start) if host is None else lines_of_host(settings, host, start)
    wanted = (line for line in lines if plan.wants(line))
    sender, sent = _ways().sender(plan, SystemClock()), 0
    last, out = start - 1, console()
    try:
        for message, count, seq in _messages(plan, wanted):
            await sender.send(message)
            sent, last = sent + count, seq
            _show_progress(out, sent)
    except NotConfirmed as refusal:
        _say_refusal(plan, refusal)
        of_host = "" if host is None else f" --host {host}"
        note(f"{sent} endings were sent again; go on with `notify replay {name} --from {last + 1}{of_host}`")
        return 1
    finally:
        await sender.aclose()
    if not sent:
        where = settings.audit_path if host is None else f"the audit file of {host}"
        note(f"no line of {where} from {start} on is one that {name} is told of")
        return 1
    say(out, f"{name}: {sent} endings were sent again and confirmed, the last of them number {last}")
    return 0


def lines_of_host(settings: Settings, host: str, start: int) -> Iterator[AuditLine]:
    """The same of a host that shares the journal, as the journal has them. Raises Unavailable."""
    place, seen = JournalPlace.of(settings).of_host(host), start - 1
    with contextlib.closing(place.connect()) as connection:
        try:
            while lines := followers.lines_after(connection, seen, AT_ONCE):
                yield from lines
                seen = lines[-1].seq
        except place.errors as error:
            raise Unavailable(f"the journal cannot be read: {error}", "look at its server") from None


def lines_from(path: Path, start: int) -> Iterator[AuditLine]:
    """The lines of the audit file and its rotated siblings from number `start` on, in order, each once."""
    seen = start - 1
    for file in audit_files(path):
        for line in our_lines(file):
            if line.seq > seen:
                seen = line.seq
                whole = linked(line.record, line.seq, line.prev)
                yield AuditLine(
                    line.seq,
                    str(line.record.get("id")),
                    line.record.get("rendition"),
                    _seconds(line.record.get("timestamp")),
                    str(line.record.get("event")),
                    str(line.record.get("folder")),
                    whole,
                )


def _messages(plan: ReceiverPlan, lines: Iterable[AuditLine]) -> Iterator[tuple[Message, int, int]]:
    """What is sent: each message with how many endings are in it, and the number of the last."""
    if plan.gathers is None:
        yield from ((ending_message(line), 1, line.seq) for line in lines)
        return
    gathered, count = Gathered(keeps_lines=not plan.is_for_people), 0
    for line in lines:
        gathered.add(line)
        count += 1
        if gathered.is_full:
            yield gathered.message(time.time()), count, line.seq
            gathered, count = Gathered(keeps_lines=True), 0
    if gathered.last is not None:
        yield gathered.message(time.time()), count, gathered.last.seq


def _plan(settings: Settings, name: str) -> ReceiverPlan:
    """The receiver of this name. Raises NoReceiver."""
    if name not in settings.notify:
        known = ", ".join(settings.notify)
        there = f"there are {known}{did_you_mean(name, settings.notify)}" if known else "there is none: add [notify.NAME]"
        raise NoReceiver(f"the configuration has no receiver {name!r}; {there}")
    plan = ReceiverPlan.of(name, settings.notify[name])
    if not (plan.url or plan.command or plan.apprise):
        raise NoReceiver(f"the receiver {name} has no `url`, `command` or `apprise` here", CREDENTIALS_HINT)
    if plan.apprise and not is_installed():
        raise NoReceiver(f"the receiver {name} needs the package `apprise`, which is not installed", INSTALL)
    quiet_libraries()
    return plan


def _ways() -> Ways:
    return Ways(Proxies.of_environment(os.environ), environment_for(os.environ))


async def _send(ways: Ways, plan: ReceiverPlan, messages: Iterable[Message]) -> str:
    sender: Sender = ways.sender(plan, SystemClock())
    answer = ""
    try:
        for message in messages:
            answer = await sender.send(message)
    finally:
        await sender.aclose()
    return answer


def _say_refusal(plan: ReceiverPlan, refusal: NotConfirmed) -> None:
    hint = refusal.hint
    if plan.url and not plan.secret and "secret" in hint:
        hint = f"no `secret` is set here, so nothing was signed; {CREDENTIALS_HINT}"
    note(f"{plan.name}: {refusal.message}" + (f" ({hint})" if hint else ""))


def _show_progress(out: Console, sent: int) -> None:
    """A word now and then, on a terminal."""
    if sent % 100 == 0 and out.is_terminal:
        sys.stderr.write(f"\r{sent} sent")
        sys.stderr.flush()


def _seconds(stamp: Any) -> float:
    """A line's timestamp in Unix seconds; 0 where it is none."""
    try:
        return datetime.fromisoformat(str(stamp)).timestamp()
    except ValueError:
        return 0.0
