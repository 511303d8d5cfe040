"""`pause` and `resume` through the installed command: beside a daemon, without one, and across restarts."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, command, wait_until, write_config
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY, Fault, StandinProcess

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


@pytest.fixture
def config(tmp_path: Path, standin: StandinProcess) -> Path:
    """Two folders, one request at a time."""
    folders = [{"name": name, "path": tmp_path / name} for name in ("products", "drafts")]
    for folder in folders:
        Path(folder["path"]).mkdir()
    data = {
        "state_dir": tmp_path / "state",
        "compressor": {"url": standin.url, "concurrency": 1},
        "publish": {"serve": {"listen": "127.0.0.1:0"}},
        "verify": {"url": standin.verify_url},
        "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
        "folders": folders,
        "admin": {"listen": "127.0.0.1:0"},
    }
    return write_config(tmp_path / "config.toml", data)


def ask(config: Path, *words: str, status: int = 0) -> Any:
    done = command(*words, "--config", config)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done


def status_of(config: Path, *, running: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(config, "status", "--json", status=0 if running else 3).stdout)
    return found


def drop(config: Path, folder: str, name: str, width: int = 100) -> None:
    (config.parent / folder / name).write_bytes(jpeg(width, 80))


def test_a_paused_folder_sends_nothing_until_it_is_resumed(config: Path, standin: StandinProcess) -> None:
    """The other folder goes on; `status` tells; after `resume` the running daemon goes on at once."""
    with Daemon(config, KEY) as daemon:
        assert "folder products is paused" in ask(config, "pause", "products").stdout
        drop(config, "products", "held.jpg")
        drop(config, "drafts", "free.jpg")
        daemon.wait_for("image.stored", folder="drafts")
        wait_until(lambda: status_of(config)["queue"] == 1)
        status = status_of(config)
        by_name = {folder["name"]: folder for folder in status["folders"]}
        assert (status["paused"], by_name["drafts"]["paused"]) == (None, None)
        assert by_name["products"]["paused"].endswith("Z")
        assert "paused since" in ask(config, "status").stdout
        assert set(standin.report()["asked"]) == {"free.jpg"}
        assert "was paused before, since" in ask(config, "pause", "products").stdout

        assert "folder products goes on" in ask(config, "resume", "products").stdout
        daemon.wait_for("image.stored", folder="products", seconds=20)
        assert "folder products was not paused" in ask(config, "resume", "products").stdout


def test_nothing_leaves_after_the_command_has_returned(config: Path, standin: StandinProcess) -> None:
    """Images that had their turn already, and waited behind a slow answer, are held back as well; the one on its way ends."""
    standin.set_faults(Fault("delay", seconds=8.0))
    with Daemon(config, KEY) as daemon:
        for number in range(6):
            drop(config, "products", f"{number}.jpg", 100 + number)
        wait_until(lambda: standin.report()["in_flight"] == 1)
        ask(config, "pause")
        asked = sum(standin.report()["asked"].values())
        assert asked < 6
        daemon.wait_for("image.stored", asked)
        assert status_of(config)["paused"].endswith("Z")
        wait_until(lambda: status_of(config)["queue"] == 6 - asked)
        assert sum(standin.report()["asked"].values()) == asked
        standin.set_faults()

        assert "everything goes on" in ask(config, "resume").stdout
        daemon.wait_for("image.stored", 6)
    assert all(count == 1 for count in standin.report()["paid"].values())


def test_a_pause_survives_restarts_and_needs_no_daemon(config: Path, standin: StandinProcess) -> None:
    """Made before the first run, kept over a stop and a kill, ended while nobody runs."""
    assert "everything is paused" in ask(config, "pause").stdout
    drop(config, "products", "a.jpg")
    with Daemon(config, KEY) as daemon:
        wait_until(lambda: status_of(config)["queue"] == 1)
        daemon.kill()
    with Daemon(config, KEY):
        wait_until(lambda: status_of(config)["queue"] == 1)
    assert standin.report()["asked"] == {}
    assert status_of(config, running=False)["paused"].endswith("Z")
    assert "nothing is sent since" in ask(config, "status", status=3).stdout

    ask(config, "resume")
    assert status_of(config, running=False)["paused"] is None
    with Daemon(config, KEY) as daemon:
        daemon.wait_for("image.stored")


def test_once_ends_and_says_what_a_pause_holds(config: Path, standin: StandinProcess) -> None:
    """It neither waits forever nor pretends that all is done: exit status 1, with what to do."""
    drop(config, "products", "held.jpg")
    drop(config, "drafts", "free.jpg")
    ask(config, "pause", "products")

    done = command("once", "--config", config, environment=KEY, timeout=60)

    assert done.returncode == 1
    assert "1 image waits, since products is paused" in done.stderr
    assert "compressor-watcher resume" in done.stderr
    assert set(standin.report()["asked"]) == {"free.jpg"}


def test_unknown_folders_and_wide_pauses(config: Path) -> None:
    """A misspelt name gets the right one and changes nothing; one folder cannot go on while all are paused."""
    done = ask(config, "pause", "product", status=1)
    assert "did you mean `products`" in done.stderr
    assert status_of(config, running=False)["folders"][0]["paused"] is None
    assert "there are products, drafts" in ask(config, "resume", "nothing-like-it", status=1).stderr

    ask(config, "pause")
    assert "everything is paused" in ask(config, "resume", "products", status=1).stderr
    assert "nothing was paused" not in ask(config, "resume").stdout
    assert "nothing was paused" in ask(config, "resume").stdout


def test_a_pause_is_a_metric(tmp_path: Path, config: Path) -> None:
    """For alerts on a pause that somebody forgot."""
    port = free_port()
    text = config.read_text().replace('"admin" = { "listen" = "127.0.0.1:0" }', f'"admin" = {{ "listen" = "127.0.0.1:{port}" }}')
    config.write_text(text)
    with Daemon(config, KEY):
        ask(config, "pause", "drafts")

        def paused() -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                found = answer.read().decode()
            assert 'compressor_watcher_folder_paused{folder="products"} 0.0' in found
            return 'compressor_watcher_folder_paused{folder="drafts"} 1.0' in found

        wait_until(paused, 10)


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
