"""Queries of images that leave out what is out of reach, on a database."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcher.model import FileRef, Subtree
from watcher.records.reach import WITHIN_REACH, within_reach

QUERY = f"SELECT folder, relative FROM images WHERE 1 = 1 {WITHIN_REACH} ORDER BY folder, relative"
IMAGES = [
    ("local", b"nas/a.jpg"),
    ("products", b"a.jpg"),
    ("products", b"nas"),
    ("products", b"nas-old/a.jpg"),
    ("products", b"nas/a.jpg"),
    ("products", b"nas/deep/\xff.jpg"),
    ("products", b"nas0"),
]


@pytest.fixture
def images() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE images (folder TEXT, relative BLOB)")
    connection.executemany("INSERT INTO images VALUES (?, ?)", IMAGES)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "away",
    [
        (),
        (Subtree("products"),),
        (Subtree("products", b"nas"),),
        (Subtree("products", b"nas/deep"), Subtree("local")),
        (Subtree("products", b"a.jpg"), Subtree("elsewhere", b"nas")),
    ],
    ids=["nothing", "a folder", "a mount in it", "both", "others"],
)
def test_what_is_left_is_what_no_subtree_holds(images: sqlite3.Connection, away: tuple[Subtree, ...]) -> None:
    """Neither a name that only begins alike nor the same path in another folder is left out."""

    query, values = within_reach(QUERY, away)
    expected = [each for each in IMAGES if not any(top.holds(FileRef(each[0], Path("/srv"), each[1])) for top in away)]
    assert images.execute(query, values).fetchall() == expected
