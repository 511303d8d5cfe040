"""Few descriptors, from the start or of a sudden: everything goes on, slowly, and nothing is anybody's failure."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, command, wait_until
from tests.support.standin import StandinProcess
from tests.support.troubles import UNAVAILABLE
from tests.support.world import KEY, World

COUNT = 120
FEW = (128, 128)


@pytest.fixture(scope="module")
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


def world_of(tmp_path: Path, standin: StandinProcess, api: str, **changes: Any) -> World:
    if api == "embedded":
        connector = {"kind": "directory", "path": str(tmp_path / "bucket")}
        changes |= {"engine": {"connectors": {"connector": connector}}}
        changes["compressor"] = {"url": "embedded", **changes.get("compressor", {})}
    world = World(tmp_path, standin, changes=changes)
    if api == "embedded":
        world.write_config(compressor={"url": "embedded"})
    return world


def in_use(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def assert_nothing_was_lost(daemon: Daemon) -> None:
    assert not daemon.events("image.failed")
    assert not daemon.events("folder.lost")
    assert {line["attempts"] for line in daemon.events("image.stored")} == {1}
    assert not [line for line in daemon.events("image.retry") if "internal error" in line["message"]]


@pytest.mark.parametrize("api", ["standin", "embedded"])
def test_a_small_limit_is_lived_with(tmp_path: Path, standin: StandinProcess, api: str) -> None:
    """Few hard descriptors and many slots: so many requests at once as there is room for, and all images stored."""
    world = world_of(tmp_path, standin, api, compressor={"concurrency": 64})
    for number in range(COUNT):
        world.put(f"{number}.jpg")
    with Daemon(world.config, KEY, open_files=(64, 64)) as daemon:
        daemon.wait_for("image.stored", COUNT, seconds=90)
        assert_nothing_was_lost(daemon)


def test_the_soft_limit_is_raised_to_the_hard_one(tmp_path: Path, standin: StandinProcess) -> None:
    """Login shells and services begin with a soft limit that is far below what the system grants."""
    world = world_of(tmp_path, standin, "standin")
    with Daemon(world.config, KEY, open_files=(256, 3000)) as daemon:
        assert resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE) == (3000, 3000)


@pytest.mark.parametrize("api", ["standin", "embedded"])
def test_descriptors_that_run_out_for_a_while_cost_time_alone(tmp_path: Path, standin: StandinProcess, api: str) -> None:
    """Everything that opens something fails with EMFILE for some seconds; then all of it is done as if nothing had been."""
    world = world_of(tmp_path, standin, api, compressor={"concurrency": 16})
    standin.set_options(work_seconds=0.05)
    with Daemon(world.config, KEY) as daemon:
        limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
        for number in range(COUNT):
            world.put(f"{number}.jpg")
        daemon.wait_for("image.stored", 5)
        for spare in (2, 0, 5):
            resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (max(20, in_use(daemon) - 10 + spare), limits[1]))
            time.sleep(2)
        world.put("late.jpg")
        time.sleep(1)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)
        daemon.wait_for("image.stored", COUNT + 1, seconds=120)
        assert_nothing_was_lost(daemon)
        assert wait_until(lambda: not daemon.events("service.stopping"))
    standin.set_options(work_seconds=0.0)
    world.assert_audit_is_whole()


def test_check_says_that_the_limit_is_low(tmp_path: Path, standin: StandinProcess) -> None:
    """How many requests it is enough for, and what to raise; by the limit of the daemon where one runs."""
    world = world_of(tmp_path, standin, "standin", compressor={"concurrency": 64})
    found = command("check", "--json", "--config", world.config, environment=KEY, open_files=FEW)
    (line,) = [each for each in json.loads(found.stdout)["checks"] if each["what"] == "open files"]
    assert line["state"] == "warn"
    assert "128" in line["found"]
    assert "of 64 requests" in line["found"]
    assert "LimitNOFILE" in line["todo"]
    with Daemon(world.config, KEY):
        found = command("check", "--json", "--config", world.config, environment=KEY, open_files=FEW)
    (line,) = [each for each in json.loads(found.stdout)["checks"] if each["what"] == "open files"]
    assert line["state"] == "ok"
    assert "running daemon" in line["found"]


@pytest.mark.parametrize("arguments", [["run"], ["once"], ["check"]], ids=str)
def test_too_few_for_any_image_are_said(tmp_path: Path, standin: StandinProcess, arguments: list[str]) -> None:
    """One sentence at the start; `once` did nothing and said nothing."""
    world = world_of(tmp_path, standin, "embedded")
    found = command(*arguments, "--config", world.config, environment=KEY, preexec_fn=_too_few)
    assert found.returncode == UNAVAILABLE
    assert found.stderr.startswith("compressor-watcher: only 28 files may be open at once")
    assert "LimitNOFILE" in found.stderr
    assert found.stderr.count("\n") <= 2


def _too_few() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (28, 28))
