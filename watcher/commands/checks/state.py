"""The daemon's own files: state folder, journal, audit file, and room for them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from watcher.commands.checks.apart import ChildLook
from watcher.commands.checks.finding import State, fail, ok, skip, warn
from watcher.commands.checks.folders import RIGHTS_HINT, existing, file_system
from watcher.config.units import human_size
from watcher.errors import NotAnswering, Unavailable
from watcher.records.place import JournalPlace
from watcher.records.shared_jobs import shared_jobs
from watcher.records.views import JournalViews
from watcher.service.instance import running_pid
from watcher.shown.figures import jobs_words

if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from watcher.commands.checks.finding import Finding
    from watcher.config.schema import Settings

STATE_PATIENCE_SECONDS: Final = 10.0
"""A journal in use on a slow disk takes its time."""
DATABASE_PATIENCE_SECONDS: Final = 60.0
LITTLE_BYTES: Final = 1_000_000_000
TOO_LITTLE_BYTES: Final = 50_000_000
_AUDIT_HINT: Final = f"{RIGHTS_HINT}, or set [log] audit"


def look_at_state(settings: Settings, user: pwd.struct_passwd | None) -> list[Finding]:
    """The lines about state folder, journal, daemon and audit file, seen with the rights of `user`, or with our own."""
    JournalPlace.of(settings).load()
    if settings.journal is None:
        return _look(settings.state_dir, lambda: check_state(settings), user)
    return [
        *_look(settings.state_dir, lambda: check_files(settings), user),
        *_look_at_database(lambda: check_journal(settings), user),
    ]


def look_at_engine_state(settings: Settings, user: pwd.struct_passwd | None) -> list[Finding]:
    """The lines about state folder, engine and jobs where engines are on their own, seen alike."""
    JournalPlace.of(settings).load()
    files = _look(settings.state_dir, lambda: check_engine_state(settings), user)
    return [*files, *_look_at_database(lambda: _jobs(JournalPlace.of(settings), expected=True), user)]


def _look(path: Path, check: Callable[[], Iterator[Finding]], user: pwd.struct_passwd | None) -> list[Finding]:
    try:
        return ChildLook(path, lambda _: list(check()), user).result(STATE_PATIENCE_SECONDS)
    except NotAnswering as error:
        return [fail("state_dir", error.message, error.hint)]


def _look_at_database(check: Callable[[], Iterator[Finding]], user: pwd.struct_passwd | None) -> list[Finding]:
    """By itself: one that hangs says nothing of a disk. What is asked of it gives up well before this does."""
    try:
        return ChildLook("the journal", lambda _: list(check()), user).result(DATABASE_PATIENCE_SECONDS)
    except NotAnswering as error:
        return [fail("journal", error.message, "look at its server")]


def check_state(settings: Settings) -> Iterator[Finding]:
    """The same, as this process sees it."""
    yield from check_files(settings)
    yield from check_journal(settings)


def check_files(settings: Settings) -> Iterator[Finding]:
    """State folder, daemon and audit file alone."""
    yield _state_dir(settings.state_dir)
    yield from _room("state_dir: disk", settings.state_dir)
    yield _daemon(settings.state_dir)
    yield _audit(settings)
    if settings.audit_path.parent != settings.state_dir:
        yield from _room("audit file: disk", settings.audit_path.parent)


def check_journal(settings: Settings) -> Iterator[Finding]:
    """The journal, and the jobs of engines beside it."""
    place = JournalPlace.of(settings)
    finding = _journal(place)
    if finding is not None:
        yield finding
    if finding is None or finding.state is not State.FAIL:
        yield from _jobs(place, expected=False)


def check_engine_state(settings: Settings) -> Iterator[Finding]:
    """What an engine on its own needs, as this process sees it."""
    yield _state_dir(settings.state_dir)
    yield from _room("state_dir: disk", settings.state_dir)
    try:
        pid = running_pid(settings.engine_state_dir)
        yield ok("running engine", "none runs with this state" if pid is None else f"runs with this state (pid {pid})")
    except Unavailable as error:
        yield skip("running engine", error.message, error.hint)


def _state_dir(path: Path) -> Finding:
    there = existing(path)
    if not there.is_dir():
        return fail("state_dir", f"{there} is no folder", "set state_dir to a folder")
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        return fail("state_dir", f"{there} may not be written by this user", RIGHTS_HINT)
    if there != path:
        return ok("state_dir", f"{path} will be made")
    kind, remote = file_system(path)
    if remote:
        todo = "put state_dir on a local disk: SQLite's write-ahead log does not work over a network"
        return fail("state_dir", f"{path} lies on {kind}", todo)
    return ok("state_dir", f"{path} is writable")


def _room(what: str, path: Path) -> Iterator[Finding]:
    there = existing(path)
    if there.is_dir():
        yield judge_room(what, shutil.disk_usage(there).free)


def judge_room(what: str, free: int) -> Finding:
    """Whether so many free bytes are enough. An ending takes about 2 kB in journal and audit file."""
    found = f"{human_size(free)} free"
    if free < TOO_LITTLE_BYTES:
        return fail(what, found, "make room; without it nothing is taken, and nothing is lost")
    if free < LITTLE_BYTES:
        return warn(what, found, "make room soon: an image takes about 2 kB here, for as long as `keep` says")
    return ok(what, found)


def _daemon(state_dir: Path) -> Finding:
    """Whether one is running; what needs its port is then asked of it."""
    try:
        pid = running_pid(state_dir)
    except Unavailable as error:
        return skip("daemon", error.message, error.hint)
    if pid is None:
        return ok("daemon", "none runs with this state")
    return ok("daemon", f"runs with this state (pid {pid}): its port is asked, and none is opened here")


def _journal(place: JournalPlace) -> Finding | None:
    if not place.is_shared and not os.path.lexists(place.path):
        return None
    try:
        if (obstacle := place.obstacle()) is not None:
            return fail("journal", *obstacle)
        if not place.is_there():
            return ok("journal", f"{place.name} answers; the first daemon makes the tables")
        with JournalViews.at(place) as journal:
            waiting = journal.totals().open
    except Unavailable as error:
        return fail("journal", error.message, error.hint)
    return ok("journal", f"{waiting} outputs wait or are under way")


def _jobs(place: JournalPlace, *, expected: bool) -> Iterator[Finding]:
    """The jobs that engines share; `expected`: also before there are any."""
    try:
        jobs = shared_jobs(place)
    except Unavailable as error:
        if expected:
            yield fail("jobs", error.message, error.hint)
        return
    if jobs is not None:
        yield ok("jobs", f"in {place.name}: {jobs_words(jobs.fields())}")
    elif expected and place.is_shared:
        yield ok("jobs", f"{place.name} answers; the first engine makes the tables")
    elif expected:
        yield ok("jobs", "in a file of this engine's state, for it alone")


def _audit(settings: Settings) -> Finding:
    path = settings.audit_path
    if os.path.lexists(path):
        fine = path.is_file() and os.access(path, os.R_OK | os.W_OK, effective_ids=True)
        return ok("audit file", f"{path} is writable") if fine else fail("audit file", _forbidden(path), _AUDIT_HINT)
    if not path.parent.is_dir():
        if path.parent == settings.state_dir:
            return ok("audit file", f"{path} will be made with the state folder")
        return fail(
            "audit file", f"the folder {path.parent} is not there", "make it, for the daemon's user to write, or set [log] audit"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
        return fail("audit file", _forbidden(path.parent), _AUDIT_HINT)
    return ok("audit file", f"{path} will be made")


def _forbidden(path: Path) -> str:
    return f"{path} may not be written by this user"
