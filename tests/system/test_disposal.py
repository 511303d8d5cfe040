"""What becomes of an original that was changed while it was on its way."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, command, wait_until, write_config
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY, Fault, StandinProcess

WITHOUT_OVERRIDE = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
"""Root, for whom the rights of files and folders count."""


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    """The API stand-in."""
    with StandinProcess() as process:
        yield process


def test_an_original_whose_rights_changed_on_the_way_is_put_away_all_the_same(tmp_path: Path, standin: StandinProcess) -> None:
    """A chmod after the drop makes another version of the file, and no event: it is looked at again at once, costs nothing more,
    and is deleted."""
    drop = tmp_path / "drop"
    drop.mkdir()
    data = {
        "state_dir": tmp_path / "state",
        "compressor": {"url": standin.url},
        "store": {"id": "connector", "bucket": "my-bucket", "region": "eu-central-003"},
        "folders": [{"path": drop, "on_success": "delete"}],
    }
    standin.set_faults(Fault("delay_after", seconds=2.0))
    environment = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}
    with Daemon(write_config(tmp_path / "config.toml", data), environment) as daemon:
        (drop / "chair.jpg").write_bytes(jpeg())
        wait_until(lambda: standin.report()["paid"])
        (drop / "chair.jpg").chmod(0o600)

        daemon.wait_for("image.deleted")

    assert not (drop / "chair.jpg").exists()
    assert standin.report()["paid"] == {"chair.jpg": 1}


@pytest.mark.parametrize("what", ["move", "delete"])
def test_what_can_never_be_put_away_is_said_once_with_a_count(tmp_path: Path, standin: StandinProcess, what: str) -> None:
    """A file in the place of the target, or a folder that may not be changed: few lines, and `status` tells of it."""
    drop, count = tmp_path / "drop", 25
    drop.mkdir()
    (tmp_path / "way").write_bytes(b"")
    data = {
        "state_dir": tmp_path / "state",
        "compressor": {"url": standin.url},
        "store": {"id": "connector", "bucket": "my-bucket", "region": "eu-central-003"},
        "folders": [{"path": drop, "on_success": {"move": str(tmp_path / "way" / "done")} if what == "move" else "delete"}],
    }
    for number in range(count):
        (drop / f"{number}.jpg").write_bytes(jpeg() + b"%d" % number)
    if what == "delete":
        drop.chmod(0o555)
    environment = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}
    config = write_config(tmp_path / "config.toml", data)
    with Daemon(config, environment, within=WITHOUT_OVERRIDE if os.geteuid() == 0 else ()) as daemon:
        daemon.wait_for("image.stored", count)
        daemon.wait_for("image.retry", 2)
        status = wait_until(lambda: (found := _status(config))["not_put_away"] == count and found)
        lines = daemon.events("image.retry")
        words = command("status", "--config", config).stdout
    assert [line["count"] for line in lines] == [1, 10]
    assert "10 originals" in lines[-1]["message"]
    assert status["why_not_put_away"]
    assert f"{count} could not be moved or deleted" in " ".join(words.split())


def _status(config: Path) -> dict[str, Any]:
    return dict(json.loads(command("status", "--json", "--config", config).stdout))
