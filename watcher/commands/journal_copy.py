"""`journal copy`: a journal from a SQLite file into a PostgreSQL database, or the other way."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watcher.commands.printing import console, say
from watcher.config.schema import postgres_url
from watcher.errors import ConfigurationError, Unavailable
from watcher.records import database, transfer
from watcher.records.place import JournalPlace
from watcher.service.instance import InstanceLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from watcher.records.dialect import Connection

NAMED: Final = ("images", "endings", "files", "objects")


def copy_journal(source: str, target: str, host: str | None, environment: Mapping[str, str]) -> int:
    """Copy, and say what was copied. Exit status 0. Raises Unavailable, and ConfigurationError where a name cannot be used.

    `host` is the one whose rows these are in the shared journal; None: this machine's name.
    """
    name = host or os.uname().nodename
    places = [_place(each, name, environment) for each in (source, target)]
    if places[0].is_shared == places[1].is_shared:
        raise ConfigurationError(["journal copy: one of the two is a SQLite file, the other a postgresql:// URL"])
    with _reading(places[0]) as reading, _writing(places[1]) as writing:
        counts = transfer.copy(reading, writing)
    words = ", ".join(f"{counts[each]} {each}" for each in NAMED)
    say(console(), f"copied from {places[0].name} to {places[1].name}: {words}")
    todo = f'journal = "{target}"' if places[1].is_shared else "leave `journal` out, with this file in state_dir"
    say(console(), f"to go on with it, set in config.toml: {todo}")
    return 0


def _place(what: str, host: str, environment: Mapping[str, str]) -> JournalPlace:
    if "://" not in what:
        return JournalPlace(Path(what).absolute())
    try:
        url = postgres_url(what)
    except ValueError as error:
        raise ConfigurationError([f"journal copy: a URL {error}"]) from None
    return JournalPlace(Path(), url, environment.get("WATCHER_JOURNAL_PASSWORD"), host)


@contextmanager
def _reading(place: JournalPlace) -> Iterator[Connection]:
    """Read from a journal that nobody works with."""
    if not place.is_there():
        raise Unavailable(f"there is no journal at {place.name}")
    with _alone(place), closing(place.connect()) as connection:
        yield connection


@contextmanager
def _writing(place: JournalPlace) -> Iterator[Connection]:
    """Write into a journal that nobody works with; it is made where it is not there."""
    with _alone(place):
        if place.is_shared:
            from watcher.records.postgres import database as postgres  # an extra: only who shares a journal needs its parts

            with closing(postgres.open_own(place.server, postgres.schema())) as shared:
                yield shared
        else:
            place.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(database.open_own(place.path, database.schema(), 0.0).connection) as own:
                yield own


@contextmanager
def _alone(place: JournalPlace) -> Iterator[None]:
    """No daemon works with it meanwhile. Raises Unavailable where one does."""
    if not place.is_shared:
        lock = InstanceLock.take(place.path.parent)
        try:
            yield
        finally:
            lock.release()
        return
    alive = _alive(place)
    if alive:
        raise Unavailable(f"{', '.join(alive)} works with the journal in {place.name}", "stop all daemons before")
    yield


def _alive(place: JournalPlace) -> list[str]:
    from watcher.records.views import JournalViews

    if not place.is_there():
        return []
    with JournalViews.at(place) as views:
        return [host.name for host in views.hosts() if host.alive]
