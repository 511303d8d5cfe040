"""The commands that do the work, or get it ready: run, once, init, check, engine, demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from watcher.cli import completion
from watcher.cli.options import ConfigOption, JsonOption, is_for_engine_alone, leave, load, wait, work
from watcher.service import early

FolderToWatch = Annotated[str | None, typer.Option(metavar="DIR", help="The folder to watch.")]
ListenAddress = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Where temporary URLs are served. Default: a free port from 8080 on.")
]
PublicUrl = Annotated[
    str | None,
    typer.Option("--public-url", metavar="URL", help="How the API reaches this machine: a proxy, a tunnel, a port."),
]
StagingBucket = Annotated[
    str | None,
    typer.Option("--staging-bucket", metavar="BUCKET", help="Instead of --public-url: a private bucket for presigned links."),
]


def run(config: ConfigOption = None) -> None:
    """Run the daemon: watch the folders until a signal says stop.

    JSON lines go to standard output. SIGTERM or Ctrl-C lets requests in flight end (up to `drain`), a second one ends at once;
    SIGHUP reads the configuration anew.
    """
    with early.Loading():
        from watcher.commands.run import run_daemon

    leave(work(run_daemon(*load(config, "daemon"))))


def once(config: ConfigOption = None) -> None:
    """Take what lies in the folders now, and end when every image has ended.

    Shows a progress bar on a terminal. Exit status 1 if any image failed or cannot be read.
    """
    with early.Loading():
        from watcher.commands.run import run_once

    settings, _ = load(config, "daemon")
    leave(work(run_once(settings)))


def init(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", help="Where to write it. A file that is there stays as it is.")
    ] = Path("config.toml"),
    folder: FolderToWatch = None,
    bucket: Annotated[str | None, typer.Option(help="The B2 bucket to publish into.")] = None,
    region: Annotated[str | None, typer.Option(help="Its region, as in eu-central-003.")] = None,
    connector: Annotated[str | None, typer.Option(metavar="ID", help="The Storage Connector of your Compressor account.")] = None,
    public_url: PublicUrl = None,
    listen: ListenAddress = None,
    staging_bucket: StagingBucket = None,
    originals: Annotated[
        str | None,
        typer.Option(metavar="WHAT", help="What becomes of stored originals: keep, delete, or a folder. Default: keep."),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", metavar="KEY", help="Written into the file (0600). Better: the environment.")
    ] = None,
    api_url: Annotated[str | None, typer.Option("--api-url", metavar="URL", help="Another API than Compressor's own.")] = None,
) -> None:
    """Write a short config.toml: asks for what is needed, or takes it from the options; then checks it."""
    from watcher.commands.check import check as check_all
    from watcher.commands.init import Choices, missing, run_init

    choices = Choices(
        folder, bucket, region, connector, public_url, staging_bucket, listen, originals, api_key=api_key, api_url=api_url
    )
    ask = _prompt if sys.stdin.isatty() and missing(choices) else None
    try:
        status = run_init(
            choices,
            config.absolute(),
            ask=ask,
            say=lambda text: typer.echo(text, err=True),
            check=lambda path: wait(check_all(load(path, "daemon")[0], probe=False)),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    leave(status)


def _prompt(question: str, default: str, secret: bool) -> str:
    return str(typer.prompt(question, default=default or None if not secret else "", hide_input=secret, show_default=not secret))


def check(
    config: ConfigOption = None,
    probe: Annotated[bool, typer.Option("--probe", help="Also send one tiny image through everything, end to end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, folders, account and publish way, and say what to do about each trouble.

    Where it is for engines alone (`engine`, and neither `folders` nor `compressor`): state, jobs, address and connectors.
    """
    from watcher.commands.check import check as check_all
    from watcher.commands.check import check_engine_alone
    from watcher.service.descriptors import require_descriptors

    require_descriptors()
    if is_for_engine_alone(config):
        leave(check_engine_alone(load(config, "engine")[0], as_json=as_json))
        return
    settings, _ = load(config, "daemon")
    leave(wait(check_all(settings, probe=probe, as_json=as_json)))


def preview(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Pictures, or folders that have some.", show_default=False)
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(
            help="Whose rules to use, for pictures outside of the watched folders; without a PATH: all of this folder.",
            autocompletion=completion.folders,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many pictures, spread over the tree; 0 for all.")] = 20,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the sheet is written (HTML).")] = Path(
        "preview.html"
    ),
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a folder's rules would give, by the embedded engine: sizes, keys, and a sheet of before and after.

    Sends nothing and stores nothing. Exit status 1: nothing to show, or a picture would fail.
    """
    from watcher.commands.preview import preview as preview_pictures

    if not paths and folder is None:
        raise typer.BadParameter("name pictures or folders, or say --folder")
    settings, _ = load(config, "read")
    leave(wait(preview_pictures(settings, paths or [], folder=folder, limit=limit, output=output, as_json=as_json)))


def engine(config: ConfigOption = None) -> None:
    """Serve the local Compressor-compatible API on its own (table `engine` of the configuration; needs no folders)."""
    with early.Loading():
        from watcher.commands.engine import run_engine

    settings, _ = load(config, "engine")
    leave(work(run_engine(settings)))


def demo(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[FOLDER]", help="Your own pictures; they are copied, never changed.", show_default=False),
    ] = None,
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Where the demo's drop folder and bucket are made.")] = Path(
        "demo"
    ),
) -> None:
    """Show the whole thing on this machine with no account: embedded engine, a folder as bucket, sample photographs."""
    from watcher.commands.demo import run_demo

    leave(wait(run_demo(folder, into.absolute())))
