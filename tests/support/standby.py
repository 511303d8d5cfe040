"""Two PostgreSQL servers of the tests' own: a primary, and a standby that follows it and can take its place."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.support.daemon import wait_until
from tests.support.postgres import Postgres, running, server_without_files
from tests.support.tcp_proxy import TcpProxy


class Pair:
    """What is committed on `primary` follows on `standby` by way of `line`, unless that swallows it."""

    def __init__(self, primary: Postgres, standby: Postgres, line: TcpProxy) -> None:
        self.primary, self.standby, self.line = primary, standby, line

    @classmethod
    def make(cls, stack: ExitStack, **settings: str) -> Pair:
        """`settings` of the primary, from when the standby is there."""
        primary = stack.enter_context(running())
        line = stack.enter_context(TcpProxy(primary.port))
        standby = stack.enter_context(server_without_files())
        standby.follow(line.port)
        for name, value in settings.items():
            primary.run_sql(f"ALTER SYSTEM SET {name} = '{value}'", "postgres")
        primary.run_sql("SELECT pg_reload_conf()", "postgres")
        pair = cls(primary, standby, line)
        wait_until(lambda: pair.followers() == 1)
        return pair

    def followers(self) -> int:
        """Servers that follow the primary now."""
        rows = self.primary.run_sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "postgres")
        return int(str(rows[0][0]))

    def url(self, name: str) -> str:
        """Of a database, on whichever of the two takes changes."""
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://watcher@{hosts}/{name}?target_session_attrs=read-write"

    def database(self) -> str:
        """The name of a new, empty database, once the standby has it."""
        name = self.primary.database().rpartition("/")[2]
        query = f"SELECT count(*) FROM pg_database WHERE datname = '{name}'"
        wait_until(lambda: self.standby.run_sql(query, "postgres") == [(1,)])
        return name

    def lose_the_primary(self) -> None:
        """As when its machine loses power."""
        self.primary.stop(signal.SIGKILL)

    def promote(self) -> None:
        """The standby takes the primary's place."""
        assert self.standby.run_sql("SELECT pg_promote()", "postgres") == [(True,)]


@contextmanager
def pair(**settings: str) -> Iterator[Pair]:
    """The two, for as long as the context lasts."""
    with ExitStack() as stack:
        yield Pair.make(stack, **settings)
