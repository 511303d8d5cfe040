"""The disk of the database server is full, its write-ahead log included: it dies, and does not come up before there is room."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.disks import SmallDisk, small_disk
from tests.support.postgres import Postgres, require_server, server_in
from tests.support.standin import StandinProcess
from tests.support.world import KEY, World

DISK = "96m"
MANY = 60
REQUESTED = "SELECT count(*) FROM compressor_watcher.history WHERE event = 'image.requested'"


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """For all that a server has, where its own user may look."""
    require_server()
    with tempfile.TemporaryDirectory(prefix="watcher-postgres-") as folder:
        Path(folder).chmod(0o755)
        with small_disk(Path(folder) / "server", DISK, mode="755") as made:
            yield made


@pytest.fixture
def full_server(disk: SmallDisk) -> Iterator[Postgres]:
    """A server on that disk, up."""
    with server_in(disk.path) as made:
        made.make("--wal-segsize=1")
        made.start(min_wal_size="2MB", max_wal_size="4MB")
        yield made


def requests(standin: StandinProcess) -> int:
    """How many have arrived."""
    return int(sum(standin.report()["asked"].values()))


def test_a_full_disk_of_the_server_costs_time_alone(
    tmp_path: Path, standin: StandinProcess, disk: SmallDisk, full_server: Postgres
) -> None:
    """Said once with what to look at, though the server finds room in its files for something small now and then; nothing is
    sent that could not be written down. With room, and the server started again as a service manager does, every file ends
    once and is paid once."""
    url = full_server.database()
    shared = {"journal": url, "cluster": {"name": "alone", "lease": "3s"}}
    world = World(tmp_path, standin, changes=shared)
    with Daemon(world.config, KEY) as daemon:
        files = [world.put("before.jpg")]
        daemon.wait_for("image.stored")
        with disk.kept_full():
            files += [world.put(f"first-{number}.jpg") for number in range(MANY)]
            (line,) = daemon.wait_for("journal.unavailable")
            files += [world.put(f"then-{number}.jpg") for number in range(MANY)]
            wait_until(lambda: standin.report()["in_flight"] == 0)
            was_dead = not full_server.is_up
            asked = requests(standin)
            time.sleep(1.0)  # the database is tried again meanwhile
            assert not was_dead or asked == requests(standin)
            print(f"{'up' if full_server.is_up else 'dead'}: {line['message']}; {asked} were asked for")
        full_server.come_back()
        daemon.wait_for("journal.recovered")
        daemon.wait_for("image.stored", len(files))
        wait_until(lambda: len(world.audit()) == len(files))
        told = [each["event"] for each in daemon.lines if each["event"].startswith("journal.")]
        assert told == ["journal.unavailable", "journal.recovered"]
        ((written,),) = full_server.run_sql(REQUESTED, url.rpartition("/")[2])
        assert requests(standin) <= int(str(written))
    assert line["hint"]
    assert 0 == daemon.process.returncode
    assert {(str(path), None): ["stored"] for path in files} == world.endings()
    assert {1} == set(world.paid().values())
    world.assert_audit_is_whole()
