"""Folders and move targets on file systems that can do less, or say it in other words, than a local disk."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.drops import Drops, drops
from tests.support.fuse import KINDS, UNCACHED, mounted, needs
from tests.support.publishing import wait_until
from tests.support.ways import picture
from watcher.config import loading
from watcher.intake.contents import LARGEST_BYTES
from watcher.intake.files import open_expected
from watcher.intake.mounts import current_mounts, mounts_below
from watcher.model import Event

TIMES = {"settle": 0.05, "poll": 0.05}


async def taken(bench: Drops, *names: str) -> None:
    """Until these were taken, once."""
    await wait_until(lambda: set(names) <= set(bench.taken()), 60)


def put(path: Path) -> None:
    """A file with a time of its own, there at once."""
    hidden = path.with_name(".new")
    hidden.write_bytes(picture())
    os.utime(hidden, (1_000_000_000, 1_000_000_000))
    hidden.rename(path)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_was_taken_from_a_share_is_deleted(tmp_path: Path, kind: str) -> None:
    """Whatever ways of renaming it lacks; nothing is left behind, and nothing is taken twice."""
    with mounted(kind, tmp_path / "below", tmp_path / "drop"):
        for number in range(3):
            (tmp_path / "below" / f"{number}.jpg").write_bytes(picture(number))
        async with drops(tmp_path, times=TIMES) as bench:
            await taken(bench, "0.jpg", "1.jpg", "2.jpg")
            for image in await bench.images():
                source = await bench.originals.open(image.file, image.observation)
                source.close()
                assert await bench.originals.delete(image.file, image.observation)
            await bench.intake.rescan()
            assert os.listdir(tmp_path / "below") == []
            assert len(bench.taken()) == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["out of it", "into it"])
async def test_what_was_taken_is_moved(tmp_path: Path, kind: str, way: str) -> None:
    """From a share to a disk and from a disk to a share: whole, once, with its time."""
    share, local = tmp_path / "share", tmp_path / "local"
    with mounted(kind, tmp_path / "below", share):
        local.mkdir()
        root, target = (share, local) if way == "out of it" else (local, share)
        async with drops(tmp_path, times=TIMES, folders=[{"name": "drop", "path": str(root)}]) as bench:
            put(tmp_path / "below" / "a.jpg" if way == "out of it" else root / "a.jpg")
            await taken(bench, "a.jpg")
            (image,) = (await bench.images())[-1:]
            moved = await bench.originals.move(image.file, image.observation, target / "done")
            assert moved == target / "done" / "a.jpg"
            assert moved.read_bytes() == picture()
            # rclone shows the present time of what it has not uploaded yet, from when it is read until rclone hears of the close
            await wait_until(lambda: round(moved.stat().st_mtime) == 1_000_000_000)
            assert not (root / "a.jpg").exists()
            assert [path.name for path in tmp_path.rglob(".compressor-watcher*")] == []


async def test_a_target_that_keeps_no_rights_takes_files_all_the_same(tmp_path: Path) -> None:
    """As FAT does: a mode or an owner that cannot be set is no reason to leave the file."""
    with mounted("bindfs", tmp_path / "below", tmp_path / "usb", "--chmod-deny", "--chown-deny", "--xattr-none"):
        async with drops(tmp_path) as bench:
            (bench.root / "a.jpg").write_bytes(picture())
            await bench.until_taken("a.jpg")
            taken_as = bench.observation("a.jpg")
            assert await bench.originals.move(bench.file("a.jpg"), taken_as, tmp_path / "usb") == tmp_path / "usb" / "a.jpg"


async def test_a_copy_keeps_owner_mode_and_attributes(tmp_path: Path) -> None:
    """Where this user may set them and the target keeps them."""
    if os.geteuid() != 0 or os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("needs root and another file system at /dev/shm")
    target = Path(f"/dev/shm/{tmp_path.name}-{os.getpid()}")
    async with drops(tmp_path) as bench:
        path = bench.root / "a.jpg"
        path.write_bytes(picture())
        os.chown(path, 12345, 4242)
        path.chmod(0o640)
        os.setxattr(path, "user.rating", b"5")
        await bench.until_taken("a.jpg")
        try:
            moved = await bench.originals.move(bench.file("a.jpg"), bench.observation("a.jpg"), target)
            assert moved is not None
            status = moved.stat()
            assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 4242, 0o640)
            assert os.getxattr(moved, "user.rating") == b"5"
        finally:
            subprocess.run(["rm", "-rf", target])


async def test_a_file_that_goes_while_it_is_open_has_changed(tmp_path: Path) -> None:
    """Some shares ask by its path for what is open: then not even its size is known any more, which is no fault of ours.

    The file is larger than those that are held in memory, which nothing that becomes of the file can change.
    """
    comment = b"\xff\xfe\xff\xff" + bytes(65_533)
    large = picture()[:2] + (LARGEST_BYTES // len(comment) + 1) * comment + picture()[2:]
    with mounted("bindfs", tmp_path / "below", tmp_path / "drop", "-o", UNCACHED):
        (tmp_path / "below" / "a.jpg").write_bytes(large)
        async with drops(tmp_path, times=TIMES) as bench:
            await taken(bench, "a.jpg")
            (image,) = await bench.images()
            source = await bench.originals.open(image.file, image.observation)
            assert await source.run(source.is_intact)
            (tmp_path / "below" / "a.jpg").unlink()
            assert not await source.run(source.is_intact)
            source.close()


@pytest.mark.parametrize("kind", ["sshfs", "bindfs"])
async def test_a_remount_takes_nothing_again(tmp_path: Path, kind: str) -> None:
    """Inode numbers are given out anew in another order; the files are the same."""
    with mounted(kind, tmp_path / "below", tmp_path / "drop") as share:
        names = [f"{number}.jpg" for number in range(8)]
        for number, name in enumerate(names):
            (tmp_path / "below" / name).write_bytes(picture(number))
        async with drops(tmp_path, times=TIMES) as bench:
            await taken(bench, *names)
            await bench.intake.stop()
            share.unmount()
            share.mount()
            for name in reversed(names):
                os.stat(tmp_path / "drop" / name)
            await bench.restart()
            await bench.intake.rescan()
            assert sorted(bench.taken()) == names


class TestMountsBelow:
    async def test_a_share_below_a_local_folder_is_polled_and_settled(self, tmp_path: Path) -> None:
        """A writer elsewhere is not seen by a lease there: the file must stand still."""
        with mounted("bindfs", tmp_path / "below", tmp_path / "drop" / "nas"):
            async with drops(tmp_path, times={"settle": 3600.0, "poll": 0.05}) as bench:
                (status,) = bench.intake.status()
                assert status.mode == "polling"
                assert "a share is mounted below it, at nas" in status.message
                (tmp_path / "below" / "remote.jpg").write_bytes(picture())
                (bench.root / "local.jpg").write_bytes(picture(1))
                await bench.until_taken("local.jpg")
                await bench.intake.rescan()
                assert bench.taken() == ["local.jpg"]
                bench.clock.move(3601)
                await taken(bench, "nas/remote.jpg")

    async def test_a_share_that_is_mounted_later_is_noticed(self, tmp_path: Path) -> None:
        """And one that goes again takes no image along: what lay on it waits."""
        async with drops(tmp_path, times=TIMES) as bench:
            await bench.until_scanned()
            with mounted("bindfs", tmp_path / "below", bench.root / "nas") as share:
                (tmp_path / "below" / "a.jpg").write_bytes(picture())
                await taken(bench, "nas/a.jpg")
                await wait_until(lambda: bench.intake.status()[0].mode == "polling")
                share.unmount()
                await wait_until(lambda: bench.intake.status()[0].mode == "watching")
                with pytest.raises(Exception, match="is not mounted any more"):
                    await bench.originals.is_there(bench.file("nas/a.jpg"))
                await bench.intake.rescan()
                known = await bench.journal.known("drop", b"nas")
                assert list(known) == [b"a.jpg"], "a file on a share that is away was taken for deleted"

    def test_only_what_hides_the_others_counts(self) -> None:
        """Of two mounts on one point the last is what one sees."""
        needs()
        here = list(current_mounts().values())
        assert mounts_below([], b"/srv") == ()
        assert {mount.point for mount in mounts_below(here, b"/")} >= {b"/proc"}


class TestTargetsUnderOtherNames:
    """Such a configuration is refused; but a link or a mount may come later, or a share not have answered when it was read."""

    @pytest.fixture(autouse=True)
    def unseen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing was known of the directories when the configuration was read."""
        monkeypatch.setattr(loading, "_chains", lambda _: {})

    @pytest.mark.parametrize("name", ["symbolic link", "..", "bind mount", "link inside the target"])
    async def test_nothing_that_was_moved_is_taken_again(self, tmp_path: Path, name: str) -> None:
        """The target lies in the watched folder by a name that does not look so."""
        root = tmp_path / "drop"
        (root / "done").mkdir(parents=True)
        (root / "sub").mkdir()
        target = root / "done"
        if name == "symbolic link":
            (tmp_path / "link").symlink_to(root)
            target = tmp_path / "link" / "done"
        elif name == "..":
            target = root / "sub" / ".." / "done"
        elif name == "bind mount":
            needs()
            (tmp_path / "elsewhere").mkdir()
            subprocess.run(["mount", "--bind", root, tmp_path / "elsewhere"], check=True)
            target = tmp_path / "elsewhere" / "done"
        else:
            (root / "done" / "sub").symlink_to(root / "sub")
            target = root / "done"
        try:
            async with drops(tmp_path, on_success={"move": str(target)}) as bench:
                (root / "sub" / "a.jpg").write_bytes(picture())
                await bench.until_taken("sub/a.jpg")
                moving = bench.originals.move(bench.file("sub/a.jpg"), bench.observation("sub/a.jpg"), target)
                if name == "link inside the target":
                    with pytest.raises(Exception, match="it leads into a watched folder"):
                        await moving
                else:
                    assert (await moving) is not None
                await bench.until_heard()
                await bench.intake.rescan()
                await bench.intake.rescan()
                assert bench.taken() == ["sub/a.jpg"]
        finally:
            if name == "bind mount":
                subprocess.run(["umount", "-l", tmp_path / "elsewhere"])

    async def test_a_target_made_by_the_first_move_is_known_from_then_on(self, tmp_path: Path) -> None:
        """It was not there when the folder was armed."""
        (tmp_path / "link").symlink_to(tmp_path / "drop")
        target = tmp_path / "link" / "done"
        async with drops(tmp_path, on_success={"move": str(target)}) as bench:
            (bench.root / "a.jpg").write_bytes(picture())
            await bench.until_taken("a.jpg")
            assert await bench.originals.move(bench.file("a.jpg"), bench.observation("a.jpg"), target)
            await bench.until_heard()
            await bench.intake.rescan()
            assert bench.taken() == ["a.jpg"]
            assert bench.ignored().get("done/a.jpg") in (None, "move_target")


class TestAfterACrash:
    @pytest.mark.parametrize("far", [False, True])
    async def test_a_move_that_was_not_written_down_is_found_again(self, tmp_path: Path, far: bool) -> None:
        """The file is away, and the journal does not know: the second try says where it is, and moves nothing else."""
        target = tmp_path / "done"
        if far:
            if os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
                pytest.skip("needs another file system at /dev/shm")
            target = Path(f"/dev/shm/{tmp_path.name}-{os.getpid()}")
        async with drops(tmp_path) as bench:
            path = bench.root / "a.jpg"
            path.write_bytes(picture())
            await bench.until_taken("a.jpg")
            version = bench.observation("a.jpg")
            source = await bench.originals.open(bench.file("a.jpg"), version)
            source.close()
            try:
                first = await bench.originals.move(bench.file("a.jpg"), version, target, source.facts.sha1)
                path.write_bytes(picture(1))
                again = await bench.originals.move(bench.file("a.jpg"), version, target, source.facts.sha1)
                assert first == again == target / "a.jpg"
                assert path.read_bytes() == picture(1), "a newer version at the path was touched"
            finally:
                subprocess.run(["rm", "-rf", target])


async def test_a_download_that_has_not_ended_is_waited_for(tmp_path: Path) -> None:
    """Preallocated with a hole, or with the file beside it that keeps its state; nobody has either open."""
    whole = tiff()
    async with drops(tmp_path) as bench:
        with (bench.root / "hole.tif").open("wb") as file:
            file.truncate(len(whole))
            file.write(whole[: len(whole) // 3])
        (bench.root / "aria.tif.aria2").write_bytes(b"control")
        (bench.root / "aria.tif").write_bytes(whole)
        (bench.root / "whole.tif").write_bytes(whole)
        await bench.until_taken("whole.tif")
        await bench.intake.rescan()
        await asyncio.sleep(0)
        assert bench.taken() == ["whole.tif"]
        (bench.root / "aria.tif.aria2").unlink()
        (bench.root / "hole.tif").write_bytes(whole)
        bench.clock.move(6)
        await bench.until_taken("aria.tif", "hole.tif")


async def test_a_hole_that_stays_is_said(tmp_path: Path) -> None:
    """After `max_wait` it fails as truncated, with what to do about it; it is never sent."""
    async with drops(tmp_path, times={"max_wait": 10.0}) as bench:
        whole = tiff()
        with (bench.root / "hole.tif").open("wb") as file:
            file.truncate(len(whole))
            file.write(whole[:1000])
        await wait_until(lambda: bench.intake.waiting() == 1)
        bench.clock.move(11)
        await wait_until(lambda: bench.intake.waiting() == 0)
        assert bench.said(Event.IMAGE_DETECTED) == []


def test_a_share_that_goes_once_it_has_opened_a_file_keeps_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again and again while it is away: each time would cost one, until there are none left."""
    with mounted("bindfs", tmp_path / "below", tmp_path / "drop", "-o", UNCACHED) as share:
        (share.below / "a.jpg").write_bytes(picture())
        readlink = os.readlink

        def gone_meanwhile(path: bytes) -> bytes:
            assert share.process is not None
            share.process.kill()
            share.process.wait()
            return readlink(path)

        monkeypatch.setattr(os, "readlink", gone_meanwhile)
        before = os.listdir("/proc/self/fd")
        with pytest.raises(OSError, match="not connected"):
            open_expected(os.fsencode(share.point / "a.jpg"))
        assert len(os.listdir("/proc/self/fd")) == len(before)


def tiff(side: int = 256) -> bytes:
    """An uncompressed picture, in which no end marker tells where it ends."""
    count = side * side * 3
    entries = [(256, 3, 1, side), (257, 3, 1, side), (258, 3, 3, 122), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 128)]
    entries += [(277, 3, 1, 3), (278, 3, 1, side), (279, 4, 1, count)]
    out = b"II*\0" + (8).to_bytes(4, "little") + len(entries).to_bytes(2, "little")
    for tag, kind, number, value in entries:
        out += tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + number.to_bytes(4, "little") + value.to_bytes(4, "little")
    head = out + bytes(4) + (8).to_bytes(2, "little") * 3
    return head + bytes(range(1, 256)) * (count // 255) + b"x" * (count % 255)
