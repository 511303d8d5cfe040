"""Builds the journal and the relay from it to the audit file, in a state folder that is held for this process alone."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from watcher.assembly.parts import Context, Records
from watcher.config.rules import folder_rules
from watcher.records.audit_file import AuditFile
from watcher.records.outbox import OutboxRelay
from watcher.records.place import JournalPlace
from watcher.records.sightings import HostFolder
from watcher.records.sqlite_journal import SqliteJournal
from watcher.service.instance import InstanceLock, instance_id

if TYPE_CHECKING:
    from watcher.config.schema import Settings
    from watcher.records.journal import ThreadedJournal


def take_state(context: Context) -> None:
    """Hold the state folder for this process alone."""
    lock = InstanceLock.take(context.settings.state_dir)
    context.life.on_stop(lock.release)


async def start_records(context: Context) -> Records:
    """Open the journal and write what the audit file lacks."""
    settings, life = context.settings, context.life
    journal = await _open_journal(context)
    life.on_stop(journal.close)
    relay = OutboxRelay(journal, AuditFile(settings.audit_path), context.events)
    await relay.start()
    life.on_stop(relay.stop)
    life.on_reopen(relay.reopen)
    return Records(journal, relay)


async def _open_journal(context: Context) -> ThreadedJournal:
    settings, place = context.settings, JournalPlace.of(context.settings)
    means: dict[str, Any] = {"events": context.events, "clock": context.clock, "keep": settings.keep, "new_id": _new_id}
    if not place.is_shared:
        roots = {folder.name: folder.path for folder in settings.folders}
        return SqliteJournal.open(place.path, **means, audit=settings.audit_path, roots=roots)
    from watcher.records.postgres.journal import PostgresJournal  # an extra: only who shares a journal needs its parts

    instance, folders = instance_id(settings.state_dir), host_folders(settings)
    journal = await PostgresJournal.open(place.server, instance=instance, **means, audit=settings.audit_path, folders=folders)
    journal.woken = context.control.wake

    def reload(settings: Settings) -> None:
        journal.folders = host_folders(settings)

    context.life.on_reload(reload)
    return journal


def host_folders(settings: Settings) -> dict[str, HostFolder]:
    """The folders as this host has them."""
    rules = [each.rule for each in folder_rules(settings).values()]
    return {rule.folder: HostFolder(rule.root, rule.on_success, rule.on_failure) for rule in rules}


def _new_id() -> str:
    return str(uuid.uuid4())
