"""Originals: opened once and pinned, moved and deleted durably, and only in the version that was taken."""

import asyncio
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.drops import Drops, drops
from tests.support.rights import DAC_OVERRIDE, DAC_READ_SEARCH, without
from tests.support.ways import exchange, picture
from watcher.errors import SourceChanged, SourceGone, Unavailable
from watcher.intake import durable, renaming
from watcher.intake.contents import Memory
from watcher.intake.originals import FileOriginals
from watcher.intake.renaming import free_names, rename_noreplace
from watcher.model import Format


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory on another file system."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.fixture(params=["same file system", "another file system"])
def target(request: pytest.FixtureRequest, tmp_path: Path, elsewhere: Path) -> Path:
    """Where finished files go."""
    return (tmp_path if request.param == "same file system" else elsewhere) / "done"


async def dropped(bench: Drops, relative: str = "deep/a.jpg", number: int = 0) -> Path:
    path = bench.root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number))
    await bench.until_taken(relative)
    return path


def leftovers(*directories: Path) -> list[str]:
    return [path.name for directory in directories for path in directory.rglob(".compressor-watcher*")]


class TestOpening:
    async def test_everything_is_said_of_one_descriptor(self, tmp_path: Path) -> None:
        """Name, size, hash and format; the bytes stay to be had whatever happens to the path."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            source = await bench.unheld_originals.open(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"))
            content = picture()
            facts = source.facts
            assert (facts.name, facts.size, facts.format) == ("a.jpg", len(content), Format.JPEG)
            assert facts.sha1 == hashlib.sha1(content).hexdigest()
            assert source.is_intact()
            assert await source.is_current()

            path.unlink()
            path.write_bytes(picture(1))
            assert Path(f"/proc/self/fd/{source.fileno()}").read_bytes() == content
            assert source.is_intact()
            assert not await source.is_current()
            source.close()
            source.close()
            assert not source.is_intact()

    async def test_a_look_a_moment_ago_will_do_where_that_is_said(self, tmp_path: Path) -> None:
        """The opening is one; a look that found another version is none."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            source = await bench.originals.open(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"))
            path.unlink()
            assert await source.is_current(3_600.0)
            assert not await source.is_current(1e-9)
            assert not await source.is_current(3_600.0)
            source.close()

    async def test_a_write_into_the_opened_file_is_seen(self, tmp_path: Path) -> None:
        """The descriptor pins the inode, not its bytes."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            source = await bench.unheld_originals.open(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"))
            with path.open("ab") as file:
                file.write(b"more")
            assert not source.is_intact()
            assert not await source.is_current()
            source.close()

    async def test_the_bytes_of_a_small_file_are_held_as_they_were_hashed(self, tmp_path: Path) -> None:
        """No descriptor stays open, and what is written into the file later is not served; its path tells that it changed."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            before = len(os.listdir("/proc/self/fd"))
            source = await bench.originals.open(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"))
            assert source.fileno() == -1
            assert len(os.listdir("/proc/self/fd")) == before
            with path.open("ab") as file:
                file.write(b"more")
            assert source.held == picture()
            assert hashlib.sha1(source.held).hexdigest() == source.facts.sha1
            assert not source.is_intact()
            assert not await source.is_current()
            source.close()
            source.close()
            assert source.held is None
            assert not source.is_intact()

    async def test_what_is_held_is_intact_whatever_becomes_of_its_path(self, tmp_path: Path) -> None:
        """Moved, replaced or removed: only a write into the file itself makes it another version."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            source = await bench.originals.open(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"))
            assert source.held is not None
            assert source.is_intact()
            path.rename(path.with_name("b.jpg"))
            assert source.is_intact()
            path.write_bytes(picture(1))
            assert source.is_intact()
            source.close()

    async def test_no_more_is_held_than_there_is_room_for(self, tmp_path: Path) -> None:
        """What does not fit stays behind its descriptor; closing makes room again, and so does an opening that fails."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            size = path.stat().st_size
            originals = FileOriginals(bench.intake.roots, bench.intake.pools, memory=Memory(size))
            file, observation = bench.file("deep/a.jpg"), bench.observation("deep/a.jpg")
            with pytest.raises(SourceChanged):
                await originals.open(file, observation, "0" * 40)
            first, second = await originals.open(file, observation), await originals.open(file, observation)
            assert (first.held, second.held) == (picture(), None)
            assert os.pread(second.fileno(), size, 0) == picture()
            first.close()
            second.close()
            third = await originals.open(file, observation)
            assert third.held == picture()
            third.close()

    async def test_times_set_after_the_close_change_nothing(self, tmp_path: Path) -> None:
        """utime and chmod a moment after a file was taken: the same bytes are served, and the file is deleted all the same."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            taken = bench.observation("deep/a.jpg")
            os.utime(path, (1, 1))
            path.chmod(0o600)
            originals = bench.originals
            source = await originals.open(bench.file("deep/a.jpg"), taken)
            assert await source.is_current()
            source.close()
            assert await originals.delete(bench.file("deep/a.jpg"), taken)
            assert not path.exists()

    async def test_bytes_written_over_since_they_were_hashed_are_kept(self, tmp_path: Path) -> None:
        """As many other bytes in the same file: not what was asked for, and so not what may be deleted."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            taken, originals = bench.observation("deep/a.jpg"), bench.originals
            path.write_bytes(path.read_bytes())
            os.utime(path, (1, 1))
            with pytest.raises(SourceChanged, match="written over"):
                await originals.open(bench.file("deep/a.jpg"), taken, "0" * 40)
            assert not await originals.delete(bench.file("deep/a.jpg"), taken)
            assert path.exists()

    async def test_another_version_is_refused(self, tmp_path: Path) -> None:
        """Replaced or rewritten since it was taken: it will be taken anew."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            taken = bench.observation("deep/a.jpg")
            path.write_bytes(picture(1))
            with pytest.raises(SourceChanged):
                await bench.originals.open(bench.file("deep/a.jpg"), taken)
            path.write_bytes(picture()[:-2] + b"xx")
            with pytest.raises(SourceChanged, match="EOI"):
                await bench.originals.open(bench.file("deep/a.jpg"), taken)
            path.unlink()
            with pytest.raises(SourceGone):
                await bench.originals.open(bench.file("deep/a.jpg"), taken)

    async def test_a_writer_is_waited_for(self, tmp_path: Path) -> None:
        """Somebody has opened the file for writing since: not now."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            with path.open("r+b"), pytest.raises(Unavailable, match="open for writing"):
                await bench.originals.open(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"))

    async def test_a_path_swapped_for_a_link_is_not_followed(self, tmp_path: Path) -> None:
        """Neither the file nor a directory on its way, wherever the link leads."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            taken = bench.observation("deep/a.jpg")
            (tmp_path / "secret").mkdir()
            path.rename(tmp_path / "secret/a.jpg")
            path.symlink_to(tmp_path / "secret/a.jpg")
            with pytest.raises(SourceGone):
                await bench.originals.open(bench.file("deep/a.jpg"), taken)
            path.unlink()
            path.parent.rmdir()
            path.parent.symlink_to(tmp_path / "secret")
            with pytest.raises(SourceGone):
                await bench.originals.open(bench.file("deep/a.jpg"), taken)

    async def test_a_pipe_in_its_place_is_not_opened(self, tmp_path: Path) -> None:
        """It would never come back."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            taken = bench.observation("deep/a.jpg")
            path.unlink()
            os.mkfifo(path)
            with pytest.raises(SourceGone):
                await asyncio.wait_for(bench.originals.open(bench.file("deep/a.jpg"), taken), 5)

    async def test_an_unreadable_file_is_tried_again_later(self, tmp_path: Path) -> None:
        """Rights may come back: that is no reason to give an image up."""
        with without(DAC_OVERRIDE, DAC_READ_SEARCH):
            async with drops(tmp_path) as bench:
                path = await dropped(bench)
                path.chmod(0)
                with pytest.raises(Unavailable, match="cannot be read") as refused:
                    await bench.originals.open(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"))
                assert refused.value.hint

    async def test_a_link_inside_the_folder_is_opened_through(self, tmp_path: Path) -> None:
        """It was taken under its own name, and is current as long as it leads to the same bytes."""
        async with drops(tmp_path) as bench:
            await dropped(bench)
            (bench.root / "link.jpg").symlink_to("deep/a.jpg")
            await bench.until_taken("link.jpg")
            source = await bench.originals.open(bench.file("link.jpg"), bench.observation("link.jpg"))
            assert source.facts.name == "link.jpg"
            assert await source.is_current()
            (bench.root / "link.jpg").unlink()
            assert not await source.is_current()
            source.close()


class TestMoving:
    async def test_the_structure_is_kept_and_nothing_overwritten(self, tmp_path: Path, target: Path) -> None:
        """Below the target as below the folder, with a suffix where the name is taken; mode and mtime go along."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            path.chmod(0o640)
            os.utime(path, (1_000_000_000, 1_000_000_000))
            (target / "deep").mkdir(parents=True)
            (target / "deep/a.jpg").write_text("was here first")
            (target / "deep/a-1.jpg").write_text("and this")
            moved = await bench.originals.move(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"), target)

            assert moved == target / "deep/a-2.jpg"
            assert moved.read_bytes() == picture()
            assert moved.stat().st_mtime == 1_000_000_000
            assert moved.stat().st_mode & 0o777 == 0o640
            assert (target / "deep/a.jpg").read_text() == "was here first"
            assert not path.exists()
            assert leftovers(bench.root, target) == []

    async def test_a_version_that_came_meanwhile_stays(self, tmp_path: Path, target: Path) -> None:
        """Only what was taken is moved; the newer file lies where it was dropped."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            taken = bench.observation("deep/a.jpg")
            path.unlink()
            path.write_bytes(picture(1))
            assert await bench.originals.move(bench.file("deep/a.jpg"), taken, target) is None
            assert path.read_bytes() == picture(1)
            path.unlink()
            assert await bench.originals.move(bench.file("deep/a.jpg"), taken, target) is None
            assert [found for found in target.rglob("*") if found.is_file()] == []

    async def test_a_version_that_comes_at_the_last_moment_stays(
        self, tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the look at the version and the rename somebody puts another file there: it lies at the path again."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            replace_at_the_last_moment(monkeypatch, path, tmp_path / "newer.jpg")
            assert await bench.originals.move(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"), target) is None
            assert path.read_bytes() == picture(1)
            assert [found for found in target.rglob("*") if found.is_file()] == []

    async def test_a_target_that_cannot_take_it_is_tried_later(self, tmp_path: Path) -> None:
        """The original stays; the message says what to look at."""
        with without(DAC_OVERRIDE, DAC_READ_SEARCH):
            async with drops(tmp_path) as bench:
                path = await dropped(bench)
                closed = tmp_path / "closed"
                closed.mkdir(mode=0o500)
                with pytest.raises(Unavailable, match="cannot be moved") as refused:
                    await bench.originals.move(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"), closed / "done")
                assert refused.value.hint
                assert path.read_bytes() == picture()

    async def test_odd_names_are_moved_byte_by_byte(self, tmp_path: Path, target: Path) -> None:
        """No UTF-8, and as long as a name can be, with a suffix cut to fit."""
        async with drops(tmp_path) as bench:
            name = os.fsdecode(b"caf\xe9" + b"x" * 246 + b".jpg")
            path = await dropped(bench, name)
            target.mkdir()
            (target / name).write_text("taken")
            moved = await bench.originals.move(bench.file(name), bench.observation(name), target)
            assert moved is not None
            assert len(os.fsencode(moved.name)) == 254 or len(os.fsencode(moved.name)) == 255
            assert moved.read_bytes() == picture()
            assert not path.exists()


class TestDeleting:
    async def test_the_version_that_was_taken_is_deleted(self, tmp_path: Path) -> None:
        """And nothing is left of it; after a crash that kept it from being written down, a second call says the same."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            taken = bench.observation("deep/a.jpg")
            assert await bench.originals.delete(bench.file("deep/a.jpg"), taken)
            assert not path.exists()
            assert leftovers(bench.root) == []
            assert await bench.originals.delete(bench.file("deep/a.jpg"), taken)
            assert not await bench.originals.is_there(bench.file("deep/a.jpg"))
            path.parent.rmdir()
            assert not await bench.originals.delete(bench.file("deep/a.jpg"), taken), "its directory may have been moved away"

    async def test_a_replaced_file_stays(self, tmp_path: Path) -> None:
        """Same path, another file."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            taken = bench.observation("deep/a.jpg")
            (tmp_path / "newer.jpg").write_bytes(picture(1))
            (tmp_path / "newer.jpg").replace(path)
            assert not await bench.originals.delete(bench.file("deep/a.jpg"), taken)
            assert path.read_bytes() == picture(1)

    async def test_a_file_replaced_at_the_last_moment_stays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Between the look and the removal: what was caught is looked at before it goes, and put back."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            replace_at_the_last_moment(monkeypatch, path, tmp_path / "newer.jpg")
            assert not await bench.originals.delete(bench.file("deep/a.jpg"), bench.observation("deep/a.jpg"))
            assert path.read_bytes() == picture(1)
            assert leftovers(bench.root) == []

    async def test_a_delete_that_was_cut_short_is_finished(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The process ends when the name is gone and the file is not: the next try removes it."""
        async with drops(tmp_path) as bench:
            await dropped(bench)
            taken = bench.observation("deep/a.jpg")
            with monkeypatch.context() as patch:
                patch.setattr(durable.os, "unlink", fail)
                with pytest.raises(Unavailable):
                    await bench.originals.delete(bench.file("deep/a.jpg"), taken)
            assert len(leftovers(bench.root)) == 1
            assert await bench.originals.delete(bench.file("deep/a.jpg"), taken)
            assert leftovers(bench.root) == []

    async def test_a_link_is_deleted_and_its_file_stays(self, tmp_path: Path) -> None:
        """What was dropped under the link's name was the link."""
        async with drops(tmp_path) as bench:
            path = await dropped(bench)
            (bench.root / "link.jpg").symlink_to("deep/a.jpg")
            await bench.until_taken("link.jpg")
            assert await bench.originals.delete(bench.file("link.jpg"), bench.observation("link.jpg"))
            assert path.read_bytes() == picture()
            assert not (bench.root / "link.jpg").is_symlink()


class TestRenaming:
    @pytest.mark.parametrize("missing", [[], ["renameat2"], ["renameat2", "link"]])
    def test_nothing_is_ever_overwritten(self, missing: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With every way there is: file systems may lack RENAME_NOREPLACE, and hard links too."""
        if "renameat2" in missing:
            monkeypatch.setattr(renaming, "_RENAME_NOREPLACE", 1 << 20)  # a flag that no kernel knows: EINVAL, as on NFS
        if "link" in missing:
            monkeypatch.setattr(renaming.os, "link", refuse)
        one, two, three = (os.fsencode(tmp_path / name) for name in ("one", "two", "three"))
        Path(os.fsdecode(one)).write_text("one")
        Path(os.fsdecode(two)).write_text("two")
        with pytest.raises(FileExistsError):
            rename_noreplace(one, two)
        rename_noreplace(one, three)

        assert sorted(path.name for path in tmp_path.iterdir()) == ["three", "two"]
        assert (tmp_path / "two").read_text() == "two"
        assert (tmp_path / "three").read_text() == "one"

    def test_free_names_go_on(self) -> None:
        """Suffixes before the extension."""
        names = free_names(b"/d/a.tar.jpg")
        assert [next(names) for _ in range(3)] == [b"/d/a.tar.jpg", b"/d/a.tar-1.jpg", b"/d/a.tar-2.jpg"]


def replace_at_the_last_moment(monkeypatch: pytest.MonkeyPatch, path: Path, newer: Path) -> None:
    """Somebody exchanges the file just before the first rename of it."""
    newer.write_bytes(picture(1))
    original = renaming.rename_noreplace
    done: list[bool] = []

    def rename(source: bytes, target: bytes) -> None:
        if source == os.fsencode(path) and not done:
            done.append(True)
            exchange(path, newer)
        original(source, target)

    for module in (durable, renaming):
        monkeypatch.setattr(module, "rename_noreplace", rename)


def fail(*_: object) -> None:
    raise OSError(errno.EIO, "I/O error")


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")
