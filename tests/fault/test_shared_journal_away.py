"""The ways in which a shared journal can be away: each is said once, costs nothing but time, and ends by itself."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.support.cluster import Cluster
from tests.support.daemon import command, wait_until
from tests.support.postgres import Postgres
from tests.support.standin import StandinProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.world import KEY


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


@dataclass
class Scene:
    """A database, and the way to it."""

    postgres: Postgres
    proxy: TcpProxy
    database: str
    stack: ExitStack

    def swallow(self) -> Callable[[], None]:
        """Nothing comes back any more, and nothing says so."""
        self.proxy.swallow()
        return self.proxy.flow

    def read_only(self) -> Callable[[], None]:
        """As a standby is."""
        self._alter("SET default_transaction_read_only = on")
        return lambda: self._alter("RESET default_transaction_read_only")

        return lambda: self._alter("CONNECTION LIMIT -1", word="")

    def _alter(self, what: str, word: str = "") -> None:
        self.postgres.run_sql(f"ALTER DATABASE {self.database} {word}{what}", "postgres")
        self.proxy.cut()


@pytest.fixture
def scene(postgres: Postgres) -> Iterator[Scene]:
    with ExitStack() as stack:
        proxy = stack.enter_context(TcpProxy(postgres.port))
        yield Scene(postgres, proxy, postgres.database().rpartition("/")[2], stack)


@pytest.mark.parametrize("what", ["swallow", "read_only"])
def test_it_is_said_once_and_goes_on_by_itself(tmp_path: Path, standin: StandinProcess, scene: Scene, what: str) -> None:
    """A file that is dropped meanwhile is stored afterwards."""
    url = scene.postgres.url(scene.database, scene.proxy.port)
    hosts = Cluster(tmp_path, scene.postgres, standin, 1, journal=url)
    scene.stack.callback(hosts.stop)
    daemon = hosts.hosts[0].start()
    names = hosts.drop(2)
    wait_until(lambda: sorted(hosts.ended()) == names)

    back = getattr(scene, what)()
    names += hosts.drop(2)
    daemon.wait_for("journal.unavailable", seconds=60)
    back()
    wait_until(lambda: sorted(hosts.ended()) == names, 90)

    daemon.wait_for("journal.recovered")
    assert len(daemon.events("journal.unavailable")) == 1
    assert daemon.events("journal.unavailable")[0]["hint"]
    assert set(hosts.paid().values()) == {1}


def test_a_start_without_it_says_what_is_wrong(tmp_path: Path, standin: StandinProcess, postgres: Postgres) -> None:
    """The status is that of something that is not available; no password is in any word."""
    hosts = Cluster(tmp_path, postgres, standin, 1, journal="postgresql://watcher@127.0.0.1:9/images")
    done = command("run", "--config", hosts.hosts[0].config, environment={**KEY, "WATCHER_JOURNAL_PASSWORD": "horse-battery"})

    assert done.returncode == 69
    assert "cannot be opened" in done.stderr
    assert "horse" not in done.stderr + done.stdout


def test_a_second_host_of_one_name_is_refused(tmp_path: Path, standin: StandinProcess, postgres: Postgres) -> None:
    """Two would hold each other's work; the message says what to set."""
    hosts = Cluster(tmp_path, postgres, standin, 2)
    first, second = hosts.hosts
    second.changes["cluster"] = first.changes["cluster"]
    second.config = second.write_config()
    first.start()
    done = command("run", "--config", second.config, environment=KEY)
    first.stop()

    assert done.returncode == 69
    assert "scanner-1" in done.stderr
    assert "[cluster] name" in done.stderr


def test_a_newer_schema_is_refused(tmp_path: Path, standin: StandinProcess, postgres: Postgres) -> None:
    """Where it says that this release cannot work with it; one that it can work with is used."""
    hosts = Cluster(tmp_path, postgres, standin, 1)
    (host,) = hosts.hosts
    host.start()
    host.stop()
    with psycopg.connect(hosts.url, autocommit=True) as connection:
        connection.execute("UPDATE compressor_watcher.journal SET version = version + 1")
        host.start()
        host.stop()
        connection.execute("UPDATE compressor_watcher.journal SET least = version")
    done = command("run", "--config", host.config, environment=KEY)

    assert done.returncode == 69
    assert "newer version" in done.stderr


def test_sqlite_needs_no_driver(tmp_path: Path) -> None:
    """What is not configured is not loaded."""
    import subprocess
    import sys

    words = "import sys, watcher.app, watcher.assembly.records, watcher.commands.status, watcher.commands.verify\n"
    done = subprocess.run([sys.executable, "-c", words + "print('psycopg' in sys.modules)"], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
