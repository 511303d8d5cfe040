"""A reload: what is read, what is handed on, and what is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.publishing import RecordedLog
from watcher.config.schema import Settings
from watcher.errors import ConfigurationError, WatcherError
from watcher.model import Event
from watcher.service.reloading import Reloader


def settings(**changes: Any) -> Settings:
    return Settings.model_validate({"state_dir": "/var/lib/x", **changes})


@dataclass
class Daemon(RecordedLog):
    """All that a reload touches: the file, the parts, the manager, the log and its level."""

    file: Settings | Exception = field(default_factory=settings)
    done: list[str] = field(default_factory=list)
    given: list[Settings] = field(default_factory=list)
    level: str = "info"

    def load(self) -> Settings:
        if isinstance(self.file, Exception):
            raise self.file
        return self.file

    def reloading(self) -> None:
        self.done.append("reloading")

    def ready(self, status: str) -> None:
        self.done.append(f"ready: {status}")

    async def reopen(self) -> None:
        self.done.append("reopen")

    async def reload(self, new: Settings) -> None:
        self.done.append("reload")
        self.given.append(new)

    async def status(self) -> str:
        return "3 waiting"

    def reloader(self) -> Reloader:
        return Reloader(self.load, settings(), self, self, self, self.status)  # type: ignore[arg-type]


async def test_a_changed_configuration_is_handed_to_the_parts() -> None:
    """The manager waits until they have it; what only a restart changes stays, and is named."""
    daemon = Daemon(file=settings(rescan="1m", keep="1d", log={"level": "debug"}))
    await daemon.reloader().reload()
    assert daemon.done == ["reloading", "reopen", "reload", "ready: 3 waiting"]
    (given,) = daemon.given
    assert (given.rescan, given.keep, daemon.level) == (60.0, settings().keep, "debug")
    (line,) = daemon.of(Event.CONFIG_RELOADED)
    assert (set(line["changed"]), line["needs_restart"]) == ({"rescan", "keep", "log"}, ["keep"])


@pytest.mark.parametrize(
    ("error", "problems"),
    [
        (ConfigurationError(["rescan: is no duration", "keep: too"]), ["rescan: is no duration", "keep: too"]),
        (WatcherError("config.toml is not there", "make it"), ["config.toml is not there (make it)"]),
    ],
    ids=["refused", "cannot be read"],
)
async def test_a_refused_configuration_leaves_the_old_in_force(error: Exception, problems: list[str]) -> None:
    """Files are opened anew all the same (logrotate asks for no more), and the manager does not wait."""
    daemon = Daemon(file=error)
    await daemon.reloader().reload()
    assert daemon.done == ["reloading", "reopen", "ready: 3 waiting"]
    (line,) = daemon.of(Event.CONFIG_REJECTED)
    assert line["problems"] == problems


async def test_the_next_reload_is_compared_with_the_last() -> None:
    """Not with what the daemon began with, nor with what was refused."""
    daemon = Daemon(file=settings(rescan="1m"))
    reloader = daemon.reloader()
    await reloader.reload()
    daemon.file = ConfigurationError(["no"])
    await reloader.reload()
    daemon.file = settings(rescan="1m", settle="3s")
    await reloader.reload()
    assert [line["changed"] for line in daemon.of(Event.CONFIG_RELOADED)] == [["rescan"], ["settle"]]
