"""A standby takes the place of the primary that holds a shared journal, with and without the last commits."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster
from tests.support.daemon import Daemon, wait_until
from tests.support.postgres import Postgres
from tests.support.standby import Pair, pair
from tests.support.standin import StandinProcess


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        process.set_options(work_seconds=0.2)
        yield process


class Scene:
    """Two hosts, whose journal is on two servers."""

    def __init__(self, path: Path, standin: StandinProcess, servers: Pair, stack: ExitStack) -> None:
        self.servers = servers
        self.database = servers.database()
        url = servers.url(self.database)
        self.hosts = Cluster(path, servers.primary, standin, 2, journal=url, compressor={"concurrency": 4})
        stack.callback(self.hosts.stop)
        self.daemons: list[Daemon] = [host.start() for host in self.hosts.hosts]
        self.names: list[str] = []

    def drop(self, count: int) -> None:
        self.names += self.hosts.drop(count)

    def until_ended(self, count: int | None = None) -> None:
        """So many files, or all."""
        wait_until(lambda: len(self.hosts.ended()) >= (len(self.names) if count is None else count), 120)

    def leave_the_standby_behind(self, ended: int) -> None:
        """It has 10 endings, and hears of nothing more; 50 files are dropped in all, of which so many end on the primary."""
        self.drop(10)
        self.until_ended()
        self.servers.line.swallow()
        self.drop(40)
        self.until_ended(ended)

    def fail_over(self) -> None:
        """The primary dies, which the hosts say, and the standby takes its place."""
        self.servers.lose_the_primary()
        for daemon in self.daemons:
            daemon.wait_for("journal.unavailable")
        self.servers.promote()

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for daemon in self.daemons for line in daemon.events(name)]

    def assert_each_ended_once(self) -> None:
        assert sorted(self.hosts.ended()) == self.names
        assert set(self.hosts.ended().values()) == {1}
        assert set(self.hosts.paid().values()) == {1}
        for host in self.hosts.hosts:
            host.config = host.write_config(journal=self.servers.standby.url(self.database))
        self.hosts.assert_audit_is_whole()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def test_commits_that_the_standby_never_had_are_put_back(
    tmp_path: Path, standin: StandinProcess, postgres: Postgres, stack: ExitStack
) -> None:
    """Endings, files that were taken, requests on their way: each file ends once and is paid for once."""
    scene = Scene(tmp_path, standin, stack.enter_context(pair()), stack)
    scene.leave_the_standby_behind(25)
    scene.fail_over()
    scene.drop(10)
    scene.until_ended()

    assert len(scene.events("journal.unavailable")) == len(scene.events("journal.recovered")) == 2
    assert sum(line["endings"] for line in scene.events("cluster.fenced")) >= 15
    scene.assert_each_ended_once()


def test_a_standby_that_was_behind_for_longer_than_a_lease(
    tmp_path: Path, standin: StandinProcess, postgres: Postgres, stack: ExitStack
) -> None:
    """By its data all leases have ended; still no host begins before the other has put back what it had ended."""
    scene = Scene(tmp_path, standin, stack.enter_context(pair()), stack)
    scene.leave_the_standby_behind(50)
    ended = "SELECT count(*) FROM compressor_watcher.hosts WHERE alive_until < clock_timestamp()"
    wait_until(lambda: scene.servers.standby.run_sql(ended, scene.database) == [(2,)], 30)
    first, second = scene.daemons
    scene.servers.lose_the_primary()
    first.wait_for("journal.unavailable")
    second.signal(signal.SIGSTOP)
    scene.servers.promote()
    first.wait_for("journal.recovered")
    second.signal(signal.SIGCONT)
    scene.drop(10)
    scene.until_ended()

    assert sum(line["endings"] for line in scene.events("cluster.fenced")) >= 40
    scene.assert_each_ended_once()


@pytest.mark.soak
def test_a_synchronous_standby_has_all_that_was_said_to_be_written(
    tmp_path: Path, standin: StandinProcess, postgres: Postgres, stack: ExitStack
) -> None:
    """Nothing is lost, and a former primary that comes back as one is left alone: its journal stays as it was."""
    scene = Scene(tmp_path, standin, stack.enter_context(pair(synchronous_standby_names="*")), stack)
    scene.drop(30)
    scene.until_ended(10)
    scene.fail_over()
    scene.drop(10)
    scene.until_ended()
    assert scene.events("cluster.fenced") == []

    scene.servers.primary.start()
    count = "SELECT count(*) FROM compressor_watcher.endings"
    before = scene.servers.primary.run_sql(count, scene.database)
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'compressor-watcher%'"
    scene.servers.standby.run_sql(end_all, "postgres")
    scene.drop(10)
    scene.until_ended()
    first = scene.hosts.hosts[0]
    first.stop()
    first.start()
    scene.drop(10)
    scene.until_ended()
    scene.hosts.stop()
    assert scene.servers.primary.run_sql(count, scene.database) == before
    scene.assert_each_ended_once()
