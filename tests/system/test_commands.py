"""The operator's commands through the installed program: beside a running daemon, after it, and before there is any."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import COMMAND, Daemon, clean_environment, command, read_audit, wait_until, write_config
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY, Fault, StandinProcess

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}
READING = (
    ("status", "--json"),
    ("list", "--json"),
    ("list", "--state", "failed"),
    ("show", "nothing.jpg"),
    ("retry", "--failed"),
    ("tail", "--no-follow"),
    ("audit", "verify"),
)


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def config(tmp_path: Path, drop: Path, standin: StandinProcess) -> Path:
    """A configuration for the stand-in."""
    return write_config(
        tmp_path / "config.toml",
        {
            "state_dir": tmp_path / "state",
            "compressor": {"url": standin.url, "max_attempts": 1},
            "publish": {"serve": {"listen": "127.0.0.1:0"}},
            "verify": {"url": standin.verify_url},
            "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
            "folders": [{"name": "products", "path": drop}],
        },
    )


def ask(config: Path, *words: str | Path, status: int = 0, **options: Any) -> Any:
    """A command without any secret, which must end with this status and no traceback."""
    done = command(words[0], *words[1:], "--config", config, **options)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done


def json_of(config: Path, *words: str | Path, status: int = 0) -> Any:
    return json.loads(ask(config, *words, "--json", status=status).stdout)


def listed(config: Path, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ask(config, "list", "--json", *words).stdout.splitlines()]


def test_a_file_that_is_not_whole_is_said_and_listed(config: Path, drop: Path, standin: StandinProcess) -> None:
    """Once, after ten seconds; and it is gone from the list when it was taken."""
    (drop / "cut.jpg").write_bytes(jpeg()[:-100])
    with Daemon(config, KEY) as daemon:
        (waiting,) = daemon.wait_for("image.waiting")
        assert (waiting["reason"], "end marker" in waiting["message"]) == ("truncated", True)
        (row,) = listed(config, "--state", "waiting")
        assert (row["message"], json_of(config, "status")["not_whole"]) == (waiting["message"], 1)
        (drop / "cut.jpg").write_bytes(jpeg())
        daemon.wait_for("image.stored")
        wait_until(lambda: not listed(config, "--state", "waiting"))
        assert len(daemon.events("image.waiting")) == 1


def test_commands_beside_a_running_daemon(config: Path, drop: Path, standin: StandinProcess) -> None:
    """What was dropped is counted, listed, told and written down, while the daemon goes on, and with no secret at hand."""
    standin.set_faults(Fault("status", status=422, file="bad.jpg", message="cannot be read"))
    with Daemon(config, KEY) as daemon:
        (drop / "good.jpg").write_bytes(jpeg())
        daemon.wait_for("image.stored")
        (drop / "bad.jpg").write_bytes(jpeg(100, 80))
        daemon.wait_for("image.failed")

        status = json_of(config, "status")
        assert (status["running"], status["pid"]) == (True, daemon.process.pid)
        assert (status["queue"], status["in_flight"], status["failed"], status["ended"]["stored"]) == (0, 0, 1, 1)
        assert status["throughput"]["last_minute"] == {"stored": 1, "failed": 1}
        assert "cannot be read" in status["last_errors"][0]["message"]

        assert [Path(row["file"]).name for row in listed(config)] == ["bad.jpg", "good.jpg"]
        (failed,) = listed(config, "--state", "failed")
        assert failed["reason"] == "rejected"
        rows = list(csv.DictReader(io.StringIO(ask(config, "list", "--csv").stdout)))
        assert [row["state"] for row in rows] == ["failed", "stored"]

        story = json_of(config, "show", drop / "bad.jpg")
        assert story["id"] == failed["id"] == json_of(config, "show", failed["id"][:8])["id"]
        events = [step["event"] for step in story["history"]]
        assert events[0] == "image.detected"
        assert "image.failed" in events

        assert json_of(config, "audit", "verify")["lines"] == 2
        assert ask(config, "tail", "--no-follow", "--json").stdout == (config.parent / "state/audit.jsonl").read_text()


def test_a_running_daemon_takes_retried_images_at_once(config: Path, drop: Path, standin: StandinProcess) -> None:
    """`retry --failed` after the cause is mended: stored within moments, under a new id; a second retry finds nothing."""
    standin.set_faults(Fault("status", status=422))
    with Daemon(config, KEY) as daemon:
        for number in range(3):
            (drop / f"{number}.jpg").write_bytes(jpeg(100 + number, 80))
        failed = daemon.wait_for("image.failed", 3)
        standin.set_faults()
        started = time.monotonic()
        assert "3 images are in the queue again" in ask(config, "retry", "--failed").stdout
        stored = daemon.wait_for("image.stored", 3)
        assert time.monotonic() - started < 30
        assert not {line["id"] for line in failed} & {line["id"] for line in stored}
        assert "nothing was put back" in ask(config, "retry", "--failed").stdout
        assert "it was retried before" in ask(config, "retry", failed[0]["id"], status=1).stderr
        assert "it has not failed, it is stored" in ask(config, "retry", stored[0]["id"], status=1).stderr
        assert json_of(config, "status")["failed"] == 0


def test_commands_without_a_daemon(config: Path, drop: Path, standin: StandinProcess) -> None:
    """Everything is still known; `status` says that nobody runs, and a retry waits for the next start."""
    standin.set_faults(Fault("status", status=422))
    with Daemon(config, KEY) as daemon:
        (drop / "a.jpg").write_bytes(jpeg())
        daemon.wait_for("image.failed")
    standin.set_faults()

    status = json_of(config, "status", status=3)
    assert (status["running"], status["pid"], status["failed"]) == (False, None, 1)
    assert "in the queue again" in ask(config, "retry", "--failed").stdout
    assert json_of(config, "status", status=3)["queue"] == 1
    with Daemon(config, KEY) as daemon:
        daemon.wait_for("image.stored")


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_before_the_first_run_no_command_fails_badly(tmp_path: Path, drop: Path, words: tuple[str, ...]) -> None:
    """No state yet: a clear word, an exit status that fits, nothing on standard output that is no output, no state made."""
    config = write_config(
        tmp_path / "config.toml",
        {
            "state_dir": tmp_path / "state",
            "publish": {"serve": {"public_url": "https://drops.example.net"}},
            "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
            "folders": [{"path": drop}],
        },
    )
    done = command(*words, "--config", config)

    assert done.returncode == {"status": 3, "show": 1, "retry": 1}.get(words[0], 0)
    assert "Traceback" not in done.stderr
    assert "yet" in done.stderr or words[0] == "audit"
    assert not (tmp_path / "state").exists()


def test_wrong_words_are_wrong_usage(config: Path) -> None:
    """An unknown state, a time that is none, a retry of nothing or of everything and something: exit status 2."""
    for words in (("list", "--state", "done"), ("list", "--since", "lately"), ("retry",), ("retry", "--failed", "abcd-1")):
        assert ask(config, *words, status=2).stderr


def test_tail_follows_across_a_rotation_and_ends_quietly(config: Path, drop: Path) -> None:
    """Each ending once, as the file is renamed under it as logrotate does; Ctrl-C is a normal end."""
    audit = config.parent / "state/audit.jsonl"
    with Daemon(config, KEY) as daemon:
        (drop / "0.jpg").write_bytes(jpeg(100, 80))
        daemon.wait_for("image.stored")
        tail = subprocess.Popen(
            # tests that run in the background have SIGINT ignored, and hand that down
            ["env", "--default-signal=INT", COMMAND, "tail", "--json", "--config", config],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(),
        )
        assert tail.stdout is not None
        assert json.loads(tail.stdout.readline())["seq"] == 1
        (drop / "1.jpg").write_bytes(jpeg(101, 80))
        assert json.loads(tail.stdout.readline())["seq"] == 2
        audit.rename(f"{audit}.1")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config.reloaded")
        (drop / "2.jpg").write_bytes(jpeg(102, 80))
        assert json.loads(tail.stdout.readline())["seq"] == 3
        tail.send_signal(signal.SIGINT)
        rest, errors = tail.communicate(timeout=30)
        assert (tail.returncode, rest, errors) == (0, b"", b"")
        wait_until(lambda: len(read_audit(audit)) == 1)
        assert json_of(config, "audit", "verify")["lines"] == 3


def test_a_changed_audit_line_is_found(config: Path, drop: Path) -> None:
    """Exit status 1, with file and line."""
    with Daemon(config, KEY) as daemon:
        for number in range(3):
            (drop / f"{number}.jpg").write_bytes(jpeg(100 + number, 80))
        daemon.wait_for("image.stored", 3)
    audit = config.parent / "state/audit.jsonl"
    assert ask(config, "audit", "verify").stdout.startswith("read")
    lines = audit.read_text().splitlines(keepends=True)
    audit.write_text("".join([lines[0], lines[1].replace("shop-bucket", "other-bucket"), lines[2]]))

    assert "audit.jsonl, line " in ask(config, "audit", "verify", status=1).stdout


def test_names_that_are_no_text_go_through_every_command(config: Path, drop: Path) -> None:
    """Neither bytes that are no UTF-8 nor escapes in a name break an output, or colour a terminal."""
    name = os.fsencode(drop) + b"/caf\xe9 \x1b[31mred\n.jpg"
    with Daemon(config, KEY) as daemon:
        Path(os.fsdecode(name)).write_bytes(jpeg())
        daemon.wait_for("image.stored")
        (row,) = listed(config)
        for words in (
            ("list",),
            ("list", "--csv"),
            ("tail", "--no-follow"),
            ("status",),
            ("show", row["id"]),
            ("show", os.fsdecode(name)),
        ):
            assert "\x1b" not in ask(config, *words).stdout or words == ("list", "--csv")
        assert json_of(config, "show", os.fsdecode(name))["id"] == row["id"]
        assert ask(config, "show", os.fsdecode(name) + "x", status=1).stderr
        assert ask(config, "retry", "caf\udce9", status=1).stderr


def test_output_is_utf_8_in_every_locale(config: Path, drop: Path) -> None:
    """Programs read UTF-8, whatever the locale says that this terminal could show."""
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Daemon(config, KEY) as daemon:
        (drop / "größe-椅子.jpg").write_bytes(jpeg())
        daemon.wait_for("image.stored")
    for form in ("--json", "--csv", "--limit=1"):
        assert "größe-椅子.jpg" in ask(config, "list", form, environment=ascii_only).stdout


@pytest.mark.parametrize("form", ["--json", "--csv", "--limit=0"])
def test_a_reader_that_has_seen_enough_is_no_error(config: Path, drop: Path, form: str) -> None:
    """`list | head` ends without a complaint: here the reader is gone before the first line."""
    with Daemon(config, KEY) as daemon:
        (drop / "a.jpg").write_bytes(jpeg())
        daemon.wait_for("image.stored")
    words = [COMMAND, "list", form, "--config", config]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(60)


def test_a_terminal_gets_colours(config: Path, drop: Path) -> None:
    """And only a terminal does."""
    with Daemon(config, KEY) as daemon:
        (drop / "a.jpg").write_bytes(jpeg())
        daemon.wait_for("image.stored")
    master, slave = pty.openpty()
    environment = clean_environment(TERM="xterm-256color", COLUMNS="200")
    with subprocess.Popen([COMMAND, "tail", "--no-follow", "--config", config], stdout=slave, env=environment) as process:
        assert process.wait(60) == 0
    os.close(slave)
    shown = os.read(master, 65_536)
    os.close(master)

    assert b"\x1b[" in shown
    assert "\x1b" not in ask(config, "tail", "--no-follow").stdout


def test_check_and_probe_before_and_beside_the_daemon(config: Path, drop: Path, standin: StandinProcess) -> None:
    """All is well, end to end; beside a running daemon its port is asked, and left to it."""
    before = command("check", "--probe", "--json", "--config", config, environment=KEY)
    assert before.returncode == 0, before.stdout + before.stderr
    checks = {each["what"]: each for each in json.loads(before.stdout)["checks"]}
    assert checks["probe: verified"]["state"] == "ok"
    assert [key for key in standin.report()["objects"] if ".compressor-watcher-probe/" in key]

    with Daemon(config, KEY):
        beside = command("check", "--json", "--config", config, environment=KEY)
        probe = command("check", "--probe", "--config", config, environment=KEY)
    checks = {each["what"]: each for each in json.loads(beside.stdout)["checks"]}
    assert (beside.returncode, "pid" in checks["daemon"]["found"]) == (0, True)
    assert (probe.returncode, "the running daemon has the port" in probe.stdout) == (1, True)
    assert read_audit(config.parent / "state/audit.jsonl") == []


@pytest.mark.parametrize(
    ("changes", "environment", "status", "words"),
    [
        ({}, {"WATCHER_COMPRESSOR__API_KEY": "wrong"}, 1, "WATCHER_COMPRESSOR__API_KEY"),
        ({"compressor": {"url": "http://127.0.0.1:1/1.0"}}, KEY, 1, "cannot be reached"),
        ({"folders": [{"path": "/nowhere/at/all"}]}, KEY, 1, "mkdir -p /nowhere/at/all"),
        ({"log": {"audit": "/nowhere/at/all/audit.jsonl"}}, KEY, 1, "/nowhere/at/all is not there"),
        ({"folders": []}, KEY, 78, "folders: is missing"),
        ({}, {}, 78, "compressor.api_key: is missing"),
    ],
)
def test_check_says_what_to_do(
    tmp_path: Path,
    config: Path,
    standin: StandinProcess,
    changes: dict[str, Any],
    environment: dict[str, str],
    status: int,
    words: str,
) -> None:
    """Each trouble of an installation has its line with advice, and the exit status tells."""
    data = {
        "state_dir": tmp_path / "state",
        "compressor": {"url": standin.url},
        "publish": {"serve": {"listen": "127.0.0.1:0"}},
        "verify": {"url": standin.verify_url},
        "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
        "folders": [{"path": tmp_path / "drop"}],
        **changes,
    }
    done = command("check", "--config", write_config(config, data), environment=environment)

    assert done.returncode == status, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


WITHOUT_ITS_PACKAGES = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "pyvips" else find_spec(name, *more)
from watcher.cli import main
main()
"""


@pytest.mark.parametrize("command_name", ["run", "engine"])
def test_an_engine_without_its_packages_is_a_matter_of_configuration(tmp_path: Path, command_name: str) -> None:
    """Exit 78, so that systemd does not try again and again, with the command that helps."""
    (tmp_path / "drop").mkdir()
    config = write_config(
        tmp_path / "config.toml",
        {
            "state_dir": tmp_path / "state",
            "compressor": {"url": "embedded"},
            "engine": {"api_keys": ["k"], "connectors": {"c": {"kind": "directory", "path": tmp_path / "bucket"}}},
            "store": {"id": "c", "bucket": "bucket", "region": "eu-central-003"},
            "folders": [{"path": tmp_path / "drop"}],
        },
    )
    command_line = [sys.executable, "-c", WITHOUT_ITS_PACKAGES, command_name, "--config", config]
    found = subprocess.run(command_line, check=False, capture_output=True, text=True, timeout=60, env=clean_environment())

    assert found.returncode == 78, found.stdout + found.stderr
    assert "the embedded engine needs pyvips: pip install 'compressor-watcher[engine]'" in found.stdout + found.stderr


def test_once_says_that_a_folder_is_away(config: Path, drop: Path) -> None:
    """A share that is not mounted is no folder without images; the sum is said at the end."""
    drop.rmdir()

    done = ask(config, "once", status=1, environment=KEY)
    assert "folder products is away" in done.stderr
    assert "0 stored in" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take rights away from a process")
def test_once_fails_where_files_cannot_be_read_and_status_counts_them(config: Path, drop: Path) -> None:
    """Nothing was sent of them, and nobody would notice: a line each, a sum at the end, and the exit status."""
    for number in range(3):
        (drop / f"{number}.jpg").write_bytes(jpeg(60 + number, 40))
        (drop / f"{number}.jpg").chmod(0)
    closed = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", COMMAND)
    done = subprocess.run([*closed, "once", "--config", config], capture_output=True, text=True, env=clean_environment(**KEY))

    assert 1 == done.returncode, done.stderr
    assert "3 files or folders cannot be read by this user, and nothing of that was sent" in done.stderr
    lines = [line for line in map(json.loads, done.stdout.splitlines()) if line["event"] == "image.ignored"]
    told = [(each["level"], each["reason"], each["message"]) for each in lines]
    assert [("warning", "unreadable", "Permission denied")] * 3 == told
    status = json_of(config, "status", status=3)
    assert (3, 3) == (status["unreadable"], status["ignored"])
    assert "3 ignored (`list --state ignored`), 3 of them may not be read by the daemon" in ask(config, "status", status=3).stdout
