"""SIGHUP, as an operator without systemd uses it: a running daemon, its files, its log."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, read_audit, wait_until, write_config
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY, Fault, StandinProcess


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    """The API stand-in."""
    with StandinProcess() as process:
        yield process


class Place:
    """A daemon's files: configuration, credentials, folders."""

    def __init__(self, tmp_path: Path, standin: StandinProcess) -> None:
        self.config = tmp_path / "config.toml"
        self.state = tmp_path / "state"
        self.drop = tmp_path / "drop"
        self.credentials = tmp_path / "credentials"
        for folder in (self.drop, self.credentials):
            folder.mkdir()
        self._standin = standin
        self.set_key(DEFAULT_KEY)
        self.write()

    @property
    def environment(self) -> dict[str, str]:
        """What tells the daemon where its credentials are."""
        return {"CREDENTIALS_DIRECTORY": str(self.credentials)}

    def set_key(self, key: str) -> None:
        """Write the API key's credential."""
        (self.credentials / "compressor_api_key").write_text(key)

    def write(self, **changes: Any) -> None:
        """Write the configuration."""
        data = {
            "state_dir": self.state,
            "compressor": {"url": self._standin.url},
            "store": {"id": "connector", "bucket": "my-bucket", "region": "eu-central-003"},
            "verify": {"url": self._standin.verify_url},
            "folders": [{"path": self.drop}],
        }
        write_config(self.config, {**data, **changes})


@pytest.fixture
def place(tmp_path: Path, standin: StandinProcess) -> Place:
    """A daemon's files."""
    return Place(tmp_path, standin)


def test_many_reloads_under_load_lose_nothing(place: Place, standin: StandinProcess) -> None:
    """While images flow, folders come and go, rules and limits change and the key is rotated, reload upon reload; every image
    that was dropped into a watched folder is stored once."""
    others = [place.drop.with_name(f"other{number}") for number in range(3)]
    for folder in others:
        folder.mkdir()
    standin.set_options(work_seconds=0.05)
    names: list[str] = []
    with Daemon(place.config, place.environment) as daemon:
        for turn in range(6):
            for number in range(10):
                names.append(f"{turn}-{number}.jpg")
                (place.drop / names[-1]).write_bytes(jpeg(64 + len(names), 48))
            folders = [
                {"path": place.drop, "store": {"path": f"{turn}/{{name}}"}},
                *({"path": each} for each in others[turn % 3 :]),
            ]
            compressor = {"url": standin.url, "concurrency": 1 + turn * 3, "timeout": f"{30 + turn}s"}
            standin.set_options(api_key=f"key-{turn}")
            place.set_key(f"key-{turn}")
            place.write(folders=folders, compressor=compressor)
            daemon.signal(signal.SIGHUP)
            daemon.wait_for("config.reloaded", turn + 1)
        wait_until(lambda: len(daemon.events("image.stored")) == len(names))
        assert daemon.events("image.failed") == []
    assert standin.report()["paid"] == dict.fromkeys(names, 1)
    assert sorted(Path(line["file"]).name for line in read_audit(place.state / "audit.jsonl")) == sorted(names)


def test_a_larger_limit_is_a_larger_limit(place: Place, standin: StandinProcess) -> None:
    """`concurrency` raised by a reload lets as many requests out, over as many connections."""
    place.write(compressor={"url": standin.url, "concurrency": 1})
    standin.set_faults(Fault("delay", seconds=60))
    with Daemon(place.config, place.environment) as daemon:
        for number in range(6):
            (place.drop / f"{number}.jpg").write_bytes(jpeg(64 + number, 48))
        wait_until(lambda: standin.report()["in_flight"] == 1)

        place.write(compressor={"url": standin.url, "concurrency": 6}, drain="0s")
        daemon.signal(signal.SIGHUP)

        wait_until(lambda: standin.report()["in_flight"] == 6)


def test_a_reload_asked_for_during_the_start_is_not_lost(place: Place) -> None:
    """SIGHUP while the daemon comes up neither ends it nor is forgotten."""
    daemon = Daemon(place.config, place.environment)
    wait_until(lambda: daemon.events("service.started"))
    daemon.signal(signal.SIGHUP)
    with daemon:
        daemon.wait_for("config.reloaded")


def test_what_needs_a_restart_is_said_and_left_alone(place: Place, tmp_path: Path) -> None:
    """Addresses and places stay what they were, by name, while everything else of the new file is in force."""
    with Daemon(place.config, place.environment) as daemon:
        place.write(state_dir=tmp_path / "elsewhere", admin={"listen": "127.0.0.1:0"}, settle="1s")
        daemon.signal(signal.SIGHUP)
        line = daemon.wait_for("config.reloaded")[0]

        assert line["needs_restart"] == ["state_dir", "admin.listen"]
        assert set(line["changed"]) == {"state_dir", "admin", "settle"}
        assert not (tmp_path / "elsewhere").exists()


def test_a_credential_that_went_away_leaves_the_old_one_in_force(place: Place) -> None:
    """Half a rotation is no configuration: it is rejected, told, and the daemon goes on with the key it has."""
    with Daemon(place.config, place.environment) as daemon:
        os.unlink(place.credentials / "compressor_api_key")
        daemon.signal(signal.SIGHUP)
        problems = daemon.wait_for("config.rejected")[0]["problems"]
        (place.drop / "chair.jpg").write_bytes(jpeg())
        daemon.wait_for("image.stored")

    assert any("compressor.api_key: is missing" in problem for problem in problems)
