"""The commands that only look: status, list, show, links, explain, tail, audit verify, schema."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from watcher.cli.completion import folders, forms, states
from watcher.cli.options import ConfigOption, HostOption, JsonOption, is_for_engine_alone, leave, load, parsed


def status(config: ConfigOption = None, as_json: JsonOption = False, host: HostOption = None) -> None:
    """Say whether the daemon is up, what waits, what failed, how fast it goes. Exit status 3 if it is not running."""
    from watcher.commands.status import show_engine_status, show_status

    if is_for_engine_alone(config):
        settings, _ = load(config, "read")
        leave(show_engine_status(settings, as_json=as_json))
        return
    settings, _ = load(config, "read")
    leave(show_status(settings, as_json=as_json, host=host))


def list_(
    config: ConfigOption = None,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            autocompletion=states,
            help="Only this state: waiting (also files that are not whole), ignored (files that are not taken), "
            "requested, enqueued, stored, failed, superseded, vanished, unchanged.",
        ),
    ] = None,
    folder: Annotated[str | None, typer.Option(help="Only this folder, by name.", autocompletion=folders)] = None,
    since: Annotated[str | None, typer.Option(help='Only what was detected since: "2h", "1d" or a date 2026-01-31.')] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many lines; 0 for all.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Comma-separated, with a header row.")] = False,
    host: HostOption = None,
) -> None:
    """List images, newest first: a line for the folder's own output, and one for each rendition."""
    from watcher.commands.listing import check_state, list_images, parse_since

    if as_json and as_csv:
        raise typer.BadParameter("either --json or --csv")
    wanted = None if state is None else parsed(check_state, state)
    start = None if since is None else parsed(lambda text: parse_since(text, time.time()), since)
    settings, _ = load(config, "read")
    form: Literal["table", "json", "csv"] = "json" if as_json else "csv" if as_csv else "table"
    leave(list_images(settings, wanted, folder, start, limit=limit, form=form, host=host))


def links(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE|KEY|URL|ID", help="Files or directories, keys, addresses, or ids of images.", show_default=False
        ),
    ] = None,
    config: ConfigOption = None,
    form: Annotated[
        str, typer.Option("--as", metavar="FORM", help="url, markdown, html, picture, json or csv.", autocompletion=forms)
    ] = "url",
    folder: Annotated[str | None, typer.Option(help="All files of this folder, by name.", autocompletion=folders)] = None,
    since: Annotated[str | None, typer.Option(help='Only what was stored since: "2h", "1d" or a date 2026-01-31.')] = None,
    host: HostOption = None,
) -> None:
    """Print links to what is published: addresses, Markdown, HTML, a picture element, or data. Exit status 1: nothing found."""
    from watcher.commands.links import check_form, print_links
    from watcher.commands.listing import parse_since

    if not names and folder is None and since is None:
        raise typer.BadParameter("name files, keys, addresses or ids, or say --folder or --since")
    if names and folder is not None:
        raise typer.BadParameter("either names or --folder")
    wanted = parsed(check_form, form)
    start = None if since is None else parsed(lambda text: parse_since(text, time.time()), since)
    settings, _ = load(config, "read")
    leave(print_links(settings, names or [], wanted, folder=folder, since=start, host=host))


def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE|KEY|URL|ID", help="A file's path, a key, an address, or an image's id (its beginning is enough)."
        ),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    host: HostOption = None,
) -> None:
    """Show one image's whole history."""
    from watcher.commands.show import show_image

    settings, _ = load(config, "read")
    leave(show_image(settings, what, as_json=as_json, host=host))


def explain(
    file: Annotated[
        Path,  # a parser of its own: the library's would look at the file, which hangs on a dead share
        typer.Argument(metavar="FILE", parser=Path, help="A file in one of the watched folders; it need not exist yet."),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which rule, key and request body a file would get, or why it is ignored. Sends nothing."""
    from watcher.commands.explain import explain as explain_file

    settings, _ = load(config, "read")
    leave(explain_file(settings, file, as_json=as_json))


def tail(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="The raw lines.")] = False,
    urls: Annotated[bool, typer.Option("--urls", help="Only where each stored output lies, an address a line.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of the last lines first.")] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for more, or end there.")] = True,
) -> None:
    """Follow the audit file."""
    from watcher.commands.tail import TailForm, tail_audit

    if as_json and urls:
        raise typer.BadParameter("either --json or --urls")
    settings, _ = load(config, "read")
    form: TailForm = "json" if as_json else "urls" if urls else "people"
    leave(tail_audit(settings, lines=lines, form=form, follow=follow))


def verify(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    hosts: Annotated[bool, typer.Option("--cluster", help="Check what all hosts that share the journal say of theirs.")] = False,
) -> None:
    """Check the audit file: one line per ended image, in order, none missing, none twice, none changed."""
    from watcher.commands.verify import verify_audit

    settings, _ = load(config, "read")
    leave(verify_audit(settings, as_json=as_json, all_hosts=hosts))


def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from watcher.config.reference import schema_text

    sys.stdout.write(schema_text())
