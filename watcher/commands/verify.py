"""`audit verify`: whether the audit file is whole, in order and unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from watcher.commands.printing import console, say, write_json
from watcher.errors import Unavailable
from watcher.log.console import plain
from watcher.records.audit_verification import verify
from watcher.records.place import JournalPlace
from watcher.records.views import JournalViews

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from watcher.config.schema import Settings
    from watcher.model import Record
    from watcher.records.audit_verification import Verification
    from watcher.records.cluster import HostEndings


def verify_audit(settings: Settings, *, as_json: bool, all_hosts: bool = False) -> int:
    """Print what is wrong with the audit file, and a summary. Exit status 0 where it is sound, else 1.

    `all_hosts`: look at what every host of the cluster says of its own file as well.
    """
    if all_hosts and settings.journal is None:
        raise Unavailable("the journal belongs to this host alone", "`--cluster` is for a journal on PostgreSQL")
    place = JournalPlace.of(settings)
    journal = JournalViews.at(place) if place.is_there() else None
    try:
        found = verify(settings.audit_path, journal)
        hosts = journal.endings_of_hosts() if journal is not None and all_hosts else []
    except OSError as error:
        raise Unavailable(f"{settings.audit_path}: {error.strerror}", "run this as the daemon's user or as root") from None
    finally:
        if journal is not None:
            journal.close()
    if as_json:
        write_json({**_as_data(found), **({"hosts": [_host_data(host) for host in hosts]} if all_hosts else {})})
    else:
        _show_verdict(found, settings.audit_path)
        _show_hosts(hosts)
    return 0 if found.sound and not any(host.problems for host in hosts) else 1


def _as_data(found: Verification) -> Record:
    return {
        "sound": found.sound,
        "lines": found.lines,
        "first_seq": found.first_seq,
        "last_seq": found.last_seq,
        "files": [str(each) for each in found.files],
        "problems": list(found.problems),
        "notes": list(found.notes),
    }


def _host_data(host: HostEndings) -> Record:
    return {"name": host.name, "endings": host.lines, "written": host.written, "problems": list(host.problems)}


def _show_hosts(hosts: Sequence[HostEndings]) -> None:
    out = console()
    for host in hosts:
        say(out, f"host      {plain(host.name)}: {host.lines} endings, {host.written} of them in its audit file")
        for words in host.problems:
            say(out, Text(f"problem   {plain(words)}", "bold red"))
    if hosts and not any(host.problems for host in hosts):
        total = sum(host.lines for host in hosts)
        say(out, Text(f"sound     {total} endings of {len(hosts)} hosts: each output ended once", "green"))


def _show_verdict(found: Verification, path: Path) -> None:
    out = console()
    for file in found.files:
        say(out, f"read      {plain(file)}")
    for words in found.notes:
        say(out, Text(f"note      {plain(words)}", "yellow"))
    for words in found.problems:
        say(out, Text(f"problem   {plain(words)}", "bold red"))
    if not found.files:
        say(out, f"there is no audit file at {plain(path)} and nothing that ought to be in it" if found.sound else "")
    elif found.sound:
        span = f"numbers {found.first_seq} to {found.last_seq}"
        say(out, Text(f"sound     {found.lines} lines, {span}: in order, none missing, none twice, none changed", "green"))
    if not found.sound:
        count = len(found.problems)
        say(out, Text(f"NOT SOUND {count} problem{'s' if count != 1 else ''} in {found.lines} lines", "bold red"))
