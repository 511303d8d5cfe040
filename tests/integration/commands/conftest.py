"""A journal with a past, and the configuration that belongs to it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import open_journal, rule, sighting, store_all, take_one
from watcher.config.loading import load_settings
from watcher.config.schema import Settings
from watcher.model import FailedReason
from watcher.records.sqlite_journal import SqliteJournal

BROKEN = b"caf\xe9 \x1b[31m.jpg"
"""A name that is no UTF-8 and would colour a terminal."""


def configure(tmp_path: Path, **changes: Any) -> Settings:
    """The settings of a reading command for the state in `tmp_path`, whose folder `products` is `tmp_path/drop`."""
    (tmp_path / "drop").mkdir(exist_ok=True)
    data = {
        "state_dir": str(tmp_path / "state"),
        "compressor": {"url": "http://127.0.0.1:1/1.0"},
        "store": {"id": "c", "bucket": "b", "region": "eu-central-003"},
        "folders": [{"name": "products", "path": str(tmp_path / "drop"), "image": {"compression": "ultra"}}],
        **changes,
    }
    return load_settings(data, {}, purpose="read")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configure(tmp_path)


@pytest.fixture
async def journal(tmp_path: Path, settings: Settings) -> AsyncIterator[SqliteJournal]:
    """Detected at 1000, 1001, ...: one stored (with a rendition), one failed, one of a broken name that failed, one waiting."""
    settings.state_dir.mkdir()
    opened = open_journal(settings.journal_path)
    root = tmp_path / "drop"
    await store_all(opened, await take_one(opened, sighting(b"stored.jpg", at=1_000.0, under=rule("thumb", root=root))), 1_500.0)
    for number, name in enumerate((b"sub/failed.jpg", BROKEN)):
        seen = sighting(name, at=1_001.0 + number, under=rule(root=root))
        identity = await opened.give_up(seen, FailedReason.TRUNCATED, "the end is missing", "drop it whole")
        await opened.finish(identity, "kept", 1_501.0)
    await opened.take([sighting(b"waiting.jpg", at=1_003.0, under=rule(root=root))])
    yield opened
    await opened.close()
