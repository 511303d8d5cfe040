"""The database refuses what the code must never do, whoever asks."""

import sqlite3
from collections.abc import Iterator

import pytest

from watcher.records import database

IMAGE = """INSERT INTO images (id, folder, relative, rule, size, mtime_ns, ctime_ns, inode, detected_at, newest)
           VALUES ('{id}', 'f', x'61', 'r', 1, 1, 1, 1, 1.0, {newest})"""


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An image 1 with a waiting output of its own, and a rendition `thumb`."""
    opened = database.open_own(":memory:", database.schema(), 0.0).connection
    opened.execute("INSERT INTO rules VALUES ('r', '{}')")
    opened.execute(IMAGE.format(id="i1", newest=1))
    opened.execute("INSERT INTO outputs (image, position, rendition, due_at) VALUES (1, 0, NULL, 0), (1, 1, 'thumb', 0)")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE outputs SET state = 'requested' WHERE position = 0",  # without a key
        "UPDATE outputs SET state = 'stored' WHERE position = 0",
        "UPDATE outputs SET state = 'enqueued', key = 'k' WHERE position = 0",  # without a job
        "UPDATE outputs SET job_id = 'j' WHERE position = 0",  # a job while it waits
        "UPDATE outputs SET doubt = 1 WHERE position = 0",  # in doubt of nothing
        "UPDATE outputs SET doubt = 1, key = 'k', state = 'requested' WHERE position = 0",
        "UPDATE outputs SET state = 'lost' WHERE position = 0",
        "UPDATE outputs SET attempts = -1 WHERE position = 0",
        "UPDATE outputs SET state = 'failed' WHERE position = 0",  # for no reason
        "UPDATE outputs SET reason = 'empty' WHERE position = 0",  # while it waits
        "UPDATE images SET outcome = 'stored', ended_at = 0",  # open, and ended
        "INSERT INTO outputs (image, position, rendition, due_at) VALUES (1, 2, NULL, 0)",  # a second output of its own
        "INSERT INTO outputs (image, position, rendition, due_at) VALUES (1, 2, 'thumb', 0)",
        "INSERT INTO outputs (image, position, rendition, due_at) VALUES (9, 0, NULL, 0)",  # of no image
        "UPDATE images SET state = 'ended', due_at = 0",  # with open outputs
        "UPDATE images SET state = 'finished', finished_at = 0",
        "UPDATE images SET due_at = 0",  # open, and to be put away
        "UPDATE images SET sha1 = 'a'",  # half the facts
        "UPDATE images SET token = 't'",  # half a ticket
        IMAGE.format(id="i2", newest=1),  # two newest of one path
        IMAGE.format(id="i1", newest=0),  # an id twice
        "INSERT INTO images SELECT * FROM images",
        "INSERT INTO endings (image_id, at, event, record) VALUES ('i', 0, 'image.requested', '{}')",  # no ending
        "INSERT INTO endings (image_id, at, event, record) VALUES ('i', 0, 'image.stored', '{')",  # no JSON
        "INSERT INTO endings (image_id, at, event, record) VALUES ('i', 0, 'image.stored', '{}'), ('i', 0, 'image.failed', '{}')",
        (
            "INSERT INTO endings (image_id, rendition, at, event, record)"
            " VALUES ('i', 't', 0, 'image.stored', '{}'), ('i', 't', 0, 'image.stored', '{}')"
        ),
        "DELETE FROM rules",  # that an image has
        "INSERT INTO cursors (name) VALUES ('audit'), ('audit')",
        "INSERT INTO cursors (name, seq) VALUES ('audit', -1)",
        "INSERT INTO objects VALUES ('b', 'k', 'f', 'text', 's', NULL, NULL, 0, NULL, NULL, 1, 1)",  # paths are bytes
    ],
)
def test_impossible_state_is_refused(connection: sqlite3.Connection, statement: str) -> None:
    """By a CHECK, a unique index, a reference or a trigger."""
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)


def test_rendition_without_a_name_is_not_the_own_output(connection: sqlite3.Connection) -> None:
    """NULL and the empty text are two renditions, in outputs and in endings."""
    connection.execute("INSERT INTO outputs (image, position, rendition, due_at) VALUES (1, 2, '', 0)")
    connection.execute(
        "INSERT INTO endings (image_id, rendition, at, event, record)"
        " VALUES ('i', NULL, 0, 'image.stored', '{}'), ('i', '', 0, 'image.stored', '{}')"
    )

    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO outputs (image, position, rendition, due_at) VALUES (1, 3, '', 0)")


def test_ended_output_stays_ended(connection: sqlite3.Connection) -> None:
    """No way back from an ending, and none from an ended image."""
    connection.execute("UPDATE outputs SET state = 'failed', reason = 'empty'")
    with pytest.raises(sqlite3.IntegrityError, match="ends once"):
        connection.execute("UPDATE outputs SET state = 'waiting' WHERE position = 0")

    connection.execute("UPDATE images SET state = 'ended', due_at = 0, outcome = 'failed', ended_at = 0")
    with pytest.raises(sqlite3.IntegrityError, match="stays so"):
        connection.execute("UPDATE images SET state = 'open', due_at = NULL, outcome = NULL, ended_at = NULL")


def test_tallies_follow_deletions(connection: sqlite3.Connection) -> None:
    """An image that is pruned takes its outputs and its history along, and is no longer counted."""
    connection.execute("INSERT INTO history (image, at, event) VALUES (1, 0, 'image.retry')")
    connection.execute("DELETE FROM images")

    assert connection.execute("SELECT sum(count) FROM tallies").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM history").fetchone() == (0,)


def test_numbers_of_endings_are_never_used_again(connection: sqlite3.Connection) -> None:
    """Also where the newest ending was pruned: `seq` only grows."""
    connection.execute("INSERT INTO endings (image_id, at, event, record) VALUES ('i', 0, 'image.stored', '{}')")
    connection.execute("DELETE FROM endings")
    connection.execute("INSERT INTO endings (image_id, at, event, record) VALUES ('j', 0, 'image.stored', '{}')")

    assert connection.execute("SELECT seq FROM endings").fetchall() == [(2,)]
