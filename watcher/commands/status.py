"""`status`: whether the daemon is up, what waits, what failed, how fast it goes."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from watcher.commands.journal_access import reading
from watcher.commands.printing import console, say_rows, write_json
from watcher.in_time import answered
from watcher.log.console import outcome, plain
from watcher.records.place import JournalPlace
from watcher.records.shared_jobs import shared_jobs
from watcher.service.instance import LOCK_NAME, running_pid
from watcher.shown.figures import DaemonFigures, JournalFigures, Status, jobs_words
from watcher.shown.report import FINE_STATES, DaemonReport, FolderState, ReceiverState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from watcher.config.folder_settings import Folder
    from watcher.config.schema import Settings
    from watcher.model import Record
    from watcher.shown.figures import HostFigures

NOT_RUNNING: Final = 3
NAME_WIDTH: Final = 11
_HOST_STYLES: Final = {"alive": "green", "gone": "bold red", "stopped": "yellow"}


def show_status(settings: Settings, *, as_json: bool, host: str | None = None) -> int:
    """Print it. Exit status 0, or 3 where no daemon runs on this state; the figures are shown in both cases.

    `host`: of this one among those that share the journal.
    """
    status = read_status(settings, time.time(), host).fields()
    if as_json:
        write_json(status)
    else:
        _show(console(), status)
    return 0 if status["running"] else NOT_RUNNING


def show_engine_status(settings: Settings, *, as_json: bool) -> int:
    """The same where the configuration is for engines alone: whether one runs on this state, and how the shared jobs stand."""
    jobs = shared_jobs(JournalPlace.of(settings))
    status = {**_process(settings.engine_state_dir).fields(), **({"jobs": jobs.fields()} if jobs is not None else {})}
    if as_json:
        write_json(status)
    else:
        rows = [("engine", _daemon_words(status)), *_jobs_lines(status)]
        say_rows(console(), ((Text(name, "bold"), words) for name, words in rows), NAME_WIDTH)
    return 0 if status["running"] else NOT_RUNNING


# --- facts ------------------------------------------------------------------------------------------------------------------


def read_status(settings: Settings, now: float, host: str | None = None) -> Status:
    """All that is to be known; `now` in Unix seconds."""
    with reading(settings, host) as journal:
        figures = JournalFigures() if journal is None else journal.figures(now)
        hosts = [] if journal is None else journal.hosts()
        own = host in (None, settings.host)
        daemon = _process(settings.state_dir) if own else _daemon_elsewhere(host, hosts)
        report = None if journal is None or not daemon.is_running else journal.report()
    at_work = daemon.is_running or (host is None and any(each.alive for each in hosts))
    seen = report or (_seen_from_here(settings) if daemon.host is None else DaemonReport())
    jobs = shared_jobs(JournalPlace.of(settings)) if host is None else None
    return replace(Status.of(daemon, seen, figures, at_work=at_work), hosts=hosts, jobs=jobs)


def _daemon_elsewhere(host: str | None, hosts: Sequence[HostFigures]) -> DaemonFigures:
    """Of another host: all that is known here is whether it is alive."""
    return DaemonFigures("", host=host, is_elsewhere=any(each.alive for each in hosts if each.name == host))


def _seen_from_here(settings: Settings) -> DaemonReport:
    """What can be said where no daemon says it."""
    seen = answered({each.path: partial(folder_state, each) for each in settings.folders})
    states = (FolderState(each.name, str(each.path), seen.get(each.path, "not_answering")) for each in settings.folders)
    receivers = (
        ReceiverState(name, each.kind, each.target, each.endings, each.folders or (), state="unknown")
        for name, each in settings.notify.items()
    )
    return DaemonReport(folders=tuple(states), receivers=tuple(receivers))


def _process(state_dir: Path) -> DaemonFigures:
    """Whether one runs on a state folder. It writes the lock file once, when it starts."""
    pid = running_pid(state_dir)
    since = None if pid is None else (state_dir / LOCK_NAME).stat().st_mtime
    return DaemonFigures(str(state_dir), pid, since)


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
    rows = _lines(status)
    rows += [("folder", _folder_words(folder)) for folder in status["folders"]]
    rows += [("notify", Text(f"{plain(each['name'])} ").append(_receiver_words(each))) for each in status["receivers"]]
    rows += [("host", _host_words(host)) for host in status.get("hosts", ())]
    rows += _jobs_lines(status)
    if status["last_delay"]:
        rows.append(("waits for", _event_line(status["last_delay"], "yellow")))
    errors = {error["id"]: error for error in reversed(status["last_errors"])}  # the outputs of an image fail alike
    rows += [("error", _event_line(error, "red")) for error in reversed(errors.values())]
    say_rows(out, ((Text(name, "bold"), words) for name, words in rows), NAME_WIDTH)


def _lines(status: Record) -> list[tuple[str, str | Text]]:
    ended = ", ".join(f"{count} {name}" for name, count in status["ended"].items())
    oldest = f", the oldest since {_readable(status['oldest_open'])}" if status["oldest_open"] else ""
    lines: list[tuple[str, str | Text]] = [
        ("daemon", _daemon_words(status)),
        ("API", _api_words(status["api"])),
        ("queue", f"{status['queue']} waiting, {status['in_flight']} in flight{oldest}"),
        ("failed", _failed_words(status["failed"])),
        ("ended", ended),
        *((name.replace("_", " "), _rate_words(status["throughput"][name])) for name in ("last_minute", "last_hour")),
    ]
    if status["not_whole"] or status["ignored"]:
        lines.insert(4, ("files", _file_words(status)))
    if status["paused"]:
        words = f"nothing is sent since {_readable(status['paused'])} (`compressor-watcher resume` goes on)"
        lines.insert(1, ("paused", Text(words, "bold yellow")))
    if stuck := status["not_put_away"]:
        words = f"{stuck} could not be moved or deleted, and are tried again: {plain(status['why_not_put_away'] or '')}"
        lines.append(("originals", Text(words, "bold red")))
    if behind := status["unwritten_audit_lines"]:
        lines.append(("audit", f"{behind} endings are not in the audit file yet"))
    return lines


def _folder_words(folder: Record) -> Text:
    words = f"{folder['state']}: {plain(folder['message'])}" if folder["message"] else folder["state"]
    style = "green" if folder["state"] in FINE_STATES else "bold red"
    paused = f" paused since {_readable(folder['paused'])}" if folder["paused"] else ""
    return Text(f"{plain(folder['name'])} {plain(folder['path'])} ").append(words, style).append(paused, "bold yellow")


def _file_words(status: Record) -> Text:
    not_whole, ignored, unreadable = (status[name] for name in ("not_whole", "ignored", "unreadable"))
    words = Text(f"{not_whole} not whole (`list --state waiting`)" if not_whole else "", "yellow")
    if ignored:
        words.append(", " if not_whole else "").append(f"{ignored} ignored (`list --state ignored`)")
    if unreadable:
        words.append(f", {unreadable} of them may not be read by the daemon", "bold red")
    return words


def _daemon_words(status: Record) -> Text:
    if host := status.get("host"):
        words = "running" if status["running"] else "not running"
        return Text(f"{words} on {plain(host)}", "green" if status["running"] else "bold red")
    if not status["running"]:
        return Text(f"not running (state in {plain(status['state_dir'])})", "bold red")
    return Text(f"running, pid {status['pid']}, since {_readable(status['since'])}", "green")


def _api_words(api: Record) -> str | Text:
    if api["state"] == "unknown":
        return str(api["words"])
    since = f" since {_readable(api['since'])}" if api["since"] else ""
    message = f": {plain(api['message'])}" if api["message"] else ""
    return Text(f"{api['words']}{since}{message}", "green" if api["state"] == "reachable" else "bold red")


def _host_words(host: Record) -> Text:
    words = Text(f"{plain(host['name'])} ").append(host["state"], _HOST_STYLES[host["state"]])
    words.append(f" since {_readable(host['since'])}" if host["since"] else "")
    words.append(f", {host['in_hand']} in hand" if host["in_hand"] else "")
    if host["waiting"]:
        count, folders = sum(host["waiting"].values()), ", ".join(map(plain, host["waiting"]))
        waits = "1 image waits" if count == 1 else f"{count} images wait"
        words.append(f", {waits} for it: no other host sees the files ({folders})", "bold red")
    return words


def _jobs_lines(status: Record) -> list[tuple[str, str | Text]]:
    if not (jobs := status.get("jobs")):
        return []
    return [("jobs", jobs_words(jobs)), *(("engine", _engine_words(engine)) for engine in jobs["engines"])]


def _engine_words(engine: Record) -> Text:
    words = Text(f"{plain(engine['name'])} ").append(engine["state"], _HOST_STYLES[engine["state"]])
    words.append(f" since {_readable(engine['since'])}" if engine["since"] else "")
    return words.append(f", {engine['in_hand']} in hand" if engine["in_hand"] else "")


def _receiver_words(receiver: Record) -> Text:
    count = receiver["backlog"]
    owed = f", {count} ending{'s' if count > 1 else ''} to be told" if count else ""
    if receiver["state"] != "unavailable":
        known = "" if receiver["state"] == "ok" else " (not known while no daemon runs)"
        return Text(f"{receiver['kind']} {plain(receiver['target'])}{known}{owed}", "" if known or owed else "green")
    since = f" since {_readable(receiver['since'])}" if receiver["since"] else ""
    return Text(f"unavailable{since}: {plain(receiver['message'])}{owed}", "bold red")


def _failed_words(count: int) -> str | Text:
    if not count:
        return "0"
    return Text(f"{count} (`list --state failed` shows them, `retry --failed` takes them again)", "red")


def _rate_words(rate: dict[str, int]) -> str:
    return f"{rate['stored']} stored, {rate['failed']} failed"


def _event_line(record: Record, style: str) -> Text:
    words = outcome(record) if "reason" in record else str(record.get("message"))
    return Text(f"{_readable(record['timestamp'])}  {plain(record['file'])}  ").append(plain(words), style)


def _readable(stamp: Any) -> str:
    """A log's timestamp for people: to the second, UTC."""
    return str(stamp)[:19].replace("T", " ")
