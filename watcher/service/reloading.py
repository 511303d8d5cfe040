"""Takes a changed configuration while the daemon runs. A refused one leaves the old in force."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from watcher.config.reload import changed, keeping, waiting_for_restart
from watcher.errors import ConfigurationError, WatcherError
from watcher.model import Event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from watcher.config.schema import Settings
    from watcher.log import LevelledLog
    from watcher.service.lifecycle import Lifecycle
    from watcher.service.systemd import Notifier


STATUS_SECONDS: Final = 1.0


class Reloader:
    """Reads the configuration anew and hands it to the parts: rules, folders, keys, limits, log level. One at a time."""

    def __init__(
        self,
        load: Callable[[], Settings],
        settings: Settings,
        life: Lifecycle,
        events: LevelledLog,
        notifier: Notifier,
        status: Callable[[], Awaitable[str]],
    ) -> None:
        """`load` may block for a few seconds. `settings` are those in force now; `status` gives the service manager's line."""
        self._load = load
        self._settings = settings
        self._life = life
        self._events = events
        self._notifier = notifier
        self._status = status
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> None:
        """Do it now."""
        async with self._one_at_a_time:
            self._notifier.reloading()
            await self._life.reopen()
            await self._load_and_apply()
            self._notifier.ready(await self._line())

    async def _line(self) -> str:
        """The service manager's line; the journal that it comes from may be away."""
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                return await self._status()
        except TimeoutError:
            return "reloaded; the journal does not answer"

    async def _load_and_apply(self) -> None:
        try:
            new = await asyncio.to_thread(self._load)
        except ConfigurationError as error:
            self._reject(list(error.problems))
        except WatcherError as error:
            self._reject([str(error)])
        else:
            await self._apply(new)

    def _reject(self, problems: list[str]) -> None:
        self._events.event(Event.CONFIG_REJECTED, problems=problems, message="the old configuration stays in force")

    async def _apply(self, new: Settings) -> None:
        old, self._settings = self._settings, keeping(self._settings, new)
        self._events.level = new.log.level
        await self._life.reload(self._settings)
        self._events.event(
            Event.CONFIG_RELOADED,
            changed=changed(old, new),
            needs_restart=waiting_for_restart(self._settings, new),
            folders=len(new.folders),
        )
