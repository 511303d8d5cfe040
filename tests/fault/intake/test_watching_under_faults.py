"""The watcher deaf, dead, overrun, or short of what the kernel grants; roots that go and come. Nothing is missed, it is said."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers.inotify_c import inotify_init, inotify_rm_watch

from tests.support.disks import make_disk
from tests.support.drops import Drops, drops, in_thread, until
from tests.support.publishing import wait_until
from tests.support.ways import picture
from watcher.intake.hints import Hints
from watcher.intake.watch import Handler, Observers, WatchedRoot
from watcher.intake.watchdog_internals import inodes_watched_by
from watcher.model import Event

QUEUE_LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")
DEFAULT_QUEUE = 16_384


async def takes(bench: Drops, relative: str, number: int = 0) -> None:
    """A drop is noticed by its event: no scan is asked for, and none is due."""
    path = bench.file(relative).path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number))
    await bench.until_taken(relative)


def said(bench: Drops, event: Event) -> list[dict[str, str]]:
    return bench.said(event)


def test_a_watcher_that_has_ended_takes_nobody_elses_descriptors_along(tmp_path: Path) -> None:
    """Its numbers may have been given to others since: what is thrown away then was closed already, and is not closed again."""
    observers = Observers(lambda *_: None)
    handler = Handler(os.fsencode(tmp_path), Hints(lambda: None), lambda _: None)
    slot = observers.arm("drop", WatchedRoot(os.fsencode(tmp_path), True, handler))
    reader = slot.observer._inotify_fd
    numbers = (reader._inotify_fd, reader._kill_r, reader._kill_w)
    slot.observer.stop()
    slot.observer.join()
    reader.join()
    of_somebody_else = inotify_init()
    for number in {*numbers} - {of_somebody_else}:
        os.dup2(of_somebody_else, number)

    observers.retire(slot)

    for descriptor in {of_somebody_else, *numbers}:
        os.close(descriptor)  # raises where it was closed behind our back


class TestDeafWatchers:
    async def test_a_reader_killed_by_a_move_is_replaced(self, tmp_path: Path) -> None:
        """watchdog 7.1 dies of a KeyError when a directory is moved out, made again and removed; it says that it is alive."""
        async with drops(tmp_path) as bench:
            root, aside = bench.root, tmp_path / "aside"
            aside.mkdir()
            await bench.until_scanned()
            observers = observers_of(bench)

            def break_it() -> None:
                steps = [
                    (root / "A").mkdir,
                    partial((root / "A").rename, aside / "A"),
                    (root / "A").mkdir,
                    (root / "A").rmdir,
                    (aside / "A").rmdir,
                ]
                for step in steps:
                    step()
                    time.sleep(0.1)  # so that watchdog follows each of them

            await in_thread(break_it)
            await wait_until(lambda: observers_of(bench) != observers and observers_of(bench))
            await bench.until_scanned(2)
            await takes(bench, "after.jpg")

            assert any("replaced" in line.get("message", "") for line in said(bench, Event.FOLDER_WATCHING))
            assert bench.intake.alive()
            assert len(inotify_descriptors()) == 1

    async def test_a_watch_that_went_silent_is_found_out_by_a_canary(self, tmp_path: Path) -> None:
        """The kernel tells nothing any more, though no thread has died: a file of our own is not heard, and all is scanned."""
        async with drops(tmp_path, times={"canary": 0.2, "canary_patience": 0.3}) as bench:
            await takes(bench, "deep/before.jpg")
            await bench.intake.rescan()
            silence(bench)
            for name in ("missed.jpg", "deep/missed.jpg"):
                (bench.root / name).write_bytes(picture(1))
            await bench.until_taken("missed.jpg", "deep/missed.jpg")
            await takes(bench, "after.jpg")

            assert sorted(path.name for path in bench.root.rglob("*")) == [
                "after.jpg", "before.jpg", "deep", "missed.jpg", "missed.jpg",
            ]  # fmt: skip

    async def test_canaries_of_a_watcher_that_hears_change_nothing(self, tmp_path: Path) -> None:
        """Proof of life is no reason to scan or to say anything."""
        async with drops(tmp_path, times={"canary": 0.05, "canary_patience": 60.0}) as bench:
            await bench.until_scanned()
            scans = len(said(bench, Event.SCAN_FINISHED))
            before = observers_of(bench)
            await bench.clock.sleep(1.0)

            assert len(said(bench, Event.SCAN_FINISHED)) == scans
            assert observers_of(bench) == before
            assert bench.ignored() == {}
            await wait_until(lambda: list(bench.root.iterdir()) == [])  # the last one is on its way

    async def test_a_canary_that_somebody_else_takes_away_is_no_trouble(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A tidy program, or a directory moved away at that moment, must not end the watch."""
        taken: list[bytes] = []

        def too_late(path: bytes) -> None:
            os.remove(path)
            taken.append(path)
            raise FileNotFoundError(2, "No such file or directory", path)

        monkeypatch.setattr(os, "unlink", too_late)
        async with drops(tmp_path, times={"canary": 0.05, "canary_patience": 60.0}) as bench:
            await bench.until_scanned()
            await wait_until(lambda: len(taken) > 3)
            await takes(bench, "after.jpg")

            assert bench.intake.alive()

    async def test_a_watcher_that_fails_again_and_again_gets_a_rest(self, tmp_path: Path) -> None:
        """After some replacements the folder is polled; a while later it is watched again."""
        async with drops(tmp_path) as bench:
            for _ in range(4):
                await wait_until(lambda: observers_of(bench) and bench.intake.observers.watches("drop"))
                silence(bench)
                before = observers_of(bench)
                bench.intake.observers.distrust("drop")
                await wait_until(partial(has_others, bench, before))
                await wait_until(bench.intake.is_quiet)
            await wait_until(lambda: bench.intake.status()[0].mode == "polling")
            (bench.root / "polled.jpg").write_bytes(picture())
            await bench.until_taken("polled.jpg")
            bench.clock.move(601)
            await wait_until(lambda: bench.intake.status()[0].mode == "watching")
            await takes(bench, "watched.jpg")

            assert any("again" in line.get("message", "") for line in said(bench, Event.FOLDER_WATCHING))

    async def test_a_folder_without_a_watcher_gets_one(self, tmp_path: Path) -> None:
        """However it came to that: the guard notices, and what was dropped meanwhile is found."""
        async with drops(tmp_path) as bench:
            await takes(bench, "before.jpg")
            (slot,) = bench.intake.observers.slots
            await in_thread(bench.intake.observers.retire, slot)
            (bench.root / "missed.jpg").write_bytes(picture(1))
            await bench.until_taken("missed.jpg")
            await takes(bench, "after.jpg")


class TestOverflow:
    async def test_dropped_events_cost_no_file(self, tmp_path: Path) -> None:
        """watch.overflow is said, the folder is looked through, and it is watched again afterwards."""
        async with drops(tmp_path, started=False) as bench:
            with small_queues():
                await bench.start()
            await bench.until_scanned()

            def burst() -> None:
                for number in range(3_000):
                    (bench.root / f"{number}.jpg.part").write_bytes(picture())
                    (bench.root / f"{number}.jpg.part").rename(bench.root / f"{number}.jpg")

            await in_thread(burst)
            await wait_until(lambda: said(bench, Event.WATCH_OVERFLOW))
            await wait_until(lambda: len(set(bench.taken())) == 3_000, 60)
            await wait_until(bench.intake.is_quiet)
            await takes(bench, "after.jpg", 1)

            assert len(bench.taken()) == 3_001
            (overflow, *_) = said(bench, Event.WATCH_OVERFLOW)
            assert overflow["folders"] == ["drop"]
            assert "max_queued_events" in overflow["hint"]

    async def test_one_overflow_after_the_other_costs_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where each new watcher is overrun at once, while its folder is still being given to it."""
        arm = Observers.arm

        def arm_with_small_queues(*arguments: Any) -> Any:
            with small_queues():
                return arm(*arguments)

        monkeypatch.setattr(Observers, "arm", arm_with_small_queues)
        async with drops(tmp_path) as bench:
            await bench.until_scanned()

            def bursts() -> None:
                for number in range(1_500):
                    (bench.root / f"{number}.jpg.part").write_bytes(picture())
                    (bench.root / f"{number}.jpg.part").rename(bench.root / f"{number}.jpg")

            await in_thread(bursts)
            await wait_until(lambda: len(set(bench.taken())) == 1_500, 60)
            await wait_until(bench.intake.is_quiet)

            assert len(bench.taken()) == 1_500
            assert len(said(bench, Event.WATCH_OVERFLOW)) > 1


class TestRoots:
    async def test_a_folder_that_is_missing_at_the_start_is_looked_for(self, tmp_path: Path) -> None:
        """Said once, not fatal, and taken from as soon as it is there."""
        async with drops(tmp_path, started=False) as bench:
            bench.root.rmdir()
            await bench.start()
            await wait_until(lambda: said(bench, Event.FOLDER_LOST))
            await bench.clock.sleep(0.5)
            assert len(said(bench, Event.FOLDER_LOST)) == 1
            assert bench.intake.is_quiet()
            assert bench.intake.alive()
            assert not bench.intake.roots.is_healthy(bench.root)

            bench.root.mkdir()
            (bench.root / "early.jpg").write_bytes(picture())
            await bench.until_taken("early.jpg")
            await takes(bench, "late.jpg", 1)
            assert len(said(bench, Event.FOLDER_RECOVERED)) == 1

    async def test_a_folder_that_was_removed_and_made_again_is_watched_again(self, tmp_path: Path) -> None:
        """Same path, another directory."""
        async with drops(tmp_path) as bench:
            await takes(bench, "a.jpg")
            (bench.root / "a.jpg").unlink()
            bench.root.rmdir()
            await wait_until(lambda: said(bench, Event.FOLDER_LOST))
            bench.root.mkdir()
            await wait_until(lambda: said(bench, Event.FOLDER_RECOVERED))
            await takes(bench, "b.jpg", 1)

    async def test_a_folder_that_was_renamed_and_made_again_is_watched_again(self, tmp_path: Path) -> None:
        """What happens in the directory that was moved away is not ours any more."""
        async with drops(tmp_path) as bench:
            await takes(bench, "a.jpg")

            def swap() -> None:
                bench.root.rename(tmp_path / "old")
                bench.root.mkdir()
                (bench.root / "at once.jpg").write_bytes(picture(1))

            await in_thread(swap)
            await bench.until_taken("at once.jpg")
            (tmp_path / "old/not ours.jpg").write_bytes(picture(2))
            await takes(bench, "b.jpg", 3)

            assert "not ours.jpg" not in bench.taken()
            assert said(bench, Event.FOLDER_LOST)
            assert said(bench, Event.FOLDER_RECOVERED)

    async def test_a_root_that_is_a_link_is_followed(self, tmp_path: Path) -> None:
        """Events come, and files are named as the configuration names the folder; turned to another directory, it is that one."""
        first, second = tmp_path / "first", tmp_path / "second"
        first.mkdir()
        second.mkdir()
        link = tmp_path / "link"
        link.symlink_to(first)
        async with drops(tmp_path, folders=[{"name": "drop", "path": str(link)}]) as bench:
            await takes(bench, "a.jpg")
            assert bench.said(Event.IMAGE_DETECTED)[0]["file"] == f"{link}/a.jpg"

            (second / "b.jpg").write_bytes(picture(1))
            link.unlink()
            link.symlink_to(second)
            await bench.until_taken("b.jpg")
            await takes(bench, "c.jpg", 2)

    async def test_a_lost_folder_forgets_nothing(self, tmp_path: Path) -> None:
        """While it is away and when it is back: known files stay known, and are not taken again."""
        async with drops(tmp_path) as bench:
            await takes(bench, "a.jpg")
            await takes(bench, "deep/b.jpg", 1)
            bench.root.rename(tmp_path / "away")
            await wait_until(lambda: said(bench, Event.FOLDER_LOST))
            await bench.intake.rescan()
            assert set(await bench.journal.known("drop", b"")) == {b"a.jpg"}
            (tmp_path / "away").rename(bench.root)
            await wait_until(lambda: said(bench, Event.FOLDER_RECOVERED))
            await bench.until_scanned(2)

            assert sorted(bench.taken()) == ["a.jpg", "deep/b.jpg"]
            await takes(bench, "c.jpg", 2)

    async def test_an_empty_root_is_not_believed(self, tmp_path: Path) -> None:
        """It looks like a mount point without its mount: what is known of its files is kept."""
        async with drops(tmp_path) as bench:
            await takes(bench, "a.jpg")
            (bench.root / "a.jpg").rename(tmp_path / "a.jpg")
            await bench.intake.rescan()

            assert set(await bench.journal.known("drop", b"")) == {b"a.jpg"}


class TestMounts:
    @pytest.fixture
    def mountable(self, tmp_path: Path) -> Iterator[Path]:
        """A directory on which file systems may be mounted, and are not any more in the end."""
        point = tmp_path / "drop"
        point.mkdir()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "probe", point], capture_output=True).returncode:
            pytest.skip("mounting needs root")
        subprocess.run(["umount", point], check=True)
        yield point
        while os.path.ismount(point):
            subprocess.run(["umount", "-l", point], check=True)

    async def test_a_share_that_goes_and_comes_back(self, mountable: Path, tmp_path: Path) -> None:
        """Unmounted: lost, nothing is taken to be deleted. Mounted again: recovered, nothing known is taken again."""
        image = tmp_path / "disk.img"
        make_disk(image, 8_000_000)
        mount = ["mount", "-o", "loop", image, mountable]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("no loop devices here")
        (mountable / "lost+found").rmdir()
        async with drops(tmp_path) as bench:
            await takes(bench, "a.jpg")
            await takes(bench, "deep/b.jpg", 1)
            observation = bench.observation("a.jpg")
            umount(mountable)  # in the loop's own thread: a moment later the bare directory may be another folder, found anew
            assert not bench.intake.roots.is_healthy(bench.root)
            with pytest.raises(Exception, match="is not there"):
                await bench.originals.open(bench.file("a.jpg"), observation)
            await wait_until(lambda: said(bench, Event.FOLDER_LOST))
            assert await bench.journal.known("drop", b"deep") != {}
            await in_thread(lambda: subprocess.run(mount, check=True))
            (mountable / "meanwhile.jpg").write_bytes(picture(2))
            await bench.until_taken("meanwhile.jpg")
            await takes(bench, "after.jpg", 3)

            assert bench.taken().count("a.jpg") == bench.taken().count("deep/b.jpg") == 1
            assert bench.observation("a.jpg") == observation
            assert len(said(bench, Event.FOLDER_RECOVERED)) >= 1

    async def test_a_mount_over_a_watched_folder_is_noticed(self, mountable: Path, tmp_path: Path) -> None:
        """Another file system at the same path is another folder: what is in it is found, and watched."""
        async with drops(tmp_path) as bench:
            await takes(bench, "below.jpg")
            subprocess.run(["mount", "-t", "tmpfs", "over", mountable], check=True)
            (mountable / "above.jpg").write_bytes(picture(1))
            await bench.until_taken("above.jpg")
            await takes(bench, "later.jpg", 2)
            assert said(bench, Event.FOLDER_LOST)
            assert "another directory or mount" in said(bench, Event.FOLDER_LOST)[0]["message"]

    async def test_a_merged_file_system_is_watched_without_false_alarms(self, mountable: Path, tmp_path: Path) -> None:
        """Overlays may show other inode numbers than inotify: that alone is no reason to distrust the watcher."""
        layers = [tmp_path / name for name in ("lower", "upper", "work")]
        for layer in layers:
            layer.mkdir()
        (layers[0] / "deep").mkdir()
        (layers[0] / "deep/a.jpg").write_bytes(picture())
        options = f"lowerdir={layers[0]},upperdir={layers[1]},workdir={layers[2]}"
        if subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", mountable], capture_output=True).returncode:
            pytest.skip("no overlay file system here")
        async with drops(tmp_path) as bench:
            await bench.until_taken("deep/a.jpg")
            await takes(bench, "deep/b.jpg", 1)
            await takes(bench, "new/c.jpg", 2)
            before = observers_of(bench)
            await bench.intake.rescan()
            await wait_until(bench.intake.is_quiet)

            assert observers_of(bench) == before
            assert bench.intake.status()[0].mode == "watching"


LIMITED = """
import asyncio, json, sys
from pathlib import Path
from tests.support.drops import drops
from tests.support.publishing import wait_until
from tests.support.ways import picture
from watcher.intake.watchdog_internals import inodes_watched_by
from watcher.model import Event

async def main(tmp):
    limit = Path("/proc/sys/user/" + sys.argv[2])
    limit.write_text(sys.argv[3])
    for number in range(60):
        (tmp / "drop" / str(number) / "deep").mkdir(parents=True)
    async with drops(tmp) as bench:
        await wait_until(lambda: bench.intake.status()[0].mode == "polling", 30)
        for number in range(60):
            (bench.root / str(number) / "deep" / "a.jpg").write_bytes(picture())
        await wait_until(lambda: len(bench.taken()) == 60, 30)
        limit.write_text("100000")
        bench.clock.move(61)
        await wait_until(lambda: bench.intake.status()[0].mode == "watching", 30)
        await wait_until(bench.intake.is_quiet, 30)
        (bench.root / "59/deep/b.jpg").write_bytes(picture(1))
        await wait_until(lambda: "59/deep/b.jpg" in bench.taken(), 30)
        print(json.dumps(bench.said(Event.FOLDER_WATCHING)))

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("limit", "value", "words", "setting"),
    [
        ("max_inotify_watches", "80", "directories go unwatched", "fs.inotify.max_user_watches"),
        ("max_inotify_instances", "0", "no inotify instance is left", "fs.inotify.max_user_instances"),
    ],
)
def test_what_the_kernel_does_not_grant_is_said_and_polled(
    limit: str, value: str, words: str, setting: str, tmp_path: Path
) -> None:
    """watchdog starts happily with most directories unwatched. We say so, with the sysctl, and poll until there are more."""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", LIMITED, tmp_path, limit, value]
    if subprocess.run([*command[:3], "true"], capture_output=True).returncode:
        pytest.skip("user namespaces are not to be had")
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env={**os.environ, "PYTHONPATH": os.getcwd()})

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    polled = next(line for line in told if line["mode"] == "polling")
    assert words in polled["message"]
    assert setting in polled["hint"]
    assert told[-1]["mode"] == "watching"


@contextlib.contextmanager
def small_queues() -> Iterator[None]:
    """Inotify instances made meanwhile drop events beyond a few. The setting is the machine's: it is put back at once."""
    before = max(int(QUEUE_LIMIT.read_text()), DEFAULT_QUEUE)
    try:
        QUEUE_LIMIT.write_text("32")
    except PermissionError:
        pytest.skip("changing fs.inotify.max_queued_events needs root")
    try:
        yield
    finally:
        QUEUE_LIMIT.write_text(str(before))


def umount(point: Path) -> None:
    subprocess.run(["umount", point], check=True)


def inotify_descriptors() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:inotify":
                found.append(int(name))
    return found


def observers_of(bench: Drops) -> list[object]:
    return [slot.observer for slot in bench.intake.observers.slots if slot.watched and not slot.retired]


def has_others(bench: Drops, before: list[object]) -> bool:
    return observers_of(bench) != before


def silence(bench: Drops) -> None:
    """Take the kernel's watches away behind watchdog's back."""
    for slot in bench.intake.observers.slots:
        reader = slot.observer._inotify_fd
        for wd in list(reader._watch_for_wd):
            inotify_rm_watch(reader._inotify_fd, wd)
        assert inodes_watched_by(reader._inotify_fd) == set()


async def test_stopping_gives_everything_back(tmp_path: Path) -> None:
    """No inotify instance and no timer is left behind, also after an observer was replaced."""
    before = inotify_descriptors()
    async with drops(tmp_path) as bench:
        await takes(bench, "a.jpg")
        first = observers_of(bench)
        bench.intake.observers.distrust("drop")
        await wait_until(lambda: observers_of(bench) not in ([], first))
        await until(lambda: bench.is_known("a.jpg"))
    assert inotify_descriptors() == before
