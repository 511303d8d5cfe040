"""Folders that are missing, removed, renamed, unmounted and replaced while the daemon runs, all of them at the same time."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.became import Became
from tests.support.daemon import wait_until
from tests.support.disks import make_disk
from tests.support.kernel import mount_point
from tests.support.scenes import Act, Scene, play
from tests.support.standin import Fault, StandinProcess
from tests.support.ways import picture
from tests.support.world import World


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    """The API stand-in, as a process of its own."""
    with StandinProcess() as process:
        yield process


def drop_and_store(scene: Scene, name: str, number: int) -> Path:
    path = scene.put(name, picture(number))
    scene.until(path, "stored")
    return path


def lost(scene: Scene, count: int = 1) -> None:
    scene.daemon.wait_for("folder.lost", count, folder=scene.root.name)


def recovered(scene: Scene, count: int = 1) -> None:
    scene.daemon.wait_for("folder.recovered", count, folder=scene.root.name)


def missing_at_the_start(scene: Scene) -> None:
    lost(scene)
    scene.aside.joinpath("a.jpg").write_bytes(picture(1))
    scene.aside.rename(scene.root)
    scene.until(scene.root / "a.jpg", "stored")
    recovered(scene)
    drop_and_store(scene, "new/b.jpg", 2)


def removed_and_made_again(scene: Scene) -> None:
    first = drop_and_store(scene, "a.jpg", 1)
    shutil.rmtree(scene.root)
    lost(scene)
    scene.put("a.jpg", picture(1))
    scene.until(first, "stored", "unchanged")
    drop_and_store(scene, "new/b.jpg", 2)


def made_again_in_one_breath(scene: Scene) -> None:
    drop_and_store(scene, "a.jpg", 1)
    shutil.rmtree(scene.root)
    second = scene.put("deep/b.jpg", picture(2))
    scene.until(second, "stored")
    drop_and_store(scene, "new/c.jpg", 3)


def renamed_and_made_again(scene: Scene) -> None:
    drop_and_store(scene, "a.jpg", 1)
    scene.root.rename(scene.aside / "old")
    scene.root.mkdir()
    (scene.aside / "old/b.jpg").write_bytes(picture(2))
    lost(scene)
    recovered(scene)
    drop_and_store(scene, "c.jpg", 3)
    assert "b.jpg" not in Became.of(scene.daemon.lines).detected_in(scene.root)


def renamed_and_back(scene: Scene) -> None:
    first = drop_and_store(scene, "deep/a.jpg", 1)
    scene.root.rename(scene.aside / "old")
    lost(scene)
    (scene.aside / "old/deep/b.jpg").write_bytes(picture(2))
    (scene.aside / "old").rename(scene.root)
    scene.until(scene.root / "deep/b.jpg", "stored")
    drop_and_store(scene, "deep/c.jpg", 3)
    assert len(scene.stored(first)) == 1


def behind_a_link(scene: Scene) -> None:
    drop_and_store(scene, "a.jpg", 1)
    other = scene.aside / "other"
    other.mkdir()
    (scene.aside / "link").symlink_to(other)
    (scene.aside / "link").replace(scene.root)
    lost(scene)
    drop_and_store(scene, "b.jpg", 2)
    drop_and_store(scene, "deep/c.jpg", 3)


ROOTS: dict[str, Act] = {
    "missing at the start": missing_at_the_start,
    "removed and made again": removed_and_made_again,
    "made again in one breath": made_again_in_one_breath,
    "renamed and made again": renamed_and_made_again,
    "renamed and back": renamed_and_back,
    "link": behind_a_link,
}


def test_roots_that_go_and_come_back(standin: StandinProcess, tmp_path: Path) -> None:
    """Each loss and each return is said, what is new is taken, nothing that is known is sent again, and nothing vanishes."""
    world = World(tmp_path, standin)
    target = tmp_path / "where the link leads"
    target.mkdir()
    (world.drop / "link").symlink_to(target)
    became = Became.of(play(world, ROOTS, {}, missing={"missing at the start"}, rescan="1h"))

    assert became.sent_again() == []
    assert became.count("image.stored") == sum(map(len, became.ended.values())) == sum(world.paid().values())


def test_mounts_that_go_and_come_back(standin: StandinProcess, tmp_path: Path) -> None:
    """Unmounted: images wait, none vanishes or is deleted. Mounted again, or something else mounted over it: looked through."""
    standin.set_faults(Fault("delay", seconds=2.0, file="slow*"))
    world = World(tmp_path, standin)
    disk = tmp_path / "disk"
    with contextlib.ExitStack() as stack:
        for name in ("unmounted", "covered"):
            stack.enter_context(mount_point(world.drop / name))
        make_disk(disk, 8_000_000)
        mount = ["mount", "-o", "loop", disk, world.drop / "unmounted"]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("no loop devices here")

        def unmounted(scene: Scene) -> None:
            first = drop_and_store(scene, "a.jpg", 1)
            waiting = [scene.put(f"slow-{number}.jpg", picture(number)) for number in range(4)]
            wait_until(lambda: len(Became.of(scene.daemon.lines).detected_in(scene.root)) == 5)
            wait_until(lambda: scene.daemon.events("image.requested", file=str(waiting[0])))
            subprocess.run(["umount", "-l", scene.root], check=True)
            lost(scene)
            subprocess.run(mount, check=True)
            recovered(scene)
            for path in waiting:
                scene.until(path, "stored")
            drop_and_store(scene, "deep/b.jpg", 20)
            assert len(scene.stored(first)) == 1
            # The empty directory below was never taken for the folder, which would have made what waits vanish.
            assert len(scene.daemon.events("folder.lost", folder=scene.root.name)) == 1

        def covered(scene: Scene) -> None:
            drop_and_store(scene, "a.jpg", 1)
            subprocess.run(["mount", "-t", "tmpfs", "over", scene.root], check=True)
            second = scene.put("b.jpg", picture(2))
            lost(scene)
            scene.until(second, "stored")
            drop_and_store(scene, "deep/c.jpg", 3)

        acts = {"unmounted": unmounted, "covered": covered}
        became = Became.of(play(world, acts, {}, rescan="1h", compressor={"concurrency": 1}))
    assert became.sent_again() == []
    assert became.count("image.vanished") == 0
    assert os.listdir(world.drop / "covered") != []
