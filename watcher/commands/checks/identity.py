"""Whose rights are checked: those of this user, or, for root, those of the service's user."""

from __future__ import annotations

import os
import pwd
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from watcher.commands.checks.finding import ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from watcher.commands.checks.finding import Finding

ROOT: Final = 0


def service_user(state_dir: Path) -> pwd.struct_passwd | None:
    """Who owns the state folder, where we are root and it is somebody else's: the daemon runs as that user. Else None."""
    if os.geteuid() != ROOT:
        return None
    try:
        owner = state_dir.stat().st_uid
        return pwd.getpwuid(owner) if owner != ROOT else None
    except (OSError, KeyError):
        return None


@contextmanager
def acting_as(user: pwd.struct_passwd | None) -> Iterator[None]:
    """Have the files looked at with the rights of another user (None: our own). For one thread; root only."""
    if user is None:
        yield
        return
    groups = os.getgroups()
    os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(ROOT)
        os.setegid(ROOT)
        os.setgroups(groups)


def describe(user: pwd.struct_passwd | None) -> Finding:
    """The line that says for whom the others hold."""
    if user is not None:
        return ok("user", f"checked for {user.pw_name}, who owns the state folder")
    if os.geteuid() == ROOT:
        todo = "for a service with a user of its own, check as that user (sudo -u USER), or again when it has run once"
        return warn("user", "checked as root, who may read everything", todo)
    return ok("user", f"checked as {_name(os.geteuid())}")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
