"""What is asked of hosts that share a journal is answered for all of them, or for one; what they tell is told once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.cluster import Cluster, Host
from tests.support.daemon import command, wait_until
from tests.support.postgres import Postgres
from tests.support.receivers import ReceivingServer
from tests.support.standin import Fault, StandinProcess
from tests.support.world import KEY, World, free_address


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


def asked(host: Host, *arguments: str, status: int = 0) -> str:
    done = command(*arguments, "--config", host.config)
    assert done.returncode == status, done.stdout + done.stderr
    output: str = done.stdout
    return output


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def pair(tmp_path: Path, postgres: Postgres, standin: StandinProcess) -> Iterator[Cluster]:
    """Two hosts, each with a folder of its own beside the shared one, an admin port and a manifest; and one receiver."""
    with ReceivingServer() as receiver:
        made = Cluster(tmp_path, postgres, standin, 2, compressor={"concurrency": 4, "max_attempts": 1})
        made.receiver = receiver  # type: ignore[attr-defined]
        for host in made.hosts:
            own = tmp_path / f"own-{host.name}"
            own.mkdir()
            shared = {"name": "products", "path": host.changes["folders"][0]["path"], "manifest": host.path / "manifest.json"}
            host.changes["folders"] = [shared, {"name": f"own-{host.name}", "path": own}]
            host.changes |= {"notify": {"cms": {"url": receiver.url}}, "admin": {"listen": free_address()}}
            host.config = host.write_config()
            host.start()
        yield made
        made.stop()


def test_questions_are_answered_for_all_hosts_or_for_one(tmp_path: Path, pair: Cluster) -> None:
    """`status`, `list`, `show`, `links`, `retry`, the page and the metrics."""
    one, two = pair.hosts
    paths = [one.put("one.jpg", folder=tmp_path / "own-scanner-1"), two.put("two.jpg", folder=tmp_path / "own-scanner-2")]
    wait_until(lambda: len(pair.ended()) == 2)
    pair.standin.set_faults(Fault("status", status=422))
    one.put("bad.jpg", folder=tmp_path / "own-scanner-1")
    wait_until(lambda: len(pair.ended()) == 3)
    pair.standin.set_faults()
    wait_until(
        lambda: json.loads(asked(two, "status", "--json", "--host", "scanner-2"))["api"]["state"] == "reachable", pause=0.2
    )

    status, of_two = (json.loads(asked(one, "status", "--json", *more)) for more in ((), ("--host", "scanner-2")))
    assert (status["ended"]["stored"], status["failed"], status["running"]) == (2, 1, True)
    assert (of_two["ended"]["stored"], of_two["failed"], of_two["running"], of_two["host"]) == (1, 0, True, "scanner-2")
    assert [folder["name"] for folder in of_two["folders"]] == ["products", "own-scanner-2"]
    assert "running on scanner-2" in asked(one, "status", "--host", "scanner-2")
    assert [Path(row["file"]).name for row in rows(asked(one, "list", "--json", "--host", "scanner-2"))] == ["two.jpg"]
    assert len(rows(asked(two, "list", "--json"))) == 3
    assert len(asked(one, "links", "--since", "1d", "--host", "scanner-1").splitlines()) == 1
    asked(one, "links", "--since", "1d", "--host", "scanner-2", status=1)
    shown = json.loads(asked(two, "show", str(paths[0]), "--json"))
    assert [output["host"] for output in shown["outputs"]] == ["scanner-1"]
    asked(two, "show", str(paths[0]), "--host", "scanner-2", status=1)
    assert "nothing was put back" in asked(one, "retry", "--failed", "--host", "scanner-2")
    assert "no host 'scanner-9'" in command("list", "--host", "scanner-9", "--config", one.config).stderr

    page = f"http://{two.changes['admin']['listen']}"
    assert 'href="/hosts/scanner-1"' in httpx.get(page).text
    alone = httpx.get(f"{page}/hosts/scanner-1").text
    assert "bad.jpg" in alone
    assert "two.jpg" not in alone
    assert httpx.get(f"{page}/hosts/scanner-9").status_code == 404
    metrics = httpx.get(f"{page}/metrics").text
    assert 'compressor_watcher_host_alive{host="scanner-1"} 1.0' in metrics
    assert "compressor_watcher_failed 1.0" in metrics
    of_two_alone, of_one_alone = (httpx.get(f"{page}/metrics?host=scanner-{each}").text for each in (2, 1))
    assert "compressor_watcher_failed 0.0" in of_two_alone
    assert "compressor_watcher_failed 1.0" in of_one_alone
    assert 'compressor_watcher_host_alive{host="scanner-2"} 1.0' in of_two_alone
    assert "scanner-1" not in of_two_alone
    assert "_total" not in of_two_alone
    assert httpx.get(f"{page}/metrics?host=scanner-9").status_code == 404

    assert "1 image" in asked(one, "retry", "--failed", "--host", "scanner-1")
    wait_until(lambda: len(one.audit()) == 3)


def test_each_ending_is_told_once_whoever_made_it(pair: Cluster) -> None:
    """A host is killed in between; a pause set by one holds for both; each manifest has what either stored."""
    one, two = pair.hosts
    receiver: ReceivingServer = pair.receiver  # type: ignore[attr-defined]
    asked(one, "pause")
    names = pair.drop(12)
    wait_until(lambda: json.loads(asked(two, "status", "--json"))["queue"] == 12)
    assert json.loads(asked(two, "status", "--json"))["paused"]
    assert pair.paid() == Counter()
    pair.standin.set_faults(Fault("delay", seconds=0.3))
    asked(two, "resume")
    wait_until(lambda: len(pair.ended()) >= 5)
    one.kill()
    names += pair.drop(6)
    wait_until(lambda: len(pair.ended()) >= len(names) - 4, 90)
    one.start()
    wait_until(lambda: sorted(pair.ended()) == names, 90)
    wait_until(lambda: len({call.id for call in receiver.confirmed}) == len(names))

    told = {(call.id, call.object["id"], call.object["seq"], call.object["prev"]) for call in receiver.confirmed}
    assert len(told) == len(names), "an ending was told by two hosts, or as two things"
    assert len(receiver.confirmed) - len(names) <= 4, "only what was on its way to the receiver at the kill comes twice"
    for host in (one, two):
        wait_until(lambda: len(manifest_of(host)) == len(names))  # noqa: B023 - it is called here
        assert host.daemon is not None
        assert host.daemon.process.poll() is None
    asking, other = sorted((one, two), key=lambda host: len(host.audit()) if host.audit_path.exists() else 0)
    again = asked(asking, "notify", "replay", "cms", "--from", "1", "--host", other.name)
    assert f"{len(other.audit())} endings were sent again" in again
    told |= {(call.id, call.object["id"], call.object["seq"], call.object["prev"]) for call in receiver.confirmed}
    assert len(told) == len(names), "what is sent again is another message"


def manifest_of(host: Host) -> list[Any]:
    """The files in a host's manifest."""
    path = host.path / "manifest.json"
    files: list[Any] = list(json.loads(path.read_text())) if path.exists() else []
    return files


@pytest.mark.journals("sqlite", reason="the journal is this machine's own")
def test_one_host_needs_a_shared_journal(tmp_path: Path, standin: StandinProcess) -> None:
    """Where the journal is this machine's own there are no hosts."""
    world = World(tmp_path, standin)
    command("once", "--config", world.config, environment=KEY)
    done = command("status", "--host", "other", "--config", world.config)
    assert done.returncode == 69
    assert "leave out --host" in done.stderr
