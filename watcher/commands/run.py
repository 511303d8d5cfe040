"""`run` and `once`: the commands that do the work."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from watcher.app import started
from watcher.commands.printing import note
from watcher.commands.terminal import terminal_look
from watcher.config.loading import load_settings, read_toml
from watcher.errors import CalledOff
from watcher.log import CountingLog, JsonLog, quiet_libraries
from watcher.log.console import CLEAR_LINE, Tally, plain
from watcher.log.queued_output import QueuedLog, QueuedStream
from watcher.service.control import Control
from watcher.service.process import spare_collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from watcher.app import App
    from watcher.config.schema import Settings
    from watcher.log import LevelledLog


NOTIFY_SECONDS: Final = 20.0
"""`once` gives receivers of notifications so long; what they do not confirm is told by the next run."""


def log_form(settings: Settings) -> Literal["json", "console"]:
    """JSON, but on a terminal the people's form, unless the configuration says otherwise."""
    return settings.log.format or ("console" if sys.stdout.isatty() else "json")


def open_log(settings: Settings, tally: Tally, prefix: Callable[[], str] | None = None) -> LevelledLog:
    """The log on standard output, in the form that the configuration says (people's form on a terminal), and counted."""
    quiet_libraries()
    look = terminal_look(settings, sys.stdout, prefix=prefix) if log_form(settings) == "console" else None
    log = JsonLog(settings.log.level, look, clock=time.time)
    return CountingLog(QueuedLog(log, sys.stdout) if isinstance(sys.stdout, QueuedStream) else log, tally)


async def run_daemon(settings: Settings, config: Path) -> int:
    """The daemon, until a signal says stop. `config` is an absolute path: a reload reads it again."""

    def load() -> Settings:
        return load_settings(read_toml(config), os.environ, say=note)

    control = Control()
    control.catch_signals()
    tally, since = Tally(), time.monotonic()
    try:
        async with started(settings, open_log(settings, tally), control=control, load=load) as app:
            spare_collector()
            status = await app.run()
            waiting = app.intake.waiting()
    except CalledOff:
        return 0
    if log_form(settings) == "console":
        sys.stderr.write(tally.summary(time.monotonic() - since, waiting) + "\n")
    return status


async def run_once(settings: Settings) -> int:
    """What lies in the folders now. Exit status 1 if any of it failed or cannot be read, a folder is away, or the API refuses."""
    control = Control()
    control.catch_signals()
    tally, since = Tally(), time.monotonic()
    async with started(settings, open_log(settings, tally, _over_the_bar), control=control) as app:
        before = await app.records.journal.totals()
        app.ready()
        with _progress() as (progress, show):
            watching = asyncio.create_task(_follow(app, before.ended, show))
            try:
                done = await app.until_done()
            finally:
                watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            progress.refresh()
        await app.notifications.settle(NOTIFY_SECONDS, hurry=True)
        failed = (await app.records.journal.totals()).failed - before.failed
        held, paused = await app.records.journal.pauses.held(), await app.records.journal.pauses.paused()
        unreadable = await app.records.journal.unreadable() + app.intake.unreadable()
        waiting, away = app.intake.waiting(), [each.name for each in app.intake.status() if each.mode == "lost"]
    sys.stderr.write(tally.summary(time.monotonic() - since, waiting) + "\n")
    for name in away:
        note(f"folder {name} is away: nothing in it was looked at")
    if unreadable:
        what = "1 file or folder" if unreadable == 1 else f"{unreadable} files or folders"
        note(f"{what} cannot be read by this user, and nothing of that was sent (`compressor-watcher list --state ignored`)")
    if held:
        note(f"{held_words(held, paused)}: nothing of them was sent (`compressor-watcher resume`)")
    return 0 if done and not (failed or away or held or unreadable) else 1


def held_words(held: int, paused: Mapping[str | None, float]) -> str:
    """Which images wait for the end of a pause, for people."""
    what = "everything is" if None in paused else f"{', '.join(plain(str(name)) for name in paused)} {_is(len(paused))}"
    return f"{held} image{'s' * (held != 1)} wait{'s' * (held == 1)}, since {what} paused"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _over_the_bar() -> str:
    """A line of the log takes the place of the progress bar, which is drawn anew below."""
    return CLEAR_LINE if sys.stderr.isatty() else ""


async def _follow(app: App, ended_before: int, show: Callable[[int, int], None]) -> None:
    """Move the progress bar until cancelled."""
    while True:
        totals = await app.records.journal.totals()
        ended = totals.ended - ended_before
        show(ended, ended + totals.open + app.intake.waiting())
        await asyncio.sleep(0.2)


@contextmanager
def _progress() -> Iterator[tuple[Progress, Callable[[int, int], None]]]:
    """A bar on standard error where that is a terminal; nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("images", total=None)
        yield progress, lambda done, total: progress.update(task, completed=done, total=total or None)
