"""Builds the manifests: one for each folder that has one. They come and go with a reload."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from watcher.config.rules import folder_rules
from watcher.records.manifest import Manifest

if TYPE_CHECKING:
    from watcher.assembly.parts import Context, Records
    from watcher.config.schema import Settings

STOP_SECONDS: Final = 10.0
"""A stop gives manifests so long for what ended last; the next start writes them anew in any case."""


class Manifests:
    """The manifests that are kept now."""

    def __init__(self, context: Context, records: Records) -> None:
        self._context = context
        self._journal = records.journal
        self._kept: list[tuple[Manifest, asyncio.Task[None]]] = []

    async def use(self, settings: Settings) -> None:
        """Keep those of a configuration from now on, each written anew."""
        await self._end(0.0)
        for rules in folder_rules(settings).values():
            if rules.folder.manifest is not None:
                manifest = Manifest(rules.folder.manifest, rules.rule, self._journal, self._context.events, self._context.clock)
                task = self._context.life.run(manifest.run(), f"manifest of {rules.folder.name}")
                self._kept.append((manifest, task))

    async def stop(self) -> None:
        """Write what ended last."""
        await self._end(STOP_SECONDS)

    async def _end(self, seconds: float) -> None:
        kept, self._kept = self._kept, []
        for _, task in kept:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*(manifest.finish(seconds) for manifest, _ in kept))


async def start_manifests(context: Context, records: Records) -> Manifests:
    """Begin to keep those of the configuration. To be stopped after the deliveries, before the journal."""
    manifests = Manifests(context, records)
    await manifests.use(context.settings)
    context.life.on_stop(manifests.stop)
    context.life.on_reload(manifests.use)
    return manifests
