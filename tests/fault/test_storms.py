"""More events than anybody can hear, fewer watches than directories, observers that die: the running daemon misses nothing.

Nobody answers as the API here unless it is said: what counts is what was taken.
"""

import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.became import Became
from tests.support.daemon import Daemon, wait_until
from tests.support.kernel import small_event_queue, with_watch_limit
from tests.support.lives import Life, Nursery
from tests.support.standin import StandinProcess
from tests.support.world import KEY, World, small_image

FILES = 4_000
MANY_FILES = 10_000
DIRECTORIES = 500
SOAK_RUNS = 20


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world whose API refuses every connection."""
    silent = StandinProcess()
    silent.port = 1
    return World(tmp_path, silent, changes={"log": {"level": "debug"}, "rescan": "1h"})


def taken(daemon: Daemon) -> int:
    """How many files were taken."""
    return len({line["file"] for line in list(daemon.lines) if line["event"] == "image.detected"})


def fill(top: Path, directories: int, files: int) -> None:
    """New directories, up to ten deep, each filled with its share of the files as fast as it goes."""
    content = small_image(0)
    for number in range(directories):
        directory = top.joinpath(f"{number // 10}", *(f"{level}" for level in range(number % 10)))
        directory.mkdir(parents=True, exist_ok=True)
        for file in range(files // directories):
            (directory / f"{number}-{file}.jpg").write_bytes(content)


@pytest.mark.parametrize(
    ("run", "files"), [(0, FILES), *(pytest.param(run, MANY_FILES, marks=pytest.mark.soak) for run in range(1, SOAK_RUNS))]
)
def test_thousands_of_files_in_five_hundred_new_directories(world: World, run: int, files: int) -> None:
    """Made at full speed: none is missed, none is taken twice, and no scan was needed. A restart knows them all."""
    with Daemon(world.config, KEY) as daemon:
        daemon.wait_for("scan.finished")
        fill(world.drop, DIRECTORIES, files)
        wait_until(lambda: len(daemon.lines) > files and taken(daemon) >= files, 90, pause=0.1)
        assert len(daemon.events("scan.finished")) == 1
        assert {len(ids) for ids in Became.of(daemon.lines).detected.values()} == {1}
    with Daemon(world.config, KEY) as daemon:
        (scan,) = daemon.wait_for("scan.finished")
        assert (scan["files"], scan["new"]) == (files, 0)


def test_an_overflowing_queue_is_said_and_costs_no_file(world: World) -> None:
    """With 300 directories and room for 64 events watchdog's own recovery would fill the queue again forever: the observer is
    replaced, everything is looked through, and then there is peace."""
    world.write_config(rescan="1s")
    fill(world.drop, 300, 300)
    with Nursery() as nursery:
        with small_event_queue(64):  # for the instant only in which the observer is made: others run on this machine
            life = nursery.begin("run", "--config", world.config, log=world.log, environment=KEY)
            life.wait_for("folder.watching")
        wait_until(lambda: detected(life) == 300)
        life.signal(signal.SIGSTOP)  # however quick the reader is, it is too slow for this
        for number in range(3_000):
            world.put(f"{number}.jpg", small_image(0))
        life.signal(signal.SIGCONT)
        (overflow, *_) = life.wait_for("watch.overflow")
        wait_until(lambda: detected(life) == 3_300, pause=0.2)
        assert overflow["folders"] == ["products"]
        assert "max_queued_events" in overflow["hint"]
        wait_until(lambda: is_at_peace(life), pause=0.2)
        fill(world.drop / "after", 1, 1)
        wait_until(lambda: detected(life) == 3_301, pause=0.2)
        assert life.stop() == 0
        assert life.errors() == ""


def detected(life: Life) -> int:
    """How many files were taken."""
    return len(Became.of(life.lines()).detected)


def is_at_peace(life: Life) -> bool:
    """Whether the last three scans brought no overflow."""
    events = [line["event"] for line in life.lines() if line["event"] in ("watch.overflow", "scan.finished")]
    return events[-3:] == ["scan.finished"] * 3


def test_too_few_watches_are_said_and_the_folder_is_polled(world: World) -> None:
    """watchdog leaves most directories unwatched and does not tell: we say it with the sysctl, and take every file."""
    fill(world.drop, 100, 100)
    with Daemon(world.config, KEY, within=with_watch_limit(40)) as daemon:
        (polled,) = daemon.wait_for("folder.watching", mode="polling")
        assert "40 inotify watches" in polled["message"]
        assert "fs.inotify.max_user_watches" in polled["hint"]
        fill(world.drop / "late", 50, 100)
        wait_until(lambda: taken(daemon) == 200)
        assert daemon.errors == []


def test_three_hundred_folders_each_take_a_file(tmp_path: Path) -> None:
    """A user has 128 inotify instances; three hundred folders are watched all the same, and each image is stored."""
    with StandinProcess() as standin:
        world = World(tmp_path, standin)
        roots = [world.drop / str(number) for number in range(300)]
        for root in roots:
            root.mkdir()
        world.write_config(folders=[{"name": root.name, "path": root} for root in roots], log={"level": "debug"}, rescan="1h")
        with Daemon(world.config, KEY) as daemon:
            daemon.wait_for("scan.finished", len(roots))
            assert {line["mode"] for line in daemon.events("folder.watching")} == {"watching"}
            for number, root in enumerate(roots):
                (root / "a.jpg").write_bytes(small_image(number))
            daemon.wait_for("image.stored", len(roots), seconds=180)
            assert len(daemon.events("scan.finished")) == len(roots)
        assert set(world.paid().values()) == {1}


@pytest.mark.journals("sqlite", "postgresql")
def test_a_dead_observer_is_replaced_and_nothing_is_missed(world: World) -> None:
    """watchdog's reader dies of a KeyError when a directory is moved out, made again and removed, and says that it is alive."""
    aside = world.path / "aside"
    aside.mkdir()
    with Daemon(world.config, KEY) as daemon:
        daemon.wait_for("scan.finished")
        inside = world.drop / "A"
        steps = (inside.mkdir, partial(inside.rename, aside / "A"), inside.mkdir, inside.rmdir, (aside / "A").rmdir)
        for step in steps:
            step()
            time.sleep(0.1)  # so that watchdog follows each of them
        fill(world.drop, 10, 100)
        replaced = wait_until(
            lambda: [line for line in daemon.events("folder.watching") if "replaced" in line.get("message", "")]
        )
        assert [line["mode"] for line in replaced] == ["watching"]
        wait_until(lambda: taken(daemon) == 100)
        fill(world.drop / "after", 10, 100)
        wait_until(lambda: taken(daemon) == 200)
        assert daemon.process.poll() is None
        assert daemon.errors == []
