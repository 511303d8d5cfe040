"""What is asked before the daemon is up is done once it is."""

from __future__ import annotations

import signal

from watcher.service.control import Control


async def test_a_reload_that_comes_too_early_is_done_later_and_once() -> None:
    """The configuration may have been read before it was changed."""
    control, reloads = Control(), []
    control.reload()
    control.reload()
    control.on_reload(lambda: reloads.append("reload"))
    assert reloads == ["reload"]
    control.reload()
    assert reloads == ["reload"] * 2


async def test_nothing_is_reloaded_unasked() -> None:
    """A daemon that comes up has read its configuration just now."""
    control, reloads = Control(), []
    control.on_reload(lambda: reloads.append("reload"))
    assert not reloads


async def test_a_wake_that_comes_too_early_is_dropped() -> None:
    """Whoever comes up looks at the journal anyway."""
    control, wakes = Control(), []
    control.wake()
    control.on_wake(lambda: wakes.append("wake"))
    assert not wakes
    control.wake()
    assert wakes == ["wake"]


async def test_the_first_signal_asks_for_an_orderly_stop() -> None:
    """(That the second ends the process at once is shown with a real process, in tests/fault.)"""
    control = Control()
    control.stop(signal.SIGTERM)
    assert control.stopping.is_set()
