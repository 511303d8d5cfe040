"""Two daemons on one journal are one towards the API: one limit, one that asks in bad times, one message of each ending."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster, cluster
from tests.support.daemon import wait_until
from tests.support.postgres import Postgres
from tests.support.standin import Fault, StandinProcess

PER_SECOND = 8.0


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


def test_an_outage_is_met_together(tmp_path: Path, postgres: Postgres, standin: StandinProcess) -> None:
    """Each host says it, one of them asks the account, and what it finds reaches both; a spent quota likewise."""
    with cluster(tmp_path, postgres, standin, compressor={"concurrency": 2}) as hosts:
        daemons = [host.daemon for host in hosts.hosts if host.daemon is not None]
        names = hosts.drop(4)
        wait_until(lambda: len(hosts.ended()) == len(names))
        for times, event, status in ((1, "api.unavailable", 503), (2, "api.quota", 402)):
            standin.set_faults(Fault("status", status=status, on=("fetch", "job", "account")))
            names += hosts.drop(6)
            for daemon in daemons:
                daemon.wait_for(event)
            time.sleep(1)  # what was under way when it was said is answered
            before = standin.report()["calls"]
            time.sleep(4)
            after = standin.report()["calls"]
            assert after["account"] - before["account"] <= 5, "both ask"
            assert after["fetch"] - before["fetch"] <= 1
            standin.set_faults()
            for daemon in daemons:
                daemon.wait_for("api.recovered", count=times, seconds=90)
            _until_ended(hosts, len(names))

        assert [sum(map(_met_elsewhere, daemon.lines)) for daemon in daemons] != [0, 0], "nobody was led"
    assert set(hosts.ended().values()) == set(hosts.paid().values()) == {1}


def _until_ended(hosts: Cluster, count: int) -> None:
    wait_until(lambda: len(hosts.ended()) == count)


def _rate(lines: list[dict[str, Any]]) -> float:
    """Endings a second."""
    times = sorted(datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines)
    return (len(times) - 1) / (times[-1] - times[0])


def _met_elsewhere(line: dict[str, object]) -> bool:
    return str(line["event"]).startswith("api.") and "host" in line


def test_one_limit_holds_for_all(tmp_path: Path, postgres: Postgres, standin: StandinProcess) -> None:
    """Two hosts over one tree together, and one alone that has all the work, send as many requests a second as is set."""
    changes = {"concurrency": 8, "requests_per_second": PER_SECOND}
    with cluster(tmp_path, postgres, standin, compressor=changes) as hosts:
        names = hosts.drop(40)
        wait_until(lambda: len(hosts.ended()) == len(names))
        together = _rate([line for host in hosts.hosts for line in host.audit()])
        hosts.hosts[1].stop()
        done = len(hosts.hosts[0].audit())
        names += hosts.drop(24)
        wait_until(lambda: len(hosts.ended()) == len(names))
        alone = _rate(hosts.hosts[0].audit()[done:])

    assert together <= PER_SECOND * 1.15
    assert PER_SECOND * 0.5 <= alone <= PER_SECOND * 1.15
