"""Asks the disk or share of a folder how its root does. Each call has a deadline, and a thread of the folder's own."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from watcher.errors import NotAnswering
from watcher.intake.pools import Lane
from watcher.intake.roots import RootMissing, survey

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from watcher.config.rules import FolderRules
    from watcher.intake.context import IntakeContext
    from watcher.intake.roots import RootInfo

    Answer = TypeVar("Answer")

TARGET_PATIENCE_SECONDS: Final = 1.0
"""For the folders that files are moved to, to be found."""


class RootProbe:
    """`rules` may be replaced while it is in use."""

    def __init__(self, rules: FolderRules, context: IntakeContext) -> None:
        self.rules = rules
        self._context = context

    async def survey(self) -> RootInfo:
        """What the root is. Raises RootMissing where it is not there, does not answer, or lacks what was mounted there."""
        rule = self.rules.rule
        to_change = (rule.on_success, rule.on_failure) != ("keep", "keep")
        try:
            info = await self._run(partial(survey, rule.root, to_change=to_change))
        except NotAnswering:
            raise RootMissing(f"{rule.root} does not answer") from None
        self._context.roots.require_mount(rule.root, info)
        return info

    async def is_healthy(self) -> bool:
        """Whether the root answers, and is the one that was armed."""
        try:
            return await self._run(partial(self._context.roots.is_healthy, self.rules.rule.root))
        except NotAnswering:
            return False

    async def _run(self, work: Callable[[], Answer]) -> Answer:
        return await self._context.pools.run(self.rules.rule.root, Lane.PROBE, work)

    async def note_targets(self) -> None:
        """Learn which directories files are moved to. One on a share that hangs is learnt at the first move."""
        targets = self._context.roots.targets
        noting = [
            asyncio.ensure_future(self._context.pools.run(target, Lane.PROBE, partial(targets.note, target)))
            for target in self.rules.move_targets
        ]
        if noting:
            await asyncio.wait(noting, timeout=TARGET_PATIENCE_SECONDS)
            for each in noting:
                each.cancel()
            await asyncio.gather(*noting, return_exceptions=True)
