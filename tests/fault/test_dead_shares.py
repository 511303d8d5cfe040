"""A share that hangs, as a dead sshfs or a hard NFS mount does: whatever does not need it goes on."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, command
from tests.support.fuse import UNCACHED, Mounted, mounted
from tests.support.standin import Fault, StandinProcess
from tests.support.world import KEY, World, small_image
from watcher.intake.pools import PATIENCE_SECONDS

SLOTS = 32
"""Turns that have begun when it turns out that the share hangs."""
TOO_LARGE_TO_BE_HELD = 300_000
"""Such an original is read from its share again when it is fetched."""
SECONDS = 30.0
"""Within these a command has answered; one that waits for the share never does."""


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Mounted]:
    """A share at `nas`, of which the kernel remembers nothing: each call is for it to answer."""
    with mounted("bindfs", tmp_path / "below", tmp_path / "nas", "-o", UNCACHED) as mount:
        yield mount


@pytest.fixture
def world(tmp_path: Path, share: Mounted) -> Iterator[World]:
    """A folder on this disk and one on the share."""
    with StandinProcess() as standin:
        folders = [{"name": "nas", "path": share.point}, {"name": "local", "path": tmp_path / "drop"}]
        yield World(tmp_path, standin, changes={"folders": folders})


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--json"),
        ("list", "--json"),
        ("explain", "nas/a.jpg", "--json"),
        ("explain", "drop/a.jpg", "--json"),
        ("check", "--json"),
    ],
    ids=lambda each: " ".join(each[:-1]),
)
def test_commands_answer_beside_a_dead_share(world: World, share: Mounted, arguments: tuple[str, ...]) -> None:
    """And say that it does not answer."""
    world.put("a.jpg")
    share.hang()
    began = time.monotonic()
    run = command(*arguments, "--config", world.config, environment=KEY, timeout=SECONDS, cwd=world.path)
    assert time.monotonic() - began < SECONDS
    assert f"folder nas: {share.point} does not answer; its path is taken as it is written" in run.stderr
    said = json.loads(run.stdout) if run.stdout else {}
    if arguments[0] == "status":
        assert {"nas": "not_answering", "local": "ok"} == {each["name"]: each["state"] for each in said["folders"]}
    elif arguments[0] == "explain":
        assert 0 == run.returncode
        verdict = "not_answering" if arguments[1].startswith("nas") else "taken"
        assert (verdict, f"{arguments[1].replace('drop', 'local')}") == (said["verdict"], said["outputs"][0]["key"])
    elif arguments[0] == "check":
        found = {each["what"]: each for each in said["checks"]}
        assert ("fail", f"{share.point} does not answer") == (found["folder nas"]["state"], found["folder nas"]["found"])
        assert "readable, 1 directory" in found["folder local"]["found"]
    else:
        assert 0 == run.returncode


def take_from_share(world: World, share: Mounted, count: int) -> None:
    """Have so many images of the share in the queue, with none of them sent."""
    world.standin.stop()
    for number in range(count):
        (share.below / f"{number}.jpg").write_bytes(small_image(number))
    with Daemon(world.write_config(log={"level": "debug"}), KEY) as daemon:
        daemon.wait_for("image.detected", count)
        daemon.wait_for("api.unavailable")
    world.standin.start()


def test_once_does_what_it_can_beside_a_dead_share(world: World, share: Mounted) -> None:
    """Images of the share that were taken before wait, and it ends all the same, with the status of a folder that is away."""
    take_from_share(world, share, 3)
    world.put("a.jpg")
    share.hang()
    run = command("once", "--config", world.config, environment=KEY, timeout=40)
    assert 1 == run.returncode, run.stdout + run.stderr
    assert "folder nas is away" in run.stderr
    assert ["local/a.jpg"] == list(world.paid())


def test_images_of_a_dead_share_wait_and_others_do_not(world: World, share: Mounted) -> None:
    """However many there are: they use up no turn, and go on when the share answers again."""
    take_from_share(world, share, 100)
    share.hang()
    with Daemon(world.config, KEY) as daemon:
        for number in range(20):
            began = time.monotonic()
            world.put(f"{number}.jpg")
            daemon.wait_for("image.stored", number + 1, seconds=20)
            assert time.monotonic() - began < (20 if number == 0 else 3)
        daemon.wait_for("folder.lost", folder="nas")
        time.sleep(5)
        assert len(daemon.events("image.retry", folder="nas")) <= SLOTS
        share.wake()
        daemon.wait_for("image.stored", 100, seconds=60, folder="nas")
    assert 1 == max(world.paid().values())


@pytest.mark.parametrize("fetched_after", [0.4, 2.0])
def test_requests_whose_originals_hang_hold_up_no_others(world: World, share: Mounted, fetched_after: float) -> None:
    """All that may be in flight are for images of the share when it begins to hang: others are sent all the same.

    The API asks for the originals before it turns out that the share hangs, or afterwards.
    """
    world.standin.set_faults(Fault("delay", seconds=fetched_after, file="*-nas.jpg"))
    config = world.write_config(log={"level": "debug"}, compressor={"concurrency": 2})
    with Daemon(config, KEY) as daemon:
        for number in range(6):
            (share.below / f"{number}-nas.jpg").write_bytes(small_image(number) + bytes(TOO_LARGE_TO_BE_HELD))
        daemon.wait_for("image.requested", 2)
        share.hang()
        began = time.monotonic()
        world.put("a.jpg", small_image(10))
        daemon.wait_for("image.stored", folder="local")
        assert time.monotonic() - began < PATIENCE_SECONDS
        world.standin.set_faults()
        share.wake()
        daemon.wait_for("image.stored", 6, seconds=60, folder="nas")
        assert {1} == {line["attempts"] for line in daemon.events("image.stored")}


def test_a_daemon_starts_and_reloads_beside_a_dead_share(world: World, share: Mounted) -> None:
    """The other folder is served; what lies on the share is taken when it answers again."""
    share.hang()
    with Daemon(world.config, KEY) as daemon:
        world.put("a.jpg")
        daemon.wait_for("image.stored", seconds=10)
        daemon.wait_for("folder.lost", folder="nas", seconds=20)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config.reloaded", seconds=10)
        world.put("b.jpg")
        daemon.wait_for("image.stored", 2, seconds=10)
        share.wake()
        daemon.wait_for("folder.recovered", folder="nas", seconds=20)
        (share.below / "c.jpg").write_bytes((world.drop / "a.jpg").read_bytes() + b"c")
        daemon.wait_for("image.stored", folder="nas", seconds=20)
    assert 0 == daemon.process.returncode


@pytest.mark.journals("sqlite", "postgresql")
def test_a_stop_beside_a_dead_share_ends(world: World, share: Mounted) -> None:
    """In order: whoever hangs on the share is left behind."""
    with Daemon(world.config, KEY) as daemon:
        share.hang()
        world.put("a.jpg")
        daemon.wait_for("image.stored")
        assert 0 == daemon.stop()
        daemon.wait_for("service.stopped")


def test_check_looks_with_the_rights_of_the_services_user_beside_a_dead_share() -> None:
    """A change of rights waits for all threads of a process: none that hangs may be among them."""
    place = Path(tempfile.mkdtemp(prefix="dead-share-"))
    try:
        place.chmod(0o755)
        with mounted("bindfs", place / "below", place / "nas", "-o", UNCACHED) as share, StandinProcess() as standin:
            world = World(
                place,
                standin,
                changes={"folders": [{"name": "nas", "path": share.point}, {"name": "local", "path": place / "drop"}]},
            )
            (place / "state").mkdir()
            shutil.chown(place / "state", "nobody")
            share.hang()
            run = command("check", "--json", "--config", world.config, environment=KEY, timeout=SECONDS)
            found = {each["what"]: each for each in json.loads(run.stdout)["checks"]}
            assert found["user"]["found"].startswith("checked for nobody")
            assert "does not answer" in found["folder nas"]["found"]
            assert ("ok", "ok") == (found["folder local"]["state"], found["state_dir"]["state"])
    finally:
        shutil.rmtree(place, ignore_errors=True)
