"""Which line of a database's history a server is on: a standby that is promoted begins a new one, its primary stays behind."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import psycopg

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.records.postgres.adapter import PostgresConnection

FILE_NAME: Final = "journal-server"
_LINE: Final = """
SELECT (SELECT system_identifier FROM pg_control_system()),
       CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END
"""


class FormerPrimary(psycopg.OperationalError):
    """The server takes changes, and the journal has gone on at another one since."""


@dataclass(frozen=True, slots=True)
class Line:
    """The database cluster, as PostgreSQL names it, and the timeline."""

    system: int
    timeline: int

    @classmethod
    def of(cls, connection: PostgresConnection) -> Self | None:
        """The one that a server is on; None where it does not say: a standby, or a service that has none."""
        try:
            system, segment = connection.execute(_LINE).fetchone()
        except psycopg.Error:
            if connection.broken:
                raise
            return None
        return None if segment is None else cls(int(system), int(segment[:8], 16))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What `str` gave."""
        words = text.split()
        return cls(*map(int, words)) if len(words) == 2 and all(map(str.isdigit, words)) else None

    def __str__(self) -> str:
        return f"{self.system} {self.timeline}"

    def was_left(self, known: Line) -> bool:
        """Whether the history went on from it to the line that is known."""
        return self.system == known.system and self.timeline < known.timeline


class Lineage:
    """The newest line that this host has worked on, kept in a file over restarts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: Line | None = None
        with contextlib.suppress(OSError):  # nothing is known yet
            self._known = Line.parse(path.read_text(encoding="ascii", errors="replace"))

    def check(self, connection: PostgresConnection) -> None:
        """Raises FormerPrimary."""
        line = Line.of(connection)
        if line is not None and self._known is not None and line.was_left(self._known):
            raise FormerPrimary(
                f"this server was the primary once (timeline {line.timeline}), and the journal has gone on at another one"
                f" (timeline {self._known.timeline})"
            )

    def adopt(self, connection: PostgresConnection) -> bool:
        """Work on this line from now on. True where it is another one than before."""
        line, before = Line.of(connection), self._known
        if line is None or line == before:
            return False
        self._known = line
        beside = self._path.with_name(f".{FILE_NAME}.new")
        with contextlib.suppress(OSError):  # a state folder without room: known until the next restart only
            beside.write_text(f"{line}\n", encoding="ascii")
            beside.replace(self._path)
        return before is not None
