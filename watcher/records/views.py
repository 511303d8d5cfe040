"""The journal for people: what the commands ask, read without the daemon and without getting in its way."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from watcher.json_text import loads
from watcher.model import Event, ImageState, OutputState
from watcher.records import cluster, database, listed, overview, published, queries, reprocessing, watched
from watcher.records.dialect import dialect_of
from watcher.records.queries import NumberedEnding
from watcher.records.rows import load_images, parse_rule
from watcher.shown.images import HistoryStep

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from watcher.model import Image, PublishedObject, Record
    from watcher.records.cluster import HostEndings, Whereabouts
    from watcher.records.dialect import Connection
    from watcher.records.listed import ListedOutput
    from watcher.records.place import JournalPlace
    from watcher.records.published import Place
    from watcher.records.queries import OutboxCursor, Totals
    from watcher.records.reprocessing import StoredFile
    from watcher.records.watched import WatchedFile
    from watcher.shown.figures import HostFigures, JournalFigures
    from watcher.shown.report import DaemonReport

PAGE: Final = 500
SHORTEST_ID: Final = 4
"""So many characters of an id are needed to name an image."""
_ENDING: Final = "SELECT seq, image_id, rendition, record FROM endings"
_LAST_RECORDS: Final = """
SELECT image_id, rendition, record FROM endings WHERE image_id {among} ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """An image in a list; `number` is where the next page goes on."""

    number: int
    image: Image


@dataclass(frozen=True, slots=True)
class Story:
    """Everything the journal knows of one image."""

    image: Image
    steps: tuple[HistoryStep, ...]
    endings: tuple[NumberedEnding, ...]
    hosts: Whereabouts | None = None
    """Where several share the journal."""


class JournalViews:
    """A read-only view of a journal file. Not for several threads at once. Close it, or use it in a `with`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> JournalViews:
        """Open the journal at `path`. Raises Unavailable where there is none, or it is of another version."""
        return cls(database.open_beside(path, database.schema().version, writable=False))

    @classmethod
    def at(cls, place: JournalPlace) -> Self:
        """Open the journal at a place. Raises Unavailable."""
        return cls(place.connect())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    # --- figures --------------------------------------------------------------------------------------------------------------

    def totals(self) -> Totals:
        """How many outputs stand where."""
        return queries.totals(self._connection)

    def figures(self, now: float) -> JournalFigures:
        """What `status` shows of it; `now` in Unix seconds."""
        return overview.journal_figures(self._connection, now)

    def waiting_files(self, folder: str | None = None, limit: int = -1) -> Sequence[WatchedFile]:
        """Files that are not whole and are waited for, the oldest first; `limit` -1 is all."""
        return watched.waiting(self._connection, folder, limit)

    def ignored_files(self, folder: str | None = None, limit: int = -1) -> Sequence[WatchedFile]:
        """Files that lie in the folders and are not taken for what they are; `limit` -1 is all."""
        return watched.ignored(self._connection, folder, limit)

    def watched_counts(self) -> tuple[int, int]:
        """How many files are waited for, and how many are ignored."""
        return watched.counts(self._connection)

    def report(self) -> DaemonReport | None:
        """What the daemon said of itself last; None where none has run."""
        return overview.report(self._connection)

    # --- images ---------------------------------------------------------------------------------------------------------------

    def page(
        self,
        *,
        state: str | None = None,
        folder: str | None = None,
        since: float | None = None,
        before: int | None = None,
        limit: int = PAGE,
    ) -> list[Listed]:
        """Images, newest first, below the number `before`.

        `state` is one of OutputState (any output of the image is in it; failures that were dismissed are left out) or
        ImageState; `since` is Unix seconds.
        Raises ValueError for an unknown state.
        """
        conditions, values = _conditions(state, folder, since, before)
        query = f"SELECT number FROM images WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?"  # noqa: S608 - words of this module
        numbers = [int(row[0]) for row in self._connection.execute(query, (*values, limit))]
        return [Listed(number, image) for number, image in zip(numbers, load_images(self._connection, numbers), strict=True)]

    def images(
        self, *, state: str | None = None, folder: str | None = None, since: float | None = None, limit: int = 0
    ) -> Iterator[Image]:
        """Like `page`, as many as `limit` (0: all), fetched page by page."""
        before, left = None, limit
        while page := self.page(state=state, folder=folder, since=since, before=before, limit=min(left, PAGE) if limit else PAGE):
            yield from (listed.image for listed in page)
            before, left = page[-1].number, left - len(page)
            if limit and left <= 0:
                return

    def told(self, images: Sequence[Image]) -> dict[tuple[str, str | None], Record]:
        """What is told of outputs, by (image id, rendition): the line of the ending, or, where nothing had to be sent, of what
        lies at the key. Two questions however many images.
        """
        found: dict[tuple[str, str | None], Record] = {}
        dialect = dialect_of(self._connection)
        names = dialect.pack([image.id for image in images])
        for identity, rendition, record in self._connection.execute(_LAST_RECORDS.format(among=dialect.among), (names,)):
            found[identity, rendition] = loads(record)
        places = [place for image in images for place in _places_of_unchanged(image)]
        return {**listed.published_at(self._connection, places), **found}

    def outputs(
        self, *, state: str | None = None, folder: str | None = None, since: float | None = None
    ) -> Iterator[ListedOutput]:
        """The outputs of the images that `page` would give, newest image first, with what is told of them."""
        return listed.outputs(self._connection, *_conditions(state, folder, since, None))

    def stories(self, what: str) -> list[Story]:
        """Everything about an image, named by its id or the beginning of it, or about all images of a path; newest first."""
        return self._stories(self._by_id(what) or self._by_path(what))

    def stories_at(self, places: Iterable[Place]) -> list[Story]:
        """Everything about the images of these files (folder, path inside it), newest first."""
        return self._stories(self._numbers_at(places))

    def _stories(self, numbers: Sequence[int]) -> list[Story]:
        images = zip(numbers, load_images(self._connection, numbers), strict=True)
        return [
            Story(image, self._steps(number, image), self.endings_of(image.id), self._whereabouts(image.id))
            for number, image in images
        ]

    def _whereabouts(self, image_id: str) -> Whereabouts | None:
        return cluster.whereabouts(self._connection, image_id) if self.is_shared else None

    def _by_id(self, what: str) -> list[int]:
        if len(what) < SHORTEST_ID or not what.isascii():
            return []
        query = "SELECT number FROM images WHERE id >= ? AND id < ? ORDER BY number DESC LIMIT 20"
        return [int(row[0]) for row in self._connection.execute(query, (what, what + "\U0010ffff"))]

    def _by_path(self, what: str) -> list[int]:
        path = os.path.abspath(os.fsencode(what))  # noqa: PTH100 - bytes, and links are to stay as they are
        places = set()
        for (body,) in self._connection.execute("SELECT body FROM rules"):
            rule = parse_rule(body)
            root = os.fsencode(rule.root).rstrip(b"/") + b"/"
            if path.startswith(root):
                places.add((rule.folder, path.removeprefix(root)))
        return self._numbers_at(places)

    def _numbers_at(self, places: Iterable[Place]) -> list[int]:
        query = "SELECT number FROM images WHERE folder = ? AND relative = ?"
        return sorted((int(row[0]) for place in places for row in self._connection.execute(query, place)), reverse=True)

    def _steps(self, number: int, image: Image) -> tuple[HistoryStep, ...]:
        query = "SELECT at, event, rendition, detail FROM history WHERE image = ? ORDER BY number"
        rows = self._connection.execute(query, (number,))
        detected = HistoryStep(image.detected_at, str(Event.IMAGE_DETECTED), None, {})
        return (detected, *(HistoryStep(at, event, rendition, json.loads(detail)) for at, event, rendition, detail in rows))

    def failed_ids(self) -> list[str]:
        """Of the images that have failed and that nobody has settled."""
        query = f"SELECT id FROM images WHERE {overview.UNSETTLED} ORDER BY number"  # noqa: S608 - a constant
        return [str(identity) for (identity,) in self._connection.execute(query).fetchall()]

    # --- hosts that share the journal -----------------------------------------------------------------------------------------

    @property
    def is_shared(self) -> bool:
        """Whether several hosts may work with the journal."""
        return dialect_of(self._connection).shared

    def hosts(self) -> list[HostFigures]:
        """Those that share the journal; none where it belongs to this one alone."""
        return cluster.hosts(self._connection) if self.is_shared else []

    def endings_of_hosts(self) -> list[HostEndings]:
        """What each host says of its audit file, compared with its endings."""
        return cluster.verify_endings(self._connection) if self.is_shared else []

    # --- what is published ----------------------------------------------------------------------------------------------------

    def published(self, place: Place) -> list[PublishedObject]:
        """What lies in the store of a file (folder, path inside it)."""
        return published.of_file(self._connection, *place)

    def published_page(self, folder: str, after: bytes | None, limit: int) -> tuple[list[PublishedObject], bytes | None]:
        """See `published.page`."""
        return published.page(self._connection, folder, after, limit)

    def stored_files(self, folder: str, after: bytes, limit: int) -> tuple[list[StoredFile], bytes | None]:
        """See `reprocessing.page`."""
        return reprocessing.page(self._connection, folder, after, limit)

    def owners(self, what: str, buckets: Collection[str]) -> list[Place]:
        """The files whose outputs lie, or were to lie, at a key or an address in these buckets."""
        if not _is_utf_8(what):
            return []  # as a path it may be; keys and addresses are text
        if published.is_url(what):
            return published.owners_of_url(self._connection, what, buckets)
        return published.owners_of_key(self._connection, what, buckets)

    def owners_of_failures(self, what: str) -> list[Place]:
        """The files of which an output failed that was to lie at a key or an address."""
        return published.owners_of_failures(self._connection, what) if _is_utf_8(what) else []

    # --- endings --------------------------------------------------------------------------------------------------------------

    def endings_of(self, image_id: str) -> tuple[NumberedEnding, ...]:
        """An image's endings, in order."""
        return tuple(self._endings("WHERE image_id = ? ORDER BY seq", image_id))

    def records(self, numbers: Sequence[int]) -> dict[int, Record]:
        """The records of the endings with these numbers, as far as the journal still has them."""
        dialect = dialect_of(self._connection)
        query = f"SELECT seq, record FROM endings WHERE /*! host = here() AND */ seq {dialect.among}"  # noqa: S608 - a constant
        return {int(seq): loads(record) for seq, record in self._connection.execute(query, (dialect.pack(numbers),))}

    def ending_numbers(self) -> Iterator[int]:
        """The numbers of all endings that the journal has, in order."""
        query = "SELECT seq FROM endings /*! WHERE host = here() */ ORDER BY seq"
        return (int(row[0]) for row in self._connection.execute(query))

    def ended_without_line(self) -> list[tuple[str, str | None]]:
        """(image id, rendition) of outputs that have ended as nothing was written down for: there should be none."""
        query = """SELECT images.id, outputs.rendition FROM outputs JOIN images ON images.number = outputs.image
                   WHERE outputs.state IN ('stored', 'failed', 'superseded', 'vanished') AND NOT EXISTS (
                       SELECT 1 FROM endings
                       WHERE endings.image_id = images.id AND endings.rendition IS NOT DISTINCT FROM outputs.rendition)"""
        return [(identity, rendition) for identity, rendition in self._connection.execute(query)]

    def last_seq(self) -> int:
        """The number of the newest ending there ever was."""
        return queries.last_seq(self._connection)

    def outbox_cursor(self) -> OutboxCursor:
        """How far the endings are written down."""
        return queries.outbox_cursor(self._connection)

    def _endings(self, rest: str, value: object) -> list[NumberedEnding]:
        rows = self._connection.execute(f"{_ENDING} {rest}", (value,))
        return [NumberedEnding(seq, identity, rendition, json.loads(record)) for seq, identity, rendition, record in rows]


def _places_of_unchanged(image: Image) -> Iterator[tuple[str, str | None, str, str]]:
    """(id, rendition, bucket, key) of the outputs for which nothing had to be sent."""
    for output in image.outputs:
        if output.state is OutputState.UNCHANGED and output.key is not None:
            yield image.id, output.rendition, str(image.output_rule(output.rendition).store["bucket"]), output.key


def _conditions(state: str | None, folder: str | None, since: float | None, before: int | None) -> tuple[list[str], list[Any]]:
    """The WHERE words of a list, and their values."""
    conditions: list[str] = ["1 = 1"]
    values: list[Any] = []
    if state is not None:
        condition, word = _state_condition(state)
        conditions.append(condition)
        values.append(word)
    for clause, value in (("folder = ?", folder), ("detected_at >= ?", since), ("number < ?", before)):
        if value is not None:
            conditions.append(clause)
            values.append(value)
    return conditions, values


def _state_condition(state: str) -> tuple[str, str]:
    if state in set(ImageState):
        return "state = ?", state
    if state == OutputState.FAILED:
        return "dismissed_at IS NULL AND EXISTS (SELECT 1 FROM outputs WHERE image = number AND state = ?)", state
    if state in set(OutputState):
        return "EXISTS (SELECT 1 FROM outputs WHERE image = number AND state = ?)", state
    known = ", ".join([*OutputState, *ImageState])
    raise ValueError(f"no such state {state!r}; there are {known}")


def _is_utf_8(text: str) -> bool:
    """Whether the database can be asked for it: names out of the command line may hold other bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
