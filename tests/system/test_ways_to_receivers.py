"""Programs, outages, heartbeats and messages for people, through the installed command."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, command, wait_until
from tests.support.notified import KEY, NotifiedPlace
from tests.support.receivers import ReceivingServer
from tests.support.standin import StandinProcess


@pytest.fixture(scope="module")
def standin() -> Iterator[StandinProcess]:
    """The API stand-in."""
    with StandinProcess() as process:
        yield process


@pytest.fixture
def place(tmp_path: Path, standin: StandinProcess) -> NotifiedPlace:
    """A daemon's files."""
    return NotifiedPlace(tmp_path, standin.url, standin.verify_url)


@pytest.fixture
def receiver() -> Iterator[ReceivingServer]:
    """A receiver."""
    with ReceivingServer() as server:
        yield server


def program(path: Path, text: str) -> list[str]:
    """A program of these lines of Python; gives its argv."""
    path.write_text(f"#!{sys.executable}\nimport json, os, sys, time, subprocess\nfrom pathlib import Path\n{text}\n")
    path.chmod(0o755)
    return [str(path)]


def read_lines(path: Path) -> list[Any]:
    """What a program appended, a JSON value a line."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- programs ---------------------------------------------------------------------------------------------------------------


def test_a_program_gets_each_ending_on_standard_input(place: NotifiedPlace, tmp_path: Path) -> None:
    """As the audit file has it, in order, with its arguments as they stand, no shell, and none of our secrets."""
    out = tmp_path / "out"
    text = (
        f"given = sys.stdin.buffer.read()\nours = [name for name in os.environ if name.startswith('WATCHER_')]\n"
        f"with open({str(out)!r}, 'a') as f: f.write(json.dumps([given.decode(), sys.argv[1:], ours]) + '\\n')"
    )
    place.write({"hook": {"command": [*program(tmp_path / "hook", text), "$HOME; rm x", "*"]}})
    with Daemon(place.config, KEY):
        place.drop_some(5)
        wait_until(lambda: len(read_lines(out)) >= 5)

    lines = (place.state / "audit.jsonl").read_text().splitlines()
    assert read_lines(out) == [[line, ["$HOME; rm x", "*"], []] for line in lines]


def test_a_program_that_fails_is_run_again_until_it_does_not(place: NotifiedPlace, tmp_path: Path) -> None:
    """Its last words are in the log; the order stays."""
    out, flag = tmp_path / "out", tmp_path / "works"
    text = (
        f"record = json.load(sys.stdin)\nif not Path({str(flag)!r}).exists(): sys.exit('no such product')\n"
        f"with open({str(out)!r}, 'a') as f: f.write(json.dumps(record['seq']) + '\\n')"
    )
    place.write({"hook": {"command": program(tmp_path / "hook", text)}})
    with Daemon(place.config, KEY) as daemon:
        place.drop_some(3)
        (said,) = daemon.wait_for("notify.unavailable")
        flag.touch()
        daemon.wait_for("notify.recovered")
        wait_until(lambda: len(read_lines(out)) >= 3)

    assert (said["receiver"], said["message"]) == ("hook", "hook exited with status 1: no such product")
    assert read_lines(out) == [1, 2, 3]


def test_a_program_that_is_not_there_is_said(place: NotifiedPlace) -> None:
    """With what to do."""
    place.write({"hook": {"command": ["/nowhere/on-image"]}})

    done = command("notify", "test", "hook", "--config", place.config)

    assert done.returncode == 1
    assert "hook: on-image cannot be run: no such file or directory (is it there, executable" in done.stderr


def test_a_program_need_not_read_and_may_leave_something_running(place: NotifiedPlace, tmp_path: Path) -> None:
    """A pipe that a child keeps open holds up nobody."""
    pid = tmp_path / "pid"
    text = f"child = subprocess.Popen(['sleep', '60'])\nPath({str(pid)!r}).write_text(str(child.pid))"
    place.write({"hook": {"command": program(tmp_path / "hook", text)}})
    began = time.monotonic()

    done = command("notify", "test", "hook", "--config", place.config)

    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 20
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_program_under_way_ends_with_the_daemon(place: NotifiedPlace, tmp_path: Path) -> None:
    """With all that it started; what it was told is told again."""
    out = tmp_path / "out"
    text = (
        f"child = subprocess.Popen(['sleep', '600'])\n"
        f"with open({str(out)!r}, 'a') as f: f.write(json.dumps([os.getpid(), child.pid]) + '\\n')\n"
        f"time.sleep(600)"
    )
    place.write({"hook": {"command": program(tmp_path / "hook", text)}})
    with Daemon(place.config, KEY) as daemon:
        place.drop_some(1)
        wait_until(lambda: read_lines(out))
        began = time.monotonic()
        assert daemon.stop() == 0

    assert time.monotonic() - began < 10
    (pids,) = read_lines(out)
    wait_until(lambda: not any(map(alive, pids)), 10)


# --- outages ----------------------------------------------------------------------------------------------------------------


def test_outages_and_their_end_are_told(tmp_path: Path, receiver: ReceivingServer) -> None:
    """The API that goes and comes back, a folder that goes and comes back: the log's own lines."""
    with StandinProcess() as api, ReceivingServer() as endings:
        place = NotifiedPlace(tmp_path, api.url, api.verify_url)
        place.write({"ops": {"url": receiver.url, "events": ["outage"]}, "all": {"url": endings.url}}, rescan="1s")
        with Daemon(place.config, KEY) as daemon:
            api.stop()
            place.drop_some(1)
            daemon.wait_for("api.unavailable")
            wait_until(lambda: told(receiver, "api.unavailable"))
            api.start()
            wait_until(lambda: told(receiver, "api.recovered"))
            daemon.wait_for("image.stored")
            place.drop.rename(tmp_path / "away")
            wait_until(lambda: told(receiver, "folder.lost"))
            (tmp_path / "away").rename(place.drop)
            wait_until(lambda: told(receiver, "folder.recovered"))
            (line,) = daemon.events("folder.lost")
            wait_until(lambda: endings.confirmed)

    (lost,) = told(receiver, "folder.lost")
    assert {key: lost[key] for key in line if key != "timestamp"} == {key: line[key] for key in line if key != "timestamp"}
    assert [call.object["event"] for call in receiver.calls][:2] == ["api.unavailable", "api.recovered"]
    assert len({call.id for call in receiver.calls}) == len(receiver.calls)
    assert {call.object["event"] for call in endings.calls} == {"image.stored"}


def told(receiver: ReceivingServer, event: str) -> list[dict[str, Any]]:
    """What it was told of this event."""
    return [call.object for call in receiver.confirmed if call.object["event"] == event]


# --- heartbeats -------------------------------------------------------------------------------------------------------------


def test_a_heartbeat_comes_while_the_daemon_is_healthy(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """A GET; it stays out while a folder is away, comes again after, and ends with the daemon. Endings are not told there."""
    place.write({"alive": {"url": receiver.url, "heartbeat": "300ms"}}, rescan="1s")
    with Daemon(place.config, KEY) as daemon:
        place.drop_some(1)
        wait_until(lambda: len(receiver.calls) >= 3)
        place.drop.rename(place.drop.with_name("away"))
        daemon.wait_for("folder.lost")
        wait_until(lambda: time.time() - receiver.calls[-1].at > 3)
        count = len(receiver.calls)
        place.drop.with_name("away").rename(place.drop)
        daemon.wait_for("folder.recovered")
        wait_until(lambda: len(receiver.calls) >= count + 2)
        shown = json.loads(command("status", "--json", "--config", place.config).stdout)["receivers"]
        daemon.stop()
        count = len(receiver.calls)

    time.sleep(1)
    assert len(receiver.calls) == count
    assert {(call.method, call.body, call.answered) for call in receiver.calls} == {("GET", b"", 200)}
    assert [(each["name"], each["kind"], each["state"], each["backlog"]) for each in shown] == [("alive", "heartbeat", "ok", 0)]


def test_a_heartbeat_that_is_refused_is_said_once(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """And so is that it works again."""
    receiver.status = 404
    place.write({"alive": {"url": receiver.url, "heartbeat": "200ms"}})
    with Daemon(place.config, KEY) as daemon:
        wait_until(lambda: len(receiver.calls) >= 3)
        receiver.status = 200
        daemon.wait_for("notify.recovered", receiver="alive")
        (said,) = daemon.events("notify.unavailable")

    assert said["message"] == f"127.0.0.1:{receiver.port} answered 404"


# --- people -----------------------------------------------------------------------------------------------------------------


def apprise_address(receiver: ReceivingServer) -> str:
    """Apprise's plainest service: it POSTs title and message as JSON."""
    return f"json://user:planted-password@127.0.0.1:{receiver.port}/planted-token"


def test_people_get_one_message_of_what_ended(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """Gathered by `digest`, in words."""
    place.write({"team": {"apprise": apprise_address(receiver), "digest": "3s"}}, max_wait="1s")
    with Daemon(place.config, KEY) as daemon:
        place.drop_some(4)
        (place.drop / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(400))
        daemon.wait_for("image.failed")
        wait_until(lambda: receiver.confirmed)

    (message,) = [call.object for call in receiver.confirmed]
    assert message["title"] == "compressor-watcher: 4 stored, 1 failed"
    assert "cut.jpg: " in message["message"]
    assert "https://my-bucket.s3.eu-central-003.backblazeb2.com/" in message["message"]


def test_what_is_gathered_survives_a_restart(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """The digest's time goes on from the first ending, whatever is killed."""
    place.write({"team": {"apprise": apprise_address(receiver), "digest": "10s"}})
    with Daemon(place.config, KEY) as daemon:
        place.drop_some(2)
        daemon.wait_for("image.stored", 2)
        daemon.kill()
    assert not receiver.calls
    with Daemon(place.config, KEY) as daemon:
        place.drop_some(1)
        daemon.wait_for("image.stored")
        wait_until(lambda: receiver.confirmed)

    assert [call.object["title"] for call in receiver.confirmed] == ["compressor-watcher: 3 stored"]


def test_an_outage_is_told_people_at_once(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """A digest is for what ended, not for alarms."""
    place.write({"ops": {"apprise": apprise_address(receiver), "events": ["outage", "image.failed"]}}, rescan="1s")
    with Daemon(place.config, KEY):
        place.drop.rename(place.drop.with_name("away"))
        wait_until(lambda: receiver.confirmed)
        place.drop.with_name("away").rename(place.drop)

    assert receiver.confirmed[0].object["title"] == "A watched folder is away: drop"


def test_a_service_that_refuses_is_said_without_its_tokens(place: NotifiedPlace, receiver: ReceivingServer) -> None:
    """Apprise's own words tell why; what stands in the address does not show."""
    receiver.status = 403
    place.write({"team": {"apprise": apprise_address(receiver)}})

    done = command("notify", "test", "team", "--config", place.config)

    assert done.returncode == 1
    assert "team: json did not take the message: " in done.stderr
    assert "403" in done.stderr
    assert "planted" not in done.stderr + done.stdout

    receiver.status = 200
    assert command("notify", "test", "team", "--config", place.config).returncode == 0
    assert receiver.confirmed[-1].object["title"] == "A test of compressor-watcher"


def test_check_says_whether_programs_can_be_run(place: NotifiedPlace, tmp_path: Path) -> None:
    """And what stands behind each receiver, with nothing secret in it."""
    hook = program(tmp_path / "hook", "pass")
    receivers = {
        "cms": {"url": "https://cms.example.com/planted-token"},
        "there": {"command": hook},
        "gone": {"command": [str(tmp_path / "nothing")]},
        "found": {"command": ["true"]},
    }
    place.write(receivers)

    done = command("check", "--json", "--config", place.config, environment=KEY)
    checks = {each["what"]: each for each in json.loads(done.stdout)["checks"] if each["what"].startswith("notify.")}

    assert done.returncode == 1
    assert {name: each["state"] for name, each in checks.items()} == {
        "notify.cms": "ok",
        "notify.there": "ok",
        "notify.gone": "fail",
        "notify.found": "ok",
    }
    assert checks["notify.cms"]["found"].startswith("url cms.example.com, not signed")
    assert "planted" not in done.stdout + done.stderr
