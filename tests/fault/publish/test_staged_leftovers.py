"""No original stays behind in the staging bucket, however its image ends and whichever process had staged it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, wait_until
from tests.support.s3 import S3Server
from tests.support.standin import Fault, StandinProcess
from tests.support.world import KEY, World, small_image

ENDED = ("image.stored", "image.failed", "image.superseded", "image.vanished")


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


@pytest.fixture
def bucket(s3: S3Server) -> str:
    return s3.new_bucket(versioned=True)


@pytest.fixture
def world(tmp_path: Path, standin: StandinProcess, s3: S3Server, bucket: str) -> World:
    presign = {
        "endpoint": s3.endpoint,
        "region": s3.region,
        "bucket": bucket,
        "key_id": s3.key_id,
        "application_key": s3.application_key,
        "ttl": "10m",
    }
    changes = {"publish": {"mode": "presign", "presign": presign}, "drain": "0s", "compressor": {"timeout": "60s"}}
    world = World(tmp_path, standin, changes=changes)
    world.write_config()
    return world


def endings(daemon: Daemon) -> list[str]:
    return [line["event"] for line in list(daemon.lines) if line["event"] in ENDED]


@pytest.mark.parametrize(
    ("how", "meanwhile", "on_success"),
    [
        (signal.SIGKILL, "deleted", "keep"),
        (signal.SIGKILL, "replaced", "keep"),
        (signal.SIGKILL, "untouched", "delete"),
        (signal.SIGTERM, "deleted", "delete"),
    ],
)
def test_what_a_process_staged_that_was_stopped_goes_when_its_image_ends(
    world: World, standin: StandinProcess, s3: S3Server, bucket: str, how: signal.Signals, meanwhile: str, on_success: str
) -> None:
    """Whatever happened to the file while nobody was there."""
    world.write_config(folders=[{"name": "products", "path": world.drop, "on_success": on_success}])
    standin.set_faults(Fault("never"))
    with Daemon(world.config, KEY) as daemon:
        path = world.put("a.jpg")
        wait_until(lambda: s3.versions(bucket), pause=0.1)
        if how is signal.SIGKILL:
            daemon.kill()
    standin.set_faults()
    if meanwhile == "deleted":
        path.unlink()
    if meanwhile == "replaced":
        world.put("a.jpg", small_image(77_777))
    with Daemon(world.config, KEY) as daemon:
        expected = {"deleted": ["vanished"], "replaced": ["superseded", "stored"], "untouched": ["stored"]}[meanwhile]
        wait_until(lambda: len(endings(daemon)) >= len(expected))
        assert sorted(endings(daemon)) == sorted(f"image.{each}" for each in expected)
        wait_until(lambda: not s3.versions(bucket), pause=0.2)


def test_a_stop_right_after_a_start_is_a_clean_one(world: World, standin: StandinProcess, s3: S3Server, bucket: str) -> None:
    """With an original of an earlier process staged and much of a start still to do."""
    standin.set_faults(Fault("never"))
    with Daemon(world.config, KEY) as daemon:
        path = world.put("a.jpg")
        wait_until(lambda: s3.versions(bucket), pause=0.1)
        daemon.kill()
    path.unlink()
    standin.set_faults()
    for delay in (0.3, 0.6, 1.2):
        daemon = Daemon(world.config, KEY)
        wait_until(lambda daemon=daemon: daemon.events("service.started"))
        time.sleep(delay - 0.3)
        assert daemon.stop() == 0
    with Daemon(world.config, KEY):
        wait_until(lambda: not s3.versions(bucket), pause=0.2)


@pytest.mark.parametrize("verify", ["recovery", "never"])
def test_an_answer_that_comes_late_under_a_short_ttl_leads_to_an_ending(
    world: World, standin: StandinProcess, s3: S3Server, bucket: str, verify: str
) -> None:
    """Links that live no longer than the timeout, and an answer that takes twice as long."""
    presign = {**world.changes["publish"]["presign"], "ttl": "2s"}
    publish = {"mode": "presign", "presign": presign}
    mode = {"mode": verify}
    world.write_config(publish=publish, compressor={"timeout": "2s", "max_attempts": 3}, verify=mode)
    standin.set_faults(Fault("delay_after", file="late.jpg", seconds=4.0), Fault("delay", file="slow.jpg", seconds=4.0, times=1))
    with Daemon(world.config, KEY) as daemon:
        world.put("late.jpg")
        world.put("slow.jpg")
        wait_until(lambda: len(endings(daemon)) == 2, 60)
        wait_until(lambda: not s3.versions(bucket), pause=0.2)
