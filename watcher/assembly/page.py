"""Builds the page: what it shows of the other parts, and what its buttons do to them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher.config.rules import folder_rules
from watcher.errors import Unavailable
from watcher.records.place import JournalPlace
from watcher.records.viewing import Viewing
from watcher.s3.addresses import B2_OBJECT, object_url
from watcher.service.page.source import Snapshot
from watcher.service.page.words import origin_of
from watcher.shown.figures import DaemonFigures, Status
from watcher.shown.report import DaemonReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from watcher.assembly.parts import Context, Records
    from watcher.model import Rule
    from watcher.service.page.source import Which
    from watcher.shown.hours import Hour
    from watcher.shown.images import Found, ShownStory

PATIENCE_SECONDS: Final = 2.0
"""So long the journal's server is waited for."""
PLOTTED_SECONDS: Final = 32 * 86_400.0


@dataclass(frozen=True, slots=True)
class PageView:
    """The PageSource of the daemon."""

    context: Context
    records: Records
    daemon: Callable[[], DaemonFigures]
    report: Callable[[], DaemonReport]

    def origins(self) -> frozenset[str]:
        """See `PageSource.origins`."""
        outputs = [output for rules in folder_rules(self.context.settings).values() for output in rules.rule.outputs]
        buckets = {object_url(B2_OBJECT, str(each.store.get("bucket")), "", str(each.store.get("region"))) for each in outputs}
        links = {each.link.replace("{key}", "") for each in outputs if each.link}
        return frozenset(origin for address in buckets | links if (origin := origin_of(address)) is not None)

    async def version(self) -> object:
        """See `PageSource.version`."""
        return await self._views.ask(lambda views: views.version()), self.report()

    async def picture(self) -> Snapshot:
        """See `PageSource.picture`."""
        now = self.context.clock.now()
        journal = await self._views.ask(lambda views: views.picture(now))
        status = Status.of(self.daemon(), self.report(), journal.figures)
        return Snapshot(now, replace(status, hosts=await self.records.journal.hosts()), journal)

    async def picture_of_host(self, host: str) -> Snapshot | None:
        """See `PageSource.picture_of_host`."""
        now = self.context.clock.now()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                hosts = {each.name: each for each in await self.records.journal.hosts()}
        except TimeoutError:
            raise Unavailable("the journal's server does not answer", "look at it; work goes on by itself") from None
        if host not in hosts:
            return None
        looking = Viewing(JournalPlace.of(self.context.settings).of_host(host))
        try:
            journal, report = await looking.ask(lambda views: (views.picture(now), views.report()))
        finally:
            await looking.close()
        daemon = DaemonFigures("", host=host, is_elsewhere=hosts[host].alive)
        status = Status.of(daemon, report or DaemonReport(), journal.figures, at_work=hosts[host].alive)
        return Snapshot(now, status, journal)

    async def hours(self) -> Sequence[Hour]:
        """See `PageSource.hours`."""
        since = self.context.clock.now() - PLOTTED_SECONDS
        return await self._views.ask(lambda views: views.hours_since(since))

    async def told(self, image_id: str) -> ShownStory | None:
        """See `PageSource.told`."""
        return await self._views.ask(lambda views: views.whole_story(image_id))

    async def search(self, text: str) -> Found:
        """See `PageSource.search`."""
        return await self._views.ask(lambda views: views.search(text))

    async def retry(self, which: Which) -> int:
        """See `PageSource.retry`."""
        rules = folder_rules(self.context.settings)

        def rule_for(folder: str) -> Rule | None:
            return rules[folder].rule if folder in rules else None

        made = await self.records.journal.retry(await self._chosen(which), rule_for, self.context.clock.now())
        self.context.control.wake()
        return len(made)

    async def dismiss(self, which: Which) -> int:
        """See `PageSource.dismiss`."""
        return len(await self.records.journal.dismiss_failed(await self._chosen(which), self.context.clock.now()))

    async def pause(self, folder: str | None) -> bool:
        """See `PageSource.pause`."""
        if folder is not None and folder not in {each.name for each in self.context.settings.folders}:
            return False
        return await self.records.journal.pauses.pause(folder, self.context.clock.now())

    async def resume(self, folder: str | None) -> bool:
        """See `PageSource.resume`."""
        ended = await self.records.journal.pauses.resume(folder)
        self.context.control.wake()
        return ended

    async def _chosen(self, which: Which) -> list[str] | None:
        if which.image is not None:
            return [which.image]
        reason = which.reason
        return None if reason is None else await self._views.ask(lambda views: views.failed_of(reason))

    @property
    def _views(self) -> Viewing:
        views = self.records.journal.views
        if views is None:
            raise Unavailable("a journal in memory has no page")
        return views
