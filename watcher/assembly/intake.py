"""Builds the watch on the folders."""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from watcher.config.rules import folder_rules
from watcher.intake.intake import Intake, IntakeSettings
from watcher.service.systemd import confinement

if TYPE_CHECKING:
    from watcher.assembly.parts import Context, Records
    from watcher.config.schema import Settings


def build_intake(context: Context, records: Records) -> Intake:
    """Make the watch on the folders; `start_intake` begins it once images can be delivered."""
    return Intake(
        folder_rules(context.settings),
        _intake_settings(context.settings),
        records.journal,
        context.events,
        context.clock,
        on_taken=context.control.wake,
        random=random.random,
        confinement=confinement(os.environ),
    )


async def start_intake(context: Context, records: Records, intake: Intake) -> None:
    """Watch and scan the folders."""
    await intake.start()
    records.journal.on_move(intake.look_afresh)
    context.life.on_stop(intake.stop)
    context.life.run(intake.until_broken(), "intake")
    context.life.on_reload(lambda settings: intake.reload(folder_rules(settings), _intake_settings(settings)))


def _intake_settings(settings: Settings) -> IntakeSettings:
    times = IntakeSettings(rescan=settings.rescan, settle=settings.settle, max_wait=settings.max_wait)
    if settings.canary == "auto":
        return times
    interval = math.inf if settings.canary is False else float(settings.canary)
    return replace(times, canary=interval, canary_longest=interval)
