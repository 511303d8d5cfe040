"""Random histories of a folder, with restarts in between: in the end exactly what lies there has been taken."""

import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.drops import Drops, drops, in_thread, until
from tests.support.ways import picture
from watcher.model import Event

NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg.part", ".e.jpg", "f.jpg~")
DIRECTORIES = ("", "one", "one/two", "three", "@eaDir")
STEPS = 120


class Life:
    """Somebody who works in a folder. Steps that find nothing to work on do nothing."""

    def __init__(self, root: Path, aside: Path, seed: int) -> None:
        self.root, self.aside = root, aside
        self.random = random.Random(seed)
        self.open: list[tuple[Path, list[bytes]]] = []
        self.linked: set[int] = set()
        """Inodes that had two names at some time: what is written through one is told of that name only."""
        steps: dict[Callable[[], None], int] = {
            self.write: 6,
            self.begin: 3,
            self.go_on: 8,
            self.replace: 3,
            self.rename: 3,
            self.delete: 2,
            self.link: 1,
            self.move_directory: 2,
            self.move_out_and_in: 2,
            self.touch: 1,
            self.text: 1,
        }
        self.steps, self.weights = list(steps), list(steps.values())

    def live(self, count: int) -> None:
        for _ in range(count):
            try:
                self.random.choices(self.steps, self.weights)[0]()
            except OSError:
                continue  # the directory was moved away under its file: so it goes

    def path(self) -> Path:
        path = self.root / self.random.choice(DIRECTORIES) / self.random.choice(NAMES)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def content(self) -> bytes:
        return picture(self.random.randrange(8))

    def write(self) -> None:
        self.path().write_bytes(self.content())

    def begin(self) -> None:
        content, path = self.content(), self.path()
        cut = self.random.randrange(1, len(content))
        path.write_bytes(content[:cut])
        self.open.append((path, [content[cut:]]))

    def go_on(self) -> None:
        if self.open:
            path, rest = self.open.pop(self.random.randrange(len(self.open)))
            with path.open("ab") as file:
                file.write(rest[0])

    def replace(self) -> None:
        path = self.path()
        temporary = path.with_name(f".{path.name}.{self.random.randrange(1_000_000)}")
        temporary.write_bytes(self.content())
        temporary.replace(path)

    def rename(self) -> None:
        self.path().rename(self.path())

    def delete(self) -> None:
        self.path().unlink()

    def link(self) -> None:
        path = self.path()
        os.link(path, self.path())
        self.linked.add(path.stat().st_ino)

    def move_directory(self) -> None:
        source = self.root / self.random.choice(DIRECTORIES[1:])
        source.rename(self.root / self.random.choice(("four", "five", "one/six")))

    def move_out_and_in(self) -> None:
        source = self.root / self.random.choice(DIRECTORIES[1:])
        away = self.aside / str(self.random.randrange(1_000_000))
        source.rename(away)
        if self.random.random() < 0.7:
            away.rename(source)
        else:
            shutil.rmtree(away)

    def touch(self) -> None:
        os.utime(self.path(), (self.random.randrange(10**9),) * 2)

    def text(self) -> None:
        self.path().write_text("not an image")


def whole_images(root: Path) -> set[str]:
    """What lies there in the end and is to be taken: written out here once more, apart from the rules."""
    whole = {picture(number) for number in range(12)}
    found = set()
    for path in root.rglob("*.jpg"):
        relative = path.relative_to(root)
        hidden = any(part.startswith(".") or part == "@eaDir" for part in relative.parts)
        content = b"" if hidden else path.read_bytes()
        if any(content.startswith(each) for each in whole):  # bytes behind the end do no harm
            found.add(str(relative))
    return found


async def is_taken(bench: Drops, relative: str) -> bool:
    """Whether what lies there was taken. Of a touch and of another hard link no event tells, so times are left to the scans."""
    assert bench.intake.alive()
    directory, _, name = os.fsencode(relative).rpartition(b"/")
    known, now = (await bench.journal.known("drop", directory)).get(name), bench.observation(relative)
    return known is not None and (known.ignored, known.observation.inode, known.observation.size) == (None, now.inode, now.size)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("polling", [False, True])
async def test_what_lies_there_in_the_end_has_been_taken(seed: int, polling: bool, tmp_path: Path) -> None:
    """In its last version, each version once, and nothing that is no whole image or has no final name."""
    aside = tmp_path / "aside"
    aside.mkdir()
    async with drops(tmp_path, polling=polling, times={"settle": 0.05}) as bench:
        life = Life(bench.root, aside, seed)
        for _ in range(3):
            await in_thread(life.live, STEPS // 6)
            await bench.intake.stop()
            await in_thread(life.live, STEPS // 6)
            bench.intake = bench.new_intake()
            await bench.intake.start()
        await in_thread(life.live, STEPS // 6)
        expected = await in_thread(whole_images, bench.root)
        if polling:
            await bench.intake.rescan()
        else:
            await bench.until_heard()
            for relative in [each for each in expected if (bench.root / each).stat().st_ino not in life.linked]:
                await until(partial(is_taken, bench, relative))  # by events alone; linked files are left to the scan below
            await bench.intake.rescan()
        for relative in expected:
            await until(partial(is_taken, bench, relative))

        names = [Path(name) for name in bench.taken()]
        assert all(name.suffix == ".jpg" and not name.name.startswith(".") and "@eaDir" not in name.parts for name in names)
        identities = [line["id"] for line in bench.said(Event.IMAGE_DETECTED)]
        assert len(set(identities)) == len(identities)
