"""The commands about receivers of notifications."""

from __future__ import annotations

from typing import Annotated

import typer

from watcher.cli.completion import receivers
from watcher.cli.options import ConfigOption, HostOption, leave, load, wait

ReceiverArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A receiver of the configuration.", autocompletion=receivers)
]


def sample(name: ReceiverArgument, config: ConfigOption = None) -> None:
    """Send one sample to a receiver, and say whether it was confirmed (exit status 1 if not). A heartbeat gets one beat."""
    from watcher.commands.notify import send_sample

    settings, _ = load(config, "read")
    leave(wait(send_sample(settings, name)))


def replay(
    name: ReceiverArgument,
    start: Annotated[int, typer.Option("--from", metavar="SEQ", min=1, help="The `seq` of the first ending to send.")],
    config: ConfigOption = None,
    host: HostOption = None,
) -> None:
    """Send endings once more, from a line of the audit file on. Exit status 1 if one was not confirmed.

    With --host those that another host made, as far as the journal that it shares with this one still has them.
    """
    from watcher.commands.notify import replay as replay_endings

    settings, _ = load(config, "read")
    leave(wait(replay_endings(settings, name, start, host)))
