"""The ways in which a shared journal can be away: each is said once, costs nothing but time, and ends by itself."""

import contextlib
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.cluster import Cluster
from tests.support.daemon import command, wait_until, write_config
from tests.support.disks import SmallDisk, small_disk
from tests.support.engines import EngineProcess, engine_tables
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import Postgres
from tests.support.standin import StandinProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.world import KEY, free_address


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


@dataclass
class Scene:
    """A database, the way to it, and how it goes away. Each way gives what brings it back."""

    postgres: Postgres
    proxy: TcpProxy
    database: str
    stack: ExitStack
    user: str = "watcher"
    disk: SmallDisk | None = None

    @property
    def url(self) -> str:
        return self.postgres.url(self.database, self.proxy.port).replace("//watcher@", f"//{self.user}@")

    def swallow(self) -> Callable[[], None]:
        """Nothing comes back any more, and nothing says so."""
        self.proxy.swallow()
        return self.proxy.flow

    def read_only(self) -> Callable[[], None]:
        """As a standby is."""
        self._alter("SET default_transaction_read_only = on")
        return lambda: self._alter("RESET default_transaction_read_only")

    def no_connections(self) -> Callable[[], None]:
        """Others have taken all that the server gives."""
        self.proxy.refuse()
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        wait_until(lambda: self.postgres.run_sql(query.replace("%s", f"'{self.database}'"), "postgres") == [(0,)])
        others: list[psycopg.Connection[tuple[object, ...]]] = []
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                others.append(psycopg.connect(self.postgres.url("postgres")))
        self.proxy.flow()

        def free() -> None:
            for each in others:
                each.close()

        return free

    def full_disk(self) -> Callable[[], None]:
        """The database's files cannot grow."""
        assert self.disk is not None
        self.disk.fill()
        return self.disk.free

    def on_small_disk(self) -> None:
        """Have the database on a disk of its own."""
        folder = self.postgres.folder / f"disk-{self.database}"
        self.disk = self.stack.enter_context(small_disk(folder, "32m"))
        self.stack.callback(lambda: self.postgres.run_sql(f"DROP DATABASE {self.database} WITH (FORCE)", "postgres"))
        self.postgres.give(folder)
        self.postgres.run_sql(f"CREATE TABLESPACE small_{self.database} LOCATION '{folder}'", "postgres")
        self.postgres.run_sql(f"ALTER DATABASE {self.database} SET TABLESPACE small_{self.database}", "postgres")

    def _alter(self, what: str) -> None:
        self.postgres.run_sql(f"ALTER DATABASE {self.database} {what}", "postgres")
        self.proxy.cut()


@pytest.fixture
def scene(postgres: Postgres) -> Iterator[Scene]:
    with ExitStack() as stack:
        proxy = stack.enter_context(TcpProxy(postgres.port))
        yield Scene(postgres, proxy, postgres.database().rpartition("/")[2], stack)


WAYS = {
    "swallow": "look at the PostgreSQL server",
    "read_only": "name the primary",
    "no_connections": "raise max_connections",
    "full_disk": "make room on the server's disk",
}


@pytest.mark.parametrize("what", WAYS)
def test_it_is_said_once_and_goes_on_by_itself(tmp_path: Path, standin: StandinProcess, scene: Scene, what: str) -> None:
    """Files that are dropped meanwhile are stored afterwards."""
    if what == "full_disk":
        scene.on_small_disk()
    hosts = Cluster(tmp_path, scene.postgres, standin, 1, journal=scene.url)
    scene.stack.callback(hosts.stop)
    daemon = hosts.hosts[0].start()
    names = hosts.drop(2)
    wait_until(lambda: sorted(hosts.ended()) == names)

    daemon.signal(signal.SIGSTOP)  # it meets the fault when it is complete
    back = getattr(scene, what)()
    daemon.signal(signal.SIGCONT)
    names += hosts.drop(60)
    daemon.wait_for("journal.unavailable", seconds=60)
    back()
    wait_until(lambda: sorted(hosts.ended()) == names, 90)

    daemon.wait_for("journal.recovered")
    (line,) = daemon.events("journal.unavailable")
    assert WAYS[what] in line["hint"]
    assert set(hosts.paid().values()) == {1}


def test_a_new_password_is_taken_by_a_reload(tmp_path: Path, standin: StandinProcess, scene: Scene) -> None:
    """Without a restart; the old one is refused, which is said, and neither is in any word."""
    scene.user = f"user_{scene.database}"
    for statement in (
        f"CREATE ROLE {scene.user} LOGIN PASSWORD 'horse-battery'",
        f"ALTER DATABASE {scene.database} OWNER TO {scene.user}",
    ):
        scene.postgres.run_sql(statement, "postgres")
    scene.postgres.ask_for_password(scene.user)
    secret = tmp_path / "credentials" / "journal_password"
    secret.parent.mkdir()
    secret.write_text("horse-battery")
    hosts = Cluster(tmp_path, scene.postgres, standin, 1, journal=scene.url)
    scene.stack.callback(hosts.stop)
    daemon = hosts.hosts[0].start(CREDENTIALS_DIRECTORY=str(secret.parent))
    scene.postgres.run_sql(f"ALTER ROLE {scene.user} PASSWORD 'staple-correct'", "postgres")
    scene.proxy.cut()
    names = hosts.drop(1)
    (line,) = daemon.wait_for("journal.unavailable")
    secret.write_text("staple-correct")
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: sorted(hosts.ended()) == names)
    daemon.wait_for("journal.recovered")

    assert "journal_password" in line["hint"]
    said = json.dumps(daemon.lines) + "".join(daemon.errors)
    assert "horse" not in said
    assert "staple" not in said


def test_a_start_without_it_waits(tmp_path: Path, standin: StandinProcess, scene: Scene) -> None:
    """The daemon says so once, goes on by itself when it is there, and takes what was dropped; it can be stopped meanwhile."""
    scene.proxy.refuse()
    hosts = Cluster(tmp_path, scene.postgres, standin, 1, journal=scene.url)
    scene.stack.callback(hosts.stop)
    names = hosts.drop(2)
    (host,) = hosts.hosts
    stopped = host.begin()
    stopped.wait_for("journal.unavailable")
    assert stopped.stop() == 0
    daemon = host.begin()
    daemon.wait_for("journal.unavailable")
    scene.proxy.flow()
    daemon.wait_for("journal.recovered")
    wait_until(lambda: sorted(hosts.ended()) == names)

    assert len(daemon.events("journal.unavailable")) == 1


def test_what_does_not_pass_by_itself_ends_the_start(tmp_path: Path, standin: StandinProcess, postgres: Postgres) -> None:
    """A database that does not exist, and for `once` anything: the status is that of what is not available."""
    hosts = Cluster(tmp_path, postgres, standin, 1, journal=postgres.url("nowhere"))
    secret = {**KEY, "WATCHER_JOURNAL_PASSWORD": "horse-battery"}
    (host,) = hosts.hosts
    missing = command("run", "--config", host.config, environment=secret)
    host.config = host.write_config(journal="postgresql://watcher@127.0.0.1:9/images")
    refused = command("once", "--config", host.config, environment=secret)

    for done in (missing, refused):
        assert done.returncode == 69
        assert "cannot be opened" in done.stderr
        assert "horse" not in done.stderr + done.stdout
    assert "does not exist" in missing.stderr


def test_a_pooler_in_session_mode_serves(tmp_path: Path, standin: StandinProcess, postgres: Postgres) -> None:
    """Two hosts do their work through it; a pooler that goes and comes back is any other outage."""
    with pgbouncer(postgres, "session") as port:
        url = postgres.url(postgres.database().rpartition("/")[2], port)
        hosts = Cluster(tmp_path, postgres, standin, 2, journal=url)
        for host in hosts.hosts:
            host.start()
        names = hosts.drop(20)
        wait_until(lambda: sorted(hosts.ended()) == names)
        hosts.stop()

    assert set(hosts.paid().values()) == {1}


def test_a_pooler_in_transaction_mode_is_refused(tmp_path: Path, standin: StandinProcess, postgres: Postgres) -> None:
    """By the daemon and by a command that steers, with what to set."""
    with pgbouncer(postgres, "transaction") as port:
        url = postgres.url(postgres.database().rpartition("/")[2], port)
        (host,) = Cluster(tmp_path, postgres, standin, 1, journal=url).hosts
        done = command("run", "--config", host.config, environment=KEY)

    assert done.returncode == 69
    assert "transaction mode" in done.stderr
    assert "pool_mode = session" in done.stderr


def test_engines_need_a_pooler_in_session_mode_as_well(tmp_path: Path, postgres: Postgres) -> None:
    """There one starts, and its listener hears; in transaction mode it is refused as a daemon is."""
    url, mentioned = postgres.database(), "compressor-watcher one"
    with pgbouncer(postgres, "session") as port:
        engine = EngineProcess(tmp_path, "one", postgres.url(url.rpartition("/")[2], port))
        engine.wait_for("cluster.joined")
        listening = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{mentioned}' AND query LIKE 'LISTEN%'"
        wait_until(lambda: postgres.run_sql(listening, "postgres") == [(1,)])
        assert engine.stop() == 0
    with pgbouncer(postgres, "transaction") as port:
        tables = engine_tables(tmp_path, "two", postgres.url(url.rpartition("/")[2], port))
        done = command("engine", "--config", write_config(tmp_path / "two.toml", tables))

    assert done.returncode == 69
    assert "transaction mode" in done.stderr
    assert "pool_mode = session" in done.stderr


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

    modules = "watcher.app, watcher.assembly.records, watcher.commands.engine, watcher.commands.status, watcher.commands.verify"
    words = f"import sys, {modules}\n"
    done = subprocess.run([sys.executable, "-c", words + "print('psycopg' in sys.modules)"], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_check_names_what_keeps_a_daemon_from_writing(tmp_path: Path, standin: StandinProcess, scene: Scene) -> None:
    """Rights, a standby, an encoding that holds no names, a server that says nothing: each in one line, with what to do."""
    name = scene.database
    for statement in (
        f"CREATE ROLE poor_{name} LOGIN",
        f"CREATE DATABASE {name}_l ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'",
    ):
        scene.postgres.run_sql(statement, "postgres")
    (host,) = Cluster(tmp_path, scene.postgres, standin, 1, journal=scene.url).hosts

    def found(url: str) -> dict[str, object]:
        done = command("check", "--json", "--config", host.write_config(journal=url), environment=KEY)
        checks = json.loads(done.stdout)["checks"]
        assert [each["state"] for each in checks if each["what"] == "state_dir"] == ["ok"]
        (journal,) = [each for each in checks if each["what"] == "journal"]
        return dict(journal)

    assert found(scene.url)["state"] == "ok"
    poor = found(scene.url.replace("watcher@", f"poor_{name}@"))
    latin = found(scene.postgres.url(f"{name}_l"))
    scene.read_only()
    read_only = found(scene.url)
    scene.swallow()
    silent = found(f"{scene.url}?connect_timeout=2")

    assert {each["state"] for each in (poor, latin, read_only, silent)} == {"fail"}
    assert "GRANT CREATE" in str(poor["todo"])
    assert "--encoding UTF8" in str(latin["todo"])
    assert "name the primary" in str(read_only["todo"])
    assert "timeout" in str(silent["found"])


@pytest.mark.soak
def test_a_database_that_is_dropped_is_named_and_the_next_one_learns(
    tmp_path: Path, standin: StandinProcess, scene: Scene
) -> None:
    """The admin port answers meanwhile; an empty database in its place learns from the audit file, so nothing is paid twice."""
    address = free_address()
    hosts = Cluster(tmp_path, scene.postgres, standin, 1, journal=scene.url, admin={"listen": address})
    scene.stack.callback(hosts.stop)
    (host,) = hosts.hosts
    daemon = host.start()
    names = hosts.drop(2)
    wait_until(lambda: sorted(hosts.ended()) == names)
    scene.postgres.run_sql(f"DROP DATABASE {scene.database} WITH (FORCE)", "postgres")
    names += hosts.drop(1)
    (line,) = daemon.wait_for("journal.unavailable", seconds=60)
    metrics = httpx.get(f"http://{address}/metrics", timeout=30)
    of_host = httpx.get(f"http://{address}/metrics?host=scanner-1", timeout=30)
    scene.postgres.run_sql(f"CREATE DATABASE {scene.database}", "postgres")
    host.stop()
    host.start()
    wait_until(lambda: sorted(hosts.ended()) == names)

    assert "does not exist" in line["message"]
    assert "createdb" in line["hint"]
    assert "compressor_watcher_journal_available 0.0" in metrics.text
    assert of_host.status_code == 503
    assert set(hosts.paid().values()) == {1}
    host.assert_audit_is_whole()


@pytest.mark.soak
def test_a_database_that_is_made_anew_needs_no_restart(tmp_path: Path, standin: StandinProcess, scene: Scene) -> None:
    """It is dropped while images are on their way, and comes back empty: hosts begin a new journal, whose files end once and are
    paid for once, those included whose endings were in the lost one alone."""
    standin.set_options(work_seconds=0.2)
    hosts = Cluster(tmp_path, scene.postgres, standin, 2, journal=scene.url, compressor={"concurrency": 4})
    scene.stack.callback(hosts.stop)
    daemons = [host.start() for host in hosts.hosts]
    names = hosts.drop(60)
    wait_until(lambda: len(hosts.ended()) >= 20)
    scene.postgres.run_sql(f"DROP DATABASE {scene.database} WITH (FORCE)", "postgres")
    for daemon in daemons:
        daemon.wait_for("journal.unavailable", seconds=60)
    names += hosts.drop(20)
    scene.postgres.run_sql(f"CREATE DATABASE {scene.database}", "postgres")
    wait_until(lambda: sorted(hosts.ended()) == names, 180)
    for daemon in daemons:
        daemon.wait_for("journal.recovered")
        (line,) = daemon.events("cluster.fenced")
        assert "a new one was begun" in line["message"]
        assert len(daemon.events("journal.unavailable")) == len(daemon.events("journal.recovered")) == 1
    names += hosts.drop(20)
    wait_until(lambda: sorted(hosts.ended()) == names, 60)

    assert set(hosts.ended().values()) == {1}
    assert set(hosts.paid().values()) == {1}
    hosts.assert_audit_is_whole()
