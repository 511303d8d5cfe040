"""Transactions of a shared journal whose end nobody knows: the answer to a commit is lost, or who began it is gone for good."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Host
from tests.support.crashing import Crash
from tests.support.daemon import Daemon, wait_until
from tests.support.lives import Nursery
from tests.support.postgres import Postgres
from tests.support.standin import Fault, StandinProcess
from tests.support.tcp_proxy import COMMITTED, TcpProxy
from tests.support.world import KEY, World, said

FILES = 25
LEASE_SECONDS = 3.0


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[TcpProxy]:
    """The way to the database."""
    with TcpProxy(postgres.port) as made:
        yield made


@pytest.fixture
def world(tmp_path: Path, postgres: Postgres, proxy: TcpProxy, standin: StandinProcess) -> World:
    """A host whose journal is behind the proxy."""
    url = postgres.url(postgres.database().rpartition("/")[2], proxy.port)
    shared = {"journal": url, "cluster": {"name": "alone", "lease": f"{LEASE_SECONDS:.0f}s"}}
    return World(tmp_path, standin, changes={**shared, "folders": folders(tmp_path)})


def folders(path: Path) -> list[dict[str, object]]:
    """One that keeps its originals, with a rendition, and one that moves them away."""
    (path / "moved").mkdir()
    put_away = {"on_success": {"move": path / "done"}, "on_failure": {"move": path / "rejected"}}
    rendition = {"name": "thumb", "image": {"resize": {"width": 8}}, "store": {"path": "thumbs/{name}"}}
    return [
        {"name": "kept", "path": path / "drop", "renditions": [rendition]},
        {"name": "moved", "path": path / "moved", **put_away},
    ]


def assert_each_once(world: World, kept: list[Path], moved: list[Path], refused: list[Path]) -> None:
    """Each output one ending and one payment, each original where it belongs, and a whole audit file."""
    expected = {(str(path), rendition): ["stored"] for path in kept for rendition in (None, "thumb")}
    expected |= {(str(path), None): ["stored"] for path in moved}
    expected |= {(str(path), None): ["failed"] for path in refused}
    assert expected == world.endings()
    assert {1} == set(world.paid().values())
    assert len(world.paid()) == 2 * len(kept) + len(moved)
    assert {path.name for path in moved} == {path.name for path in (world.path / "done").rglob("*.jpg")}
    assert {path.name for path in refused} == {path.name for path in (world.path / "rejected").rglob("*.jpg")}
    world.assert_nothing_left_over()
    world.assert_audit_is_whole()


@pytest.mark.parametrize("share", [0.4, pytest.param(0.7, marks=pytest.mark.soak)])
def test_what_was_committed_is_not_done_again_when_the_answer_is_lost(
    world: World, standin: StandinProcess, proxy: TcpProxy, share: float
) -> None:
    """The connection is cut after the server has committed: the host asks by its number, and nothing is paid again."""
    chance, lost = said(11), [0]

    def loses(answer: bytes) -> bool:
        is_lost = COMMITTED in answer and chance.random() < share
        lost[0] += is_lost
        return is_lost

    standin.set_faults(
        Fault("status", status=422, file="bad*"),
        Fault("status", status=500, file="flaky*", times=1),
        Fault("enqueue", share=0.2, polls=1),
        Fault("delay", share=0.2, seconds=0.1),
    )
    with Daemon(world.config, KEY) as daemon:
        proxy.loses = loses
        kept = [world.put(f"{number}.jpg") for number in range(FILES)] + [world.put("flaky.jpg")]
        moved = [world.put(f"moved-{number}.jpg", None, world.path / "moved") for number in range(FILES // 2)]
        refused = [world.put("bad.jpg", None, world.path / "moved")]
        wait_until(lambda: len(world.endings()) == 2 * len(kept) + len(moved) + len(refused))
        wait_until(lambda: not any((world.path / "moved").iterdir()))
        proxy.loses = None
    print(f"{lost[0]} answers were lost")
    assert lost[0] >= 4
    assert not daemon.events("cluster.fenced")
    assert {1} == {line["attempts"] for line in daemon.events("image.stored") if "flaky" not in line["file"]}
    assert len(daemon.events("journal.unavailable")) == len(daemon.events("journal.recovered"))
    assert_each_once(world, kept, moved, refused)


@pytest.mark.soak
@pytest.mark.parametrize("passing", [2, 4, 6, 9, 12])
def test_a_transaction_of_a_machine_that_lost_its_power_holds_nobody_up(world: World, proxy: TcpProxy, passing: int) -> None:
    """The server has a transaction open of which it never hears again, with the host's row held: the next start goes on all the
    same, and nothing of that transaction is there."""
    kept = [world.put("a.jpg"), world.put("b.jpg")]
    moved = [world.put("c.jpg", None, world.path / "moved")]
    proxy.hears_of_ends = False
    with Nursery() as nursery:
        crash = Crash("journal.commit", "before", passing)
        life = nursery.begin("once", "--config", world.config, log=world.log, crash=crash, environment=KEY)
        assert -signal.SIGKILL == life.wait(), life.errors()
        proxy.hears_of_ends = True
        began = time.monotonic()
        life = nursery.begin("run", "--config", world.config, log=world.log, environment=KEY)
        wait_until(lambda: len(world.endings()) == 5)
        print(f"after {time.monotonic() - began:.1f} s")
        wait_until(lambda: not any((world.path / "moved").iterdir()))
        life.wait_for("service.started")
        assert 0 == life.stop()
    assert_each_once(world, kept, moved, [])


def test_another_host_goes_on_with_what_a_machine_without_power_had(
    tmp_path: Path, postgres: Postgres, proxy: TcpProxy, standin: StandinProcess
) -> None:
    """Both see the files. The one that is gone had them in hand, and rows of theirs locked; the other takes them over."""
    url = postgres.database()
    far = postgres.url(url.rpartition("/")[2], proxy.port)
    drop = tmp_path / "tree"
    drop.mkdir()
    gone = Host.make(tmp_path / "one", standin, far, "scanner-1", drop)
    other = Host.make(tmp_path / "two", standin, url, "scanner-2", drop)
    paths = [gone.put(f"{number}.jpg", folder=drop) for number in range(6)]
    proxy.hears_of_ends = False
    with Nursery() as nursery:
        crash = Crash("journal.commit", "before", 6)
        life = nursery.begin("once", "--config", gone.config, log=gone.log, crash=crash, environment=KEY)
        assert -signal.SIGKILL == life.wait(), life.errors()
    other.start()
    wait_until(lambda: len(gone.audit()) + len(other.audit()) == len(paths))
    other.stop()
    assert sorted(map(str, paths)) == sorted(line["file"] for line in (*gone.audit(), *other.audit()))
    assert {1} == set(other.paid().values())
