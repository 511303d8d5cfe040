"""Who has which image in hand: hosts and their leases, claims, and what becomes of the claims of a host that is gone.

Functions of a connection, to be called inside a transaction. A host holds claims under its `epoch`. Whoever finds that a host's
lease has ended raises that number and lets its claims go, in one transaction: whatever the host still says under the old number
changes nothing. Leases are judged by the server's clock alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from watcher.errors import Unavailable
from watcher.model import Event, ImageState, Observation
from watcher.records import changes, image_rows, upkeep
from watcher.records.reach import WITHIN_REACH, within_reach
from watcher.records.rows import DUE, load_images, unsigned

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from watcher.model import Image, Subtree
    from watcher.records.dialect import Connection
    from watcher.records.sightings import HostFolder

_CLAIMABLE: Final = f"""
SELECT outputs.image, images.id FROM outputs JOIN images ON images.number = outputs.image
JOIN seen ON seen.image = images.number AND seen.host = here()
WHERE outputs.state IN {DUE} AND outputs.backlog = ? AND outputs.due_at <= ?
AND (images.claimed_by IS NULL OR images.claimed_by = here()) AND images.id <> ALL(?)
AND (outputs.state = 'enqueued' OR NOT EXISTS (SELECT 1 FROM pauses WHERE pauses.folder IN ('', images.folder)))
AND NOT EXISTS (
    SELECT 1 FROM images AS older WHERE older.relative = images.relative AND older.folder = images.folder
    AND older.number < images.number AND older.state = 'open'
) {WITHIN_REACH} ORDER BY outputs.due_at, outputs.image LIMIT ? FOR NO KEY UPDATE OF images SKIP LOCKED
"""  # noqa: S608 - a constant
_ENDED: Final = f"""
SELECT images.number, images.id FROM images JOIN seen ON seen.image = images.number AND seen.host = here()
WHERE images.state = 'ended' AND images.due_at <= ?
AND (images.claimed_by IS NULL OR images.claimed_by = here()) AND images.id <> ALL(?) {WITHIN_REACH}
ORDER BY images.due_at, images.number LIMIT ? FOR NO KEY UPDATE OF images SKIP LOCKED
"""  # noqa: S608 - a constant


# --- hosts ------------------------------------------------------------------------------------------------------------------


def join(connection: Connection, instance: str, lease: float, now: float, *, above: int = 0) -> int:
    """Take this host into the cluster, with nothing in its hands. Gives its epoch, which is higher than `above`.

    Raises Unavailable where a host of this name is alive already, on another state folder.
    """
    connection.execute("INSERT INTO hosts (name) VALUES (here()) ON CONFLICT DO NOTHING")
    query = "SELECT name, instance, alive_until > clock_timestamp() FROM hosts WHERE name = here() FOR UPDATE"
    name, other, alive = connection.execute(query).fetchone()
    if alive and other != instance:
        raise Unavailable(
            f"a host named {name} is in the cluster already, with another state folder",
            "give each host its own [cluster] name; if that one is gone, wait until its lease has ended",
        )
    let_go(connection, name, now)
    upkeep.bring_near(connection, now)
    connection.execute("DELETE FROM waiting WHERE host = here()")
    statement = """UPDATE hosts SET instance = ?, epoch = greatest(epoch, ?) + 1, joined_at = clock_timestamp(), lost_at = NULL,
                   alive_until = clock_timestamp() + make_interval(secs => ?) WHERE name = here() RETURNING epoch"""
    (epoch,) = connection.execute(statement, (instance, above, lease)).fetchone()
    connection.execute("SELECT set_config('watcher.epoch', ?, false)", (str(epoch),))
    return int(epoch)


def leave(connection: Connection, now: float) -> None:
    """This host stops: others may go on with what it had in hand, at once."""
    (name,) = connection.execute("SELECT here()").fetchone()
    let_go(connection, name, now)
    connection.execute("UPDATE hosts SET epoch = epoch + 1, alive_until = NULL, lost_at = NULL WHERE name = here()")


def stamp(connection: Connection, batch: int, lease: float) -> bool:
    """Renew this host's lease, and name the transaction. False where the host was fenced.

    Holds the host's row until the transaction ends: nobody can fence it meanwhile.
    """
    statement = """UPDATE hosts SET batch = ?, alive_until = clock_timestamp() + make_interval(secs => ?)
                   WHERE name = here() AND epoch = epoch()"""
    return connection.execute(statement, (batch, lease)).rowcount == 1


def is_set_back(connection: Connection, epoch: int, batch: int) -> bool:
    """Whether the database does not hold any more what this host was told is durable: that it joined, and this transaction."""
    row = connection.execute("SELECT epoch, batch FROM hosts WHERE name = here()").fetchone()
    return row is None or row[0] < epoch or row[1] < batch


def is_known(connection: Connection) -> bool:
    """Whether this host has ever joined, as far as the database knows."""
    return connection.execute("SELECT 1 FROM hosts WHERE name = here()").fetchone() is not None


def other_members(connection: Connection) -> dict[str, object]:
    """The other hosts that have neither left nor been fenced, and until when their leases last or lasted."""
    query = "SELECT name, alive_until FROM hosts WHERE alive_until IS NOT NULL AND name <> here()"
    return dict(connection.execute(query).fetchall())


def others_alive(connection: Connection) -> frozenset[str]:
    """The other hosts whose leases last."""
    query = "SELECT name FROM hosts WHERE alive_until > clock_timestamp() AND name <> here()"
    return frozenset(str(row[0]) for row in connection.execute(query).fetchall())


def went_through(connection: Connection, batch: int) -> bool:
    """Whether the transaction of this name was committed. Waits for one that is on its way still: it holds the host's row."""
    row = connection.execute("SELECT batch FROM hosts WHERE name = here() FOR NO KEY UPDATE").fetchone()
    return row is not None and row[0] == batch


def fence_dead(connection: Connection, now: float) -> list[tuple[str, int]]:
    """Fence hosts whose lease has ended. Gives their names, and how many images each of them had in hand."""
    query = """SELECT name FROM hosts WHERE alive_until < clock_timestamp() AND name <> here() ORDER BY name
               FOR UPDATE SKIP LOCKED"""
    dead = [str(row[0]) for row in connection.execute(query).fetchall()]
    fenced = []
    for name in dead:
        statement = "UPDATE hosts SET epoch = epoch + 1, lost_at = alive_until, alive_until = NULL WHERE name = ?"
        connection.execute(statement, (name,))
        fenced.append((name, let_go(connection, name, now)))
    if dead:
        upkeep.bring_near(connection, now)  # the clock of one that is gone may have been wrong
    return fenced


def let_go(connection: Connection, host: str, now: float) -> int:
    """Take every image out of a host's hands; a request whose answer was awaited is in doubt. Gives how many images."""
    query = "SELECT number FROM images WHERE claimed_by = ? ORDER BY number FOR NO KEY UPDATE"
    numbers = [int(row[0]) for row in connection.execute(query, (host,)).fetchall()]
    requested = "SELECT image, rendition FROM outputs WHERE state = 'requested' AND image = ANY(?)"
    for number, rendition in connection.execute(requested, (numbers,)).fetchall():
        image_rows.move(connection, number, rendition, ("requested",), "waiting", doubt=1, due_at=now)
        image_rows.add_history(connection, number, now, Event.IMAGE_RETRY, rendition, {"message": changes.INTERRUPTED})
    connection.execute("UPDATE images SET claimed_by = NULL, claim = NULL WHERE number = ANY(?)", (numbers,))
    return len(numbers)


# --- images -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a host asks for: `limit` images that are due at `now`, none of those named, none that lie in `away`."""

    now: float
    limit: int
    excluding: Collection[str]
    away: Collection[Subtree]


def due(connection: Connection, wanted: Wanted, folders: Mapping[str, HostFolder]) -> list[Image]:
    """See `Journal.due`: this host has these in hand from now on, and of what it had only those that were named."""
    _give_back(connection, wanted.excluding)
    passed = list(wanted.excluding)
    numbers: list[int] = []
    for statement, backlog in ((_CLAIMABLE, (0,)), (_ENDED, ()), (_CLAIMABLE, (1,))):
        query, places = within_reach(statement, wanted.away)
        while len(numbers) < wanted.limit:
            values = (*backlog, wanted.now, passed, *places, wanted.limit - len(numbers))
            found = dict(connection.execute(query, values).fetchall())
            if not found:
                break
            numbers += found
            passed += found.values()
    connection.execute("UPDATE images SET claimed_by = here(), claim = epoch() WHERE number = ANY(?)", (numbers,))
    return _with_work(connection, numbers, wanted.now, folders)


def _give_back(connection: Connection, excluding: Collection[str]) -> None:
    """What has had its turn is anybody's; a request on its way stays in this host's hands."""
    connection.execute(
        """UPDATE images SET claimed_by = NULL, claim = NULL WHERE claimed_by = here() AND id <> ALL(?)
           AND NOT EXISTS (SELECT 1 FROM outputs WHERE outputs.image = images.number AND outputs.state = 'requested')""",
        (list(excluding),),
    )


def _with_work(connection: Connection, numbers: Sequence[int], now: float, folders: Mapping[str, HostFolder]) -> list[Image]:
    """The images as this host sees them. One that somebody else has dealt with in this very moment has nothing left to do."""
    query = "SELECT image, ctime_ns, inode FROM seen WHERE host = here() AND image = ANY(?)"
    seen = {row[0]: (row[1], row[2]) for row in connection.execute(query, (list(numbers),)).fetchall()}
    images = []
    for number, image in zip(numbers, load_images(connection, numbers), strict=True):
        if number in seen and _has_work(image, now):
            images.append(as_seen_here(image, seen[number], folders))
    return images


def _has_work(image: Image, now: float) -> bool:
    if image.state is not ImageState.OPEN:
        return image.state is ImageState.ENDED
    return any(str(output.state) in DUE and output.due_at <= now for output in image.open_outputs)


def as_seen_here(image: Image, seen: tuple[int, int], folders: Mapping[str, HostFolder]) -> Image:
    """The image with the times, inode and paths that its file has on this host."""
    version = Observation(image.observation.size, image.observation.mtime_ns, seen[0], unsigned(seen[1]))
    image = replace(image, observation=version)
    folder = folders.get(image.file.folder)
    if folder is None:
        return image
    rule = replace(image.rule, root=folder.root, on_success=folder.on_success, on_failure=folder.on_failure)
    return replace(image, file=replace(image.file, root=folder.root), rule=rule)


def lock_folders(connection: Connection, folders: Collection[str]) -> None:
    """Hosts that take files of one folder do so one after the other, so that a version is taken once."""
    for folder in sorted(set(folders)):
        connection.execute("SELECT pg_advisory_xact_lock(1129598039, hashtext(?))", (folder,))


def hold_key(connection: Connection, image_id: str, key: str) -> None:
    """Keep to one writer a key, whichever host it is on. Raises Unavailable where another host has a request for the key out."""
    connection.execute("SELECT pg_advisory_xact_lock(1129598040, hashtext(?))", (key,))
    query = """SELECT 1 FROM outputs JOIN images ON images.number = outputs.image
               WHERE outputs.key = ? AND outputs.state IN ('requested', 'enqueued') AND images.id <> ?
               AND images.claimed_by IS DISTINCT FROM here() LIMIT 1"""
    if connection.execute(query, (key, image_id)).fetchone() is not None:
        raise Unavailable(f"another host is storing at {key}", "it is tried again when that has ended")


def known_in(connection: Connection, folder: str, directories: Sequence[bytes]) -> list[tuple[Any, ...]]:
    """What this host remembers of the files in these directories, in one question."""
    query = """SELECT directory, name, size, mtime_ns, ctime_ns, inode & 9223372036854775807, ignored FROM files
               WHERE folder = ? AND directory = ANY(?) AND host = here()"""
    return connection.execute(query, (folder, list(directories))).fetchall()
