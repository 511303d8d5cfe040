"""What the page asks for, and what it has done: promised by whoever knows the other parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcher.shown.figures import Status
    from watcher.shown.hours import Hour
    from watcher.shown.images import Found, JournalPicture, ShownStory


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment (`now`, Unix seconds). The numbers are those of `status`."""

    now: float
    status: Status
    journal: JournalPicture


@dataclass(frozen=True, slots=True)
class Which:
    """Which failures a button is about: one image, all of a reason, or (both None) all."""

    image: str | None = None
    reason: str | None = None


class PageSource(Protocol):
    """The page's way to the journal and to the daemon. Reading raises Unavailable where the journal cannot be read."""

    def origins(self) -> frozenset[str]:
        """Where the objects' pictures can be expected, by the configuration."""

    async def version(self) -> object:
        """Another value than before where a new picture would be another one."""

    async def picture(self) -> Snapshot:
        """What there is to show now."""

    async def picture_of_host(self, host: str) -> Snapshot | None:
        """The same, as far as it concerns one of the hosts that share the journal; None where there is none of this name."""

    async def hours(self) -> Sequence[Hour]:
        """What was done hour by hour in the last month."""

    async def told(self, image_id: str) -> ShownStory | None:
        """One image's whole history."""

    async def search(self, text: str) -> Found:
        """Images by file, key, URL or id."""

    async def retry(self, which: Which) -> int:
        """Put failures back in the queue; gives how many."""

    async def dismiss(self, which: Which) -> int:
        """Let failures count as failed no longer; gives how many."""

    async def pause(self, folder: str | None) -> bool:
        """Send nothing more of a folder, or of all. False where it waits already, or no folder has this name."""

    async def resume(self, folder: str | None) -> bool:
        """End a pause. False where there was none."""
