"""The ways in which programs put files into folders, as functions, and what must come out of each.

B numbers are those of the traps of inotify and of watchdog 7.1: B1 new directories, B4 a directory moved out and made again,
B14 a tree moved in, B15 what is and what is not told of a close, B16 moves, B18 names.
"""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tests.support.pictures import encoded, jpeg, photograph

PAUSE = 0.12
"""Between the steps of slow writers: many times what the watcher needs to come and look."""
LONG_AGO = 1_000_000_000
STRANGE_TIMES = {"before.jpg": -(2**31), "beginning.jpg": 0, "far.jpg": 9_300_000_000, "farther.jpg": 13_000_000_000}
"""Seconds of 1901, 1970, 2264 (more nanoseconds than 63 bits hold) and 2381: cameras and broken clocks write such."""


@lru_cache(maxsize=64)
def picture(number: int = 0) -> bytes:
    """A small JPEG; another number is another content."""
    return jpeg(96 + number, 64)


@dataclass(frozen=True)
class Place:
    """`root` is watched; `aside` lies on the same file system and is not; `elsewhere` lies on another one."""

    root: Path
    aside: Path
    elsewhere: Path


@dataclass(frozen=True)
class Way:
    """`images`: what must be taken, as it lies there in the end. `repeats`: those of them that may be taken more than once.

    `left`: what must be left and for which reason; `waited_for`: how many files are still expected to become whole.
    """

    name: str
    act: Callable[[Place], None]
    images: frozenset[str] = frozenset()
    repeats: frozenset[str] = frozenset()
    left: Mapping[str, str] = field(default_factory=dict)
    waited_for: int = 0
    also: frozenset[str] = frozenset()
    """What may be taken on the way, and is not there in the end."""


WAYS: list[Way] = []


def way(
    *images: str,
    repeats: bool = False,
    left: Mapping[str, str] | None = None,
    waited_for: int = 0,
    also: tuple[str, ...] = (),
) -> Callable[[Callable[[Place], None]], Callable[[Place], None]]:
    """Enter a function into the table; its name says what it does."""

    def enter(act: Callable[[Place], None]) -> Callable[[Place], None]:
        again = frozenset(images) if repeats else frozenset()
        WAYS.append(Way(act.__name__.replace("_", " "), act, frozenset(images), again, left or {}, waited_for, frozenset(also)))
        return act

    return enter


def slowly(path: Path, content: bytes, steps: int = 4, mode: str = "wb") -> None:
    """Write in pieces with one descriptor open all the while."""
    size = -(-len(content) // steps)
    with path.open(mode) as file:
        for start in range(0, len(content), size):
            file.write(content[start : start + size])
            file.flush()
            time.sleep(PAUSE)


# --- plain writers ----------------------------------------------------------------------------------------------------------


@way("a.jpg")
def write_and_close(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture())


@way("a.jpg")
def write_slowly(place: Place) -> None:
    slowly(place.root / "a.jpg", picture())


@way("a.jpg", "b.jpg", "c.jpg")
def write_three_at_once_slowly(place: Place) -> None:
    files = [(place.root / name).open("wb") for name in ("a.jpg", "b.jpg", "c.jpg")]
    for part in (picture()[:700], picture()[700:1400], picture()[1400:]):
        for file in files:
            file.write(part)
            file.flush()
            time.sleep(PAUSE / 3)
    for file in files:
        file.close()


@way("a.jpg")
def reopen_and_append(place: Place) -> None:
    path, third = place.root / "a.jpg", len(picture()) // 3
    path.write_bytes(picture()[:third])
    time.sleep(PAUSE)
    for start, end in ((third, 2 * third), (2 * third, None)):
        with path.open("ab") as file:
            file.write(picture()[start:end])
        time.sleep(PAUSE)


@way("a.jpg", repeats=True)
def append_a_trailer_afterwards(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture())
    time.sleep(PAUSE)
    with (place.root / "a.jpg").open("ab") as file:
        file.write(b"trailer of a phone")


@way("a.jpg")
def second_writer_closes_while_the_first_writes(place: Place) -> None:
    path = place.root / "a.jpg"
    with path.open("wb") as first:
        first.write(picture()[:500])
        first.flush()
        with path.open("r+b") as second:
            second.seek(500)
            second.write(picture()[500:])
        time.sleep(PAUSE)
        first.write(picture()[500:900])


@way("a.jpg")
def set_the_size_first_and_fill_it_in(place: Place) -> None:
    with (place.root / "a.jpg").open("wb") as file:
        file.truncate(len(picture()))
        file.flush()
        time.sleep(PAUSE)
        file.write(picture())


@way("a.jpg")
def write_the_end_first(place: Place) -> None:
    with (place.root / "a.jpg").open("wb") as file:
        file.seek(2000)
        file.write(picture()[2000:])
        file.flush()
        time.sleep(PAUSE)
        file.seek(0)
        file.write(picture()[:2000])


@way("a.jpg", repeats=True)
def write_through_a_mapping_after_the_close(place: Place) -> None:
    path, content = place.root / "a.jpg", picture()
    with path.open("w+b") as file:
        file.write(content[:-2] + b"\0\0")
        file.flush()
        mapping = mmap.mmap(file.fileno(), len(content))
    time.sleep(PAUSE)
    mapping[-2:] = content[-2:]
    time.sleep(PAUSE)
    mapping.flush()
    mapping.close()


@way("a.jpg")
def make_it_nameless_and_link_it(place: Place) -> None:
    descriptor = os.open(place.root, os.O_TMPFILE | os.O_RDWR, 0o644)
    os.write(descriptor, picture())
    libc = ctypes.CDLL(None, use_errno=True)
    follow_link = 0x400
    linked = libc.linkat(-100, b"/proc/self/fd/%d" % descriptor, -100, os.fsencode(place.root / "a.jpg"), follow_link)
    assert linked == 0
    time.sleep(PAUSE)
    os.close(descriptor)


@way("a.jpg")
def hold_it_open_for_reading(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture())
    with (place.root / "a.jpg").open("rb"):
        time.sleep(2 * PAUSE)


@way("a.jpg")
def open_for_writing_and_write_nothing(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture())
    time.sleep(2 * PAUSE)
    for _ in range(3):
        os.close(os.open(place.root / "a.jpg", os.O_RDWR))
        time.sleep(PAUSE / 3)


@way("a.jpg")
def empty_first_then_filled(place: Place) -> None:
    (place.root / "a.jpg").touch()
    time.sleep(PAUSE)
    (place.root / "a.jpg").write_bytes(picture())


# --- copies -----------------------------------------------------------------------------------------------------------------


def _original(place: Place, name: str = "original.jpg", number: int = 0) -> Path:
    path = place.aside / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number))
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


@way(*STRANGE_TIMES)
def moved_in_with_strange_times(place: Place) -> None:
    for number, (name, seconds) in enumerate(STRANGE_TIMES.items()):
        path = _original(place, name, number)
        os.utime(path, (seconds, seconds))
        path.rename(place.root / name)


@way("a.jpg")
def copy_with_cp(place: Place) -> None:
    subprocess.run(["cp", _original(place), place.root / "a.jpg"], check=True)


@way("a.jpg")
def copy_with_its_old_times(place: Place) -> None:
    subprocess.run(["cp", "-p", _original(place), place.root / "a.jpg"], check=True)


@way("a.jpg", repeats=True)
def copy_and_set_times_and_mode_after_the_close(place: Place) -> None:
    # a program of its own: in a thread beside a hundred others the moment between close and mode can last as long as a take
    copy = "import os, shutil, sys; shutil.copy2(*sys.argv[1:]); os.chmod(sys.argv[2], 0o640)"
    subprocess.run([sys.executable, "-I", "-S", "-c", copy, _original(place), place.root / "a.jpg"], check=True)


@way("a.jpg")
def copy_from_another_file_system(place: Place) -> None:
    source = place.elsewhere / "a.jpg"
    source.write_bytes(picture())
    subprocess.run(["mv", source, place.root / "a.jpg"], check=True)


@way("a.jpg")
def move_in(place: Place) -> None:
    _original(place).rename(place.root / "a.jpg")


@way("a.jpg")
def hard_link_in(place: Place) -> None:
    os.link(_original(place), place.root / "a.jpg")


@way("a.jpg", "b.jpg")
def hard_link_within(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture())
    os.link(place.root / "a.jpg", place.root / "b.jpg")


TREE = ("one/a.jpg", "one/two/b.jpg", "one/two/three/c.jpg", "one/two/three/four/d.jpg")


def _tree(top: Path) -> Path:
    for number, name in enumerate(TREE):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return top / "one"


@way(*TREE)
def copy_a_tree_with_cp(place: Place) -> None:  # B1
    subprocess.run(["cp", "-r", _tree(place.aside), place.root], check=True)


@way(*TREE)
def unpack_an_archive(place: Place) -> None:  # B1
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(_tree(place.aside), "one")
    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian 12's Python knows none
        archive.extractall(place.root)


@way(*TREE)
def move_a_tree_in(place: Place) -> None:  # B14
    _tree(place.aside).rename(place.root / "one")


@way(*TREE, "one/two/late.jpg")
def write_into_a_tree_that_was_moved_in(place: Place) -> None:  # B14
    _tree(place.aside).rename(place.root / "one")
    time.sleep(PAUSE)
    (place.root / "one/two/late.jpg").write_bytes(picture(9))


@way(*TREE)
def make_directories_and_fill_them_in_one_breath(place: Place) -> None:  # B1
    _tree(place.root)


@way(*(f"{number}/{number}/a.jpg" for number in range(40)))
def rename_within_new_directories(place: Place) -> None:  # B1
    for number in range(40):
        directory = place.root / str(number) / str(number)
        directory.mkdir(parents=True)
        (directory / "a.jpg.part").write_bytes(picture(number % 8))
        (directory / "a.jpg.part").rename(directory / "a.jpg")


@way(*(f"flat-{number:03d}.jpg" for number in range(300)))
def write_three_hundred_at_full_speed(place: Place) -> None:  # B11, B17
    for number in range(300):
        (place.root / f"flat-{number:03d}.jpg").write_bytes(picture(number % 8))


@way(*(f"in-{number:03d}.jpg" for number in range(300)))
def move_three_hundred_in(place: Place) -> None:  # B16
    for number in range(300):
        path = place.aside / f"in-{number:03d}.jpg"
        path.write_bytes(picture(number % 8))
    for number in range(300):
        (place.aside / f"in-{number:03d}.jpg").rename(place.root / f"in-{number:03d}.jpg")


# --- downloads and synchronisers ----------------------------------------------------------------------------------------------


def _by_rename(place: Place, temporary: str, name: str = "a.jpg") -> None:
    path = place.root / temporary
    slowly(path, picture(), steps=2)
    time.sleep(PAUSE)
    path.rename(place.root / name)


@way("a.jpg", left={"Unconfirmed 123.crdownload": "temporary_name"})
def download_with_chromium(place: Place) -> None:
    _by_rename(place, "Unconfirmed 123.crdownload")


@way("a.jpg", left={"a.jpg.part": "temporary_name"})
def download_with_firefox(place: Place) -> None:
    (place.root / "a.jpg").touch()
    _by_rename(place, "a.jpg.part")


@way("a.jpg")
def download_with_safari(place: Place) -> None:
    bundle = place.root / "a.jpg.download"
    bundle.mkdir()
    slowly(bundle / "a.jpg", picture(), steps=2)
    time.sleep(PAUSE)
    (bundle / "a.jpg").rename(place.root / "a.jpg")
    bundle.rmdir()


@way("a.jpg", left={".a.jpg.Xk29sQ": "hidden"})
def synchronise_with_rsync(place: Place) -> None:
    temporary = place.root / ".a.jpg.Xk29sQ"
    slowly(temporary, picture(), steps=2)
    os.utime(temporary, (LONG_AGO, LONG_AGO))
    temporary.rename(place.root / "a.jpg")


@way("a.jpg")
def synchronise_with_rsync_in_place(place: Place) -> None:
    with (place.root / "a.jpg").open("wb") as file:
        for start in range(0, len(picture()), 900):
            file.write(picture()[start : start + 900])
            file.flush()
            time.sleep(PAUSE / 4)
        os.utime(file.fileno(), (LONG_AGO, LONG_AGO))


@way("a.jpg", left={"a.jpg.filepart": "temporary_name"})
def upload_with_winscp(place: Place) -> None:
    _by_rename(place, "a.jpg.filepart")


@way("a.jpg", left={".syncthing.a.jpg.tmp": "hidden"})
def synchronise_with_syncthing(place: Place) -> None:
    _by_rename(place, ".syncthing.a.jpg.tmp")


@way("a.jpg", left={"~syncthing~a.jpg.tmp": "temporary_name"})
def synchronise_with_syncthing_on_windows(place: Place) -> None:
    _by_rename(place, "~syncthing~a.jpg.tmp")


@way("a.jpg", left={".in.a.jpg.": "hidden"})
def upload_with_hidden_stores(place: Place) -> None:
    _by_rename(place, ".in.a.jpg.")


# --- editors ----------------------------------------------------------------------------------------------------------------


@way("a.jpg", repeats=True)
def save_by_replacing(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture(1))
    time.sleep(2 * PAUSE)
    (place.root / "a.jpg.tmp").write_bytes(picture(2))
    (place.root / "a.jpg.tmp").replace(place.root / "a.jpg")


@way("a.jpg", repeats=True, left={"a.jpg~": "temporary_name"})
def save_with_a_backup(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture(1))
    time.sleep(2 * PAUSE)
    (place.root / "a.jpg").rename(place.root / "a.jpg~")
    (place.root / "a.jpg").write_bytes(picture(2))


@way("a.jpg", repeats=True)
def overwrite_in_place(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture(1))
    time.sleep(2 * PAUSE)
    slowly(place.root / "a.jpg", picture(2))


@way("a.jpg", repeats=True)
def rewrite_the_same_bytes(place: Place) -> None:
    for _ in range(2):
        (place.root / "a.jpg").write_bytes(picture())
        time.sleep(2 * PAUSE)


@way("a.jpg", "b.jpg", repeats=True)
def swap_two_files(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture(1))
    (place.root / "b.jpg").write_bytes(picture(2))
    time.sleep(2 * PAUSE)
    (place.root / "a.jpg").rename(place.root / ".swap")
    (place.root / "b.jpg").rename(place.root / "a.jpg")
    (place.root / ".swap").rename(place.root / "b.jpg")


@way("b.jpg", also=("a.jpg",))
def rename_within(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture())
    time.sleep(PAUSE)
    (place.root / "a.jpg").rename(place.root / "b.jpg")


@way("new/a.jpg", "new/deep/b.jpg", "new/deep/late.jpg", also=("old/a.jpg", "old/deep/b.jpg"))
def rename_a_directory_within(place: Place) -> None:  # B16
    (place.root / "old/deep").mkdir(parents=True)
    (place.root / "old/a.jpg").write_bytes(picture())
    (place.root / "old/deep/b.jpg").write_bytes(picture(1))
    time.sleep(2 * PAUSE)
    (place.root / "old").rename(place.root / "new")
    time.sleep(PAUSE)
    (place.root / "new/deep/late.jpg").write_bytes(picture(2))


@way("a.jpg", repeats=True)
def move_out_and_in_again(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture())
    time.sleep(2 * PAUSE)
    (place.root / "a.jpg").rename(place.aside / "a.jpg")
    time.sleep(PAUSE)
    (place.aside / "a.jpg").rename(place.root / "a.jpg")


@way("A/a.jpg")
def move_a_directory_out_and_make_it_again(place: Place) -> None:
    (place.root / "A").mkdir()
    time.sleep(PAUSE)
    (place.root / "A").rename(place.aside / "A")
    (place.root / "A").mkdir()
    time.sleep(PAUSE)
    (place.root / "A/a.jpg").write_bytes(picture())


@way(also=("a.jpg",))
def write_and_delete_at_once(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture())
    (place.root / "a.jpg").unlink()


# --- what is not for us -----------------------------------------------------------------------------------------------------


@way(left={"a.jpg": "not_an_image"})
def text_with_an_image_name(place: Place) -> None:
    (place.root / "a.jpg").write_text("hello")


@way("a.jpg", left={"a.jpg": "not_an_image"})
def text_first_and_then_an_image(place: Place) -> None:
    (place.root / "a.jpg").write_text("hello")
    time.sleep(4 * PAUSE)
    (place.root / "a.jpg").write_bytes(picture())


@way("a.txt", "picture", "x.png")
def images_with_other_names(place: Place) -> None:
    (place.root / "a.txt").write_bytes(picture())
    (place.root / "picture").write_bytes(encoded(photograph(64, 64), "PNG"))
    (place.root / "x.png").write_bytes(encoded(photograph(64, 64), "WEBP"))


JUNK = {
    ".DS_Store": "hidden",
    "._a.jpg": "hidden",
    ".hidden.jpg": "hidden",
    "Thumbs.db": "temporary_name",
    "desktop.ini": "temporary_name",
    "~$letter.jpg": "temporary_name",
    "a.jpg~": "temporary_name",
    "#a.jpg#": "temporary_name",
    "a.TMP": "temporary_name",
}


@way("a.jpg", left=JUNK)
def leavings_of_desktops(place: Place) -> None:
    for name in JUNK:
        (place.root / name).write_bytes(picture())
    (place.root / "a.jpg").write_bytes(picture())


@way("photos/a.jpg")
def directories_of_machines(place: Place) -> None:
    for name in ("@eaDir", ".stversions", "#recycle", "__MACOSX", ".git", "photos"):
        (place.root / name).mkdir()
        (place.root / name / "a.jpg").write_bytes(picture())


@way("a.jpg", left={"pipe.jpg": "not_regular", "socket.jpg": "not_regular"})
def pipes_and_sockets(place: Place) -> None:
    os.mkfifo(place.root / "pipe.jpg")
    make_socket(place.root / "socket.jpg")
    (place.root / "a.jpg").write_bytes(picture())


@way("a.jpg", "link.jpg")
def symbolic_link_to_a_file_inside(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture())
    (place.root / "link.jpg").symlink_to("a.jpg")


@way(left={"out.jpg": "symlink_outside", "absolute.jpg": "symlink_outside"})
def symbolic_links_that_lead_out(place: Place) -> None:
    original = _original(place)
    (place.root / "out.jpg").symlink_to(os.path.relpath(original, place.root))
    (place.root / "absolute.jpg").symlink_to(original)


@way(left={"broken.jpg": "symlink_broken", "loop.jpg": "symlink_broken"})
def symbolic_links_to_nowhere(place: Place) -> None:
    (place.root / "broken.jpg").symlink_to("nothing.jpg")
    (place.root / "loop.jpg").symlink_to("loop.jpg")


@way("photos/a.jpg", left={"again": "not_regular", "away": "symlink_outside"})
def symbolic_links_to_directories(place: Place) -> None:
    _original(place)
    (place.root / "photos").mkdir()
    (place.root / "photos/a.jpg").write_bytes(picture())
    (place.root / "again").symlink_to("photos")
    (place.root / "away").symlink_to(place.aside)


@way(waited_for=2)
def cut_and_empty_files_that_stay(place: Place) -> None:
    (place.root / "cut.jpg").write_bytes(picture()[:800])
    (place.root / "empty.jpg").touch()


# --- names (B18) ------------------------------------------------------------------------------------------------------------

ODD_NAMES = (
    os.fsdecode(b"caf\xe9.jpg"),
    "new\nline.jpg",
    "tab\tand space .jpg",
    "quotes\"'`.jpg",
    "back\\slash.jpg",
    "percent%20.jpg",
    "e\u0301-decomposed.jpg",
    "Фото 写真 📷.jpg",
    "x" * 251 + ".jpg",
    "-rf.jpg",
    "[brackets]*?.jpg",
    os.fsdecode(b"dir\xff\n") + "/a.jpg",
)


@way(*ODD_NAMES)
def odd_names(place: Place) -> None:
    for number, name in enumerate(ODD_NAMES):
        path = place.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(number % 8))


def make_socket(path: Path) -> None:
    """Make a socket at a path of any length: an address holds 107 bytes, less than some temporary directories have."""
    parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{parent}/{path.name}")
    finally:
        os.close(parent)


def exchange(first: Path, second: Path) -> None:
    """renameat2(RENAME_EXCHANGE): both names stay, the files change places."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(-100, os.fsencode(first), -100, os.fsencode(second), 2) == 0


@way("a.jpg", repeats=True)
def exchange_with_a_file_outside(place: Place) -> None:
    (place.root / "a.jpg").write_bytes(picture(1))
    time.sleep(2 * PAUSE)
    exchange(_original(place, number=2), place.root / "a.jpg")


FORMATS = {
    "a.jpeg": "JPEG",
    "a.png": "PNG",
    "a.webp": "WEBP",
    "a.gif": "GIF",
    "a.avif": "AVIF",
    "a.tiff": "TIFF",
    "a.bmp": "BMP",
    "a.ico": "ICO",
}


@way(*FORMATS, "a.svg")
def every_format(place: Place) -> None:
    for name, kind in FORMATS.items():
        (place.root / name).write_bytes(encoded(photograph(64, 64), kind))
    (place.root / "a.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>\n')
