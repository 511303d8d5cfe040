"""What a stop does to work under way, and what waits longer than its URL lives."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import wait_until
from tests.support.disks import small_disk
from tests.support.lives import Life, Nursery
from tests.support.standin import Fault, StandinProcess
from tests.support.world import KEY, World

AT_ONCE_SECONDS = 5.0
"""Far below what a drain may last in these tests."""
DRAIN = "60s"
RENDITION = {"name": "thumb", "image": {"resize": {"width": 8}}, "store": {"path": "thumbs/{name}"}}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Where lives of the daemon are begun."""
    with Nursery() as process:
        yield process


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    """A stand-in of its own."""
    with StandinProcess() as process:
        yield process


def begin(nursery: Nursery, world: World) -> Life:
    """A daemon that is ready."""
    life = nursery.begin("run", "--config", world.config, log=world.log, environment=KEY)
    life.wait_for("service.ready")
    return life


def until_asked(world: World, requests: int = 1) -> None:
    """Until so many requests are on their way."""
    wait_until(lambda: world.standin.report()["in_flight"] >= requests)


def test_a_stop_waits_for_the_answers_on_their_way(tmp_path: Path, standin: StandinProcess, nursery: Nursery) -> None:
    """Of both outputs of an image, though one answer comes long before the other; what waits for its turn is left alone."""
    folders = [{"name": "products", "path": tmp_path / "drop", "renditions": [RENDITION]}]
    world = World(tmp_path, standin, changes={"drain": DRAIN, "compressor": {"concurrency": 2}, "folders": folders})
    standin.set_faults(Fault("delay_after", seconds=0.3, times=1), Fault("delay_after", seconds=2.0, times=1))
    life = begin(nursery, world)
    first = world.put("a.jpg")
    until_asked(world, 2)
    world.put("b.jpg")
    assert 0 == life.stop()

    stored = life.events("image.stored", file=str(first))
    assert {None, "thumb"} == {line["rendition"] for line in stored}
    assert {False} == {line["recovered"] for line in stored}
    assert {(str(first), None), (str(first), "thumb")} == set(world.endings())
    assert {"products/a.jpg": 1, "thumbs/a.jpg": 1} == dict(world.paid())


@pytest.mark.journals("sqlite", "postgresql")
def test_what_a_stop_cuts_off_is_said_and_asked_about_at_the_next_start(
    tmp_path: Path, standin: StandinProcess, nursery: Nursery
) -> None:
    """An answer that does not come within `drain` costs no second payment."""
    world = World(tmp_path, standin, changes={"drain": "300ms"})
    standin.set_faults(Fault("never_after", times=1))
    life = begin(nursery, world)
    path = world.put("a.jpg")
    until_asked(world)
    wait_until(world.paid)
    assert 0 == life.stop()
    assert [1] == [line["cut_off"] for line in life.events("service.stopping") if "cut_off" in line]
    assert {} == world.endings()

    life = begin(nursery, world)
    (line,) = life.wait_for("image.stored", file=str(path))
    assert 0 == life.stop()
    assert (True, 1) == (line["recovered"], line["attempts"])
    assert {"products/a.jpg": 1} == dict(world.paid())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(tmp_path: Path, standin: StandinProcess, nursery: Nursery, number: signal.Signals) -> None:
    """By the signal, whatever is on its way; the next start knows of it."""
    world = World(tmp_path, standin, changes={"drain": DRAIN})
    standin.set_faults(Fault("never_after", times=1))
    life = begin(nursery, world)
    world.put("a.jpg")
    until_asked(world)
    wait_until(world.paid)
    life.signal(number)
    life.wait_for("service.stopping")
    started = time.monotonic()
    life.signal(number)
    assert -number == life.wait()
    assert time.monotonic() - started < AT_ONCE_SECONDS

    life = begin(nursery, world)
    (line,) = life.wait_for("image.stored")
    assert line["recovered"]
    assert 0 == life.stop()
    world.assert_audit_is_whole(nursery)


def test_a_stop_during_an_outage_takes_no_time(tmp_path: Path, standin: StandinProcess, nursery: Nursery) -> None:
    """Images that wait for the API have no request on its way: nobody waits for them."""
    world = World(tmp_path, standin, changes={"drain": DRAIN})
    standin.stop()
    life = begin(nursery, world)
    for number in range(40):
        world.put(f"{number}.jpg")
    life.wait_for("api.unavailable")
    started = time.monotonic()
    assert 0 == life.stop()
    assert time.monotonic() - started < AT_ONCE_SECONDS
    standin.start()

    life = begin(nursery, world)
    stored = life.wait_for("image.stored", 40)
    assert {1} == {line["attempts"] for line in stored}
    assert 0 == life.stop()
    assert {1} == set(world.paid().values())


def test_a_stop_with_a_full_disk_ends(tmp_path: Path, standin: StandinProcess, nursery: Nursery) -> None:
    """What cannot be written down now is not waited for without end; the next start, with room, brings every image to its end."""
    with small_disk(tmp_path / "small") as disk:
        world = World(tmp_path, standin, changes={"state_dir": disk.path / "state", "drain": "1s"})
        world.audit_path = disk.path / "state" / "audit.jsonl"
        standin.set_faults(Fault("delay_after", seconds=1.0))
        life = begin(nursery, world)
        for number in range(8):
            world.put(f"{number}.jpg")
        until_asked(world)
        disk.fill()
        life.wait_for("journal.unavailable")
        life.signal(signal.SIGTERM)
        assert life.wait(40) in (0, 1), life.errors()
        disk.free()

        standin.set_faults()
        life = begin(nursery, world)
        wait_until(lambda: len(world.endings()) == 8)
        assert 0 == life.stop()
        assert {("stored",)} == {tuple(endings) for endings in world.endings().values()}
        assert {1} == set(world.paid().values())
        world.assert_audit_is_whole(nursery)


def test_an_outage_longer_than_a_url_lives_costs_no_image(tmp_path: Path, standin: StandinProcess, nursery: Nursery) -> None:
    """The URL that ran out while the image waited is made anew; the image is stored with its first attempt."""
    serve = {"serve": {"listen": "127.0.0.1:0", "ttl": "2s"}}
    world = World(tmp_path, standin, changes={"publish": serve, "compressor": {"timeout": "2s"}})
    standin.stop()
    life = begin(nursery, world)
    path = world.put("a.jpg")
    life.wait_for("api.unavailable")
    time.sleep(2.5)  # longer than the URL lives
    standin.start()
    (line,) = life.wait_for("image.stored", file=str(path))
    assert 0 == life.stop()
    assert 1 == line["attempts"]
    assert [] == life.events("image.failed")
    assert {"products/a.jpg": 1} == dict(world.paid())


def test_a_job_goes_on_though_its_original_cannot_be_had(tmp_path: Path, standin: StandinProcess, nursery: Nursery) -> None:
    """The folder is gone when the daemon comes back: the job is not forgotten, and nothing is paid twice."""
    world = World(tmp_path, standin)
    standin.set_faults(Fault("enqueue", polls=3), Fault("status", status=404, on=("bucket",)))
    life = begin(nursery, world)
    path = world.put("a.jpg")
    life.wait_for("image.enqueued", file=str(path))
    life.kill()
    away = world.drop.rename(tmp_path / "away")
    life = begin(nursery, world)
    life.wait_for("folder.lost")
    life.wait_for("image.retry")
    away.rename(world.drop)
    (line,) = life.wait_for("image.stored", file=str(path))
    assert 0 == life.stop()
    assert not line["recovered"]
    assert {"products/a.jpg": 1} == dict(world.paid())
    assert [["stored"]] == list(world.endings().values())


def test_a_replaced_file_is_superseded_though_the_api_refuses_it(
    tmp_path: Path, standin: StandinProcess, nursery: Nursery
) -> None:
    """A file that is written over while it is fetched cannot be fetched any more: that is no failure of the image."""
    world = World(tmp_path, standin)
    standin.set_options(work_seconds=1.5)
    life = begin(nursery, world)
    path = world.put("a.jpg")
    until_asked(world)
    newer = path.read_bytes() + b"newer"
    path.write_bytes(newer)
    life.wait_for("image.stored", file=str(path))
    wait_until(lambda: len(world.audit()) == 2)
    assert 0 == life.stop()
    assert [["superseded", "stored"]] == list(world.endings().values())
    assert len(newer) == world.audit()[-1]["input"]["size"]
