"""Three hosts over one tree, each through a mount of its own, and everything that may happen to them at random, seeded.

Hosts are killed, and stopped for longer than their lease; the way to the database is cut, or swallows what is sent; the
database is restarted and killed. Each file ends once in one audit file, nothing is lost, and no more is paid twice than what was
under way when somebody was interrupted. 5,000 drops by `make soak` (another seed: WATCHER_SOAK_SEED), a hundred with all others.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, Host, cluster
from tests.support.daemon import wait_until
from tests.support.postgres import Postgres, server
from tests.support.standin import Fault, StandinProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.world import said

HOSTS = 3
CONCURRENCY = 4
LEASE_SECONDS = 3.0
ANSWER_SECONDS = 0.1
SEED = int(os.environ.get("WATCHER_SOAK_SEED", "4"))


@pytest.fixture
def own_server() -> Iterator[Postgres]:
    """A server that may be stopped."""
    with server() as running:
        yield running


class Chance:
    """What goes wrong next. `interrupted` counts hosts whose requests may have been under way."""

    def __init__(self, hosts: Cluster, postgres: Postgres, proxy: TcpProxy, chance: random.Random) -> None:
        self.hosts, self.postgres, self.proxy, self.chance = hosts, postgres, proxy, chance
        self.interrupted = 0

    def strike(self) -> None:
        """One thing that goes wrong, to its end; a host that was killed comes back some strikes later."""
        down = [host for host in self.hosts.hosts if host.daemon is None]
        if down and self.chance.random() < 0.5:
            down[0].start()
            return
        kinds: list[tuple[Callable[[], None], int]] = [
            (self.kill, 4),
            (self.freeze, 2),
            (self.cut, 3),
            (self.swallow, 1),
            (self.restart, 2),
            (self.nothing, 4),
        ]
        self.chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()

    def kill(self) -> None:
        if (host := self._anybody()) is not None:
            host.kill()
            self.interrupted += 1

    def freeze(self) -> None:
        if (host := self._anybody()) is not None and host.daemon is not None:
            host.daemon.signal(signal.SIGSTOP)
            time.sleep(LEASE_SECONDS * 1.5)
            host.daemon.signal(signal.SIGCONT)
            self.interrupted += 1

    def cut(self) -> None:
        self.proxy.cut()

    def swallow(self) -> None:
        """For longer than the lease."""
        self.proxy.swallow()
        time.sleep(LEASE_SECONDS * (1 + self.chance.random()))
        self.proxy.flow()
        self.interrupted += HOSTS

    def restart(self) -> None:
        self.postgres.stop(self.chance.choice([signal.SIGINT, signal.SIGQUIT]))
        time.sleep(self.chance.random() * LEASE_SECONDS)
        self.postgres.start()
        self.interrupted += HOSTS

    def nothing(self) -> None:
        """It has to come forward in between, too."""

    def _anybody(self) -> Host | None:
        """Somebody who is up; None where that is the last one."""
        up = [host for host in self.hosts.hosts if host.daemon is not None]
        return self.chance.choice(up) if len(up) > 1 else None


def run(path: Path, postgres: Postgres, drops: int, at_once: int, seed: int) -> None:
    """So many drops, at most so many between two strikes; then everybody is left alone until all have ended."""
    with TcpProxy(postgres.port) as proxy, StandinProcess() as standin:
        standin.set_faults(Fault("delay", seconds=ANSWER_SECONDS))
        with cluster(path, postgres, standin, HOSTS, mounts=True, proxy=proxy, compressor={"concurrency": CONCURRENCY}) as hosts:
            chance = Chance(hosts, postgres, proxy, said(seed))
            names: list[str] = []
            while len(names) < drops:
                names += hosts.drop(min(chance.chance.randint(1, at_once), drops - len(names)))
                chance.strike()
                time.sleep(chance.chance.random())
            for host in hosts.hosts:
                if host.daemon is None:
                    host.start()
            wait_until(lambda: len(hosts.ended()) == len(names), 120 + drops / 10, pause=0.5)
            hosts.stop()
            print(f"{chance.interrupted} interruptions; paid twice: {sum(hosts.paid().values()) - len(names)}")
            assert_right(hosts, names, chance.interrupted)


def assert_right(hosts: Cluster, names: list[str], interruptions: int) -> None:
    """Each file once in one audit file; paid once, but for what was on its way when a host was interrupted."""
    paid = hosts.paid()
    assert set(hosts.ended().values()) == {1}
    assert sorted(paid) == names
    assert sum(paid.values()) - len(names) <= interruptions * CONCURRENCY
    hosts.assert_audit_is_whole()


def test_a_hundred_drops(tmp_path: Path, own_server: Postgres) -> None:
    """Enough for each thing to happen."""
    run(tmp_path, own_server, 100, 20, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_five_thousand_drops(tmp_path: Path, own_server: Postgres) -> None:
    """The same for a quarter of an hour."""
    run(tmp_path, own_server, 5_000, 80, SEED)
