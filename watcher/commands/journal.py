"""How the reading commands come at the journal: beside a running daemon, without one, and where there is none yet."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from watcher.commands.output import note
from watcher.records.desk import JournalReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.settings import Settings


@contextmanager
def reading(settings: Settings) -> Iterator[JournalReader | None]:
    """The journal, or None (and a note) where no daemon has made one yet. Raises Unavailable where it cannot be read."""
    if not settings.journal_path.exists():
        note(f"nothing is recorded yet: there is no journal at {settings.journal_path} (it is made when the daemon first runs)")
        yield None
        return
    with JournalReader.open(settings.journal_path) as reader:
        yield reader
