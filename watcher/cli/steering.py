"""The commands that steer a daemon, whether it runs or not: retry, pause, resume."""

from __future__ import annotations

from typing import Annotated

import typer

from watcher.cli.options import ConfigOption, leave, load, wait

FolderArgument = Annotated[
    str | None, typer.Argument(metavar="[FOLDER]", help="A folder, by name. Default: all of them.", show_default=False)
]


def retry(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID|FILE|KEY|URL]...", help="Failed images: ids, files, keys or addresses.", show_default=False),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All failed images.")] = False,
    config: ConfigOption = None,
) -> None:
    """Put failed images back in the queue. A running daemon takes them at once."""
    from watcher.commands.retry import retry_images

    if not names and not failed:
        raise typer.BadParameter("name the images by their ids, files, keys or addresses, or say --failed")
    if names and failed:
        raise typer.BadParameter("either names or --failed")
    settings, _ = load(config, "read")
    leave(wait(retry_images(settings, names or [], all_failed=failed)))


def pause(folder: FolderArgument = None, config: ConfigOption = None) -> None:
    """Send no new requests for all folders or for one, also after a restart. Requests on their way end."""
    from watcher.commands.pausing import pause as pause_folder

    settings, _ = load(config, "read")
    leave(wait(pause_folder(settings, folder)))


def resume(folder: FolderArgument = None, config: ConfigOption = None) -> None:
    """Go on after `pause`. A running daemon goes on at once."""
    from watcher.commands.pausing import resume as resume_folder

    settings, _ = load(config, "read")
    leave(wait(resume_folder(settings, folder)))
