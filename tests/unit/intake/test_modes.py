"""Watched, polled or lost: what is chosen, and what people are told of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.support.publishing import RecordedLog
from watcher.intake.modes import FolderMode, Polling, can_lease, wants_events
from watcher.intake.roots import Place, RootInfo
from watcher.intake.watching import WatchFailed
from watcher.model import Event

DISK = Place(Path("/srv/drop"), mount=1, device=1, kind="ext4")
SHARE = replace(DISK, kind="nfs4", remote=True)
LOCAL = RootInfo(b"/srv/drop", (1, 2), DISK)  # type: ignore[arg-type]
REMOTE = replace(LOCAL, place=SHARE)
SHARE_BELOW = replace(LOCAL, below=((b"nas/photos", SHARE),))
FAILED = WatchFailed("no watch is left", "raise the limit")


@dataclass
class Context:
    """What a mode needs of the intake."""

    confinement: str = ""
    events: RecordedLog = field(default_factory=RecordedLog)


def new_mode(context: Context) -> FolderMode:
    return FolderMode("products", Path("/srv/drop"), context)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("info", "polling", "watched", "leased"),
    [
        (LOCAL, "auto", True, True),
        (LOCAL, False, True, True),
        (LOCAL, True, False, False),
        (REMOTE, "auto", False, False),
        (REMOTE, False, True, False),
        (REMOTE, True, False, False),
        (SHARE_BELOW, "auto", False, True),
        (SHARE_BELOW, False, True, True),
        (SHARE_BELOW, True, False, False),
    ],
    ids=lambda value: value if isinstance(value, str | bool) else value.kind + str(len(value.below)),
)
def test_what_is_watched_and_where_a_lease_tells(info: RootInfo, polling: Polling, watched: bool, leased: bool) -> None:
    """Shares tell nothing of what others do; who chose to poll does not trust events, whatever it lies on."""
    assert wants_events(info, polling) is watched
    assert can_lease(info, polling) is leased


@pytest.mark.parametrize(
    ("info", "polling", "problem", "mode", "words"),
    [
        (LOCAL, "auto", None, "watching", ""),
        (LOCAL, True, None, "polling", ""),
        (REMOTE, "auto", None, "polling", "nfs4"),
        (SHARE_BELOW, "auto", None, "polling", "nas/photos"),
        (LOCAL, "auto", FAILED, "polling", "no watch is left"),
    ],
    ids=["disk", "chosen", "share", "share below", "no watch"],
)
def test_an_armed_folder_says_how_and_why(
    info: RootInfo, polling: Polling, problem: WatchFailed | None, mode: str, words: str
) -> None:
    """Nobody has to ask why a folder is polled, unless it was chosen."""
    context = Context()
    of = new_mode(context)
    of.arm(info, polling, problem, "", came_back=False)
    (line,) = context.events.of(Event.FOLDER_WATCHING)
    assert (of.now, line["mode"], line["folder"], line["path"]) == (mode, mode, "products", "/srv/drop")
    assert words in line.get("message", "")
    assert ("message" in line) is bool(words)
    assert line.get("hint") == (FAILED.hint if problem else None)


def test_the_same_is_not_said_twice() -> None:
    """The guard arms a folder again whenever it is in doubt."""
    context = Context()
    of = new_mode(context)
    for _ in range(3):
        of.arm(LOCAL, "auto", None, "", came_back=False)
    for _ in range(3):
        of.lose("/srv/drop is not there")
    assert [event for event, _ in context.events.lines] == [Event.FOLDER_WATCHING, Event.FOLDER_LOST]


def test_a_folder_that_comes_back_is_said_to_have() -> None:
    """Also where it comes back as what it was before."""
    context = Context()
    of = new_mode(context)
    assert (of.is_lost, of.was_said_lost) == (True, False)
    of.arm(LOCAL, "auto", None, "", came_back=of.was_said_lost)
    of.lose("/srv/drop is not there")
    assert (of.is_lost, of.was_said_lost) == (True, True)
    of.arm(LOCAL, "auto", None, "", came_back=of.was_said_lost)
    assert [event for event, _ in context.events.lines] == [Event.FOLDER_WATCHING, Event.FOLDER_LOST, Event.FOLDER_RECOVERED]
    assert not of.is_lost


@pytest.mark.parametrize("confinement", ["", "a service sees only what its drop-in opens"])
def test_a_lost_folder_says_what_to_do(confinement: str) -> None:
    """In a service, also what the service keeps from it."""
    context = Context(confinement)
    new_mode(context).lose("/srv/drop is not there")
    (line,) = context.events.of(Event.FOLDER_LOST)
    assert line["message"] == "/srv/drop is not there"
    assert "mount it" in line["hint"]
    assert line["hint"].endswith(confinement)
