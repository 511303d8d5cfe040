"""`prune_empty`: directories that delete or move emptied go, and no others."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.drops import Drops, drops
from tests.support.publishing import wait_until
from tests.support.ways import picture
from watcher.intake.emptied import QUIET_SECONDS


def put(root: Path, *names: str) -> None:
    """Pictures in directories that nobody has changed for long."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(number))
    for directory in [root, *(each for each in root.rglob("*") if each.is_dir())]:
        os.utime(directory, (1_000_000_000, 1_000_000_000))


async def put_away(bench: Drops, names: Iterable[str], target: Path | None = None) -> None:
    """Take and remove, as a delivered image is."""
    for name in names:
        await bench.until_taken(name)
        if target is None:
            assert await bench.originals.delete(bench.file(name), bench.observation(name))
        else:
            assert await bench.originals.move(bench.file(name), bench.observation(name), target)


def left(root: Path) -> list[str]:
    """What lies in the folder now."""
    return sorted(str(each.relative_to(root)) for each in root.rglob("*"))


@pytest.mark.parametrize("way", ["delete", "move"])
async def test_what_was_emptied_goes_up_to_the_root(tmp_path: Path, way: str) -> None:
    """With the directories above, as far as they have become empty; not the root."""
    async with drops(tmp_path, started=False, prune_empty=True) as bench:
        put(bench.root, "a/b/1.jpg", "a/b/2.jpg", "a/c/3.jpg", "d/4.jpg", "d/stays.jpg", "5.jpg")
        await bench.start()
        names = ["a/b/1.jpg", "a/b/2.jpg", "a/c/3.jpg", "d/4.jpg", "5.jpg"]
        await put_away(bench, names, tmp_path / "done" if way == "move" else None)
        assert left(bench.root) == ["d", "d/stays.jpg"]
        await put_away(bench, ["d/stays.jpg"])
        assert left(bench.root) == []
        assert bench.root.is_dir()


async def test_it_is_off_by_default(tmp_path: Path) -> None:
    """Programs that write into a folder expect it to be there."""
    async with drops(tmp_path, started=False) as bench:
        put(bench.root, "a/1.jpg")
        await bench.start()
        await put_away(bench, ["a/1.jpg"])
        assert left(bench.root) == ["a"]


async def test_a_directory_that_somebody_changed_a_moment_ago_waits(tmp_path: Path) -> None:
    """Whoever copies one file after another needs it for the next; what is put there meanwhile keeps it."""
    async with drops(tmp_path, prune_empty=True) as bench:
        for name in ("busy", "quiet"):
            (bench.root / name).mkdir()
            (bench.root / name / "1.jpg").write_bytes(picture())
        await put_away(bench, ["busy/1.jpg", "quiet/1.jpg"])
        assert left(bench.root) == ["busy", "quiet"]
        assert not bench.intake.is_quiet()
        (bench.root / "busy" / ".about-to-come").touch()
        bench.clock.move(QUIET_SECONDS)
        await wait_until(lambda: left(bench.root) == ["busy", "busy/.about-to-come"])
        (bench.root / "busy" / ".about-to-come").unlink()
        bench.clock.move(QUIET_SECONDS)
        await bench.intake.rescan()
        assert left(bench.root) == ["busy"], "it was not emptied by us"
        await wait_until(bench.intake.is_quiet)


async def test_what_was_empty_before_stays(tmp_path: Path) -> None:
    """Nobody knows what it is for."""
    async with drops(tmp_path, started=False, prune_empty=True) as bench:
        (bench.root / "a" / "for-later").mkdir(parents=True)
        (bench.root / "empty").mkdir()
        put(bench.root, "a/1.jpg")
        await bench.start()
        await put_away(bench, ["a/1.jpg"])
        bench.clock.move(10 * QUIET_SECONDS)
        await bench.intake.rescan()
        await wait_until(bench.intake.is_quiet)
        assert left(bench.root) == ["a", "a/for-later", "empty"]


async def test_what_desktops_leave_counts_as_nothing(tmp_path: Path) -> None:
    """A directory that looks empty to whoever opened it goes, with that; beside anything else it stays."""
    async with drops(tmp_path, started=False, prune_empty=True) as bench:
        names = ["mac/1.jpg", "windows/2.jpg", "notes/3.jpg", "odd/4.jpg"]
        for litter in ("mac/.DS_Store", "windows/Thumbs.db", "windows/Desktop.ini", "notes/.DS_Store", "notes/notes.txt"):
            (bench.root / litter).parent.mkdir(exist_ok=True)
            (bench.root / litter).write_bytes(b"litter")
        (bench.root / "odd" / ".DS_Store").mkdir(parents=True)
        put(bench.root, *names)
        await bench.start()
        await put_away(bench, names)
        await wait_until(bench.intake.is_quiet)
        assert left(bench.root) == ["notes", "notes/.DS_Store", "notes/notes.txt", "odd", "odd/.DS_Store"]


async def test_nothing_is_removed_through_a_link(tmp_path: Path) -> None:
    """A directory that was swapped for a link to another one takes nobody else's directory along."""
    async with drops(tmp_path, prune_empty=True) as bench:
        (bench.root / "a" / "b").mkdir(parents=True)
        (bench.root / "a" / "b" / "1.jpg").write_bytes(picture())
        await put_away(bench, ["a/b/1.jpg"])
        elsewhere = tmp_path / "elsewhere"
        (bench.root / "a").rename(elsewhere)
        (bench.root / "a").symlink_to(elsewhere)
        bench.clock.move(2 * QUIET_SECONDS)
        await wait_until(bench.intake.is_quiet)
        assert (elsewhere / "b").is_dir()
