"""The commands for the systemd service on this machine: service install, service uninstall."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watcher.cli.options import leave


def install(
    python: Annotated[
        Path | None, typer.Option("--python", metavar="FILE", help="Interpreter to build on. Default: found on this machine.")
    ] = None,
    wheels: Annotated[
        Path | None, typer.Option("--wheels", metavar="DIR", help="In a checkout: take all packages from wheels in DIR.")
    ] = None,
) -> None:
    """Put the service onto this machine (as root): unit, user, command, configuration. Enables nothing, says what to do next."""
    from watcher.commands.service import change_service

    leave(change_service("install", python=python, wheels=wheels))


def uninstall() -> None:
    """Take the service away again (as root). Configuration, state and logs stay."""
    from watcher.commands.service import change_service

    leave(change_service("uninstall", python=None, wheels=None))
