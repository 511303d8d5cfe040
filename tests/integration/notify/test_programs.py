"""Programs as they are: slow, silent, talkative, and with children of their own."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from tests.support.kernel import descriptors_left
from tests.support.publishing import wait_until
from watcher.notify.programs import Program, environment_for
from watcher.notify.sender import NotConfirmed

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def program(text: str, seconds: float = 30.0) -> Program:
    """Python that runs these lines."""
    return Program((sys.executable, "-c", f"import os, subprocess, sys, time\n{text}"), ENVIRONMENT, seconds, "hook")


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    """Also one that will hear of no signal."""
    pids = tmp_path / "pids"
    text = (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nchild = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\ntime.sleep(600)"
    )
    with pytest.raises(NotConfirmed, match=r"hook took longer than 2 s and was killed"):
        await program(text, 2.0).run(b"{}")

    await asyncio.sleep(0.2)
    assert [is_alive(int(pid)) for pid in pids.read_text().split()] == [False, False]


async def test_a_program_nobody_waits_for_is_killed(tmp_path: Path) -> None:
    """A receiver that goes with a reload leaves nothing running."""
    pid = tmp_path / "pid"
    running = asyncio.create_task(program(f"open({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)").run(b"{}"))
    while not (pid.exists() and pid.read_text()):
        await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert not is_alive(int(pid.read_text()))


async def test_a_program_that_was_only_just_begun_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a reload comes before anything is written to its standard input."""

    async def not_yet(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("watcher.notify.programs._Pipes.connect", not_yet)
    await test_a_program_nobody_waits_for_is_killed(tmp_path)


async def test_what_is_given_arrives_whole() -> None:
    """More than a pipe holds."""
    ended = await program("given = sys.stdin.buffer.read()\nprint(len(given), given[-3:])").run(b"x" * 3_000_000 + b"end")

    assert (ended.status, ended.words) == (0, "3000003 b'end'")


async def test_what_is_given_need_not_be_read() -> None:
    """Nor standard input be open."""
    assert (await program("os.close(0)").run(b"x" * 3_000_000)).status == 0


async def test_a_flood_of_words_is_read_and_its_end_kept() -> None:
    """A talkative program neither blocks nor fills the memory; odd bytes do not matter."""
    text = "sys.stdout.buffer.write(b'\\xff\\x1b[31mline\\n' * 200000)\nsys.stdout.flush()\nsys.exit('last \\x07 words')"
    ended = await program(text).run(b"")

    assert (ended.status, ended.words) == (1, "last  words")
    assert ended.how == "exited with status 1: last  words"


async def test_a_signal_is_named() -> None:
    """A program that was killed says nothing."""
    ended = await program("os.kill(os.getpid(), 9)").run(b"")

    assert ended.how == "was ended by SIGKILL"


async def test_a_child_that_keeps_the_pipe_is_not_waited_for() -> None:
    """The program has ended; what it left is its own business."""
    began = time.monotonic()
    ended = await program("child = subprocess.Popen(['sleep', '30'])\nprint(child.pid)").run(b"")
    taken = time.monotonic() - began
    os.kill(int(ended.words), 9)

    assert ended.status == 0
    assert taken < 10


async def test_no_descriptor_is_left_behind() -> None:
    """A thousand endings are a thousand runs. The loop closes the last run's a moment after it."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await program("print('x')").run(b"{}")
        with pytest.raises(NotConfirmed):
            await Program(("/nowhere/hook",), ENVIRONMENT, 5.0, "hook").run(b"{}")

    await wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


@pytest.mark.parametrize("left", range(5))
async def test_a_want_of_descriptors_is_said_and_takes_none(left: int) -> None:
    """However many there are: the receiver is told later, and the next try finds as many as this one."""
    before = len(os.listdir("/proc/self/fd"))
    with descriptors_left(left), pytest.raises(NotConfirmed, match="hook cannot be run: too many open files") as refused:
        await program("print('x')").run(b"{}")
    assert "LimitNOFILE=" in refused.value.hint
    await wait_until(lambda: len(os.listdir("/proc/self/fd")) == before)


def test_programs_see_none_of_our_settings() -> None:
    """Among them are secrets; credentials of their own stay."""
    whole = {
        "PATH": "/bin",
        "WATCHER_COMPRESSOR__API_KEY": "k",
        "watcher_x": "k",
        "NOTIFY_SOCKET": "s",
        "CREDENTIALS_DIRECTORY": "c",
    }

    assert environment_for(whole) == {"PATH": "/bin", "CREDENTIALS_DIRECTORY": "c"}
