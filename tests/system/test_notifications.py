"""Notifications through the installed command: a daemon, its files, and receivers that behave and misbehave."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, command, wait_until
from tests.support.notified import KEY, NotifiedPlace
from tests.support.pictures import jpeg
from tests.support.receivers import SECRET, ReceivingServer
from tests.support.standin import StandinProcess


@pytest.fixture(scope="module")
def standin() -> Iterator[StandinProcess]:
    """The API stand-in."""
    with StandinProcess() as process:
        yield process


@pytest.fixture
def receiver() -> Iterator[ReceivingServer]:
    """A receiver that wants signatures."""
    with ReceivingServer(secret=SECRET) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, standin: StandinProcess) -> NotifiedPlace:
    """A daemon's files."""
    return NotifiedPlace(tmp_path, standin.url, standin.verify_url)


def cms(receiver: ReceivingServer, **more: Any) -> dict[str, Any]:
    """`[notify]` with one receiver."""
    return {"cms": {"url": receiver.url, "secret": SECRET, **more}}


def test_every_ending_is_posted_as_the_audit_file_has_it(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """Signed, in order, byte for byte; the secret comes from the environment as well."""
    place.write({"cms": {"url": receiver.url}})
    with Daemon(place.config, {**KEY, "WATCHER_NOTIFY__CMS__SECRET": SECRET}):
        place.drop_some(12)
        wait_until(lambda: len(receiver.confirmed) >= 12)

    lines = (place.state / "audit.jsonl").read_bytes().splitlines()
    assert [call.body for call in receiver.calls] == lines
    assert len({call.id for call in receiver.calls}) == 12
    assert {(call.method, call.headers["content-type"]) for call in receiver.calls} == {("POST", "application/json")}


def test_a_sample_says_whether_the_receiver_confirms(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """`notify test`: no daemon, no API key; nothing of the URL but its host is printed."""
    place.write(cms(receiver))

    done = command("notify", "test", "cms", "--config", place.config)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"cms: 127.0.0.1:{receiver.port} answered 200")
    (call,) = receiver.confirmed
    assert (call.object["event"], call.object["test"], call.object["bucket"]) == ("image.stored", True, "my-bucket")

    receiver.status = 500
    failed = command("notify", "test", "cms", "--config", place.config)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert f"cms: 127.0.0.1:{receiver.port} answered 500" in failed.stderr
    assert "planted-token" not in done.stdout + failed.stderr


def test_a_sample_names_the_trouble(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """An unknown name, a wrong secret, nobody listening."""
    other = {"url": receiver.url, "secret": "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
    place.write({"cms": other, "gone": {"url": "http://127.0.0.1:9/x"}})

    unknown = command("notify", "test", "gne", "--config", place.config)
    wrong = command("notify", "test", "cms", "--config", place.config)
    gone = command("notify", "test", "gone", "--config", place.config)

    assert [each.returncode for each in (unknown, wrong, gone)] == [1, 1, 1]
    assert "no receiver 'gne'; there are cms, gone; did you mean `gone`?" in unknown.stderr
    assert "compare `secret` here and there" in wrong.stderr
    assert "127.0.0.1:9 cannot be reached: connection refused" in gone.stderr


def test_endings_are_sent_again_from_a_line_on(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """`notify replay`: as the filters have it, under the same ids; a failure says where to go on."""
    place.write(cms(receiver))
    with Daemon(place.config, KEY):
        place.drop_some(6)
        wait_until(lambda: len(receiver.confirmed) >= 6)
    first = {call.object["seq"]: (call.id, call.body) for call in receiver.confirmed}
    receiver.calls.clear()

    done = command("notify", "replay", "cms", "--from", "3", "--config", place.config)

    assert done.returncode == 0, done.stderr
    assert "4 endings were sent again and confirmed, the last of them number 6" in done.stdout
    assert {call.object["seq"]: (call.id, call.body) for call in receiver.confirmed} == {seq: first[seq] for seq in (3, 4, 5, 6)}
    assert receiver.numbers() == [3, 4, 5, 6]

    receiver.status = 503
    failed = command("notify", "replay", "cms", "--from", "5", "--config", place.config)
    assert failed.returncode == 1
    assert "0 endings were sent again; go on with `notify replay cms --from 5`" in failed.stderr
    beyond = command("notify", "replay", "cms", "--from", "7", "--config", place.config)
    assert (beyond.returncode, beyond.stdout) == (1, "")


def test_a_receiver_that_is_down_gets_all_in_order_when_it_is_back(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """Said once, nobody else waits, and `status` shows what is owed; it recovers without help."""
    receiver.stop()
    with ReceivingServer() as other:
        place.write({**cms(receiver), "other": {"url": other.url}})
        with Daemon(place.config, KEY) as daemon:
            place.drop_some(8)
            wait_until(lambda: len(other.confirmed) >= 8)
            (said,) = daemon.wait_for("notify.unavailable")
            receivers = wait_until(lambda: unavailable(place))
            receiver.start()
            (back,) = daemon.wait_for("notify.recovered")
            wait_until(lambda: len(receiver.confirmed) >= 8)

    assert (said["receiver"], said["level"], back["receiver"]) == ("cms", "warning", "cms")
    assert said["message"] == f"127.0.0.1:{receiver.port} cannot be reached: connection refused"
    assert {each["name"]: (each["state"], each["backlog"]) for each in receivers} == {
        "cms": ("unavailable", 8),
        "other": ("ok", 0),
    }
    assert len(daemon.events("notify.unavailable")) == 1
    assert receiver.numbers() == other.numbers() == list(range(1, 9))
    assert "planted-token" not in str(daemon.lines)


def unavailable(place: NotifiedPlace) -> list[dict[str, Any]] | None:
    """The receivers in `status --json`, once one is unavailable and owed eight endings."""
    shown = json.loads(command("status", "--json", "--config", place.config).stdout)["receivers"]
    words = command("status", "--config", place.config).stdout
    known = "8 endings to be told" in words and any(each["state"] == "unavailable" and each["backlog"] == 8 for each in shown)
    return shown if known else None


def test_a_receiver_that_hangs_holds_up_nobody(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """Neither the images, nor other receivers, nor the end of the daemon."""
    receiver.hangs = True
    with ReceivingServer() as other:
        place.write({**cms(receiver), "other": {"url": other.url}})
        with Daemon(place.config, KEY) as daemon:
            place.drop_some(5)
            wait_until(lambda: len(other.confirmed) >= 5)
            began = time.monotonic()
            assert daemon.stop() == 0
            taken = time.monotonic() - began

        receiver.stop()
        receiver.hangs = False
        receiver.calls.clear()
        receiver.start()
        with Daemon(place.config, KEY):
            wait_until(lambda: len(receiver.confirmed) >= 5)

    assert taken < 10
    assert receiver.numbers() == [1, 2, 3, 4, 5]
    assert other.numbers() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("rounds", [4])
def test_a_killed_daemon_loses_no_notification(place: NotifiedPlace, receiver: ReceivingServer, rounds: int) -> None:
    """kill -9 during deliveries, again and again: every ending arrives, in order but for repetitions, under its one id."""
    receiver.delay = 0.02
    place.write(cms(receiver))
    for _ in range(rounds):
        with Daemon(place.config, KEY) as daemon:
            before = len(receiver.confirmed)
            place.drop_some(15)
            wait_until(lambda before=before: len(receiver.confirmed) > before + 5)
            daemon.kill()
    with Daemon(place.config, KEY) as daemon:
        daemon.stop()
    with Daemon(place.config, KEY):
        wait_until(lambda: receiver.confirmed and max(receiver.numbers()) >= len(place.audit()) >= 15 * rounds)

    numbers = receiver.numbers()
    first_times = list(dict.fromkeys(numbers))
    assert first_times == list(range(1, len(place.audit()) + 1))
    ids = {(call.object["seq"], call.id) for call in receiver.calls}
    assert len(ids) == len(first_times)
    assert len(numbers) < 2 * len(first_times)


def test_receivers_come_and_go_with_a_reload(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """A new one begins with the endings from then on; one that goes is told no more; one that stays misses nothing."""
    with ReceivingServer() as late:
        place.write(cms(receiver))
        with Daemon(place.config, KEY) as daemon:
            place.drop_some(3)
            wait_until(lambda: len(receiver.confirmed) >= 3)
            place.write({**cms(receiver), "late": {"url": late.url}})
            daemon.signal(signal.SIGHUP)
            daemon.wait_for("config.reloaded")
            place.drop_some(3)
            wait_until(lambda: len(receiver.confirmed) >= 6 and len(late.confirmed) >= 3)
            place.write({"late": {"url": late.url}})
            daemon.signal(signal.SIGHUP)
            daemon.wait_for("config.reloaded", 2)
            place.drop_some(2)
            wait_until(lambda: len(late.confirmed) >= 5)
            place.write({})
            daemon.signal(signal.SIGHUP)
            daemon.wait_for("config.reloaded", 3)
            place.write({**cms(receiver), "late": {"url": late.url}})
            daemon.signal(signal.SIGHUP)
            daemon.wait_for("config.reloaded", 4)
            place.drop_some(1)
            wait_until(lambda: len(late.confirmed) >= 6 and len(receiver.confirmed) >= 7)

    assert receiver.numbers() == [1, 2, 3, 4, 5, 6, 9]
    assert late.numbers() == [4, 5, 6, 7, 8, 9]


def test_a_receiver_is_told_of_what_it_wants(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """By event and by folder."""
    others = place.drop.with_name("others")
    others.mkdir()
    folders = [{"path": place.drop}, {"path": others}]
    with ReceivingServer() as failures:
        wanted = {"url": failures.url, "events": ["image.failed"]}
        place.write({**cms(receiver, folders=["others"]), "failures": wanted}, folders=folders, max_wait="1s")
        with Daemon(place.config, KEY) as daemon:
            place.drop_some(3)
            (other,) = place.drop_some(1, others)
            (place.drop / "cut.jpg").write_bytes(jpeg(60, 40)[:-200])
            daemon.wait_for("image.failed")
            wait_until(lambda: receiver.confirmed and failures.confirmed)
            daemon.stop()

    assert [call.object["file"] for call in receiver.confirmed] == [str(other)]
    assert [(call.object["event"], call.object["reason"]) for call in failures.confirmed] == [("image.failed", "truncated")]


def test_once_tells_receivers_before_it_ends(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """Run by cron it leaves nothing behind for a daemon that never comes."""
    place.write(cms(receiver, digest="10m"))
    place.drop_some(5)

    done = command("once", "--config", place.config, environment=KEY)

    assert done.returncode == 0
    (call,) = receiver.confirmed
    digest = call.object
    assert (digest["event"], digest["stored"], digest["failed"], digest["from"], digest["to"]) == ("digest", 5, 0, 1, 5)
    assert digest["endings"] == place.audit()
    assert digest["text"].startswith("compressor-watcher: 5 stored")
