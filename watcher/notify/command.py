"""Receivers that are a program, and those that Apprise reaches, which is run as a program as well."""

from __future__ import annotations

import json
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from watcher.notify.programs import Program
from watcher.notify.sender import NotConfirmed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.notify.messages import Message
    from watcher.notify.plan import ReceiverPlan

COMMAND_SECONDS: Final = 30.0
APPRISE_SECONDS: Final = 60.0
"""Mail servers may take their time."""
APPRISE: Final = (sys.executable, "-m", "watcher.notify.apprise_send")


class CommandSender:
    """Runs one program for each message, which it reads from standard input. Exit status 0 confirms."""

    def __init__(self, plan: ReceiverPlan, environment: Mapping[str, str], seconds: float = COMMAND_SECONDS) -> None:
        name = PurePath(plan.command[0]).name
        self._program = Program(plan.command, environment, seconds, name)

    async def aclose(self) -> None:
        """There is nothing to let go of: a run is ended where it is awaited."""

    async def send(self, message: Message) -> str:
        """See `Sender.send`."""
        ended = await self._program.run(message.body)
        if ended.status != 0:
            raise NotConfirmed(f"{self._program.name} {ended.how}")
        return f"{self._program.name} exited with status 0"


class AppriseSender:
    """Sends words by Apprise, in a process of its own: its plugins take memory, and some wait forever."""

    def __init__(self, plan: ReceiverPlan, environment: Mapping[str, str], seconds: float = APPRISE_SECONDS) -> None:
        self._plan = plan
        self._program = Program(APPRISE, environment, seconds, plan.target)

    async def aclose(self) -> None:
        """There is nothing to let go of."""

    async def send(self, message: Message) -> str:
        """See `Sender.send`."""
        request = {"url": self._plan.apprise, "title": message.title, "body": message.text}
        ended = await self._program.run(json.dumps(request).encode())
        if ended.status != 0:
            words = f": {ended.words}" if ended.words else ""
            raise NotConfirmed(f"{self._plan.target} did not take the message{words}")
        return f"{self._plan.target} took the message"
