"""Random interleavings of what people do in a folder, and of the daemon's deaths: what lies there in the end lies in the bucket.

Each example is a history: writes, appends, renames, replacements, deletions, directories made and moved, touches, and the daemon
killed or restarted in between. The model is the folder itself as it is in the end.
"""

import hashlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.support.became import Bucket
from tests.support.daemon import wait_until
from tests.support.lives import Life, Nursery
from tests.support.standin import StandinProcess, rewrap
from tests.support.world import KEY, World, free_address, small_image

CONTENTS = [small_image(number) for number in range(6)]
WHOLE = {hashlib.sha1(content, usedforsecurity=False).hexdigest() for content in CONTENTS}
TAKEN = ("a.jpg", "b.jpg", "one/a.jpg", "one/two/c.jpg", "three/b.jpg")
IGNORED = ("a.jpg.part", ".b.jpg", "one/a.jpg~", "@eaDir/a.jpg", ".three/b.jpg")
DIRECTORIES = ("one", "one/two", "three", "four")

paths = st.sampled_from(TAKEN + TAKEN + IGNORED)
contents = st.sampled_from(range(len(CONTENTS)))
steps = st.one_of(
    st.tuples(st.just("write"), paths, contents),
    st.tuples(st.just("begin"), paths, contents),
    st.tuples(st.just("finish")),
    st.tuples(st.just("replace"), paths, contents),
    st.tuples(st.just("rename"), paths, paths),
    st.tuples(st.just("delete"), paths),
    st.tuples(st.just("touch"), paths),
    st.tuples(st.just("chmod"), paths),
    st.tuples(st.just("move_tree"), st.sampled_from(DIRECTORIES), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("away_and_back"), st.sampled_from(DIRECTORIES)),
    st.tuples(st.just("look"), st.sampled_from(TAKEN)),
    st.tuples(st.just("kill")),
    st.tuples(st.just("restart")),
)
_numbers = itertools.count(1)


class History:
    """A folder, the daemon over it, and whoever works in it. A step that finds nothing to work on does nothing."""

    def __init__(self, world: World, nursery: Nursery) -> None:
        self.world = world
        self.nursery = nursery
        self.begun: list[tuple[Path, bytes]] = []
        self.longer: set[str] = set()
        """The SHA-1s of whole images to which something was appended: bytes behind the end do no harm."""
        self.life = self.begin_life()

    def begin_life(self) -> Life:
        return self.nursery.begin("run", "--config", self.world.config, log=self.world.log, environment=KEY)

    def take(self, step: tuple[Any, ...]) -> None:
        name, *arguments = step
        with suppress(OSError):
            getattr(self, f"step_{name}")(*arguments)

    def path(self, name: str) -> Path:
        path = self.world.drop / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def step_write(self, name: str, number: int) -> None:
        self.path(name).write_bytes(CONTENTS[number])

    def step_begin(self, name: str, number: int) -> None:
        path, content = self.path(name), CONTENTS[number]
        path.write_bytes(content[:200])
        self.begun.append((path, content[200:]))

    def step_finish(self) -> None:
        if self.begun:
            path, rest = self.begun.pop()
            with path.open("ab") as file:
                file.write(rest)
            content = path.read_bytes()
            if content.startswith(tuple(CONTENTS)):
                self.longer.add(hashlib.sha1(content, usedforsecurity=False).hexdigest())

    def step_replace(self, name: str, number: int) -> None:
        path = self.path(name)
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(CONTENTS[number])
        temporary.replace(path)

    def step_rename(self, name: str, other: str) -> None:
        self.path(name).rename(self.path(other))

    def step_delete(self, name: str) -> None:
        self.path(name).unlink()

    def step_touch(self, name: str) -> None:
        os.utime(self.path(name))

    def step_chmod(self, name: str) -> None:
        self.path(name).chmod(0o600)

    def step_move_tree(self, name: str, other: str) -> None:
        (self.world.drop / name).rename(self.world.drop / other)

    def step_away_and_back(self, name: str) -> None:
        away = self.world.path / "away"
        (self.world.drop / name).rename(away)
        away.rename(self.world.drop / name)

    def step_look(self, name: str) -> None:
        """Let the daemon come so far that this file has its ending."""
        if name in self.present():
            wait_until(lambda: self.is_stored(name))

    def step_kill(self) -> None:
        self.life.kill()
        self.life = self.begin_life()

    def step_restart(self) -> None:
        self.life.wait_for("service.ready")
        self.life.stop()
        self.life = self.begin_life()

    def clear_up(self) -> None:
        """What is still cut goes: nobody knows how long it would have taken."""
        for path in self.world.drop.rglob("*"):
            if path.is_file() and path.read_bytes() not in CONTENTS:
                path.unlink()

    def present(self) -> list[str]:
        """The whole images that lie there under names that are taken."""
        found = [path for path in self.world.drop.rglob("*") if path.is_file() and path.read_bytes() in CONTENTS]
        return [name for name in (str(path.relative_to(self.world.drop)) for path in found) if not is_ignored(name)]

    def stored(self, name: str) -> list[dict[str, Any]]:
        """The endings of a file that tell of an object, oldest first."""
        file = str(self.world.drop / name)
        return [line for line in self.world.audit() if line["file"] == file and line["event"] == "image.stored"]

    def is_stored(self, name: str) -> bool:
        """Whether what was stored last of a file is what lies there."""
        lines = self.stored(name)
        content = (self.world.drop / name).read_bytes()
        return bool(lines) and lines[-1]["input"]["sha1"] == hashlib.sha1(content, usedforsecurity=False).hexdigest()

    def missing(self) -> list[str]:
        """What lies there and is not stored."""
        return [name for name in self.present() if not self.is_stored(name)]


def is_ignored(name: str) -> bool:
    """Whether a name of this module is one that is never taken (it may have been moved elsewhere with its directory)."""
    return any(part.startswith((".", "@")) for part in name.split("/")) or name.endswith((".part", "~"))


@pytest.fixture(scope="module")
def standin() -> Iterator[StandinProcess]:
    """The API stand-in; each example has a bucket of its own in it."""
    with StandinProcess() as process:
        yield process


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Where the daemons come from."""
    with Nursery() as process:
        yield process


def run(history: History, bucket: Bucket, taken: list[tuple[Any, ...]]) -> None:
    """Live through the steps, and hold the end to the promises."""
    world = history.world
    for step in taken:
        history.take(step)
    history.clear_up()
    history.life.wait_for("service.ready")
    wait_until(lambda: history.missing() == [])
    assert history.life.stop() == 0
    endings = len(world.audit())
    once = history.nursery.begin("once", "--config", world.config, log=world.log, environment=KEY)
    assert once.wait() == 0, once.errors()

    assert history.missing() == []
    stored = [line for line in world.audit() if line["event"] == "image.stored"]
    assert {line["input"]["sha1"] for line in stored} <= WHOLE | history.longer, "nothing half was taken"
    assert [line["file"] for line in world.audit() if is_ignored(os.path.relpath(line["file"], world.drop))] == []
    for name in history.present():
        key = history.stored(name)[-1]["key"]
        assert bucket.get(key) == rewrap((world.drop / name).read_bytes()), name
    assert {line["event"] for line in world.audit()[endings:]} <= {"image.vanished", "image.superseded"}, "the daemon saw it all"
    assert open_images(history) == []
    world.assert_audit_is_whole(history.nursery)


def open_images(history: History) -> list[dict[str, Any]]:
    """Versions that were taken and have no ending."""
    log = history.world.path / "list.jsonl"
    life = history.nursery.begin("list", "--json", "--config", history.world.config, log=log)
    assert life.wait() == 0, life.errors()
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert rows or not history.world.audit()
    return [row for row in rows if row["state"] in ("waiting", "requested", "enqueued")]


def histories(tmp_path_factory: pytest.TempPathFactory, standin: StandinProcess, nursery: Nursery, taken: Any) -> None:
    """One example."""
    path = tmp_path_factory.mktemp("history")
    changes = {"drain": "100ms", "publish": {"serve": {"listen": free_address()}}, "rescan": "2s"}
    world = World(path, standin, f"history-{next(_numbers)}", changes)
    history = History(world, nursery)
    try:
        with Bucket(standin, world.bucket) as bucket:
            run(history, bucket, taken)
    finally:
        history.life.signal(signal.SIGKILL)
        shutil.rmtree(path)


@settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(taken=st.lists(steps, min_size=6, max_size=30))
def test_what_lies_there_in_the_end_lies_in_the_bucket(
    tmp_path_factory: pytest.TempPathFactory, standin: StandinProcess, nursery: Nursery, taken: list[tuple[Any, ...]]
) -> None:
    """Each whole image has its object, each version one ending, nothing half or ignored was taken, and the audit is sound."""
    histories(tmp_path_factory, standin, nursery, taken)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(max_examples=300, deadline=None)
@given(taken=st.lists(steps, min_size=10, max_size=60))
def test_the_same_of_many_more(
    tmp_path_factory: pytest.TempPathFactory, standin: StandinProcess, nursery: Nursery, taken: list[tuple[Any, ...]]
) -> None:
    """The same over histories that nobody has seen before."""
    histories(tmp_path_factory, standin, nursery, taken)
