"""The command line: which commands there are, and the exit statuses that scripts rely on.

Names, options and help of each are in the modules beside this one; what it does is in `watcher.commands`. Imports of that are
late on purpose: `--help` and the reading commands should not wait for HTTP clients and servers.
"""

from __future__ import annotations

import io
import locale
import os
import sys
from typing import Annotated, Final

import typer

from watcher import __version__
from watcher.cli import journal, notify, reading, service, steering, working
from watcher.cli.flags import Command, Group
from watcher.errors import ConfigurationError, Unavailable, WatcherError

EXIT_FAILED: Final = 1
EXIT_UNAVAILABLE: Final = 69
EXIT_CONFIGURATION: Final = 78

app = typer.Typer(
    name="compressor-watcher",
    cls=Group,
    help=(
        "Turns folders into a publishing pipeline: drop an image, and seconds later it lies compressed and resized in your "
        "Backblaze B2 bucket and one JSON line says where.\n\n"
        "Try it with no account: [bold]compressor-watcher demo[/bold]. "
        "With one: write a config.toml (config.example.toml explains every key), [bold]check[/bold] it, [bold]run[/bold] it."
    ),
    epilog="Exit status: 0 done, 1 something failed, 2 usage, 3 not running, 69 port or state in use, 78 bad configuration.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
audit_app = typer.Typer(cls=Group, help="The audit file: one line for each ended image, chained by hashes.", no_args_is_help=True)
app.add_typer(audit_app, name="audit", rich_help_panel="Look")
notify_app = typer.Typer(cls=Group, help="Receivers of notifications (table `notify`).", no_args_is_help=True)
app.add_typer(notify_app, name="notify", rich_help_panel="Steer")
journal_app = typer.Typer(cls=Group, help="The journal: what is remembered of files and images.", no_args_is_help=True)
app.add_typer(journal_app, name="journal", rich_help_panel="Steer")
service_app = typer.Typer(cls=Group, help="The systemd service on this machine.", no_args_is_help=True)
app.add_typer(service_app, name="service", rich_help_panel="Work")

WORKING: Final = (working.run, working.once, working.init, working.check, working.preview, working.engine, working.demo)
READING: Final = (reading.status, reading.list_, reading.show, reading.links, reading.explain, reading.tail, reading.schema)
STEERING: Final = (steering.retry, steering.reprocess, steering.pause, steering.resume)
for panel, commands in (("Work", WORKING), ("Look", READING), ("Steer", STEERING)):
    for each in commands:
        app.command(each.__name__.rstrip("_"), cls=Command, rich_help_panel=panel)(each)
audit_app.command(cls=Command)(reading.verify)
notify_app.command("test", cls=Command)(notify.sample)
notify_app.command(cls=Command)(notify.replay)
journal_app.command(cls=Command)(journal.copy)
service_app.command(cls=Command)(service.install)
service_app.command(cls=Command)(service.uninstall)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"compressor-watcher {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options that come before a command."""


def _speak_utf_8() -> None:
    """Programs that read us get UTF-8 in every locale; a terminal gets its own encoding, and escapes for what that cannot say."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=locale.getencoding() if stream.isatty() else "utf-8", errors="backslashreplace")


def main() -> None:
    """Entry point of the command. Turns our errors into one clear line each and the exit status that scripts rely on."""
    _speak_utf_8()
    try:
        app()
    except ConfigurationError as error:
        count = len(error.problems)
        typer.echo(f"compressor-watcher: the configuration is refused, {count} problem{'s' if count != 1 else ''}:", err=True)
        for problem in error.problems:
            typer.echo(f"  {problem}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    except Unavailable as error:
        typer.echo(f"compressor-watcher: {error}", err=True)
        sys.exit(EXIT_UNAVAILABLE)
    except WatcherError as error:
        typer.echo(f"compressor-watcher: {error}", err=True)
        sys.exit(EXIT_FAILED)
    except BrokenPipeError:
        # the reader of our output (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
