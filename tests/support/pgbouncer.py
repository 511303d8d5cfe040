"""Debian's pgbouncer before the tests' PostgreSQL server, unprivileged, on a loopback port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import wait_until
from tests.support.postgres import Postgres, free_port

CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user=watcher
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 8
logfile = {folder}/pgbouncer.log
"""


@contextmanager
def pgbouncer(postgres: Postgres, mode: str) -> Iterator[int]:
    """Its port, for as long as the context lasts. Skips where it is not installed."""
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("pgbouncer is not installed (Debian: pgbouncer)")
    folder, port = Path(tempfile.mkdtemp(prefix="watcher-pgbouncer-")), free_port()
    (folder / "pgbouncer.ini").write_text(CONFIG.format(server=postgres.port, port=port, mode=mode, folder=folder))
    postgres.give(folder)
    folder.chmod(0o755)
    with (folder / "output").open("wb") as output:
        command = postgres.as_user(program, str(folder / "pgbouncer.ini"))
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
    try:
        wait_until(lambda: _takes(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "output").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder)


def _takes(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
