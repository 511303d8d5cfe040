"""The commands that steer a daemon, whether it runs or not: retry."""

from __future__ import annotations

from typing import Annotated

import typer

from watcher.cli.options import ConfigOption, leave, load, wait


def retry(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Failed images.", show_default=False)] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All failed images.")] = False,
    config: ConfigOption = None,
) -> None:
    """Put failed images back in the queue. A running daemon takes them at once."""
    from watcher.commands.retry import retry_images

    if not ids and not failed:
        raise typer.BadParameter("name the images by their ids, or say --failed")
    if ids and failed:
        raise typer.BadParameter("either ids or --failed")
    settings, _ = load(config, "read")
    leave(wait(retry_images(settings, ids or [], all_failed=failed)))
