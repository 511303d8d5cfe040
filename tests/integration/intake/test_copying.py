"""Copies of originals on file systems that are slow to keep what they were told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.pictures import jpeg
from watcher.intake import copying
from watcher.model import Observation

TIME_NS = 1_000_000_000 * 10**9


def test_a_target_that_sets_its_own_time_is_told_the_originals_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rclone may write the time of the last write when the file is closed, after it was told another."""
    source, target = tmp_path / "a.jpg", tmp_path / "done.jpg"
    source.write_bytes(jpeg())
    os.utime(source, ns=(TIME_NS, TIME_NS))
    placed = copying.place

    def place(partial: bytes, wanted: bytes) -> bytes:
        made = placed(partial, wanted)
        os.utime(made)
        return made

    monkeypatch.setattr(copying, "place", place)
    made = copying.copied(os.fsencode(source), Observation.of(source.stat()), os.fsencode(target))

    assert made == os.fsencode(target)
    assert target.stat().st_mtime_ns == TIME_NS
    assert target.read_bytes() == source.read_bytes()
