"""Every way of dropping a file: into watched folders, into polled ones, and into folders that nobody looked at meanwhile.

All ways run at the same time, each in a folder of its own: so many folders have to share observers as well.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.support.drops import Drops, drops, until
from tests.support.publishing import wait_until
from tests.support.ways import WAYS, Place, Way
from watcher.intake.watch import OBSERVERS
from watcher.model import Event

FOLDERS = {way.name: way for way in WAYS}
assert len(FOLDERS) == len(WAYS) >= 35
assert len(FOLDERS) > OBSERVERS


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, Place]]:
    """Three directories for each way, the last one on another file system."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        made = {}
        for number, name in enumerate(FOLDERS):
            kinds = (tmp_path / "drop", tmp_path / "aside", Path(elsewhere))
            directories = [kind / str(number) for kind in kinds]
            for directory in directories:
                directory.mkdir(parents=True)
            made[name] = Place(*directories)
        yield made


def tables(places: dict[str, Place], **more: object) -> list[dict[str, object]]:
    return [{"name": name, "path": str(place.root), **more} for name, place in places.items()]


async def act_all(places: dict[str, Place]) -> None:
    """Every way in a thread of its own."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(len(places)) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, FOLDERS[name].act, place) for name, place in places.items()))


async def settled(bench: Drops) -> None:
    """Until each folder has acted on a file that was dropped last, and nobody waits but for what stays cut or empty."""
    await asyncio.gather(*(bench.until_heard(name, seconds=60) for name in FOLDERS))
    await wait_until(lambda: bench.intake.waiting() == sum(way.waited_for for way in WAYS), 60)


async def problems(bench: Drops, way: Way) -> list[str]:
    """What came out wrong: the last version of each image has to be taken, nothing else, and nothing twice without need."""
    found = bench.taken(way.name)
    wrong = [f"not taken: {name!r}" for name in sorted(way.images - set(found))]
    wrong += [f"taken: {name!r}" for name in sorted(set(found) - way.images - way.also)]
    wrong += [f"taken again: {name!r}" for name in sorted({name for name in found if found.count(name) > 1} - way.repeats)]
    wrong += [f"last version not taken: {name!r}" for name in sorted(way.images) if not await bench.is_known(name, way.name)]
    ignored = bench.ignored(way.name)
    return wrong + [f"not left: {name!r}" for name, reason in way.left.items() if ignored.get(name) != reason]


async def all_problems(bench: Drops) -> dict[str, list[str]]:
    return {name: wrong for name, way in FOLDERS.items() if (wrong := await problems(bench, way))}


def scanned_again(bench: Drops) -> set[str]:
    """Folders that were scanned after the scan at start."""
    folders = [line["folder"] for line in bench.said(Event.SCAN_FINISHED)]
    return {name for name in folders if folders.count(name) > 1}


def told_replaced(bench: Drops) -> set[str]:
    """Folders whose watcher died and was replaced: moving a directory out and making it again is what watchdog can die of."""
    return {line["folder"] for line in bench.said(Event.FOLDER_WATCHING) if "replaced" in line.get("message", "")}


async def test_watched_folders_need_no_scan(tmp_path: Path, places: dict[str, Place]) -> None:
    """Where events are heard, each way comes out right without a scan; a watcher that dies of one is replaced."""
    async with drops(tmp_path, folders=tables(places)) as bench:
        await bench.until_scanned(len(FOLDERS))
        await act_all(places)
        await settled(bench)

        assert {status.mode for status in bench.intake.status()} == {"watching"}
        assert scanned_again(bench) <= told_replaced(bench)
        assert await all_problems(bench) == {}

        await bench.intake.rescan()
        assert [line for line in bench.said(Event.SCAN_FINISHED) if line["new"]] == []


async def test_polled_folders_take_the_same(tmp_path: Path, places: dict[str, Place]) -> None:
    """Where events cannot be heard, the same comes out a little later; what was there only in between need not be seen."""
    async with drops(tmp_path, folders=tables(places, polling=True), times={"poll": 0.6}) as bench:
        await act_all(places)
        await settled(bench)
        for name, way in FOLDERS.items():
            for image in way.images:
                await until(partial(bench.is_known, image, name))

        assert {status.mode for status in bench.intake.status()} == {"polling"}
        for name, way in FOLDERS.items():
            assert set(bench.taken(name)) - way.also == way.images, name


async def test_a_start_takes_what_was_dropped_meanwhile(tmp_path: Path, places: dict[str, Place]) -> None:
    """What was dropped while the daemon was down is found by the scan at start, once, and not again by the next start."""
    async with drops(tmp_path, folders=tables(places), started=False) as bench:
        await act_all(places)
        await bench.start()
        await wait_until(lambda: len(bench.said(Event.SCAN_FINISHED)) == len(FOLDERS))
        first = {name: sorted(bench.taken(name)) for name in FOLDERS}
        await bench.restart()
        await wait_until(lambda: len(bench.said(Event.SCAN_FINISHED)) == 2 * len(FOLDERS))

        assert first == {name: sorted(way.images) for name, way in FOLDERS.items()}
        assert {name: sorted(bench.taken(name)) for name in FOLDERS} == first
        assert bench.intake.waiting() == sum(way.waited_for for way in WAYS)
