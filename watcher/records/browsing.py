"""What the page asks of the journal: the first of each kind, one image, a search. Indexed, whatever the size of the journal."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Final

from watcher.model import Event, path_fields
from watcher.records import activity, overview, published, watched
from watcher.records.dialect import dialect_of
from watcher.records.rows import load_images
from watcher.records.views import JournalViews
from watcher.shown.images import FailureGroup, Fate, Found, JournalPicture, ShownFile, ShownStory, shown_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcher.model import Image
    from watcher.records.published import Place
    from watcher.records.watched import WatchedFile
    from watcher.shown.hours import Hour
    from watcher.shown.images import ShownImage

LATEST_SHOWN: Final = 24
UNDER_WAY_SHOWN: Final = 12
FAILED_SHOWN: Final = 8
"""Of each reason."""
FAILED_READ: Final = 500
"""So many of the newest failures are looked at for the first of each reason."""
FILES_SHOWN: Final = 20
FOUND_SHOWN: Final = 100
OTHERS_SHOWN: Final = 20
LOOKED_BACK: Final = 50_000
"""So many of the newest images are searched for a part of a name: no index finds that."""
_MOST_KEYS: Final = 12
"""So many ends of a URL's path are taken for keys."""

_REASON: Final = "SELECT reason FROM outputs WHERE image = images.number AND state = 'failed' ORDER BY position LIMIT 1"
_FAILED: Final = f"SELECT number, ({_REASON}) FROM images WHERE {overview.UNSETTLED} ORDER BY number DESC LIMIT ?"  # noqa: S608 - constants
_BY_REASON: Final = f"""
SELECT why, count(*) FROM (
    SELECT ({_REASON}) AS why FROM images WHERE {overview.UNSETTLED} ORDER BY number LIMIT {overview.ALL_ROWS}
) AS unsettled GROUP BY why
"""  # noqa: S608 - constants
_OF_REASON: Final = f"SELECT id FROM images WHERE {overview.UNSETTLED} AND ({_REASON}) = ? ORDER BY number"  # noqa: S608 - constants
_BUCKETS: Final = """
WITH RECURSIVE known (bucket) AS (
    SELECT min(bucket) FROM objects
    UNION ALL SELECT (SELECT min(bucket) FROM objects WHERE bucket > known.bucket) FROM known WHERE known.bucket IS NOT NULL
) SELECT bucket FROM known WHERE bucket IS NOT NULL
"""
_OF_SAME_FILE: Final = """
SELECT others.number FROM images CROSS JOIN images AS others
WHERE others.relative = images.relative AND others.folder = images.folder AND others.number <> images.number
AND images.number = ? ORDER BY others.number DESC LIMIT ?
"""
_BY_PART: Final = """
SELECT number FROM images WHERE number > (SELECT max(number) FROM images) - ?
AND {part_of_path} ORDER BY number DESC LIMIT ?
"""


class PageViews(JournalViews):
    """What the commands ask, and what the page asks besides."""

    def version(self) -> int:
        """Another number than before where anybody has changed the journal since. Costs nothing."""
        return int(self._connection.execute(dialect_of(self._connection).version).fetchone()[0])

    def picture(self, now: float) -> JournalPicture:
        """What there is to show at this moment; `now` in Unix seconds."""
        return JournalPicture(
            figures=self.figures(now),
            under_way=self.shown(self._under_way()),
            latest=self.shown(self._latest()),
            failures=self._failures(),
            waiting=[_file(each) for each in watched.waiting(self._connection, None, FILES_SHOWN)],
            ignored=[_file(each) for each in watched.ignored(self._connection, None, FILES_SHOWN)],
        )

    def hours_since(self, since: float) -> list[Hour]:
        """What was done hour by hour since `since` (Unix seconds)."""
        return activity.hours_since(self._connection, since)

    def failed_of(self, reason: str) -> list[str]:
        """The ids of all failures of a reason that nobody has settled."""
        return [str(row[0]) for row in self._connection.execute(_OF_REASON, (reason,))]

    def _under_way(self) -> list[int]:
        """What is in flight, then what has been waiting longest."""
        flying = self._connection.execute(
            "SELECT DISTINCT image FROM outputs WHERE state IN ('requested', 'enqueued') LIMIT ?", (UNDER_WAY_SHOWN,)
        ).fetchall()
        waiting = self._connection.execute(
            "SELECT number FROM images WHERE state = 'open' ORDER BY detected_at LIMIT ?", (UNDER_WAY_SHOWN,)
        ).fetchall()
        numbers = dict.fromkeys(int(number) for rows in (flying, waiting) for (number,) in rows)
        return list(numbers)[:UNDER_WAY_SHOWN]

    def _latest(self) -> list[int]:
        query = "SELECT number FROM images WHERE outcome IS NOT NULL ORDER BY ended_at DESC LIMIT ?"
        return [int(row[0]) for row in self._connection.execute(query, (LATEST_SHOWN,))]

    def _failures(self) -> list[FailureGroup]:
        """The largest group first. The counts are of all, the images those among the newest failures."""
        newest = self._connection.execute(_FAILED, (FAILED_READ,)).fetchall()
        first: dict[str, list[int]] = {}
        for number, reason in newest:
            first.setdefault(reason, []).append(int(number))
        if len(newest) < FAILED_READ:
            counts = Counter({reason: len(numbers) for reason, numbers in first.items()})
        else:
            counts = Counter(dict(self._connection.execute(_BY_REASON).fetchall()))
        return [
            FailureGroup(reason, count, tuple(self.shown(first.get(reason, ())[:FAILED_SHOWN])))
            for reason, count in counts.most_common()
        ]

    # --- images ---------------------------------------------------------------------------------------------------------------

    def shown(self, numbers: Sequence[int]) -> list[ShownImage]:
        """The images of these row numbers, in their order."""
        images = load_images(self._connection, numbers)
        fates, told = self._fates(numbers), self.told(images)
        return [
            shown_image(
                image,
                self._delayed(image, fates[image.id]),
                {each.rendition: told[image.id, each.rendition] for each in image.outputs if (image.id, each.rendition) in told},
            )
            for image in images
        ]

    def _fates(self, numbers: Sequence[int]) -> dict[str, Fate]:
        dialect = dialect_of(self._connection)
        query = f"""SELECT id, coalesce(outcome, 'open'), ended_at, dismissed_at, newest FROM images
                    WHERE number {dialect.among}"""  # noqa: S608 - a constant
        rows = self._connection.execute(query, (dialect.pack(numbers),))
        return {row[0]: Fate(row[1], row[2], row[3], bool(row[4])) for row in rows}

    def _delayed(self, image: Image, fate: Fate) -> Fate:
        """With the reason of the last delay, where the image is open."""
        if not image.open_outputs:
            return fate
        query = """SELECT detail FROM history WHERE image = (SELECT number FROM images WHERE id = ?) AND event = ?
                   ORDER BY number DESC LIMIT 1"""
        row = self._connection.execute(query, (image.id, str(Event.IMAGE_RETRY))).fetchone()
        delay = "" if row is None else str(json.loads(row[0]).get("message") or "")
        return Fate(fate.outcome, is_newest=fate.is_newest, delay=delay)

    def whole_story(self, image_id: str) -> ShownStory | None:
        """The whole history of the image with this id; None where there is none."""
        row = self._connection.execute("SELECT number FROM images WHERE id = ?", (image_id,)).fetchone()
        if row is None:
            return None
        number = int(row[0])
        (image,) = load_images(self._connection, [number])
        others = [int(row[0]) for row in self._connection.execute(_OF_SAME_FILE, (number, OTHERS_SHOWN))]
        form = None if image.facts is None else str(image.facts.format)
        sha1 = None if image.facts is None else image.facts.sha1
        return ShownStory(self.shown([number])[0], sha1, form, self._steps(number, image), tuple(self.shown(others)))

    # --- search ---------------------------------------------------------------------------------------------------------------

    def search(self, text: str) -> Found:
        """Images by id, file, key or URL, or the beginning of one, and new ones by a part of their name; newest first."""
        numbers = {*self._by_id(text), *self._by_path(text), *self._by_beginning(text), *self._by_key(text), *self._by_part(text)}
        newest = sorted(numbers, reverse=True)
        looked_back = min(LOOKED_BACK, self._connection.execute("SELECT coalesce(max(number), 0) FROM images").fetchone()[0])
        return Found(tuple(self.shown(newest[:FOUND_SHOWN])), len(newest) <= FOUND_SHOWN, looked_back)

    def _by_beginning(self, text: str) -> list[int]:
        """Images whose path inside their folder begins so."""
        raw = os.fsencode(text.lstrip("/"))
        query = "SELECT number FROM images WHERE relative >= ? AND relative < ? ORDER BY relative, number DESC LIMIT ?"
        return [int(row[0]) for row in self._connection.execute(query, (raw, raw + b"\xff", FOUND_SHOWN + 1))]

    def _by_key(self, text: str) -> list[int]:
        """Images of the files whose objects lie at a key, or at keys that begin so; a URL's path ends with the key."""
        keys = published.possible_keys(text)[:_MOST_KEYS] if published.is_url(text) else [text.lstrip("/")]
        exact = "SELECT folder, relative FROM objects WHERE bucket = ? AND key = ?"
        begun = "SELECT folder, relative FROM objects WHERE bucket = ? AND key >= ? AND key < ? LIMIT ?"
        files: dict[Place, None] = {}
        for (bucket,) in self._connection.execute(_BUCKETS).fetchall():
            for key in keys:
                files |= dict.fromkeys(self._connection.execute(exact, (bucket, key)).fetchall())
            if keys:
                bounds = (bucket, keys[0], keys[0] + "\U0010ffff", FOUND_SHOWN)
                files |= dict.fromkeys(self._connection.execute(begun, bounds).fetchall())
        return self._numbers_at(files)

    def _by_part(self, text: str) -> list[int]:
        """Of the newest images those with the text anywhere in their path, in capitals or not."""
        query = _BY_PART.format(part_of_path=dialect_of(self._connection).part_of_path)
        return [int(row[0]) for row in self._connection.execute(query, (LOOKED_BACK, text, FOUND_SHOWN + 1))]


def _file(file: WatchedFile) -> ShownFile:
    name = str(path_fields("file", file.relative)["file"])
    return ShownFile(file.folder, name, file.size, file.reason, file.message, file.since)
