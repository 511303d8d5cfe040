"""What is dropped while the daemon runs goes before the backlog that its start finds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, write_config
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY, Fault, StandinProcess

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}
OLD = 40


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


def backlog(place: Path, standin: StandinProcess) -> Path:
    """Forty old files, and an API that takes a third of a second for each."""
    (place / "drop").mkdir()
    for number in range(OLD):
        path = place / "drop" / f"old-{number:02}.jpg"
        path.write_bytes(jpeg(100 + number, 80))
        os.utime(path, (time.time() - 86_400,) * 2)
    standin.set_faults(Fault("delay", seconds=0.3))
    data = {
        "state_dir": place / "state",
        "compressor": {"url": standin.url, "concurrency": 1},
        "publish": {"serve": {"listen": "127.0.0.1:0"}},
        "verify": {"url": standin.verify_url},
        "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
        "folders": [{"name": "products", "path": place / "drop"}],
    }
    return write_config(place / "config.toml", data)


def test_a_fresh_drop_overtakes_the_backlog_of_a_start(tmp_path: Path, standin: StandinProcess) -> None:
    """It is next but for what is at work already; then the backlog goes on, and nothing of it is lost."""
    with Daemon(backlog(tmp_path, standin), KEY) as daemon:
        daemon.wait_for("image.stored", 1)
        (tmp_path / "drop/fresh.jpg").write_bytes(jpeg(300, 80))
        (line,) = daemon.wait_for("image.stored", file=str(tmp_path / "drop/fresh.jpg"))
        before = daemon.events("image.stored").index(line)
        assert before < 12, before
        standin.set_faults()
        daemon.wait_for("image.stored", OLD + 1)


def test_a_backlog_stays_one_over_a_restart(tmp_path: Path, standin: StandinProcess) -> None:
    """What the first start queued goes behind what is dropped after the second one."""
    config = backlog(tmp_path, standin)
    with Daemon(config, KEY) as daemon:
        daemon.wait_for("image.stored", 1)
        daemon.kill()
    with Daemon(config, KEY) as daemon:
        (tmp_path / "drop/fresh.jpg").write_bytes(jpeg(300, 80))
        daemon.wait_for("image.stored", file=str(tmp_path / "drop/fresh.jpg"))
        assert len(daemon.events("image.stored")) < 14
        standin.set_faults()
        daemon.wait_for("image.stored", OLD - 2)
