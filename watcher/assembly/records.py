"""Builds the journal and the relay from it to the audit file, in a state folder that is held for this process alone."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from watcher.assembly.parts import Context, Records
from watcher.config.rules import folder_rules
from watcher.errors import CalledOff
from watcher.records.audit_file import AuditFile
from watcher.records.outbox import OutboxRelay
from watcher.records.place import JournalPlace
from watcher.records.sightings import HostFolder
from watcher.records.sqlite_journal import SqliteJournal
from watcher.service.instance import InstanceLock, instance_id

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from watcher.config.schema import Settings
    from watcher.errors import Away
    from watcher.records.journal import ThreadedJournal
    from watcher.service.control import Control
    from watcher.service.systemd import Notifier

Answer = TypeVar("Answer")

START_PATIENCE_SECONDS: Final = 60.0
"""Each try to reach the journal's server, and the rest behind it, takes less."""


def take_state(context: Context) -> None:
    """Hold the state folder for this process alone."""
    lock = InstanceLock.take(context.settings.state_dir)
    context.life.on_stop(lock.release)


async def start_records(context: Context) -> Records:
    """Open the journal and write what the audit file lacks."""
    settings, life = context.settings, context.life
    journal = await _open_journal(context)
    life.on_stop(journal.close)
    relay = OutboxRelay(journal, AuditFile(settings.audit_path), context.events, context.events.written)
    await relay.start()
    life.on_stop(relay.stop)
    life.on_reopen(relay.reopen)
    return Records(journal, relay)


async def _open_journal(context: Context) -> ThreadedJournal:
    settings, place = context.settings, JournalPlace.of(context.settings)
    means: dict[str, Any] = {"events": context.events, "clock": context.clock, "keep": settings.keep, "new_id": _new_id}
    if not place.is_shared:
        roots = {folder.name: folder.path for folder in settings.folders}
        opening = partial(SqliteJournal.open, place.path, **means, audit=settings.audit_path, roots=roots)
        return await asyncio.to_thread(opening)  # it waits for the disk
    from watcher.records.postgres.journal import PostgresJournal  # an extra: only who shares a journal needs its parts
    from watcher.records.postgres.lineage import FILE_NAME, Lineage

    means |= {"instance": instance_id(settings.state_dir), "audit": settings.audit_path, "folders": host_folders(settings)}
    waits = partial(_say_waiting, context.notifier) if context.patient else None
    server = replace(place.server, lineage=Lineage(settings.state_dir / FILE_NAME))
    journal = await unless_stopped(context.control, PostgresJournal.open(server, **means, waits=waits))
    journal.on_call(context.control.wake)

    def reload(settings: Settings) -> None:
        journal.folders = host_folders(settings)
        journal.use_password(JournalPlace.of(settings).password)

    context.life.on_reload(reload)
    return journal


def _say_waiting(notifier: Notifier, why: Away) -> None:
    notifier.starting(f"waiting: {why.message}", START_PATIENCE_SECONDS)


async def unless_stopped(control: Control, opening: Coroutine[Any, Any, Answer]) -> Answer:
    """What is opened, however long that takes. Raises CalledOff where somebody says stop meanwhile."""
    task, stopping = asyncio.ensure_future(opening), asyncio.ensure_future(control.stopping.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise CalledOff("stopped before it was up")
        return task.result()
    finally:
        task.cancel()
        stopping.cancel()


def host_folders(settings: Settings) -> dict[str, HostFolder]:
    """The folders as this host has them."""
    rules = [each.rule for each in folder_rules(settings).values()]
    return {rule.folder: HostFolder(rule.root, rule.on_success, rule.on_failure) for rule in rules}


def _new_id() -> str:
    return str(uuid.uuid4())
