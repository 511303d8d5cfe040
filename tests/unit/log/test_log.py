"""The log: one JSON object a line, levels by event, and nothing that stops the work."""

from __future__ import annotations

import errno
import io
import json

import pytest

from watcher.log import CountingLog, JsonLog, level_of, line_fields
from watcher.log.console import Tally
from watcher.model import Event
from watcher.service.observed_log import ObservedLog


def log(out: io.StringIO, **options: str) -> JsonLog:
    """A log with its clock stopped."""
    return JsonLog(out=out, clock=lambda: 1_795_344_127.123456, **options)  # type: ignore[arg-type]


def test_a_line_is_one_json_object_with_time_level_and_event_first() -> None:
    """The documented form, with microseconds in UTC."""
    out = io.StringIO()
    log(out).event(Event.IMAGE_STORED, id="x", file="/srv/ü.jpg")
    line = json.loads(out.getvalue())

    assert ["timestamp", "level", "event", "id", "file"] == list(line)
    assert ("2026-11-22T10:42:07.123456Z", "info", "image.stored") == tuple(line[key] for key in ("timestamp", "level", "event"))
    assert "ü" in out.getvalue()


def test_the_object_of_an_ending_is_written_as_it_is() -> None:
    """The line on standard output is the very object that the audit file holds: its own timestamp stays."""
    record = line_fields(Event.IMAGE_FAILED, 5.0, reason="empty")
    out = io.StringIO()
    log(out).event(Event.IMAGE_FAILED, **{key: value for key, value in record.items() if key not in ("event", "level")})

    assert record == json.loads(out.getvalue())


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_hides_what_is_below(level: str, shown: int) -> None:
    """Each event has its level."""
    out = io.StringIO()
    for event in (Event.IMAGE_DETECTED, Event.IMAGE_MOVED, Event.IMAGE_RETRY, Event.IMAGE_FAILED):
        log(out, level=level).event(event)

    assert shown == len(out.getvalue().splitlines())


@pytest.mark.parametrize(
    "event",
    [
        Event.IMAGE_DETECTED,
        Event.IMAGE_IGNORED,
        Event.IMAGE_PUBLISHED,
        Event.IMAGE_FETCHED,
        Event.IMAGE_REQUESTED,
        Event.IMAGE_UNCHANGED,
        Event.SCAN_FINISHED,
    ],
)
def test_the_way_of_an_image_is_debug(event: Event) -> None:
    """Level info shows what an operator has to know, and no more."""
    assert "debug" == level_of(event)


@pytest.mark.parametrize(
    ("reason", "level"),
    [("not_an_image", "info"), ("unsupported", "info"), ("hidden", "debug"), ("temporary_name", "debug"), ("excluded", "debug")],
)
def test_a_file_that_cannot_be_done_is_told_at_level_info(reason: str, level: str) -> None:
    """Whoever dropped it looks for it; what the settings or the name leave out is no news."""
    out = io.StringIO()
    JsonLog("debug", out=out, clock=lambda: 0.0).event(Event.IMAGE_IGNORED, file="/a", reason=reason)

    assert json.loads(out.getvalue())["level"] == level


class Choked(io.StringIO):
    """A reader that is gone, for a while."""

    broken = True

    def flush(self) -> None:
        """Fail like a full disk."""
        if self.broken:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """It is said once on standard error, and the lines go on when there is room, each on a line of its own."""
    out = Choked()
    lines = log(out)
    lines.event(Event.SERVICE_READY)
    lines.event(Event.SERVICE_READY)
    out.broken = False
    out.seek(0)
    out.truncate()
    out.write('{"torn')
    lines.event(Event.SERVICE_STOPPED)

    assert 1 == capsys.readouterr().err.count("log lines are lost")
    assert "service.stopped" == json.loads(out.getvalue().splitlines()[1])["event"]


def test_logs_in_front_hand_the_fields_on_as_they_are() -> None:
    """Each sees the whole line, whatever the level is; nobody changes what the caller holds."""
    out, tally = io.StringIO(), Tally()
    seen: list[tuple[Event, dict[str, object]]] = []
    front = ObservedLog(CountingLog(log(out), tally))
    front.observe(lambda event, fields: seen.append((event, dict(fields))))
    fields = {"timestamp": "then", "level": "debug", "event": "other", "id": "x", "output": {"size": 5}, "input": {"size": 9}}
    before = json.dumps(fields)

    front.write(Event.IMAGE_STORED, fields)
    front.event(Event.IMAGE_REQUESTED, id="x")

    assert json.dumps(fields) == before
    assert seen == [(Event.IMAGE_STORED, fields), (Event.IMAGE_REQUESTED, {"id": "x"})]
    assert tally.counts["stored"] == 1
    assert (tally.bytes_in, tally.bytes_out) == (9, 5)
    line = json.loads(out.getvalue())
    assert list(line.items())[:3] == [("timestamp", "then"), ("level", "info"), ("event", "image.stored")]
    assert line["output"] == {"size": 5}
