"""Promises 3 and 5: exactly one ending and one audit line, and paid once, however and whenever the process ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crashing import POINTS, Crash
from tests.support.daemon import Daemon, wait_until
from tests.support.lives import Life, Nursery, read_lines
from tests.support.standin import Fault, StandinProcess
from tests.support.world import ENDINGS, KEY, World, free_address, said, small_image

FILES = 300
"""In the soak; of these tests' own there are as many to each life, and fewer lives."""
LONGEST_LIFE_SECONDS = 0.7


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Where lives of the daemon are begun."""
    with Nursery() as process:
        yield process


@pytest.fixture(scope="module")
def shared_standin() -> Iterator[StandinProcess]:
    """One stand-in for all crashes at named points; each has a bucket of its own."""
    with StandinProcess() as process:
        yield process


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    """A stand-in of its own."""
    with StandinProcess() as process:
        yield process


# --- at named points --------------------------------------------------------------------------------------------------------

FIRST = Crash("api.fetch", "after")
"""Leaves an answer unknown."""


def crashes() -> list[tuple[Crash, ...]]:
    """The ends of the lives before the last one, for every point: before it, after it, and at a later passing."""
    at_points = [(Crash(point, moment),) for point in POINTS for moment in ("before", "after") if point != "audit.torn"]
    later = [(Crash(point, "after", 3),) for point in ("api.fetch", "journal.requested", "journal.end", "audit.append")]
    commits = [(Crash("journal.commit", moment, number),) for number in (4, 7, 10) for moment in ("before", "after")]
    doubtful = {"store.head"}
    found = [(FIRST, *lives) if lives[0].point in doubtful else lives for lives in [*at_points, *later, *commits]]
    twice = [(Crash("journal.end", "before"), Crash("store.head", "after"), Crash("journal.end", "before"))]
    return [*found, (Crash("audit.torn"),), *twice]


def folders_of(world: World, far: Path) -> list[dict[str, object]]:
    """A folder for each way of ending up: kept with a rendition, deleted, moved, moved to another file system."""
    rendition = {"name": "thumb", "image": {"resize": {"width": 8}}, "store": {"path": "thumbs/{name}"}}
    for name in ("deleted", "moved", "far"):
        (world.path / name).mkdir(exist_ok=True)
    return [
        {"name": "kept", "path": world.drop, "renditions": [rendition]},
        {"name": "deleted", "path": world.path / "deleted", "on_success": "delete", "store": {"path": "deleted/{sha1}"}},
        {
            "name": "moved",
            "path": world.path / "moved",
            "on_success": {"move": world.path / "done"},
            "on_failure": {"move": world.path / "rejected"},
        },
        {"name": "far", "path": world.path / "far", "on_success": {"move": far}},
    ]


@pytest.fixture
def far() -> Iterator[Path]:
    """A folder on another file system, where there is one; else one that is merely elsewhere."""
    import tempfile

    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def words(ends: tuple[Crash, ...]) -> str:
    """For the name of a test."""
    return ", ".join(map(str, ends))


@pytest.mark.parametrize("ends", crashes(), ids=words)
def test_a_crash_at_any_point_leaves_one_ending_and_one_payment(
    tmp_path: Path, shared_standin: StandinProcess, nursery: Nursery, far: Path, ends: tuple[Crash, ...]
) -> None:
    """Whatever step the process dies before or after, the next run brings each output to its one ending, paid once."""
    crash_and_go_on(tmp_path, shared_standin, nursery, far, ends)


SOME = [(Crash("journal.commit", "before", 7),), (Crash("journal.commit", "after", 10),), (Crash("journal.end", "before"),)]


@pytest.mark.journals("postgresql")
@pytest.mark.parametrize("ends", SOME, ids=words)
def test_a_crash_beside_a_shared_journal(
    tmp_path: Path, shared_standin: StandinProcess, nursery: Nursery, far: Path, ends: tuple[Crash, ...]
) -> None:
    """The same where the journal is on PostgreSQL; with all points by `--journal postgresql`."""
    crash_and_go_on(tmp_path, shared_standin, nursery, far, ends)


def crash_and_go_on(path: Path, shared_standin: StandinProcess, nursery: Nursery, far: Path, ends: tuple[Crash, ...]) -> None:
    """A life for each of these ends, and one more."""
    world = World(path, shared_standin, path.name.replace("_", "-"), {"compressor": {"concurrency": 1}})
    world.write_config(folders=folders_of(world, far))
    shared_standin.set_faults(
        Fault("status", status=422, file="bad*"),
        Fault("status", status=500, file="flaky*", times=1),
        Fault("enqueue", file="job*", polls=0),
    )
    same = small_image(0)
    points = {end.point for end in ends}
    kept = [world.put("a.jpg")]
    kept += [world.put("job.jpg")] if points & {"journal.enqueued", "api.job"} else []
    kept += [world.put("flaky.jpg")] if "journal.postponed" in points else []
    deleted = [world.put("b.jpg", same, path / "deleted")]
    moved = [world.put("sub/c.jpg", None, path / "moved")]
    bad = [world.put("bad.jpg", None, path / "moved")]
    away = [world.put("d.jpg", None, path / "far")]
    content = {file.name: file.read_bytes() for file in (*moved, *bad, *away)}
    for end in ends:
        if end.point == "journal.unchanged":
            nursery.begin("once", "--config", world.config, log=world.log, environment=KEY).wait()
            world.put("a.jpg", kept[0].read_bytes())
        life = nursery.begin("once", "--config", world.config, log=world.log, crash=end, environment=KEY)
        assert -signal.SIGKILL == life.wait(), f"{end} was not passed; {life.errors()}"
    last = nursery.begin("once", "--config", world.config, log=world.log, environment=KEY)
    assert last.wait() in (0, 1), last.errors()

    expected = {(str(file), None): ["stored"] for file in (*kept, *deleted, *moved, *away)}
    expected |= {(str(file), "thumb"): ["stored"] for file in kept}
    expected |= {(str(file), None): ["failed"] for file in bad}
    assert expected == world.endings()
    assert set(world.paid().values()) == {1}
    assert len(world.paid()) == len(expected) - len(bad)
    assert all(file.exists() for file in kept)
    assert not any(file.exists() for file in (*deleted, *moved, *bad, *away))
    for folder, target in ((path / "done", {"c.jpg"}), (path / "rejected", {"bad.jpg"}), (far, {"d.jpg"})):
        found = {each.name: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
        assert {name: content[name] for name in target} == found
    world.assert_nothing_left_over()
    world.assert_audit_is_whole(nursery)
    assert_endings_are_logged(world)


def assert_endings_are_logged(world: World) -> None:
    """Each ending stands in the log of some life, told as the audit file tells it. After a kill it may stand there twice."""
    logged = {(line["id"], line["rendition"]): line for line in read_lines(world.log) if line["event"] in ENDINGS}
    audited = {(line["id"], line["rendition"]): line for line in world.audit()}
    assert logged.keys() == audited.keys()
    for output, line in logged.items():
        assert line == {key: value for key, value in audited[output].items() if key not in ("seq", "prev")}


# --- at random moments ------------------------------------------------------------------------------------------------------

MIXED = (
    Fault("enqueue", share=0.08, polls=1),
    Fault("reset_after", share=0.1),
    Fault("delay_after", share=0.15, seconds=0.3),
    Fault("delay", share=0.15, seconds=0.8),
    Fault("never_after", share=0.01),
)
"""The work is done and answered, or the answer is lost, late, or a job."""


def quick_ends() -> dict[str, object]:
    """A configuration for many short lives; the address stays the same, so that a URL is good again in the next one."""
    serve = {"serve": {"listen": free_address()}}
    return {"drain": "100ms", "compressor": {"timeout": "3s"}, "publish": serve}


def is_quiet(world: World, life: Life, files: int) -> bool:
    """Whether all files have ended, by the audit file."""
    assert life.poll() is None, life.errors()
    return len(world.endings()) >= files


def drop_and_end(world: World, nursery: Nursery, number: signal.Signals, files: int, ends: int, seed: int) -> int:
    """Drop the files while the daemon is ended at random moments, so often; gives how many requests were on their way then."""
    chance = said(seed)
    in_flight, names = 0, [f"{each}.jpg" for each in range(files)]
    for end in range(ends):
        life = nursery.begin("run", "--config", world.config, log=world.log, environment=KEY)
        share = names[end * files // ends : (end + 1) * files // ends]
        until = time.monotonic() + chance.uniform(0.02, LONGEST_LIFE_SECONDS)
        for name in share:
            world.put(name)
        time.sleep(max(0.0, until - time.monotonic()))
        in_flight += world.standin.report()["in_flight"]
        life.signal(number)
        assert life.wait() in (0, -number), life.errors()
    return in_flight


def assert_each_once(world: World, in_flight: int, files: int = FILES) -> None:
    """Each file one ending and one audit line; nothing paid for again but where the store could not know better."""
    expected = {(str(world.drop / f"{number}.jpg"), None): ["stored"] for number in range(files)}
    assert expected == world.endings()
    assert sorted(world.paid()) == sorted(f"products/{number}.jpg" for number in range(files))
    again = sum(world.paid().values()) - files
    print(f"{again} paid again, {in_flight} in flight at the ends, {world.standin.report()['struck']}")
    assert again <= in_flight
    world.assert_store_was_asked()
    assert len(list(world.drop.iterdir())) == files


@pytest.mark.parametrize(
    ("number", "files", "ends", "seed"),
    [
        pytest.param(signal.SIGKILL, 120, 20, 1, id="kill -9 twenty times"),
        pytest.param(signal.SIGTERM, 150, 8, 2, id="SIGTERM eight times"),
        pytest.param(signal.SIGKILL, FILES, 50, 1, id="kill -9 fifty times", marks=pytest.mark.soak),
        pytest.param(signal.SIGTERM, FILES, 16, 2, id="SIGTERM sixteen times", marks=pytest.mark.soak),
    ],
)
def test_ends_at_random_moments_lose_nothing_and_pay_once(
    tmp_path: Path, standin: StandinProcess, nursery: Nursery, number: signal.Signals, files: int, ends: int, seed: int
) -> None:
    """Each drop has one ending, although the daemon is ended again and again and answers are lost and late."""
    world = World(tmp_path, standin, changes=quick_ends())
    standin.set_faults(*MIXED)
    in_flight = drop_and_end(world, nursery, number, files, ends, seed)
    life = nursery.begin("run", "--config", world.config, log=world.log, environment=KEY)
    wait_until(lambda: is_quiet(world, life, files), pause=0.1)
    assert 0 == life.stop()

    assert_each_once(world, in_flight, files)
    world.assert_audit_is_whole(nursery)
    assert_endings_are_logged(world)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_same_of_the_installed_command(tmp_path: Path, standin: StandinProcess, number: signal.Signals) -> None:
    """Fifty ends of real processes, their starts included."""
    world = World(tmp_path, standin, changes=quick_ends())
    standin.set_faults(*MIXED)
    chance, in_flight = said(3), 0
    for end in range(50):
        daemon = Daemon(world.config, KEY)
        for name in range(end * FILES // 50, (end + 1) * FILES // 50):
            world.put(f"{name}.jpg")
        time.sleep(chance.uniform(0.1, 3.0))
        in_flight += standin.report()["in_flight"]
        daemon.signal(number)
        assert daemon.wait() in (0, -number)
    with Daemon(world.config, KEY):
        wait_until(lambda: len(world.endings()) >= FILES, 300)

    assert_each_once(world, in_flight)
    world.assert_audit_is_whole()
