"""How the reading commands come at the journal: beside a running daemon, without one, and where there is none yet."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from watcher.commands.output import note
from watcher.errors import Unavailable
from watcher.records.views import JournalViews

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from watcher.config.schema import Settings


@contextmanager
def reading(settings: Settings) -> Iterator[JournalViews | None]:
    """The journal, or None and a note where no daemon has made one yet. Raises Unavailable where it cannot be read."""
    path = settings.journal_path
    if not is_there(path):
        note(f"nothing is recorded yet: there is no journal at {path} (the daemon makes it when it first runs)")
        yield None
        return
    with JournalViews.open(path) as reader:
        yield reader


def is_there(path: Path) -> bool:
    """Whether a file is at the path. Raises Unavailable where this user may not even know."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}", "run this as the daemon's user or as root") from None
    return True
