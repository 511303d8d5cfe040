"""Notifications through the installed command: a daemon, its files, and receivers that behave and misbehave."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, read_audit, wait_until, write_config
from tests.support.pictures import jpeg
from tests.support.receivers import SECRET, ReceivingServer
from tests.support.standin import DEFAULT_KEY, StandinProcess

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}


@pytest.fixture(scope="module")
def standin() -> Iterator[StandinProcess]:
    """The API stand-in."""
    with StandinProcess() as process:
        yield process


@pytest.fixture
def receiver() -> Iterator[ReceivingServer]:
    """A receiver that wants signatures."""
    with ReceivingServer(secret=SECRET) as server:
        yield server


class Place:
    """A daemon's files."""

    def __init__(self, tmp_path: Path, standin: StandinProcess) -> None:
        self.config, self.state, self.drop = (tmp_path / name for name in ("config.toml", "state", "drop"))
        self.drop.mkdir()
        self._standin = standin
        self._numbers = itertools.count(1)

    def write(self, notify: dict[str, Any], **changes: Any) -> Path:
        """Write the configuration."""
        data = {
            "state_dir": self.state,
            "compressor": {"url": self._standin.url},
            "store": {"id": "connector", "bucket": "my-bucket", "region": "eu-central-003"},
            "verify": {"url": self._standin.verify_url},
            "folders": [{"path": self.drop}],
            "notify": notify,
        }
        return write_config(self.config, {**data, **changes})

    def drop_some(self, count: int = 1, folder: Path | None = None) -> list[Path]:
        """Pictures that differ from all others."""
        content, paths = jpeg(60, 40), []
        for _ in range(count):
            number = next(self._numbers)
            path = (folder or self.drop) / f"{number:05d}.jpg"
            note = f"{self.drop}{number}".encode()
            path.write_bytes(content[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + content[2:])
            paths.append(path)
        return paths

    def audit(self) -> list[dict[str, Any]]:
        """The lines of the audit file."""
        return read_audit(self.state / "audit.jsonl")


@pytest.fixture
def place(tmp_path: Path, standin: StandinProcess) -> Place:
    """A daemon's files."""
    return Place(tmp_path, standin)


def cms(receiver: ReceivingServer, **more: Any) -> dict[str, Any]:
    """`[notify]` with one receiver."""
    return {"cms": {"url": receiver.url, "secret": SECRET, **more}}


def test_every_ending_is_posted_as_the_audit_file_has_it(place: Place, receiver: ReceivingServer) -> None:
    """Signed, in order, byte for byte; the secret comes from the environment as well."""
    place.write({"cms": {"url": receiver.url}})
    with Daemon(place.config, {**KEY, "WATCHER_NOTIFY__CMS__SECRET": SECRET}):
        place.drop_some(12)
        wait_until(lambda: len(receiver.confirmed) >= 12)

    lines = (place.state / "audit.jsonl").read_bytes().splitlines()
    assert [call.body for call in receiver.calls] == lines
    assert len({call.id for call in receiver.calls}) == 12
    assert {(call.method, call.headers["content-type"]) for call in receiver.calls} == {("POST", "application/json")}
