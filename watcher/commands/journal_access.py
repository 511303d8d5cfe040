"""How the reading commands reach the journal: beside a running daemon, without one, and where there is none yet."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from watcher.commands.printing import note
from watcher.records.place import JournalPlace
from watcher.records.views import JournalViews

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.config.schema import Settings


@contextmanager
def reading(settings: Settings, host: str | None = None) -> Iterator[JournalViews | None]:
    """The journal, or None and a note where no daemon has made one yet. Raises Unavailable where it cannot be read.

    `host`: as far as it concerns this host, of those that share it.
    """
    place = JournalPlace.of(settings) if host is None else JournalPlace.of(settings).of_host(host)
    if not place.is_there():
        note(f"nothing is recorded yet: there is no journal at {place.name} (the daemon makes it when it first runs)")
        yield None
        return
    with JournalViews.at(place) as reader:
        yield reader
