"""A connection that takes the statements of the records as they are: SQLite's words, and PostgreSQL's in comments."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

import psycopg
from psycopg.types.string import StrDumperUnknown, TextLoader
from psycopg.waiting import Ready

from watcher.records.additions import Gathers
from watcher.records.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg.abc import RV, PQGen

    from watcher.records.dialect import Rows

POSTGRES: Final = Dialect(
    among="= ANY(?)",
    pack=list,
    each="json_array_elements(CAST(? AS JSON)) AS each (value)",
    version="SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT)",
    part_of_path="strpos(lower(encode(relative, 'escape')), encode(convert_to(lower(?), 'UTF8'), 'escape')) > 0",
    last_seq="SELECT last_seq FROM hosts WHERE name = here()",
    count_on=("UPDATE hosts SET last_seq = greatest(last_seq, :seq) WHERE name = here()",),
    add_ending="""
        WITH numbered AS (UPDATE hosts SET last_seq = last_seq + 1 WHERE name = here() RETURNING last_seq)
        INSERT INTO endings (host, seq, image_id, rendition, at, event, record)
        SELECT here(), last_seq, ?, ?, ?, ?, ? FROM numbered""",
    shared=True,
)
ANSWER_SECONDS: Final = 15.0
"""So long an answer is waited for. A database that says nothing for longer is away: the connection is given up."""
_ONLY_HERE: Final = re.compile(r"/\*!(.*?)\*/", re.DOTALL)
_NAMED: Final = re.compile(r"(?<![:\w]):([a-z_]\w*)")
_NO_TEXT: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


@lru_cache(maxsize=512)
def translated(sql: str) -> str:
    """The statement as the driver takes it."""
    words = _ONLY_HERE.sub(r"\1", sql).replace("%", "%%").replace("?", "%s")
    return _NAMED.sub(r"%(\1)s", words)


class _TextDumper(StrDumperUnknown):
    """Text without the one character that PostgreSQL cannot hold, plain or as JSON writes it."""

    def dump(self, obj: str) -> bytes | bytearray | memoryview | None:
        if "\x00" in obj:
            obj = obj.replace("\x00", "\ufffd")
        if "\\u0000" in obj:
            obj = _NO_TEXT.sub(r"\1\\ufffd", obj)
        return super().dump(obj)


class _PatientConnection(psycopg.Connection[Any]):
    """The driver's connection, which does not wait forever: not even where something on the way swallows what is sent."""

    patience: float = ANSWER_SECONDS

    def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:
        """As the driver's own, and give up after `patience` seconds without an answer."""
        try:
            return super().wait(_limited(gen, self.patience), *arguments, **options)
        except NoAnswer:
            self.pgconn.finish()
            raise


class NoAnswer(psycopg.OperationalError):
    """The server says nothing."""


def _limited(gen: PQGen[RV], patience: float) -> PQGen[RV]:
    """The driver's steps, which are told now and then that nothing has come."""
    deadline = time.monotonic() + patience
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if ready == Ready.NONE and time.monotonic() > deadline:
                raise NoAnswer(f"the server has not answered for {patience:.0f} s")
            wanted = gen.send(ready)
    except StopIteration as ended:
        return cast("RV", ended.value)


class PostgresConnection(Gathers):
    """The Connection of `watcher.records.dialect` on PostgreSQL; for one thread. Statements are commits of their own outside of a
    transaction that was begun.
    """

    dialect: ClassVar[Dialect] = POSTGRES

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self.raw = raw
        raw.adapters.register_dumper(str, _TextDumper)
        raw.adapters.register_loader("json", TextLoader)

    @classmethod
    def connect(cls, conninfo: str) -> PostgresConnection:
        """Raises psycopg.Error."""
        raw = _PatientConnection.connect(conninfo, autocommit=True)
        return cls(raw)

    def execute(self, sql: str, parameters: Any = (), /) -> Rows:
        """Run a statement of ours."""
        # no parameters: an empty tuple keeps "%%" what it is in a statement that has some
        return cast("Rows", self.raw.execute(translated(sql), parameters))

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Rows:
        """Run a statement with each of these, in one round trip."""
        cursor = self.raw.cursor()
        cursor.executemany(translated(sql), list(parameters))
        return cast("Rows", cursor)

    def script(self, sql: str) -> None:
        """Run statements in PostgreSQL's own words."""
        self.raw.execute(sql.encode())

    @property
    def broken(self) -> bool:
        """Whether it is of no use any more."""
        return self.raw.closed

    @property
    def in_transaction(self) -> bool:
        """Whether one was begun and has not ended."""
        return self.raw.info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    def fileno(self) -> int:
        """Of its socket."""
        return self.raw.fileno()

    def close(self) -> None:
        """Let go of it."""
        self.raw.close()
