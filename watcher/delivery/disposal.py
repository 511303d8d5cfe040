"""What becomes of an original when all its outputs have ended: kept, deleted or moved; only the version that was taken."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from watcher.delivery.decisions import after_action
from watcher.delivery.delivery import ABSENT_FOLDER
from watcher.errors import Unavailable
from watcher.model import Event, ImageState, path_fields

if TYPE_CHECKING:
    from watcher.delivery.delivery import Ports
    from watcher.model import Image

DISPOSAL_RETRY_SECONDS: Final = 20.0
"""About so long until a move or deletion that could not be done is tried again."""
OTHER_VERSION: Final = "kept: another version is at the path"


class Disposal:
    """Carries out `on_success` and `on_failure`."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def dispose(self, image: Image) -> None:
        """Finish the image now, or remember when to try again. One of a rule that keeps every original is finished already."""
        if image.rule.keeps_originals and image.state is ImageState.OPEN:
            return
        action = after_action(image)
        if action != "keep" and not await self._ports.originals.is_present(image.file.root):
            await self._later(image, ABSENT_FOLDER)
            return
        try:
            note = await self._carry_out(image, action)
        except Unavailable as error:
            await self._later(image, str(error))
        else:
            await self._ports.journal.finish(image.id, note, self._ports.clock.now())
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

    async def _later(self, image: Image, reason: str) -> None:
        now = self._ports.clock.now()
        wait = DISPOSAL_RETRY_SECONDS * (0.5 + self._ports.random())
        await self._ports.journal.finish_later(image.id, self._ports.clock.steady() + wait, reason, now)
        self._ports.events.event(Event.IMAGE_RETRY, id=image.id, **image.file.fields(), message=reason, wait=round(wait, 3))
