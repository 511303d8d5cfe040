"""What becomes of an original when all its outputs have ended: kept, deleted or moved; only the version that was taken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from watcher.backoff import exponential
from watcher.delivery.decisions import after_action
from watcher.delivery.delivery import ABSENT_FOLDER
from watcher.errors import Unavailable
from watcher.model import Event, ImageState, path_fields

if TYPE_CHECKING:
    from watcher.delivery.delivery import Ports
    from watcher.model import Image

FIRST_RETRY_SECONDS: Final = 20.0
"""About so long until a move or deletion that could not be done is tried again; each time twice as long."""
LONGEST_RETRY_SECONDS: Final = 300.0
OTHER_VERSION: Final = "kept: another version is at the path"

Trouble = tuple[str, str]
"""The folder, and what was to be done with its originals."""


class Stuck:
    """Originals that cannot be put away. What stands in their way is told once, and again when ten times as many wait for it."""

    def __init__(self) -> None:
        self._tries: dict[str, int] = {}
        self._waiting: dict[Trouble, set[str]] = {}
        self._told: dict[Trouble, int] = {}

    def add(self, image_id: str, trouble: Trouble) -> tuple[int, int | None]:
        """How often it was tried by now, and how many wait where that is to be told."""
        self._tries[image_id] = tries = self._tries.get(image_id, 0) + 1
        waiting = self._waiting.setdefault(trouble, set())
        waiting.add(image_id)
        if len(waiting) < 10 * self._told.get(trouble, 0):
            return tries, None
        self._told[trouble] = len(waiting)
        return tries, len(waiting)

    def over(self, image_id: str, trouble: Trouble) -> None:
        """It is put away, or need not be any more. When all are, the next trouble is told anew."""
        if self._tries.pop(image_id, None) is None:
            return
        waiting = self._waiting.get(trouble, set())
        waiting.discard(image_id)
        if not waiting:
            self._waiting.pop(trouble, None)
            self._told.pop(trouble, None)


class Disposal:
    """Carries out `on_success` and `on_failure`."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._stuck = Stuck()

    async def dispose(self, image: Image) -> None:
        """Finish the image now, or remember when to try again. One of a rule that keeps every original is finished already."""
        if image.rule.keeps_originals and image.state is ImageState.OPEN:
            return
        action = after_action(image)
        trouble = (image.file.folder, action)
        if action != "keep" and not await self._ports.originals.is_present(image.file.root):
            await self._later(image, ABSENT_FOLDER, trouble)
            return
        if action != "keep":
            await self._ports.endings_told()  # who reads the log sees that it was stored, then that it was moved
        try:
            note = await self._carry_out(image, action)
        except Unavailable as error:
            await self._later(image, str(error), trouble)
        else:
            self._stuck.over(image.id, trouble)
            gone = action != "keep" and note != OTHER_VERSION
            await self._ports.journal.finish(image.id, note, self._ports.clock.now(), gone=gone)
            if note == OTHER_VERSION:
                self._ports.look_again(image.file)  # a chmod makes one, and no event tells of it

    async def _carry_out(self, image: Image, action: str) -> str:
        if action == "delete":
            return await self._delete(image)
        if action.startswith("move:"):
            return await self._move(image, Path(action.removeprefix("move:")))
        return "kept"

    async def _delete(self, image: Image) -> str:
        if not await self._ports.originals.delete(image.file, image.observation):
            return OTHER_VERSION
        self._ports.events.event(Event.IMAGE_DELETED, id=image.id, **image.file.fields())
        return "deleted"

    async def _move(self, image: Image, target: Path) -> str:
        sha1 = image.facts.sha1 if image.facts else None
        moved = await self._ports.originals.move(image.file, image.observation, target, sha1)
        if moved is None:
            return OTHER_VERSION
        self._ports.events.event(Event.IMAGE_MOVED, id=image.id, **image.file.fields(), **path_fields("to", moved))
        return f"moved to {moved}"

    async def _later(self, image: Image, reason: str, trouble: Trouble) -> None:
        tries, count = self._stuck.add(image.id, trouble)
        wait = exponential(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, tries) * (0.5 + self._ports.random())
        due_at = self._ports.clock.steady() + wait
        await self._ports.journal.finish_later(image.id, due_at, reason, self._ports.clock.now())
        if count is None:
            return
        message = reason if count == 1 else f"{count} originals of the folder cannot be put away: {reason}"
        told = {"message": message, "wait": round(wait, 3), "count": count}
        self._ports.events.event(Event.IMAGE_RETRY, id=image.id, **image.file.fields(), **told)
