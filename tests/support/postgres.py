"""A PostgreSQL server of the tests' own: Debian's programs, unprivileged, in a temporary directory, on a loopback port."""

from __future__ import annotations

import fcntl
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from watcher.records.postgres.journal import PostgresJournal

PROGRAMS = (Path("/usr/lib/postgresql"), Path("/usr/local/pgsql"), Path("/opt/homebrew/opt/postgresql"))
UNPRIVILEGED = ("postgres", "nobody")
SETTINGS = {
    "fsync": "off",  # no test cuts the machine's power
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
MEMORY = "TESTS_MEMORY"
"""The variable that names a folder in memory, where the run has one: a new database is 300 files, which cost ten times as much on
a disk.
"""
SMALL_LOG = {"min_wal_size": "32MB", "max_wal_size": "64MB"}
"""Settings of a server there."""
KEPT = 16
"""As many databases a server has at most, of eight megabytes each: no test makes so many."""
WITH_TABLES = "with_tables"
"""The name of the database that new ones with the tables of a journal are copied from."""
HOST = "here"
"""The name of a host in tests of one alone."""
_databases = itertools.count(1)


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; None where there is none."""
    found = [path.parent for base in PROGRAMS for path in base.glob("**/bin/initdb")]
    return max(found, key=str, default=None)


class Postgres:
    """A server that is up. `url` has no database; `database` makes one."""

    are_copied: ClassVar[bool] = False
    """In a run of the suite: its processes have one place for temporary files, and initdb takes ten times as long as a copy."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self._programs = programs
        self._as_user = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, str] = {}
        self._made: list[str] = []
        self._has_tables = False

    def make(self, *options: str) -> None:
        """The files of a new server; further options are those of initdb. Without any they are copied from those made first."""
        if self._as_user:
            shutil.chown(self.folder, self._as_user[1])
        if options or not Postgres.are_copied:
            self._make_files(self.data, *options)
            return
        first = Path(tempfile.gettempdir()) / "postgres"
        first.mkdir(exist_ok=True)
        with (first / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (first / "made").exists():
                self.give(first)
                self._make_files(first / "data")
                (first / "made").touch()
        subprocess.run(["cp", "-a", first / "data", self.data], check=True)

    def _make_files(self, data: Path, *options: str) -> None:
        always = ("--no-sync", "--auth=trust", "--username=watcher", "--encoding=UTF8", "--locale=C")
        self._run("initdb", *always, *options, "-D", data)

    def follow(self, port: int) -> None:
        """The files of a standby of the server behind this port; it is up when this returns."""
        if self._as_user:
            shutil.chown(self.folder, self._as_user[1])
        line = f"host=127.0.0.1 port={port} user=watcher application_name=standby"
        self._run("pg_basebackup", "--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-D", self.data, "-d", line)
        self.start()

    def start(self, **settings: str) -> None:
        """Have it take connections."""
        self._settings = settings
        small = SMALL_LOG if MEMORY in os.environ else {}
        options = [f"-c{name}={value}" for name, value in {**SETTINGS, **small, **settings}.items()]
        arguments = ["-D", self.data, "-k", self.folder, "-p", str(self.port), *options]
        command = self._command("postgres", *arguments)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + 60
        while subprocess.run(self._ready(), capture_output=True).returncode:
            assert self._process.poll() is None, (self.folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server does not come up"
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends it at once and well; SIGQUIT as a crash would."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if process.poll() is not None:
            return  # of itself, on a full disk say
        pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, number)
        process.wait(60)

    @property
    def is_up(self) -> bool:
        """Whether its first process lives; whether it takes connections is another matter."""
        return self._process is not None and self._process.poll() is None

    def come_back(self) -> None:
        """Start it again as a service manager does, if it ended of itself."""
        deadline = time.monotonic() + 60
        while self.is_up and subprocess.run(self._ready(), capture_output=True).returncode:
            assert time.monotonic() < deadline, "the server neither comes up nor ends"
            time.sleep(0.05)
        if not self.is_up:
            self.start(**self._settings)

    def database(self) -> str:
        """The URL of a new, empty database, over the socket's port on loopback. The one made `KEPT` times before goes."""
        return self._new_database("")

    def journal(self) -> str:
        """The same, with the tables of a journal, for whoever does not care how they are made: a copy costs a third of that."""
        if not self._has_tables:
            from watcher.records.postgres.database import Server, open_own, schema

            self.run_sql(f"CREATE DATABASE {WITH_TABLES} STRATEGY = FILE_COPY", "postgres")
            with ThreadPoolExecutor(1) as aside:  # a test may ask in its event loop, in which the product is not to wait
                aside.submit(lambda: open_own(Server(self.url(WITH_TABLES)), schema()).close()).result()
            self._has_tables = True
        return self._new_database(f"TEMPLATE {WITH_TABLES}")

    def _new_database(self, options: str) -> str:
        name = f"images_{os.getpid()}_{next(_databases)}"
        self.run_sql(f"CREATE DATABASE {name} {options} STRATEGY = FILE_COPY", "postgres")
        self._made.append(name)
        if len(self._made) > KEPT:
            self.run_sql(f"DROP DATABASE IF EXISTS {self._made.pop(0)} WITH (FORCE)", "postgres")
        return self.url(name)

    def url(self, name: str, port: int | None = None) -> str:
        return f"postgresql://watcher@127.0.0.1:{port or self.port}/{name}"

    def run_sql(self, sql: str, database: str) -> list[tuple[object, ...]]:
        """Run something as an administrator would."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def give(self, folder: Path) -> None:
        """Have a folder be the server's own."""
        if self._as_user:
            shutil.chown(folder, self._as_user[1])

    def ask_for_password(self, user: str) -> None:
        """Of this user, from now on."""
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"host all {user} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self.run_sql("SELECT pg_reload_conf()", "postgres")

    def _ready(self) -> list[str | Path]:
        return [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "watcher", "-d", "postgres"]

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(self._command(program, *arguments), capture_output=True, text=True, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr

    def as_user(self, *command: str) -> list[str]:
        """The command, as run by the server's own user."""
        return [*map(str, self._as_user[0] if self._as_user else ()), *command]

    def _command(self, program: str, *arguments: str | Path) -> list[str]:
        return self.as_user(str(self._programs / program), *map(str, arguments))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _unprivileged() -> tuple[list[str], str] | None:
    """The beginning of a command that runs as somebody else than root, and who that is; None where this is not root."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return ["setpriv", *identity], name
    pytest.skip("PostgreSQL does not run as root, and there is no other user")


@contextmanager
def server() -> Iterator[Postgres]:
    """A server, up for as long as the context lasts. Skips where the programs are missing."""
    require_server()
    with running() as started:
        yield started


def require_server() -> None:
    """Skips where the programs are missing."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (the extra `postgres`)")
    if programs() is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")


@contextmanager
def running(**settings: str) -> Iterator[Postgres]:
    """The same, with settings of its own."""
    with server_without_files() as made:
        made.make()
        made.start(**settings)
        yield made


@contextmanager
def server_without_files() -> Iterator[Postgres]:
    """One that is not up, and has nothing yet."""
    folder = Path(tempfile.mkdtemp(prefix="watcher-postgres-", dir=os.environ.get(MEMORY)))
    folder.chmod(0o755)
    try:
        with server_in(folder) as made:
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def server_in(folder: Path) -> Iterator[Postgres]:
    """The same in a folder that is there and stays."""
    found = programs()
    assert found is not None
    made = Postgres(folder, found)
    try:
        yield made
    finally:
        made.stop()


def pytest_configure() -> None:
    """What is made for all goes with the run's place for temporary files."""
    Postgres.are_copied = True


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of a process; each makes its own database."""
    with server() as running:
        yield running


async def open_postgres(url: str, *, host: str = HOST, **changes: Any) -> PostgresJournal:
    """A host of the cluster, with a recorded log and real time unless told otherwise."""
    from tests.support.publishing import MovedClock, RecordedLog
    from tests.support.records import DAY, new_id
    from watcher.records.postgres.database import Server
    from watcher.records.postgres.journal import PostgresJournal

    lease = changes.pop("lease", 30.0)
    arguments: dict[str, Any] = {"events": RecordedLog(), "clock": MovedClock(), "keep": 90 * DAY, "new_id": new_id}
    arguments |= {"instance": host, **changes}
    return await PostgresJournal.open(Server(url, host=host, lease=lease), **arguments)
