"""Where a journal is: a SQLite file, or a PostgreSQL database that several hosts share; only then its driver is loaded."""

from __future__ import annotations

import codecs
import sqlite3
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from watcher.errors import Unavailable
from watcher.records import database

if TYPE_CHECKING:
    from watcher.config.schema import Settings
    from watcher.records.dialect import Connection
    from watcher.records.postgres.database import Server


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """A file at `path`, or with `url` a database. `host` is the name of the host that speaks, `lease` its lease in seconds."""

    path: Path
    url: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str = ""
    lease: float = 30.0
    alone: bool = False
    """Whoever reads sees of the work only what concerns the host."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The one of a configuration."""
        secret = settings.journal_password
        password = None if secret is None else secret.get_secret_value()
        return cls(settings.journal_path, settings.journal, password, settings.host, settings.cluster.lease)

    def of_host(self, host: str) -> Self:
        """The same, as far as it concerns one host. Raises Unavailable where no hosts share it."""
        if not self.is_shared:
            raise Unavailable("no hosts share this journal: it is this machine's own", "leave out --host")
        return replace(self, host=host, alone=True)

    @property
    def is_shared(self) -> bool:
        """Whether several hosts may work with it."""
        return self.url is not None

    @property
    def name(self) -> str:
        """For people."""
        return str(self.path) if self.url is None else self.server.name

    @property
    def server(self) -> Server:
        """Of a database."""
        from watcher.records.postgres.database import Password, Server  # an extra: only who shares a journal needs its parts

        return Server(self.url or "", Password(self.password), self.host, self.lease)

    def load(self) -> None:
        """Read what looking at it needs of the program itself: who acts as another user then may have no right to."""
        if self.url is None:
            database.schema()
            return
        from watcher.records.postgres import database as postgres
        from watcher.records.postgres.jobs import store

        postgres.schema()
        store.schema()
        codecs.lookup("idna")  # with which names of servers are looked up

    def is_there(self) -> bool:
        """Whether a daemon has made it. May wait for the database. Raises Unavailable where that cannot be known."""
        if self.url is None:
            return is_file(self.path)
        from watcher.records.postgres import database as postgres

        return postgres.is_there(self.server)

    def obstacle(self) -> tuple[str, str] | None:
        """What keeps a daemon from writing into a database, and what to do. May wait for it. Raises Unavailable."""
        if self.url is None:
            return None
        from watcher.records.postgres import database as postgres

        return postgres.obstacle(self.server)

    def connect(self) -> Connection:
        """A connection that only reads. May wait for the database. Raises Unavailable."""
        if self.url is None:
            return database.open_beside(self.path, database.schema().version, writable=False)
        from watcher.records.postgres import database as postgres

        prepare = postgres.look_at_one_host if self.alone else None
        return postgres.open_beside(self.server, postgres.schema(), writable=False, prepare=prepare)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What its driver raises."""
        if self.url is None:
            return (sqlite3.Error,)
        from watcher.records.postgres import faults

        return faults.ERRORS

    def to_json(self) -> dict[str, Any]:
        """With the password, for a process of our own."""
        return {**asdict(self), "path": str(self.path)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(**{**data, "path": Path(data["path"])})


def is_file(path: Path) -> bool:
    """Whether anything is at the path. Raises Unavailable where this user may not even know."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}", "run this as the daemon's user or as root") from None
    return True
