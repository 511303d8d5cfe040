"""A scan that breaks, and one that nobody waits for any more."""

import asyncio
import errno
import io
import itertools
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.drops import STORE, drops
from tests.support.publishing import wait_until
from tests.support.ways import picture
from watcher.app import started
from watcher.config.loading import load_settings
from watcher.intake import candidates, roots
from watcher.intake.inspection import Inspector, Unsuitable
from watcher.intake.mounts import missing_mount
from watcher.intake.settle import Inspection
from watcher.log import JsonLog
from watcher.model import Event, KnownDirectory, Sighting


async def test_a_scan_that_breaks_ends_the_waiting_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits forever for a scan that cannot end, and the daemon learns that a folder would go unwatched."""
    async with drops(tmp_path) as bench:
        await bench.until_scanned()
        (bench.root / "a.jpg").write_bytes(picture())
        await bench.until_taken("a.jpg")

        async def no_thread(folder: str, directories: Sequence[bytes]) -> list[KnownDirectory]:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(bench.journal, "known_in", no_thread)
        (bench.root / "b.txt").write_text("another name, so that the directory is looked up")
        await asyncio.wait_for(bench.intake.rescan(), 20)
        with pytest.raises(RuntimeError, match="new thread"):
            await asyncio.wait_for(bench.intake.until_broken(), 20)

        assert not bench.intake.alive()


async def test_a_rescan_that_is_given_up_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked for a scan may go away while it runs; the next one is as good."""
    async with drops(tmp_path) as bench:
        await bench.until_scanned()
        (bench.root / "a.jpg").write_bytes(picture())
        await bench.until_taken("a.jpg")
        known_in, asked, answer = bench.journal.known_in, asyncio.Event(), asyncio.Event()

        async def slow(folder: str, directories: Sequence[bytes]) -> list[KnownDirectory]:
            asked.set()
            await answer.wait()
            return await known_in(folder, directories)

        monkeypatch.setattr(bench.journal, "known_in", slow)
        given_up = asyncio.create_task(bench.intake.rescan())
        await asyncio.wait_for(asked.wait(), 20)
        given_up.cancel()
        answer.set()
        await asyncio.wait_for(bench.intake.rescan(), 20)

        assert given_up.cancelled()
        assert bench.intake.alive()


async def test_what_comes_while_a_scan_compares_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is taken after its directory was read and before the journal is asked looks gone: it is not taken twice."""
    async with drops(tmp_path) as bench:
        (bench.root / "d").mkdir()
        (bench.root / "d" / "a.jpg").write_bytes(picture())
        await bench.until_taken("d/a.jpg")
        await bench.until_scanned()
        known_in, late = bench.journal.known_in, ["d/b.jpg"]

        async def between(folder: str, directories: Sequence[bytes]) -> list[KnownDirectory]:
            while late:
                name = late.pop()
                (bench.root / name).write_bytes(picture(1))
                await bench.until_taken(name)
            return await known_in(folder, directories)

        monkeypatch.setattr(bench.journal, "known_in", between)
        (bench.root / "d" / "c.txt").write_text("another name, so that the directory is looked up")
        await bench.intake.rescan()
        await bench.intake.rescan()

        assert await bench.is_known("d/b.jpg")
        assert sorted(bench.taken()) == ["d/a.jpg", "d/b.jpg"]


async def test_what_was_seen_earlier_is_not_taken_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is written anew while the journal is slow to take what a scan saw of it: the newer version is known in the end."""
    async with drops(tmp_path) as bench:
        await bench.until_scanned()
        take, calls, second = bench.journal.take, itertools.count(), asyncio.Event()

        async def slow_at_first(sightings: Sequence[Sighting]) -> list[str]:
            if next(calls) == 0:
                (bench.root / "a.jpg").write_bytes(picture(1))
                with suppress(TimeoutError):
                    await asyncio.wait_for(second.wait(), 1)
                return await take(sightings)
            ids = await take(sightings)
            second.set()
            return ids

        monkeypatch.setattr(bench.journal, "take", slow_at_first)
        (bench.root / "a.jpg").write_bytes(picture())
        await asyncio.gather(bench.intake.rescan(), bench.intake.rescan())
        await asyncio.wait_for(second.wait(), 20)
        await bench.until_heard()

        assert await bench.is_known("a.jpg")


async def test_a_directory_that_comes_back_while_a_scan_ends_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was away when the tree was read, and lies there again with all its known files when they would be forgotten."""
    async with drops(tmp_path, polling=True, times={"poll": 1e9}) as bench:
        (bench.root / "d").mkdir()
        (bench.root / "d" / "a.jpg").write_bytes(picture())
        while "d/a.jpg" not in bench.taken():
            await bench.intake.rescan()
        await bench.intake.rescan()
        (bench.root / "d").rename(tmp_path / "away")
        known_in = bench.journal.known_in

        async def back(folder: str, directories: Sequence[bytes]) -> list[KnownDirectory]:
            if b"d" in directories:
                (tmp_path / "away").rename(bench.root / "d")
            return await known_in(folder, directories)

        monkeypatch.setattr(bench.journal, "known_in", back)
        await bench.intake.rescan()

        assert (bench.root / "d" / "a.jpg").exists()
        assert await bench.is_known("d/a.jpg")


async def test_a_file_that_is_too_much_for_us_is_said_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours in the look at one file ends neither the scan nor the watch, and leaves all others alone."""
    inspect_file = candidates.inspect_file

    def faulty(real_root: bytes, relative: bytes, inspector: Inspector) -> Inspection | Unsuitable | None:
        if relative == b"odd.jpg":
            raise LookupError("what is this")
        return inspect_file(real_root, relative, inspector)

    monkeypatch.setattr(candidates, "inspect_file", faulty)
    async with drops(tmp_path) as bench:
        for name in ("a.jpg", "odd.jpg", "z.jpg"):
            (bench.root / name).write_bytes(picture())
        await bench.until_taken("a.jpg", "z.jpg")
        await wait_until(lambda: "odd.jpg" in bench.ignored())
        await bench.intake.rescan()

        (line,) = bench.said(Event.IMAGE_IGNORED)
        assert "internal error (LookupError: what is this)" in line["message"]
        assert bench.intake.alive()
        monkeypatch.setattr(candidates, "inspect_file", inspect_file)
        bench.clock.move(6)
        await bench.until_taken("odd.jpg")


@pytest.mark.parametrize("looked_at", ["root_identity", "missing_mount", "current_mounts"])
async def test_a_folder_that_cannot_be_looked_at_for_want_of_descriptors_is_begun_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looked_at: str
) -> None:
    """It is neither lost nor the end of the daemon, and who waits for the folders to be quiet waits for it."""
    none_left, look = itertools.count(), getattr(roots, looked_at)

    def starved(*arguments: Any) -> Any:
        if next(none_left) < 2:
            raise OSError(errno.EMFILE, "Too many open files")
        return look(*arguments)

    monkeypatch.setattr(roots, looked_at, starved)
    async with drops(tmp_path, started=False) as bench:
        (bench.root / "a.jpg").write_bytes(picture())
        starting = asyncio.create_task(bench.start())
        await wait_until(lambda: next(none_left) > 0)
        assert not bench.intake.is_quiet()
        await asyncio.wait_for(starting, 20)
        await bench.until_taken("a.jpg")

        assert bench.intake.alive()
        assert [] == bench.said(Event.FOLDER_LOST)


def test_an_fstab_that_cannot_be_read_for_want_of_descriptors_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken for an absent one, the empty directory below a share that is not mounted would pass for the folder."""

    def starved(_: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", starved)
    with pytest.raises(OSError, match="Too many"):
        missing_mount(b"/srv/drop")


async def test_the_daemon_ends_rather_than_run_half_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1 and a line that says which part died: whoever runs it starts it again, and the next start scans."""
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a.txt").write_text("a name to look up")
    data = {
        "state_dir": str(tmp_path / "state"),
        "compressor": {"url": "http://127.0.0.1:1/1.0", "api_key": "secret"},
        "publish": {"serve": {"listen": "127.0.0.1:0"}},
        "store": STORE,
        "folders": [{"path": str(drop)}],
    }
    out = io.StringIO()
    async with started(load_settings(data, {}), JsonLog(out=out, clock=time.time)) as app:

        async def no_thread(folder: str, directories: Sequence[bytes]) -> list[KnownDirectory]:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(app.records.journal, "known_in", no_thread)
        (drop / "b.txt").write_text("another name, so that the directory is looked up")
        asking = asyncio.create_task(app.intake.rescan())
        assert await asyncio.wait_for(app.run(), 20) == 1
        await asyncio.wait_for(asking, 20)

    assert "a part of the daemon died: intake" in out.getvalue()
    assert "can't start new thread" in capsys.readouterr().err
