"""Which folders wait until somebody resumes them. Functions of a connection, and their port."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from watcher.records.reach import WITHIN_REACH, within_reach

if TYPE_CHECKING:
    from collections.abc import Collection

    from watcher.model import Subtree
    from watcher.records.dialect import Connection
    from watcher.records.thread_jobs import Connected

ALL: Final = ""


class JournalPauses:
    """The Pauses of `watcher.ports`, beside a journal that makes its changes and asks its questions."""

    def __init__(self, change: Connected, ask: Connected) -> None:
        self._change = change
        self._ask = ask

    async def pause(self, folder: str | None, now: float) -> bool:
        """See `Pauses.pause`."""
        return await self._change(partial(pause, folder=folder, now=now))

    async def resume(self, folder: str | None) -> bool:
        """See `Pauses.resume`."""
        return await self._change(partial(resume, folder=folder))

    async def paused(self) -> dict[str | None, float]:
        """See `Pauses.paused`."""
        return await self._ask(paused)

    async def held(self, away: Collection[Subtree] = ()) -> int:
        """See `Pauses.held`."""
        return await self._ask(partial(held, away=away))


def pause(connection: Connection, folder: str | None, now: float) -> bool:
    """False where it waits already."""
    statement = "INSERT INTO pauses (folder, at) VALUES (?, ?) ON CONFLICT (folder) DO NOTHING"
    return connection.execute(statement, (ALL if folder is None else folder, now)).rowcount == 1


def resume(connection: Connection, folder: str | None) -> bool:
    """All pauses end where no folder is named. False where there was nothing to end."""
    if folder is None:
        return connection.execute("DELETE FROM pauses").rowcount > 0
    return connection.execute("DELETE FROM pauses WHERE folder = ?", (folder,)).rowcount > 0


_HELD: Final = f"""
SELECT count(*) FROM images WHERE state = 'open'
AND EXISTS (SELECT 1 FROM pauses WHERE pauses.folder IN ('', images.folder))
AND number NOT IN (SELECT image FROM outputs WHERE state IN ('requested', 'enqueued')) {WITHIN_REACH}
"""  # noqa: S608 - a constant


def held(connection: Connection, away: Collection[Subtree] = ()) -> int:
    """Open images of paused folders that have neither a request nor a job on its way, but for those in `away`."""
    query, places = within_reach(_HELD, away)
    return int(connection.execute(query, places).fetchone()[0])


def paused(connection: Connection) -> dict[str | None, float]:
    """Since when (Unix seconds) which folders wait; None stands for all."""
    rows = connection.execute("SELECT folder, at FROM pauses ORDER BY folder")
    return {folder or None: float(at) for folder, at in rows}
