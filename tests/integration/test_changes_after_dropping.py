"""What becomes of files that change after they were dropped: again, elsewhere, before their turn, under way, and put away.

Against the running daemon. Each test is one life of it, with a folder for each case, all of them at the same time.
"""

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.became import Became, Bucket
from tests.support.daemon import Daemon, wait_until
from tests.support.scenes import Scene, play
from tests.support.standin import Fault, StandinProcess, rewrap
from tests.support.ways import exchange, make_socket, picture
from tests.support.world import KEY, World


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    """The API stand-in, as a process of its own."""
    with StandinProcess() as process:
        yield process


# --- the same again, and elsewhere --------------------------------------------------------------------------------------------


def touched(scene: Scene) -> None:
    paths = [scene.put(f"{number}.jpg", picture(number)) for number in range(4)]
    for path in paths:
        scene.until(path, "stored")
    os.utime(paths[0])
    paths[1].chmod(0o600)
    paths[2].write_bytes(picture(2))
    (scene.root / "copy").write_bytes(picture(3))
    (scene.root / "copy").replace(paths[3])
    for path in paths:
        scene.until(path, "stored", "unchanged")
    for path in paths:
        path.write_bytes(picture(9))
        scene.until(path, "stored", "unchanged", "stored")
        assert scene.object_of(path) == rewrap(picture(9))


def moved_to_another_key(scene: Scene) -> None:
    before = scene.put("one/a.jpg", picture())
    scene.until(before, "stored")
    (scene.root / "two").mkdir()
    after = before.rename(scene.root / "two/a.jpg")
    scene.until(after, "stored")
    assert scene.stored(before)[0]["key"] != scene.stored(after)[0]["key"]


def moved_to_the_same_key(scene: Scene) -> None:
    before = scene.put("one/a.jpg", picture())
    scene.until(before, "stored")
    (scene.root / "two").mkdir()
    after = before.rename(scene.root / "two/a.jpg")
    scene.until(after, "unchanged")
    after.write_bytes(picture(1))
    scene.until(after, "unchanged", "stored")


def two_files_of_one_key(scene: Scene) -> None:
    first = scene.put("one/a.jpg", picture(1))
    scene.until(first, "stored")
    second = scene.put("two/a.jpg", picture(2))
    scene.until(second, "failed")
    (failed,) = Became.of(scene.daemon.lines).failed[bytes(second)]
    assert failed["reason"] == "key_conflict"
    assert scene.object_of(first) == rewrap(picture(1))


def directory_away_and_back(scene: Scene) -> None:
    path = scene.put("deep/a.jpg", picture())
    scene.until(path, "stored")
    away = (scene.root / "deep").rename(scene.root.parent / "away")
    scene.until(scene.put("heard.jpg", picture(1)), "stored")
    away.rename(scene.root / "deep")
    scene.until(scene.put("deep/b.jpg", picture(2)), "stored")
    assert len(scene.stored(path)) == 1


def directory_away_over_scans_and_back(scene: Scene) -> None:
    paths = [scene.put("deep/a.jpg", picture()), scene.put("deep/er/b.jpg", picture(1))]
    for path in paths:
        scene.until(path, "stored")
    _over_scans()
    away = (scene.root / "deep").rename(scene.root.parent / "away over scans")
    _over_scans()
    away.rename(scene.root / "deep")
    _over_scans()
    assert [Became.of(scene.daemon.lines).endings(path) for path in paths] == [["stored"]] * 2
    detected = Became.of(scene.daemon.lines).detected
    assert [len(set(detected[bytes(path)])) for path in paths] == [1, 1]


def _over_scans() -> None:
    """Long enough for two scans, which are a second apart."""
    time.sleep(2.5)


def own_output_dropped_back(scene: Scene) -> None:
    path = scene.put("a.jpg", picture())
    scene.until(path, "stored")
    output = scene.object_of(path)
    assert output is not None
    back = scene.put("back.jpg", output)
    scene.until_ignored(back, "own_output")
    path.write_bytes(output)
    scene.until_ignored(path, "own_output")
    assert scene.stored(back) == []


def given_up_and_made_good(scene: Scene) -> None:
    cut, empty = scene.put("cut.jpg", picture()[:900]), scene.put("empty.jpg", b"")
    for path, reason in ((cut, "truncated"), (empty, "empty")):
        wait_until(lambda path=path: Became.of(scene.daemon.lines).failed.get(bytes(path)))
        assert [line["reason"] for line in Became.of(scene.daemon.lines).failed[bytes(path)]] == [reason]
    with cut.open("ab") as file:
        file.write(picture()[900:])
    empty.write_bytes(picture(1))
    for path in (cut, empty):
        scene.until(path, "stored")


def without_formal_end(scene: Scene) -> None:
    path = scene.put("a.jpg", picture()[:-2])
    scene.until(path, "stored")
    (line,) = scene.stored(path)
    assert line["warnings"] == ["no_formal_end"]
    assert scene.object_of(path) == rewrap(picture()[:-2])
    path.write_bytes(picture())
    scene.until(path, "stored", "stored")
    assert "warnings" not in scene.stored(path)[1]


def named_otherwise(scene: Scene) -> None:
    path = scene.put("photo.png", picture() + b"what a phone adds")
    scene.until(path, "stored")
    assert scene.stored(path)[0]["input"]["format"] == "jpeg"
    text = scene.put("text.jpg", b"no image at all")
    scene.until_ignored(text, "not_an_image")
    text.write_bytes(picture(1))
    scene.until(text, "stored")


SAME_AGAIN = {
    "touched": touched,
    "moved to another key": moved_to_another_key,
    "moved to the same key": moved_to_the_same_key,
    "two files of one key": two_files_of_one_key,
    "directory away and back": directory_away_and_back,
    "directory away over scans and back": directory_away_over_scans_and_back,
    "own output": own_output_dropped_back,
    "made good": given_up_and_made_good,
    "without formal end": without_formal_end,
    "named otherwise": named_otherwise,
}
FLAT = {"store": {"path": "{folder}/{name}"}}


def test_nothing_is_paid_twice_and_nothing_new_is_missed(standin: StandinProcess, tmp_path: Path) -> None:
    """Touched, rewritten, moved, dropped back in, given up and made good: looked at by hash, sent only where that is new."""
    world = World(tmp_path, standin)
    tables = {"moved to the same key": FLAT, "two files of one key": FLAT}
    lines = play(world, SAME_AGAIN, tables, rescan="1s", max_wait="2s")

    became = Became.of(lines)
    assert became.sent_again() == []
    assert sum(world.paid().values()) == became.count("image.stored")


# --- before their turn --------------------------------------------------------------------------------------------------------


def test_what_happens_to_files_before_their_turn(standin: StandinProcess, tmp_path: Path) -> None:
    """Deleted: vanished. Replaced, moved: the older version is superseded or vanished. Swapped for a link: not followed."""
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(picture(50))
    standin.set_faults(Fault("delay", seconds=2.0, times=2, file="slow*"))

    def act(scene: Scene) -> None:
        for number in range(3):
            scene.put(f"slow-{number}.jpg", picture(number))
        wait_until(lambda: len(scene.daemon.events("image.detected")) == 3)
        deleted, replaced, moved, swapped, parent = (
            scene.put(f"{name}/a.jpg", picture(number))
            for number, name in enumerate(("deleted", "replaced", "moved", "swapped", "parent"), 10)
        )
        wait_until(lambda: len(scene.daemon.events("image.detected")) == 8)
        deleted.unlink()
        replaced.write_bytes(picture(20))
        elsewhere = moved.rename(moved.with_name("b.jpg"))
        swapped.unlink()
        swapped.symlink_to(secret)
        parent.parent.rename(tmp_path / "taken away")
        shutil.copy(secret, tmp_path / "a.jpg")
        parent.parent.symlink_to(tmp_path)
        scene.until(deleted, "vanished")
        scene.until(replaced, "superseded", "stored")
        scene.until(moved, "vanished")
        scene.until(elsewhere, "stored")
        scene.until(swapped, "superseded")
        scene.until_ignored(swapped, "symlink_outside")
        wait_until(lambda: Became.of(scene.daemon.lines).endings(parent) in (["vanished"], ["superseded"]))

    world = World(tmp_path, standin)
    became = Became.of(play(world, {"drop": act}, {}, compressor={"concurrency": 1}))

    assert became.count("image.stored") == sum(world.paid().values()) == 5
    with Bucket(standin) as bucket:
        assert all(bucket.get(key) != rewrap(secret.read_bytes()) for key in world.paid())


# --- under way ----------------------------------------------------------------------------------------------------------------


def replaced_by_a_rename(scene: Scene) -> None:
    path = scene.put("a.jpg", picture(1))
    under_way(scene, path)
    (scene.root / ".new").write_bytes(picture(2))
    (scene.root / ".new").replace(path)
    scene.until(path, "stored", "stored")
    assert scene.object_of(path) == rewrap(picture(2))


def overwritten_in_place(scene: Scene) -> None:
    path = scene.put("a.jpg", picture(1))
    under_way(scene, path)
    path.write_bytes(picture(2))
    scene.until(path, "superseded", "stored")
    assert scene.object_of(path) == rewrap(picture(2))


def deleted(scene: Scene) -> None:
    path = scene.put("a.jpg", picture(1))
    under_way(scene, path)
    path.unlink()
    scene.until(path, "stored")
    assert scene.object_of(path) == rewrap(picture(1))


def changed_rights(scene: Scene) -> None:
    path = scene.put("a.jpg", picture(1))
    under_way(scene, path)
    path.chmod(0o600)
    wait_until(lambda: Became.of(scene.daemon.lines).endings(path)[:1] == ["stored"])


def requested(scene: Scene, path: Path) -> list[dict[str, Any]]:
    return scene.daemon.events("image.requested", file=str(path))


def under_way(scene: Scene, path: Path) -> None:
    """Until the request is at the API, which takes its time before it fetches the file."""
    wait_until(lambda: requested(scene, path))


def exchanged(scene: Scene) -> None:
    path, other = scene.put("a.jpg", picture(1)), scene.put("b.jpg", picture(2))
    under_way(scene, path)
    under_way(scene, other)
    exchange(path, other)
    wait_until(lambda: all(Became.of(scene.daemon.lines).is_stored(each) for each in (path, other)))
    assert [scene.object_of(each) for each in (path, other)] == [rewrap(picture(2)), rewrap(picture(1))]


UNDER_WAY = {
    "replaced": replaced_by_a_rename,
    "overwritten": overwritten_in_place,
    "deleted": deleted,
    "chmod": changed_rights,
    "exchanged": exchanged,
}


def test_what_changes_while_it_is_fetched_ends_up_right(standin: StandinProcess, tmp_path: Path) -> None:
    """What lies in the bucket in the end is what lies in the folder, and no version fails because it was overwritten."""
    standin.set_faults(Fault("delay", seconds=0.7))
    became = Became.of(play(World(tmp_path, standin), UNDER_WAY, {}, rescan="1s"))

    assert became.count("image.failed") == 0


@pytest.mark.parametrize(
    "faults", [(Fault("delay_after", seconds=0.7, times=1), Fault("wrong_sha1", times=1)), (Fault("reset_after", times=1),)]
)
def test_what_may_have_been_overwritten_is_sent_again(standin: StandinProcess, tmp_path: Path, faults: tuple[Fault, ...]) -> None:
    """A version is stored, a second one is stored with an answer that says something else or is lost, and the first comes back:
    the bucket must not be believed to hold it still."""

    def act(scene: Scene) -> None:
        path = scene.put("a.jpg", picture(1))
        scene.until(path, "stored")
        standin.set_faults(*faults)
        path.write_bytes(picture(2))
        scene.daemon.wait_for("image.fetched", 2)
        path.write_bytes(picture(1))
        scene.until(path, "stored", "superseded", "stored")
        assert scene.object_of(path) == rewrap(picture(1))

    play(World(tmp_path, standin), {"drop": act}, {}, verify={"mode": "never"})


# --- put away -----------------------------------------------------------------------------------------------------------------


def gone(scene: Scene) -> None:
    path = scene.put("deep/a.jpg", picture(1))
    scene.until(path, "stored")
    wait_until(lambda: not path.exists())
    path.write_bytes(picture(2))
    scene.until(path, "stored", "stored")
    wait_until(lambda: not path.exists())


def moved_aside(scene: Scene) -> None:
    target: Path = scene.table["on_success"]["move"]
    for number, name in enumerate(("a.jpg", "a-1.jpg", "a-2.jpg")):
        path = scene.put("deep/a.jpg", picture(number))
        wait_until((target / "deep" / name).exists)
        assert (target / "deep" / name).read_bytes() == picture(number)
        wait_until(lambda path=path: not path.exists())
    scene.until(scene.root / "deep/a.jpg", "stored", "stored", "stored")


def rejected(scene: Scene) -> None:
    good, bad = scene.put("deep/good.jpg", picture(1)), scene.put("deep/bad.jpg", picture(2))
    scene.until(good, "stored")
    scene.until(bad, "failed")
    wait_until(lambda: not bad.exists())
    assert good.exists()
    assert (scene.table["on_failure"]["move"] / "deep/bad.jpg").read_bytes() == picture(2)


def newer_stays(scene: Scene) -> None:
    path = scene.put("late-a.jpg", picture(1))
    scene.daemon.wait_for("image.fetched", name=path.name)
    (scene.root / ".new").write_bytes(picture(2))
    (scene.root / ".new").replace(path)
    scene.until(path, "stored", "stored")
    deleted = scene.daemon.wait_for("image.deleted", file=str(path))
    assert not path.exists()
    assert len(deleted) == 1, "the newer one, after its own ending"


@pytest.mark.journals("sqlite", "postgresql")
def test_originals_are_put_away_after_their_endings(standin: StandinProcess, tmp_path: Path) -> None:
    """Deleted or moved, within the file system and to another one, never over what is there, and only the version that was
    taken; the folders are kept, and a target inside a watched folder is not watched."""
    standin.set_faults(Fault("status", status=422, file="bad*"), Fault("delay_after", seconds=2.0, file="late*"))
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as elsewhere:
        world = World(tmp_path, standin)
        tables: dict[str, dict[str, Any]] = {
            "delete": {"on_success": "delete"},
            "newer": {"on_success": "delete"},
            "inside": {"on_success": {"move": world.drop / "inside/done"}},
            "beside": {"on_success": {"move": tmp_path / "done"}},
            "elsewhere": {"on_success": {"move": Path(elsewhere) / "done"}},
            "rejected": {"on_failure": {"move": tmp_path / "rejected"}},
        }
        acts = dict.fromkeys(tables, moved_aside) | {"delete": gone, "newer": newer_stays, "rejected": rejected}
        became = Became.of(play(world, acts, tables, rescan="1s"))

    assert became.detected_in(world.drop / "inside/done") == {}
    world.assert_nothing_left_over()


# --- what must not be opened or cannot be --------------------------------------------------------------------------------------


def test_pipes_sockets_and_devices_are_never_opened(standin: StandinProcess, tmp_path: Path) -> None:
    """They are told apart by stat alone: opening one could block, or do something."""
    if shutil.which("inotifywait") is None:
        pytest.skip("inotifywait is not installed")
    opened = tmp_path / "opened.txt"

    def act(scene: Scene) -> None:
        aside = scene.root / ".aside"
        aside.mkdir()
        os.mkfifo(aside / "pipe.jpg")
        make_socket(aside / "socket.jpg")
        with contextlib.suppress(PermissionError):  # only root can make devices
            os.mknod(aside / "device.jpg", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        special = [path.name for path in aside.iterdir()]
        command = ["inotifywait", "-m", "-e", "open", "--format", "%w", *(str(aside / name) for name in special)]
        with opened.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE) as watching:
            assert watching.stderr is not None
            wait_until(lambda: b"established" in watching.stderr.readline())
            for name in special:
                (aside / name).rename(scene.root / name)
                scene.until_ignored(scene.root / name, "not_regular")
            watching.terminate()

    play(World(tmp_path, standin), {"drop": act}, {}, rescan="1s")

    assert opened.read_text() == ""


def test_what_cannot_be_read_is_said_once_and_taken_when_it_can_be(standin: StandinProcess, tmp_path: Path) -> None:
    """A daemon without the powers of root: files and a directory whose modes are changed are taken without a restart, also those
    of another user, on which no lease is to be had."""
    within: list[str] = []
    if os.geteuid() == 0:
        within = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search,-lease"]
    world = World(tmp_path, standin)
    world.write_config(log={"level": "debug"}, settle="500ms", rescan="1s")
    closed = world.drop / "closed"
    closed.mkdir()
    paths = [world.drop / "mine.jpg", world.drop / "theirs.jpg", closed / "mine.jpg", closed / "theirs.jpg"]
    for path in paths:
        path.write_bytes(picture())
        if os.geteuid() == 0 and path.name == "theirs.jpg":
            os.chown(path, 12345, 12345)
    for path in (paths[0], paths[1], closed):
        path.chmod(0)
    with Daemon(world.config, KEY, within=within) as daemon:
        wait_until(lambda: len(daemon.events("image.ignored", reason="unreadable")) == 3)
        daemon.wait_for("scan.finished", 3)
        assert len(daemon.events("image.ignored")) == 3
        for path in (paths[0], paths[1], closed):
            path.chmod(0o755)
        daemon.wait_for("image.stored", 4)
        assert daemon.errors == []


def test_rsync_itself(standin: StandinProcess, tmp_path: Path) -> None:
    """The real program, with its temporary names and without: each file is stored as it is in the end."""
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "deep/b.jpg")):
        (source / name).write_bytes(picture(number))

    def synchronise(scene: Scene) -> None:
        options = ["--inplace"] if scene.root.name == "in place" else []
        subprocess.run(["rsync", "-a", *options, f"{source}/", f"{scene.root}/"], check=True)
        for name in ("a.jpg", "deep/b.jpg"):
            wait_until(lambda name=name: Became.of(scene.daemon.lines).is_stored(scene.root / name))

    became = Became.of(play(World(tmp_path, standin), {"plain": synchronise, "in place": synchronise}, {}))

    assert became.sent_again() == []
    assert became.count("image.failed") == 0
