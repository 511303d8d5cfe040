"""The commands about the journal itself."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from watcher.cli.options import leave


def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A SQLite file, or a postgresql:// URL.", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="TO", help="The other one; it must be empty.", show_default=False)],
    host: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="This host's name in the cluster. Default: the host name.", show_default=False),
    ] = None,
) -> None:
    """Copy a journal from SQLite to PostgreSQL or back, so that nothing is sent again. Stop the daemons before."""
    from watcher.commands.journal_copy import copy_journal

    leave(copy_journal(source, target, host, os.environ))
