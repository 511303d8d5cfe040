"""Hosts that share a journal, and what happens to them: killed, frozen, cut off from the database. Each file ends once."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, cluster
from tests.support.daemon import command, wait_until
from tests.support.postgres import Postgres, server
from tests.support.standin import Fault, StandinProcess

ANSWER_SECONDS = 0.3


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        process.set_faults(Fault("delay", seconds=ANSWER_SECONDS))
        yield process


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    """A server that may be stopped."""
    with server() as running:
        yield running


def assert_all_ended_once(hosts: Cluster, names: list[str], interruptions: int, concurrency: int) -> None:
    """Each file once in one audit file; paid once, but for what was on its way when a host was interrupted."""
    wait_until(lambda: len(hosts.ended()) == len(names), 120)
    hosts.stop()
    paid = hosts.paid()
    assert set(hosts.ended().values()) == {1}
    assert sorted(paid) == names
    assert sum(paid.values()) - len(names) <= interruptions * concurrency
    hosts.assert_audit_is_whole()


def test_a_killed_host_is_followed_by_the_other(tmp_path: Path, postgres: Postgres, standin: StandinProcess) -> None:
    """What it had in hand passes on when its lease has ended; the other says so."""
    with cluster(tmp_path, postgres, standin, compressor={"concurrency": 4}) as hosts:
        names = hosts.drop(50)
        first, second = hosts.hosts
        wait_until(lambda: first.audit_path.exists() and len(first.audit()) > 5)
        first.kill()
        assert second.daemon is not None
        second.daemon.wait_for("cluster.fenced", host="scanner-1")
        wait_until(lambda: len(hosts.ended()) >= len(names) - 4, 90)
        first.start()
        assert_all_ended_once(hosts, names, 1, 4)


def test_a_frozen_host_makes_no_second_ending(tmp_path: Path, postgres: Postgres, standin: StandinProcess) -> None:
    """Stopped for longer than its lease, it finds itself fenced, throws its late answers away, and joins again."""
    with cluster(tmp_path, postgres, standin, compressor={"concurrency": 4}) as hosts:
        names = hosts.drop(50)
        first, second = hosts.hosts
        assert first.daemon is not None
        assert second.daemon is not None
        wait_until(lambda: first.audit_path.exists() and len(first.audit()) > 5)
        first.daemon.signal(signal.SIGSTOP)
        second.daemon.wait_for("cluster.fenced", host="scanner-1")
        wait_until(lambda: len(second.audit()) > 20)
        first.daemon.signal(signal.SIGCONT)
        first.daemon.wait_for("cluster.fenced", host="scanner-1")
        assert_all_ended_once(hosts, names, 1, 4)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
def test_the_database_goes_and_comes_back(
    tmp_path: Path, own_server: Postgres, standin: StandinProcess, how: signal.Signals
) -> None:
    """Said once by each host, nothing new is sent meanwhile, and all goes on by itself."""
    with cluster(tmp_path, own_server, standin, compressor={"concurrency": 4}) as hosts:
        names = hosts.drop(40)
        wait_until(lambda: len(hosts.ended()) > 10)
        own_server.stop(how)
        names += hosts.drop(10)
        daemons = [host.daemon for host in hosts.hosts if host.daemon is not None]
        for daemon in daemons:
            daemon.wait_for("journal.unavailable")
        time.sleep(2 * ANSWER_SECONDS)
        before = sum(hosts.paid().values())
        time.sleep(3 * ANSWER_SECONDS)
        assert sum(hosts.paid().values()) == before
        own_server.start()
        for daemon in daemons:
            daemon.wait_for("journal.recovered")
        assert_all_ended_once(hosts, names, 2, 4)

    for daemon in daemons:
        assert len(daemon.events("journal.unavailable")) == len(daemon.events("journal.recovered")) == 1


def test_files_that_only_a_dead_host_sees_wait_and_status_names_it(
    tmp_path: Path, postgres: Postgres, standin: StandinProcess
) -> None:
    """A folder of one host alone: nobody else touches its files, and they go on when it is back."""
    own = tmp_path / "own"
    own.mkdir()
    with cluster(tmp_path, postgres, standin) as hosts:
        first, second = hosts.hosts
        first.stop()
        folders = [{"name": "products", "path": tmp_path / "mount1"}, {"name": "own", "path": own}]
        first.config = first.write_config(folders=folders)
        first.start()
        standin.set_faults(Fault("status", status=503))
        path = first.put("alone.jpg", folder=own)
        assert first.daemon is not None
        first.daemon.wait_for("image.retry", file=str(path))
        first.kill()
        standin.set_faults()
        assert second.daemon is not None
        second.daemon.wait_for("cluster.fenced", host="scanner-1")
        status = json.loads(command("status", "--json", "--config", second.config).stdout)
        told = command("status", "--config", second.config).stdout
        (gone,) = [host for host in status["hosts"] if host["name"] == "scanner-1"]
        assert (gone["state"], gone["waiting"]) == ("gone", {"own": 1})
        assert "scanner-1" in told
        assert "1 image waits for it" in told
        first.start()
        wait_until(lambda: hosts.ended() == {"alone.jpg": 1}, 90)
