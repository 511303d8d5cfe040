"""The commands that steer a daemon, whether it runs or not: retry, reprocess, pause, resume."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from watcher.cli.completion import failed_images, folders, renditions
from watcher.cli.options import ConfigOption, HostOption, JsonOption, leave, load, parsed, wait

FolderArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[FOLDER]", help="A folder, by name. Default: all of them.", show_default=False, autocompletion=folders
    ),
]


def retry(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID|FILE|KEY|URL",
            help="Failed images: ids, files, keys or addresses.",
            show_default=False,
            autocompletion=failed_images,
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All failed images.")] = False,
    dismiss: Annotated[bool, typer.Option("--dismiss", help="Do not retry them: they count as failed no longer.")] = False,
    config: ConfigOption = None,
    host: HostOption = None,
) -> None:
    """Put failed images back in the queue. A running daemon takes them at once."""
    from watcher.commands.retry import dismiss_images, retry_images

    if not names and not failed:
        raise typer.BadParameter("name the images by their ids, files, keys or addresses, or say --failed")
    if names and failed:
        raise typer.BadParameter("either names or --failed")
    settings, _ = load(config, "read")
    work = dismiss_images if dismiss else retry_images
    leave(wait(work(settings, names or [], all_failed=failed, host=host)))


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


def reprocess(
    everything: Annotated[bool, typer.Option("--all", help="Also those whose rule is the same: sent, and paid, again.")] = False,
    folder: Annotated[str | None, typer.Option(help="Only images of this folder, by name.", autocompletion=folders)] = None,
    rendition: Annotated[str | None, typer.Option(help="Only this rendition, by name.", autocompletion=renditions)] = None,
    since: Annotated[str | None, typer.Option(help='Only what was stored since: "2h", "1d" or a date 2026-01-31.')] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count images and requests; change nothing.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put stored images back in the queue, behind fresh drops: those whose rule changed since, or all.

    Each output is compared with its own rule: a rendition that overrides what changed is left. A running daemon begins at once.
    """
    from watcher.commands.listing import parse_since
    from watcher.commands.reprocess import Choice
    from watcher.commands.reprocess import reprocess as reprocess_images

    start = None if since is None else parsed(lambda text: parse_since(text, time.time()), since)
    settings, _ = load(config, "read")
    leave(wait(reprocess_images(settings, Choice(everything, folder, rendition, start), dry_run=dry_run, as_json=as_json)))
