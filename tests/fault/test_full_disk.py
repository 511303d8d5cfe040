"""Promise 7 on full disks: taking stops or lines wait, said once; with room it goes on, and nothing is lost or told twice."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, command, read_audit, wait_until
from tests.support.disks import SmallDisk, small_disk
from tests.support.lives import Nursery
from tests.support.standin import StandinProcess
from tests.support.world import ENDINGS, KEY, World, sha1_of

MANY = 40
MOVE_PATIENCE_SECONDS = 90.0
"""A move that could not be done is tried again after up to half a minute."""


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    """The API stand-in, as a process of its own."""
    with StandinProcess() as process:
        yield process


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk for the state, or for the audit file."""
    with small_disk(tmp_path / "small") as made:
        yield made


@pytest.fixture
def target(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk that originals are moved to."""
    with small_disk(tmp_path / "target") as made:
        yield made


def ended(daemon: Daemon) -> list[dict[str, Any]]:
    """The endings told so far."""
    return [line for line in list(daemon.lines) if line["event"] in ENDINGS]


def told(daemon: Daemon, event: str, *, audit: bool) -> list[dict[str, Any]]:
    """Lines of the journal's or the audit file's disk."""
    return [line for line in daemon.events(event) if (line.get("what") == "audit") is audit]


def assert_each_stored_once(daemon: Daemon, world: World, files: list[Path]) -> None:
    """One ending, one audit line, one payment for each file, and a file that audits well."""
    names = sorted(map(str, files))
    assert names == sorted(line["file"] for line in ended(daemon))
    assert {"image.stored"} == {line["event"] for line in ended(daemon)}
    assert names == sorted(line["file"] for line in world.audit())
    assert Counter(world.paid()) == {f"products/{path.name}": 1 for path in files}
    world.assert_audit_is_whole()


@pytest.mark.journals("sqlite", reason="the journal is on the full disk")
def test_a_full_disk_under_the_state_stops_taking_and_loses_nothing(
    tmp_path: Path, standin: StandinProcess, disk: SmallDisk
) -> None:
    """Said once with what to do; nothing is sent that could not be written down; with room every image has its one ending."""
    world = World(tmp_path, standin, changes={"state_dir": disk.path / "state"})
    world.audit_path = disk.path / "state" / "audit.jsonl"
    with Daemon(world.config, KEY) as daemon:
        files = [world.put("before.jpg")]
        daemon.wait_for("image.stored")
        disk.fill()
        files += [world.put(f"first-{number}.jpg") for number in range(MANY)]
        (line,) = daemon.wait_for("journal.unavailable", what=None)
        files += [world.put(f"then-{number}.jpg") for number in range(MANY)]
        wait_until(lambda: standin.report()["in_flight"] == 0)
        asked = sum(standin.report()["asked"].values())
        time.sleep(1.0)  # the journal is tried again meanwhile
        assert asked == sum(standin.report()["asked"].values())
        assert [line] == told(daemon, "journal.unavailable", audit=False)
        assert not [path for path in files if path.name.startswith("then-") and path.name in standin.report()["asked"]]
        disk.free()

        daemon.wait_for("journal.recovered", what=None)
        daemon.wait_for("image.stored", len(files))
        files.append(world.put("after.jpg"))
        daemon.wait_for("image.stored", len(files))
        wait_until(lambda: len(world.audit()) == len(files))
        assert 1 == len(told(daemon, "journal.recovered", audit=False)) == len(told(daemon, "journal.unavailable", audit=False))
        assert len(told(daemon, "journal.unavailable", audit=True)) == len(told(daemon, "journal.recovered", audit=True)) <= 1
    assert "full" in line["message"]
    assert "make room" in line["hint"]
    assert 0 == daemon.process.returncode
    assert_each_stored_once(daemon, world, files)


@pytest.mark.journals("postgresql")
def test_a_full_disk_under_the_state_beside_a_shared_journal(tmp_path: Path, standin: StandinProcess, disk: SmallDisk) -> None:
    """Audit file and log are on it, and the journal is not: images are stored all the same, it is said once, and each line
    follows; a stop and a start on the full disk make no difference."""
    world = World(tmp_path, standin, changes={"state_dir": disk.path / "state"})
    world.audit_path = disk.path / "state" / "audit.jsonl"
    world.log = disk.path / "log.jsonl"
    with Nursery() as nursery:
        life = nursery.begin("run", "--config", world.config, log=world.log, environment=KEY)
        files = [world.put("before.jpg")]
        life.wait_for("image.stored")
        wait_until(lambda: len(world.audit()) == 1)
        disk.fill()
        files += [world.put(f"first-{number}.jpg") for number in range(MANY)]
        wait_until(lambda: len(world.paid()) == len(files))
        life.signal(signal.SIGTERM)
        assert 0 == life.wait(), life.errors()
        assert len(world.audit()) < len(files)
        life = nursery.begin("run", "--config", world.config, log=tmp_path / "second.jsonl", environment=KEY)
        files += [world.put(f"then-{number}.jpg") for number in range(MANY)]
        life.wait_for("journal.unavailable", what="audit")
        wait_until(lambda: len(world.paid()) == len(files))
        disk.free()
        life.wait_for("journal.recovered", what="audit")
        wait_until(lambda: len(world.audit()) == len(files))
        assert 1 == len(life.events("journal.unavailable")) == len(life.events("journal.recovered"))
        assert 0 == life.stop()
    assert {(str(path), None): ["stored"] for path in files} == world.endings()
    assert {1} == set(world.paid().values())
    world.assert_audit_is_whole()


def test_full_disks_under_the_audit_file_and_the_target_of_moves(
    tmp_path: Path, standin: StandinProcess, disk: SmallDisk, target: SmallDisk
) -> None:
    """The log goes on and the lines follow; originals stay where they are and move when there is room."""
    folder = {"name": "products", "path": tmp_path / "drop", "on_success": {"move": target.path / "done"}}
    world = World(tmp_path, standin, changes={"log": {"audit": disk.path / "audit.jsonl"}, "folders": [folder]})
    world.audit_path = disk.path / "audit.jsonl"
    disk.fill()
    target.fill()
    with Daemon(world.config, KEY) as daemon:
        files = [world.put(f"{number}.jpg") for number in range(5)]
        content = {path.name: sha1_of(path) for path in files}
        daemon.wait_for("image.stored", len(files))
        daemon.wait_for("image.retry")
        wait_until(lambda: _not_put_away(world) == len(files))
        assert_kept(daemon, files, target)
        target.free()

        (line,) = daemon.wait_for("journal.unavailable")
        assert ("audit", []) == (line["what"], read_audit(world.audit_path))
        assert line["hint"]
        disk.free()
        daemon.wait_for("journal.recovered", what="audit")
        wait_until(lambda: len(world.audit()) == len(files))
        assert [each["id"] for each in world.audit()] == [each["id"] for each in ended(daemon)]

        moved = daemon.wait_for("image.moved", len(files), MOVE_PATIENCE_SECONDS)
        assert content == {Path(each["to"]).name: sha1_of(Path(each["to"])) for each in moved}
        assert not any(path.exists() for path in files)
        assert 1 == len(daemon.events("journal.unavailable")) == len(daemon.events("journal.recovered"))
    assert [] == [path for path in target.path.rglob("*") if path.name.startswith(".compressor-watcher-")]
    assert_each_stored_once(daemon, world, files)


def assert_kept(daemon: Daemon, files: list[Path], target: SmallDisk) -> None:
    """Every original is where it was, nothing half lies at the target, and the trouble was told once, with the reason."""
    assert all(path.exists() for path in files)
    assert [] == [path for path in target.path.rglob("*") if path.suffix == ".jpg" or path.name.startswith(".")]
    (line,) = daemon.events("image.retry")
    assert line["file"] in map(str, files)
    assert "No space left" in line["message"] or "full" in line["message"]


def _not_put_away(world: World) -> int:
    return int(json.loads(command("status", "--json", "--config", world.config).stdout)["not_put_away"])
