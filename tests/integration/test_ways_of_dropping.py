"""Every way of dropping a file, against the running daemon: what was stored, what was left, how it ended, what was paid.

All ways run at the same time, each in a folder of its own: where events are heard, where folders are polled, and while nobody
was there. B numbers in tests.support.ways name the traps of inotify and watchdog that a way steps into.
"""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.became import Became, Bucket
from tests.support.daemon import Daemon, wait_until
from tests.support.standin import StandinProcess, rewrap
from tests.support.ways import WAYS, Place, Way
from tests.support.world import KEY, World

assert len({way.name for way in WAYS}) == len(WAYS) >= 35


TABLE = {way.name: way for way in WAYS}
LATER_CTIME = "hard link within"
"""A second name changes the first one's ctime, and no event tells: a file judged in between is hashed again at a start."""


@pytest.fixture(scope="module")
def standin() -> Iterator[StandinProcess]:
    """The API stand-in; each test has a bucket of its own in it."""
    with StandinProcess() as process:
        yield process


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, Place]]:
    """Three directories for each way, the last one on another file system where there is one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as elsewhere:
        made = {}
        for number, name in enumerate(TABLE):
            directories = [kind / str(number) for kind in (tmp_path / "drop", tmp_path / "aside", Path(elsewhere))]
            for directory in directories:
                directory.mkdir(parents=True)
            made[name] = Place(*directories)
        yield made


def act_all(places: dict[str, Place]) -> None:
    """Every way in a thread of its own."""
    with ThreadPoolExecutor(len(places)) as pool:
        for done in [pool.submit(TABLE[name].act, place) for name, place in places.items()]:
            done.result()


def heard(daemon: Daemon, places: dict[str, Place], word: str) -> None:
    """Until each folder has acted on a file that was dropped last."""
    last = [place.root / f"{word}.txt" for place in places.values()]
    for path in last:
        path.write_text("not an image")
    wait_until(lambda: {str(path) for path in last} <= {line["file"] for line in daemon.events("image.ignored")}, pause=0.2)


def at_rest(daemon: Daemon) -> bool:
    """Whether everything that was taken has ended."""
    return not Became.of(daemon.lines).without_one_ending()


def problems(way: Way, place: Place, became: Became) -> list[str]:
    """What came out wrong of one way: the last version of each image has to be stored, and nothing else was taken."""
    found = became.detected_in(place.root)
    given_up = [path for path in place.root.iterdir() if bytes(path) in became.failed]
    wrong = [f"not taken: {name!r}" for name in sorted(way.images - set(found))]
    wrong += [f"taken: {name!r}" for name in sorted(set(found) - way.images - way.also)]
    wrong += [f"taken again: {name!r}" for name, ids in found.items() if len(ids) > 1 and name not in way.repeats]
    wrong += [f"given up: {given_up}"] * (len(given_up) != way.waited_for)
    return wrong + [
        f"last version not stored: {name!r}" for name in sorted(way.images) if not became.is_stored(place.root / name)
    ]


def not_in_bucket(bucket: Bucket, became: Became, place: Place, way: Way) -> list[str]:
    """Images of which the bucket holds another content than lies there now."""
    paths = [place.root / name for name in way.images]
    return [str(path) for path in paths if bucket.get(became.stored[bytes(path)][-1]["key"]) != rewrap(path.read_bytes())]


def not_left(way: Way, place: Place, became: Became) -> list[str]:
    """What was to be left and is not said to be, with its reason."""
    return [name for name, reason in way.left.items() if became.ignored.get(bytes(place.root / name)) != reason]


MODES: dict[str, dict[str, Any]] = {"watching": {}, "polling": {"polling": True}, "down": {}}
BURST = 100
"""Ways with more images than that are about events that come in storms."""


@pytest.mark.parametrize("mode", MODES)
def test_every_way_comes_out_right(mode: str, places: dict[str, Place], standin: StandinProcess, tmp_path: Path) -> None:
    """The last version of every image lies in the bucket, every version has one ending, nothing is sent twice or taken by
    mistake, and a restart finds nothing to do."""
    places = {name: place for name, place in places.items() if mode == "watching" or len(TABLE[name].images) < BURST}
    folders = [{"name": f"{mode} {name}", "path": place.root, **MODES[mode]} for name, place in places.items()]
    changes = {"log": {"level": "debug"}, "folders": folders, "settle": "300ms", "max_wait": "5s", "rescan": "1h"}
    world = World(tmp_path, standin, bucket=mode, changes=changes)
    if mode == "down":
        act_all(places)
    with Daemon(world.config, KEY) as daemon, Bucket(standin, mode) as bucket:
        daemon.wait_for("scan.finished", len(places))
        if mode != "down":
            act_all(places)
        heard(daemon, places, "heard")

        def wrong() -> dict[str, list[str]]:
            became = Became.of(daemon.lines)
            return {name: found for name, place in places.items() if (found := problems(TABLE[name], place, became))}

        until_right(wrong)
        wait_until(partial(at_rest, daemon), pause=0.2)
        became = Became.of(daemon.lines)
        assert wrong() == {}
        assert [each for name, place in places.items() for each in not_in_bucket(bucket, became, place, TABLE[name])] == []
        if mode == "watching":
            assert [name for name, place in places.items() if not_left(TABLE[name], place, became)] == []
            assert len(daemon.events("scan.finished")) == len(places), "events alone have told of everything"
        assert daemon.errors == []
    assert became.sent_again() == []
    paid_for_nothing = sum(world.paid().values()) - sum(map(len, became.stored.values()))
    assert 0 <= paid_for_nothing <= became.count("image.superseded"), "but for what was overwritten while it was fetched"
    world.assert_audit_is_whole()
    paid, looked_at_again = world.paid(), f"{mode} {LATER_CTIME}"

    with Daemon(world.config, KEY) as daemon:
        scans = daemon.wait_for("scan.finished", len(places))
        assert [scan for scan in scans if scan["new"] and scan["folder"] != looked_at_again] == []
        wait_until(lambda: len(daemon.events("image.detected")) == len(daemon.events("image.unchanged")))
        assert {line["folder"] for line in daemon.events("image.detected")} <= {looked_at_again}
    assert paid == world.paid()


def until_right(wrong: Any, seconds: float = 180.0) -> None:
    """Until nothing is wrong any more; fails with what still is."""
    deadline = time.monotonic() + seconds
    while found := wrong():
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
