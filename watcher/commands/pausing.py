"""`pause` and `resume`: no new requests for all folders or for one, until somebody says so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from watcher.commands.printing import console, moment, note, say
from watcher.commands.steering import check_folder, steered, wake
from watcher.log.console import plain

if TYPE_CHECKING:
    from watcher.config.schema import Settings

RESUME: Final = "`compressor-watcher resume"


async def pause(settings: Settings, folder: str | None) -> int:
    """Send nothing more of the folder (None: of any) from now on, also after a restart. Exit status 0."""
    check_folder(settings, folder)
    async with steered(settings, begin=True) as journal:
        begun = await journal.pauses.pause(folder, time.time())
        since = (await journal.pauses.paused()).get(folder)
    wake(settings.state_dir)
    name, end = (f"folder {plain(folder)}", f"{RESUME} {plain(folder)}`") if folder is not None else ("everything", f"{RESUME}`")
    how = "is paused" if begun else f"was paused before, since {moment(since)} UTC"
    say(console(), f"{name} {how}: no new requests until {end}; those on their way end")
    return 0


async def resume(settings: Settings, folder: str | None) -> int:
    """End the pause of the folder, or (None) every pause. Exit status 1 where the folder waits all the same."""
    async with steered(settings, begin=True) as journal:
        before = await journal.pauses.paused()
        check_folder(settings, folder, before)
        await journal.pauses.resume(folder)
        after = await journal.pauses.paused()
    wake(settings.state_dir)
    say(console(), resumed_words(folder, ended=len(after) < len(before)))
    if folder is not None and None in after:
        note(f"folder {plain(folder)} waits all the same: everything is paused ({RESUME}` without a name ends that)")
        return 1
    return 0


def resumed_words(folder: str | None, *, ended: bool) -> str:
    """What the command says at its end."""
    name = f"folder {plain(folder)}" if folder is not None else "everything"
    if ended:
        return f"{name} goes on"
    return f"{name} was not paused" if folder is not None else "nothing was paused"
