"""What a receiver wants: filters, and the way through a pipe."""

from __future__ import annotations

import json
from typing import Any

import pytest

from watcher.config.receiver_settings import ReceiverSettings
from watcher.model import AuditLine, Event
from watcher.notify.plan import OUTAGES, ReceiverPlan

URL = "http://127.0.0.1:1/token"


def plan(**keys: Any) -> ReceiverPlan:
    """The plan of a receiver with these keys."""
    return ReceiverPlan.of("cms", ReceiverSettings(**{"url": URL, **keys}))


def line(event: str = "image.stored", folder: str = "products") -> AuditLine:
    """A line of the audit file."""
    return AuditLine(1, "id", None, 0.0, event, folder, {})


@pytest.mark.parametrize(
    ("keys", "event", "folder", "wanted"),
    [
        ({}, "image.stored", "products", True),
        ({}, "image.vanished", "products", True),
        ({"events": ("image.failed",)}, "image.stored", "products", False),
        ({"events": ("image.failed", "outage")}, "image.failed", "products", True),
        ({"events": ("outage",)}, "image.failed", "products", False),
        ({"folders": ("scans",)}, "image.stored", "products", False),
        ({"folders": ("scans", "products")}, "image.stored", "products", True),
        ({"heartbeat": "1m"}, "image.stored", "products", False),
    ],
)
def test_endings_are_chosen_by_event_and_folder(keys: dict[str, Any], event: str, folder: str, wanted: bool) -> None:
    """Both filters hold."""
    assert plan(**keys).wants(line(event, folder)) is wanted


@pytest.mark.parametrize("event", list(Event))
def test_outage_is_what_it_says(event: Event) -> None:
    """api.*, folder.lost, journal.*, and their recovery; nothing else of the catalogue."""
    named = event.startswith(("api.", "journal.")) or event in ("folder.lost", "folder.recovered")

    assert (event in OUTAGES) is named
    assert plan(events=("outage",)).wants_outage({"event": str(event)}) is named
    assert not plan().wants_outage({"event": str(event)})


def test_an_outage_of_another_folder_is_not_told() -> None:
    """One of no folder is everybody's."""
    scans = plan(events=("outage",), folders=("scans",))

    assert not scans.wants_outage({"event": "folder.lost", "folder": "products"})
    assert scans.wants_outage({"event": "folder.lost", "folder": "scans"})
    assert scans.wants_outage({"event": "api.unavailable"})


@pytest.mark.parametrize(
    "keys",
    [
        {"secret": "MTIz", "folders": ("a", "b"), "digest": "5m"},
        {"url": None, "command": ("/bin/x", "y")},
        {"url": None, "apprise": "ntfy://alerts", "events": ("outage",)},
        {"heartbeat": "1m"},
    ],
)
def test_a_plan_comes_through_a_pipe(keys: dict[str, Any]) -> None:
    """As JSON, and back."""
    one = plan(**keys)

    assert ReceiverPlan.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_nothing_secret_is_in_a_repr() -> None:
    """It may end in a traceback."""
    shown = repr(plan(secret="MTIzNDU2"))

    assert "token" not in shown
    assert "MTIz" not in shown
