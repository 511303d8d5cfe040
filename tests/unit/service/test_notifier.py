"""What is said to systemd, byte by byte, at a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcher.service.systemd import Notifier, confinement, unit_of


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that the service manager listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def notifier(manager: socket.socket, **environment: str) -> Notifier:
    """A notifier as the service would have it."""
    return Notifier({"NOTIFY_SOCKET": manager.getsockname(), **environment})


def said(manager: socket.socket) -> list[str]:
    """The assignments of the next message."""
    return manager.recv(4096).decode().split("\n")


def test_the_words_are_those_of_sd_notify(manager: socket.socket) -> None:
    """Ready, alive, stopping and status are the protocol's own assignments."""
    tell = notifier(manager)
    tell.ready("watching")
    assert said(manager) == ["READY=1", "STATUS=watching"]
    tell.starting("waiting for the journal", 60)
    assert said(manager) == ["EXTEND_TIMEOUT_USEC=60000000", "STATUS=waiting for the journal"]
    tell.alive()
    assert said(manager) == ["WATCHDOG=1"]
    tell.status("3 waiting")
    assert said(manager) == ["STATUS=3 waiting"]
    tell.stopping("stopping", 50.0)
    assert said(manager) == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=50000000", "STATUS=stopping"]


def test_a_reload_carries_the_time_at_which_it_began(manager: socket.socket) -> None:
    """Newer managers tell a reload's own READY from an older one by it."""
    notifier(manager).reloading()
    first, stamp = said(manager)
    assert first == "RELOADING=1"
    assert stamp.removeprefix("MONOTONIC_USEC=").isdigit()


def test_the_same_status_is_said_once(manager: socket.socket) -> None:
    """A queue that stands still costs systemd nothing."""
    tell = notifier(manager)
    tell.status("0 waiting")
    tell.status("0 waiting")
    assert said(manager) == ["STATUS=0 waiting"]
    with pytest.raises(BlockingIOError):
        manager.recv(4096)


def test_an_abstract_socket_is_found(tmp_path: Path) -> None:
    """A name that begins with @ stands for a socket without a file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0watcher-test-{os.getpid()}")
        listener.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@watcher-test-{os.getpid()}"}).alive()
        assert listener.recv(4096) == b"WATCHDOG=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nonexistent/notify"}])
def test_nobody_listening_is_no_trouble(environment: dict[str, str]) -> None:
    """Without a manager, or with one that is gone, the daemon goes on."""
    Notifier(environment).ready("watching")


def test_a_manager_that_does_not_read_is_not_waited_for(manager: socket.socket) -> None:
    """A full queue costs the message, never the daemon's time."""
    tell = notifier(manager)
    for _ in range(10_000):
        tell.alive()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({}, None),
    ],
)
def test_signs_of_life_are_due_twice_as_often_as_they_must(environment: dict[str, str], seconds: float | None) -> None:
    """Half of the allowed time, and only where this process is the one that is asked."""
    assert Notifier(environment).watchdog_interval == seconds


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/compressor-watcher.service\n", "compressor-watcher.service"),
        (
            "0::/system.slice/system-compressor\\x2dwatcher.slice/compressor-watcher@north.service\n",
            "compressor-watcher@north.service",
        ),
        ("4:memory:/system.slice/one.service\n1:name=systemd:/system.slice/one.service\n0::/\n", "one.service"),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", None),
        ("0::/\n", None),
    ],
)
def test_the_own_unit_is_read_from_the_control_group(cgroups: str, unit: str | None) -> None:
    """The operator is told the name of the very unit to edit, an instance's included."""
    assert unit_of(cgroups) == unit


def test_outside_a_service_nothing_is_said_of_drop_ins() -> None:
    """Who runs it in a terminal is not sent to systemctl."""
    assert confinement({}) == ""
    assert "systemctl edit" in confinement({"INVOCATION_ID": "x", "NOTIFY_SOCKET": "/run/systemd/notify"})
