"""Receivers of notifications: whether their programs can be run. Nobody is told anything; `notify test` does that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from watcher.commands.checks.finding import fail, ok
from watcher.commands.checks.identity import acting_as

if TYPE_CHECKING:
    import pwd

    from watcher.commands.checks.finding import Finding
    from watcher.config.receiver_settings import ReceiverSettings
    from watcher.config.schema import Settings


def check_receivers(settings: Settings, user: pwd.struct_passwd | None = None) -> list[Finding]:
    """A line for each. Seen with the rights of `user`, or with our own."""
    return [_finding(name, each, user) for name, each in settings.notify.items()]


def _finding(name: str, receiver: ReceiverSettings, user: pwd.struct_passwd | None) -> Finding:
    what = f"notify.{name}"
    if receiver.command is not None and not _can_run(receiver.command[0], user):
        todo = "put it there, and make it executable for this user; endings wait for it no longer than `keep`"
        return fail(what, f"{receiver.command[0]} cannot be run by this user", todo)
    return ok(what, f"{receiver.kind} {receiver.target}{_signing(receiver)} (`notify test {name}` sends a sample)")


def _signing(receiver: ReceiverSettings) -> str:
    if receiver.kind != "url":
        return ""
    return ", signed" if receiver.secret is not None else ", not signed"


def _can_run(program: str, user: pwd.struct_passwd | None) -> bool:
    folders = [""] if "/" in program else os.get_exec_path()
    with acting_as(user):
        return any(_is_program(Path(folder) / program) for folder in folders)


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK, effective_ids=True)
