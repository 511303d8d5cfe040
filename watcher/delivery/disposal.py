"""What becomes of an original when all its outputs have ended: kept, deleted or moved; only the version that was taken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from watcher.delivery.delivery import ABSENT_FOLDER, after_action
from watcher.errors import Unavailable
from watcher.model import Event, ImageState, path_fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from watcher.model import FileRef, Image
    from watcher.ports import Clock, EventLog, Journal, Originals

DISPOSAL_RETRY_SECONDS: Final = 20.0
"""About so long until a move or deletion that could not be done is tried again."""
OTHER_VERSION: Final = "kept: another version is at the path"


class Disposal:
    """Carries out `on_success` and `on_failure`.

    `random` gives values in [0, 1); `is_present` tells whether a root is there; `look_again` is told of files that are there
    in another version than was taken (a chmod makes one, and no event tells of it).
    """

    def __init__(
        self,
        journal: Journal,
        originals: Originals,
        events: EventLog,
        clock: Clock,
        random: Callable[[], float],
        is_present: Callable[[Path], Awaitable[bool]],
        look_again: Callable[[FileRef], None],
    ) -> None:
        self._journal = journal
        self._originals = originals
        self._events = events
        self._clock = clock
        self._random = random
        self._is_present = is_present
        self._look_again = look_again

    async def dispose(self, image: Image) -> None:
        """Finish the image now, or remember when to try again. One of a rule that keeps every original is finished already."""
        if image.rule.keeps_originals and image.state is ImageState.OPEN:
            return
        action = after_action(image)
        if action != "keep" and not await self._is_present(image.file.root):
            await self._later(image, ABSENT_FOLDER)
            return
        try:
            note = await self._carry_out(image, action)
        except Unavailable as error:
            await self._later(image, str(error))
        else:
            await self._journal.finish(image.id, note, self._clock.now())
            if note == OTHER_VERSION:
                self._look_again(image.file)

    async def _carry_out(self, image: Image, action: str) -> str:
        if action == "delete":
            return await self._delete(image)
        if action.startswith("move:"):
            return await self._move(image, Path(action.removeprefix("move:")))
        return "kept"

    async def _delete(self, image: Image) -> str:
        if not await self._originals.delete(image.file, image.observation):
            return OTHER_VERSION
        self._events.event(Event.IMAGE_DELETED, id=image.id, **image.file.fields())
        return "deleted"

    async def _move(self, image: Image, target: Path) -> str:
        moved = await self._originals.move(image.file, image.observation, target, image.facts.sha1 if image.facts else None)
        if moved is None:
            return OTHER_VERSION
        self._events.event(Event.IMAGE_MOVED, id=image.id, **image.file.fields(), **path_fields("to", moved))
        return f"moved to {moved}"

    async def _later(self, image: Image, reason: str) -> None:
        now = self._clock.now()
        wait = DISPOSAL_RETRY_SECONDS * (0.5 + self._random())
        await self._journal.finish_later(image.id, now + wait, reason, now)
        self._events.event(Event.IMAGE_RETRY, id=image.id, **image.file.fields(), message=reason, wait=round(wait, 3))
