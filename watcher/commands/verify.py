"""`audit verify`: whether the audit file is whole, in order and unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from watcher.commands.output import console, say, write_json
from watcher.commands.reading import is_there
from watcher.errors import Unavailable
from watcher.log.console import plain
from watcher.records.audit_verification import verify
from watcher.records.views import JournalViews

if TYPE_CHECKING:
    from pathlib import Path

    from watcher.config.schema import Settings
    from watcher.model import Record
    from watcher.records.audit_verification import Verification


def verify_audit(settings: Settings, *, as_json: bool) -> int:
    """Print what is wrong with the audit file, and a summary. Exit status 0 where it is sound, else 1."""
    journal = JournalViews.open(settings.journal_path) if is_there(settings.journal_path) else None
    try:
        found = verify(settings.audit_path, journal)
    except OSError as error:
        raise Unavailable(f"{settings.audit_path}: {error.strerror}", "run this as the daemon's user or as root") from None
    finally:
        if journal is not None:
            journal.close()
    if as_json:
        write_json(_as_data(found))
    else:
        _show_verdict(found, settings.audit_path)
    return 0 if found.sound else 1


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
