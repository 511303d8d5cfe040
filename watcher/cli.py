"""The command line: names, options, help and exit status. What a command does is in `watcher.commands`.

Imports are late on purpose: `--help` and the reading commands should not wait for HTTP clients and servers.
"""

from __future__ import annotations

import io
import locale
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import typer

from watcher import __version__
from watcher.errors import ConfigurationError, Unavailable, WatcherError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from watcher.config.schema import Settings
    from watcher.config.validation import Purpose

Word = TypeVar("Word")

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_RUNNING: Final = 3
EXIT_UNAVAILABLE: Final = 69
EXIT_CONFIGURATION: Final = 78

app = typer.Typer(
    name="compressor-watcher",
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
    add_completion=False,
)
audit_app = typer.Typer(help="The audit file: one line for each ended image, chained by hashes.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")
service_app = typer.Typer(help="The systemd service on this machine.", no_args_is_help=True)
app.add_typer(service_app, name="service")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file. Default: $WATCHER_CONFIG, ./config.toml, /etc/compressor-watcher/config.toml.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable: JSON.")]


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


@app.command()
def run(config: ConfigOption = None) -> None:
    """Run the daemon: watch the folders until a signal says stop.

    JSON lines go to standard output. SIGTERM or Ctrl-C lets requests in flight end (up to `drain`), a second one ends at once;
    SIGHUP reads the configuration anew.
    """
    from watcher.commands.run import run_daemon

    _exit(_work(run_daemon(*_settings(config, "daemon"))))


@app.command()
def once(config: ConfigOption = None) -> None:
    """Take what lies in the folders now, and end when every image has ended.

    Shows a progress bar on a terminal. Exit status 1 if any image failed.
    """
    from watcher.commands.run import run_once

    settings, _ = _settings(config, "daemon")
    _exit(_work(run_once(settings)))


@app.command()
def init(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", help="Where to write it. A file that is there stays as it is.")
    ] = Path("config.toml"),
    folder: Annotated[str | None, typer.Option(metavar="DIR", help="The folder to watch.")] = None,
    bucket: Annotated[str | None, typer.Option(help="The B2 bucket to publish into.")] = None,
    region: Annotated[str | None, typer.Option(help="Its region, as in eu-central-003.")] = None,
    connector: Annotated[str | None, typer.Option(metavar="ID", help="The Storage Connector of your Compressor account.")] = None,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="How the API reaches this machine: a proxy, a tunnel, a port."),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Where temporary URLs are served. Default: a free port from 8080 on.")
    ] = None,
    staging_bucket: Annotated[
        str | None,
        typer.Option("--staging-bucket", metavar="BUCKET", help="Instead of --public-url: a private bucket for presigned links."),
    ] = None,
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
            check=lambda path: _wait(check_all(_settings(path, "daemon")[0], probe=False)),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    _exit(status)


def _prompt(question: str, default: str, secret: bool) -> str:
    return str(typer.prompt(question, default=default or None if not secret else "", hide_input=secret, show_default=not secret))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from watcher.config.reference import schema_text

    sys.stdout.write(schema_text())


@app.command()
def check(
    config: ConfigOption = None,
    probe: Annotated[bool, typer.Option("--probe", help="Also send one tiny image through everything, end to end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, folders, account and publish way, and say what to do about each trouble."""
    from watcher.commands.check import check as check_all

    settings, _ = _settings(config, "daemon")
    _exit(_wait(check_all(settings, probe=probe, as_json=as_json)))


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file in one of the watched folders; it need not exist yet.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which rule, key and request body a file would get, or why it is ignored. Sends nothing."""
    from watcher.commands.explain import explain as explain_file

    settings, _ = _settings(config, "read")
    _exit(explain_file(settings, file, as_json=as_json))


@app.command()
def engine(config: ConfigOption = None) -> None:
    """Serve the local Compressor-compatible API on its own (table `engine` of the configuration; needs no folders)."""
    from watcher.commands.engine import run_engine

    settings, _ = _settings(config, "engine")
    _exit(_wait(run_engine(settings)))


@app.command()
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

    _exit(_wait(run_demo(folder, into.absolute())))


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say whether the daemon is up, what waits, what failed, how fast it goes. Exit status 3 if it is not running."""
    from watcher.commands.status import show_status

    settings, _ = _settings(config, "read")
    _exit(show_status(settings, as_json=as_json))


@app.command(name="list")
def list_(
    config: ConfigOption = None,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            help="Only this state: waiting (also files that are not whole), ignored (files that are not taken), "
            "requested, enqueued, stored, failed, superseded, vanished, unchanged.",
        ),
    ] = None,
    folder: Annotated[str | None, typer.Option(help="Only this folder, by name.")] = None,
    since: Annotated[str | None, typer.Option(help='Only what was detected since: "2h", "1d" or a date 2026-01-31.')] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many lines; 0 for all.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, with a header row.")] = False,
) -> None:
    """List images, newest first: a line for the folder's own output, and one for each rendition."""
    from watcher.commands.listing import check_state, list_images, parse_since

    if as_json and as_csv:
        raise typer.BadParameter("either --json or --csv")
    wanted = None if state is None else _word(check_state, state)
    start = None if since is None else _word(lambda text: parse_since(text, time.time()), since)
    settings, _ = _settings(config, "read")
    form: Literal["table", "json", "csv"] = "json" if as_json else "csv" if as_csv else "table"
    _exit(list_images(settings, wanted, folder, start, limit=limit, form=form))


@app.command()
def show(
    what: Annotated[str, typer.Argument(metavar="FILE|ID", help="A file's path, or an image's id (its beginning is enough).")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one image's whole history."""
    from watcher.commands.show import show_image

    settings, _ = _settings(config, "read")
    _exit(show_image(settings, what, as_json=as_json))


@app.command()
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
    settings, _ = _settings(config, "read")
    _exit(_wait(retry_images(settings, ids or [], all_failed=failed)))


@app.command()
def tail(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The raw lines.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of the last lines first.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more, or end there.")] = True,
) -> None:
    """Follow the audit file."""
    from watcher.commands.tail import tail_audit

    settings, _ = _settings(config, "read")
    _exit(tail_audit(settings, lines=lines, as_json=as_json, follow=follow))


@audit_app.command()
def verify(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the audit file: one line per ended image, in order, none missing, none twice, none changed."""
    from watcher.commands.verify import verify_audit

    settings, _ = _settings(config, "read")
    _exit(verify_audit(settings, as_json=as_json))


@service_app.command("install")
def service_install(
    python: Annotated[
        Path | None, typer.Option("--python", metavar="FILE", help="Interpreter to build on. Default: found on this machine.")
    ] = None,
    wheels: Annotated[
        Path | None, typer.Option("--wheels", metavar="DIR", help="In a checkout: take all packages from wheels in DIR.")
    ] = None,
) -> None:
    """Put the service onto this machine (as root): unit, user, command, configuration. Enables nothing, says what to do next."""
    from watcher.commands.service import change_service

    _exit(change_service("install", python=python, wheels=wheels))


@service_app.command("uninstall")
def service_uninstall() -> None:
    """Take the service away again (as root). Configuration, state and logs stay."""
    from watcher.commands.service import change_service

    _exit(change_service("uninstall", python=None, wheels=None))


def _settings(config: Path | None, purpose: Purpose) -> tuple[Settings, Path]:
    from watcher.config.loading import find_config_file, load_settings, read_toml

    path = find_config_file(config, os.environ).absolute()
    try:
        return load_settings(read_toml(path), os.environ, purpose=purpose), path
    except ConfigurationError as error:
        raise ConfigurationError(
            [f"{path}: {problem}" if str(path) not in problem else problem for problem in error.problems]
        ) from None


def _word(read: Callable[[str], Word], text: str) -> Word:
    """What an option's text means. Wrong usage where it means nothing."""
    try:
        return read(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _wait(work: Coroutine[Any, Any, int]) -> int:
    from watcher.service.process import run_to_the_end

    return run_to_the_end(work)


def _work(work: Coroutine[Any, Any, int]) -> int:
    """The same for what works on its own: who reads its output may hang."""
    from watcher.log.output import queued_output
    from watcher.service.process import require_proc

    try:
        require_proc()
        with queued_output():
            return _wait(work)
    finally:
        work.close()


def _exit(status: int) -> None:
    if status:
        raise typer.Exit(status)


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
