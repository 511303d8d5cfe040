"""The process in bad company: streams that are closed or that nobody reads, early signals, foreign locales, containers."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import COMMAND, Daemon, clean_environment, command, wait_until
from tests.support.standin import Fault, StandinProcess
from tests.support.world import KEY, World

F_SETPIPE_SZ = 1031


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


@pytest.fixture
def world(tmp_path: Path, standin: StandinProcess) -> World:
    return World(tmp_path, standin, changes={"drain": "1s"})


def begin(world: World, *, verb: str = "run", within: tuple[str, ...] = (), **options: Any) -> subprocess.Popen[bytes]:
    """The daemon, with streams as the test wants them."""
    arguments = [*within, COMMAND, verb, "--config", str(world.config)]
    return subprocess.Popen(arguments, env=clean_environment(**KEY), **options)


def ended(world: World, count: int) -> None:
    wait_until(lambda: len(world.audit()) >= count)


def test_a_log_that_nobody_reads_holds_up_nothing(world: World) -> None:
    """Images end, SIGTERM is answered, and what is read later is whole lines."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    process = begin(world, stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    for number in range(30):
        world.put(f"{number}.jpg")
    ended(world, 30)
    process.terminate()
    assert process.wait(20) == 0
    with open(reader, "rb") as rest:
        assert rest.read().startswith(b'{"timestamp"')


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_trouble(world: World, closed: str) -> None:
    """cron and init scripts close them; nothing of ours gets their numbers."""
    line = f'exec "{COMMAND}" run --config "{world.config}" {closed}'
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["bash", "-c", line], env=clean_environment(**KEY), **streams)
    world.put("a.jpg")
    ended(world, 1)
    leads_to = {os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)}
    process.terminate()
    assert process.wait(20) == 0
    assert leads_to == {"/dev/null"}


def test_a_reading_command_without_standard_output_ends_quietly(world: World) -> None:
    """No traceback."""
    line = f'"{COMMAND}" status --config "{world.config}" >&-'
    done = subprocess.run(["bash", "-c", line], env=clean_environment(**KEY), capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_early_signals_are_survived(world: World, number: signal.Signals) -> None:
    """logrotate and supervisors signal whenever they like; the daemon comes up, and a reload that was asked for is made."""
    daemon = Daemon(world.config, KEY)
    wait_until(lambda: catches(daemon.process.pid, number), pause=0.001)
    daemon.signal(number)
    daemon.wait_for("service.ready")
    if number is signal.SIGHUP:
        daemon.wait_for("config.reloaded")
    assert daemon.stop() == 0


def test_a_stop_right_after_the_start_is_answered(world: World) -> None:
    """Exit status 0, whatever was being loaded."""
    for pause in (0.0, 0.2, 0.5):
        process = begin(world, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until(lambda: catches(process.pid, signal.SIGTERM), pause=0.001)  # noqa: B023 - used in this round only
        time.sleep(pause)
        process.terminate()
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, b"")


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal by now."""
    status = dict(line.partition(":")[::2] for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(status["SigCgt"], 16) & 1 << (number - 1))


@pytest.fixture
def isolated() -> tuple[str, ...]:
    """What makes a command process 1 of a namespace, as a container does."""
    words = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    if subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make a process namespace (root, and not in every container)")
    return words


def test_process_1_reaps_orphans_and_ends_as_the_command_ends(isolated: tuple[str, ...]) -> None:
    """What a receiver or worker leaves behind does not pile up as zombies, and nobody's child is taken from it."""
    code = """
from watcher.service import pid_one
pid_one.stand_in()
import os, subprocess, sys, time
assert subprocess.run(["sh", "-c", "(sleep 0.2 &) ; exit 5"]).returncode == 5
deadline = time.monotonic() + 20
def others():
    return [each for each in os.listdir("/proc") if each.isdigit() and int(each) not in (1, os.getpid())]
while others() and time.monotonic() < deadline:
    time.sleep(0.05)
sys.exit(7 if os.getpid() != 1 and not others() else 1)
"""
    assert subprocess.run([*isolated, sys.executable, "-c", code], timeout=60).returncode == 7


def test_process_1_hands_signals_on(isolated: tuple[str, ...], world: World) -> None:
    """A container runtime sends SIGTERM to process 1: the daemon stops in order."""
    daemon = Daemon(world.config, KEY, within=isolated)
    daemon.wait_for("service.ready")
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    daemon.wait_for("service.stopped")
    assert daemon.wait(20) == 0


def test_a_second_signal_ends_process_1_of_a_container(isolated: tuple[str, ...], world: World, standin: StandinProcess) -> None:
    """The kernel keeps signals with the default action from it, so it ends itself."""
    world.write_config(drain="60s")
    standin.set_faults(Fault("never_after", times=1))
    daemon = Daemon(world.config, KEY, within=isolated)
    daemon.wait_for("service.ready")
    world.put("a.jpg")
    wait_until(lambda: standin.report()["in_flight"])
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    for _ in range(2):
        os.kill(int(children[0]), signal.SIGTERM)
        daemon.wait_for("service.stopping")
    assert daemon.wait(20) == 128 + signal.SIGTERM


ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", ["ISO 8859-1", "ASCII"])
def test_keys_are_the_same_in_every_locale(world: World, tmp_path: Path, locale: str) -> None:
    """A terminal in ISO 8859-1 names the objects as the service does."""
    foreign = ASCII if locale == "ASCII" else {"LOCPATH": str(tmp_path), "LC_ALL": "de_DE", "LANG": "de_DE"}
    if locale != "ASCII":
        if shutil.which("localedef") is None or not Path("/usr/share/i18n/locales/de_DE").exists():
            pytest.skip("needs localedef and the locale sources (Debian: apt-get install locales)")
        subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", tmp_path / "de_DE"], check=False, capture_output=True)
        charmap = subprocess.run(["locale", "charmap"], env={**os.environ, **foreign}, capture_output=True, text=True)
        assert "iso" in charmap.stdout.lower()
    world.put("Größe 写真.jpg")
    assert command("once", "--config", world.config, environment={**KEY, **foreign}).returncode == 0
    assert [line["key"] for line in world.audit()] == ["products/Größe 写真.jpg"]


def test_a_missing_proc_is_said_as_such(world: World) -> None:
    """Not as a folder without files."""
    without = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
    if subprocess.run([*without, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make a mount namespace (root, and not in every container)")
    process = begin(world, within=without, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 69
    assert b"/proc is not mounted" in errors


def test_an_exit_waits_for_no_thread_that_hangs() -> None:
    """The interpreter would wait for it forever."""
    code = (
        "import asyncio, threading, sys\n"
        "from watcher.service import early\n"
        "from watcher.service.process import run_to_the_end\n"
        "async def work():\n"
        "    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)\n"
        "    await asyncio.sleep(0.1)\n"
        "    return 7\n"
        "early.leave(lambda: sys.exit(run_to_the_end(work())))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 7


def processors(pid: int) -> set[frozenset[int]]:
    """Where the threads of a process may run."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # a thread that ended meanwhile
            found.add(frozenset(os.sched_getaffinity(int(task.name))))
    return found


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="this machine has one processor only")
def test_the_daemon_keeps_its_threads_on_one_processor_and_nobody_elses(tmp_path: Path, standin: StandinProcess) -> None:
    """The process that tells receivers runs everywhere."""
    everywhere = frozenset(os.sched_getaffinity(0))
    world = World(tmp_path, standin, changes={"notify": {"cms": {"url": "http://127.0.0.1:9/"}}})
    with Daemon(world.config, KEY) as daemon:
        pid = daemon.process.pid
        wait_until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().strip())
        wait_until(lambda: any(len(each) == 1 for each in processors(pid)))
        notifier = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        assert processors(notifier) == {everywhere}
