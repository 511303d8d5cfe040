"""What becomes of an original that was changed while it was on its way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, wait_until, write_config
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY, Fault, StandinProcess


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
