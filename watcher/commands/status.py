"""`status`: whether the daemon is up, what waits, what failed, how fast it goes."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from watcher.commands.output import console, outcome, plain, say, state_text, write_json
from watcher.commands.reading import reading
from watcher.model import Event, timestamp
from watcher.service.instance import LOCK_NAME, running_pid

if TYPE_CHECKING:
    from rich.console import Console

    from watcher.config.schema import Folder, Settings
    from watcher.model import Record
    from watcher.records.views import JournalViews

NOT_RUNNING: Final = 3
LAST_ERRORS: Final = 5
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0


def show_status(settings: Settings, *, as_json: bool) -> int:
    """Print it. Exit status 0, or 3 where no daemon runs on this state; the figures are shown in both cases."""
    now = time.time()
    with reading(settings) as journal:
        status = {**_daemon(settings), **_figures(journal, now), "folders": [_folder(each) for each in settings.folders]}
    if as_json:
        write_json(status)
    else:
        _show(console(), status)
    return 0 if status["running"] else NOT_RUNNING


# --- facts ------------------------------------------------------------------------------------------------------------------


def _daemon(settings: Settings) -> Record:
    """Whether it runs. A daemon writes the lock file once, when it starts."""
    pid = running_pid(settings.state_dir)
    since = None if pid is None else (settings.state_dir / LOCK_NAME).stat().st_mtime
    return {
        "running": pid is not None,
        "pid": pid,
        "since": None if since is None else timestamp(since),
        "state_dir": str(settings.state_dir),
    }


def _figures(journal: JournalViews | None, now: float) -> Record:
    if journal is None:
        return empty_figures()
    totals, oldest = journal.totals(), journal.oldest_open()
    return {
        "queue": totals.waiting,
        "in_flight": totals.requested + totals.enqueued,
        "failed": journal.failed_now(),
        "oldest_open": None if oldest is None else timestamp(oldest),
        "ended": {name: getattr(totals, name) for name in ("stored", "failed", "superseded", "vanished", "unchanged")},
        "throughput": {
            "last_minute": _ended(journal, now - _MINUTE),
            "last_hour": _ended(journal, now - _HOUR),
        },
        "unwritten_audit_lines": max(0, journal.last_seq() - journal.marks().audited),
        "last_errors": [ending.record for ending in journal.last_failures(LAST_ERRORS)],
        "last_delay": _delay(journal) if totals.open else None,
    }


def empty_figures() -> Record:
    """The figures of a daemon that has never run."""
    nothing = {"stored": 0, "failed": 0}
    return {
        "queue": 0,
        "in_flight": 0,
        "failed": 0,
        "oldest_open": None,
        "ended": {**nothing, "superseded": 0, "vanished": 0, "unchanged": 0},
        "throughput": {"last_minute": nothing, "last_hour": nothing},
        "unwritten_audit_lines": 0,
        "last_errors": [],
        "last_delay": None,
    }


def _ended(journal: JournalViews, since: float) -> dict[str, int]:
    counts = journal.ended_since(since)
    return {"stored": counts[Event.IMAGE_STORED], "failed": counts[Event.IMAGE_FAILED]}


def _delay(journal: JournalViews) -> Record | None:
    """Why the image that was put off last has to wait."""
    if (found := journal.last_delay()) is None:
        return None
    image, step = found
    return {
        "timestamp": timestamp(step.at),
        "id": image.id,
        **image.file.fields(),
        "rendition": step.rendition,
        "message": step.detail.get("message"),
    }


def _folder(folder: Folder) -> Record:
    return {"name": folder.name, "path": str(folder.path), "state": folder_state(folder)}


def folder_state(folder: Folder) -> str:
    """What can be seen of a watched folder from here, as this user: ok, missing, not_a_folder or unreadable."""
    try:
        os.close(os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except FileNotFoundError:
        return "missing"
    except NotADirectoryError:
        return "not_a_folder"
    except OSError:
        return "unreadable"
    return "ok"


# --- for people -------------------------------------------------------------------------------------------------------------


def _show(out: Console, status: Record) -> None:
    for name, words in _lines(status):
        say(out, Text(name.ljust(11), "bold"), words)
    for folder in status["folders"]:
        state = state_text(folder["state"]) if folder["state"] == "ok" else Text(folder["state"], "bold red")
        say(out, Text("folder".ljust(11), "bold"), plain(folder["name"]), plain(folder["path"]), state)
    if status["last_delay"]:
        say(out, Text("waits for".ljust(11), "bold"), _event_line(status["last_delay"], "yellow"))
    for error in status["last_errors"]:
        say(out, Text("error".ljust(11), "bold"), _event_line(error, "red"))


def _lines(status: Record) -> list[tuple[str, str | Text]]:
    ended = ", ".join(f"{count} {name}" for name, count in status["ended"].items())
    oldest = f", the oldest since {_readable(status['oldest_open'])}" if status["oldest_open"] else ""
    lines: list[tuple[str, str | Text]] = [
        ("daemon", _daemon_words(status)),
        ("queue", f"{status['queue']} waiting, {status['in_flight']} in flight{oldest}"),
        ("failed", _failed_words(status["failed"])),
        ("ended", ended),
        *((name.replace("_", " "), _rate_words(status["throughput"][name])) for name in ("last_minute", "last_hour")),
    ]
    if behind := status["unwritten_audit_lines"]:
        lines.append(("audit", f"{behind} endings are not in the audit file yet"))
    return lines


def _daemon_words(status: Record) -> Text:
    if not status["running"]:
        return Text(f"not running (state in {plain(status['state_dir'])})", "bold red")
    return Text(f"running, pid {status['pid']}, since {_readable(status['since'])}", "green")


def _failed_words(count: int) -> str | Text:
    if not count:
        return "0"
    return Text(f"{count} (see `list --state failed`; `retry --failed` puts them back in the queue)", "red")


def _rate_words(rate: dict[str, int]) -> str:
    return f"{rate['stored']} stored, {rate['failed']} failed"


def _event_line(record: Record, style: str) -> Text:
    words = outcome(record) if "reason" in record else str(record.get("message"))
    return Text(f"{_readable(record['timestamp'])}  {plain(record['file'])}  ").append(plain(words), style)


def _readable(stamp: Any) -> str:
    """A log's timestamp for people: to the second, UTC."""
    return str(stamp)[:19].replace("T", " ")
