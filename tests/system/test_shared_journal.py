"""The main job with the journal on PostgreSQL: one daemon, and two over one tree."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, cluster
from tests.support.daemon import command, wait_until
from tests.support.postgres import Postgres
from tests.support.standin import StandinProcess


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


def test_one_daemon_does_the_main_job(tmp_path: Path, postgres: Postgres, standin: StandinProcess) -> None:
    """Dropped, stored, one line; and the commands read it from there."""
    with cluster(tmp_path, postgres, standin, hosts=1) as hosts:
        (host,) = hosts.hosts
        names = hosts.drop(3)
        wait_until(lambda: sorted(hosts.ended()) == names)
        status = json.loads(command("status", "--json", "--config", host.config).stdout)
        done = command("list", "--json", "--config", host.config)
        assert done.returncode == 0, done.stderr
        listed = [json.loads(line) for line in done.stdout.splitlines()]
        shown = command("show", str(tmp_path / "mount1" / names[0]), "--config", host.config)

    assert (status["running"], status["ended"]["stored"], status["queue"]) == (True, 3, 0)
    assert sorted(Path(line["file"]).name for line in listed) == names
    assert f"products/{names[0]}" in shown.stdout
    assert set(hosts.paid().values()) == {1}
    assert not (tmp_path / "host1" / "state" / "journal.db").exists()
    hosts.assert_audit_is_whole()


def test_two_daemons_over_one_tree_take_each_file_once(tmp_path: Path, postgres: Postgres, standin: StandinProcess) -> None:
    """Whoever sees it first takes it, either delivers it, and each file has one line in one of the audit files."""
    with cluster(tmp_path, postgres, standin, compressor={"concurrency": 2}) as hosts:
        names = hosts.drop(150)
        wait_until(lambda: len(hosts.ended()) == len(names))

    assert set(hosts.ended().values()) == {1}
    assert set(hosts.paid().values()) == {1}
    assert sorted(hosts.paid()) == names
    assert all(host.audit() for host in hosts.hosts), "one of the hosts did nothing"
    hosts.assert_audit_is_whole()


def test_a_journal_that_is_copied_sends_nothing_again(tmp_path: Path, postgres: Postgres, standin: StandinProcess) -> None:
    """From SQLite to PostgreSQL: what is stored stays stored, the audit file goes on, and the daemon has to stop before."""
    made = Cluster(tmp_path, postgres, standin, 1)
    (host,) = made.hosts
    shared = {name: host.changes.pop(name) for name in ("journal", "cluster")}
    host.config = host.write_config()
    host.start()
    names = made.drop(5)
    wait_until(lambda: sorted(made.ended()) == names)
    arguments = ("journal", "copy", host.path / "state" / "journal.db", made.url, "--host", "scanner-1")
    refused = command(*arguments)
    host.stop()
    copied = command(*arguments)
    host.changes |= shared
    host.config = host.write_config()
    host.start()
    names += made.drop(2)
    wait_until(lambda: len(made.ended()) == len(names))
    host.stop()

    assert refused.returncode == 69
    assert "another daemon" in refused.stderr
    assert copied.returncode == 0, copied.stderr
    assert "5 images, 5 endings, 5 files, 5 objects" in copied.stdout
    assert set(made.paid().values()) == {1}
    assert [line["seq"] for line in host.audit()] == [1, 2, 3, 4, 5, 6, 7]
    made.assert_audit_is_whole()
