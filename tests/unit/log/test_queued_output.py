"""Output that nobody reads: nothing waits for it, what is lost is counted, what matters is kept longest."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from watcher.log.queued_output import LineQueue

F_SETPIPE_SZ = 1031


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose reader the test is; its other end belongs to the queue."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    yield reader, writer
    os.close(reader)


def read_until(reader: int, end: bytes) -> bytes:
    """All that comes up to `end`."""
    found = b""
    while end not in found:
        found += os.read(reader, 65_536)
    return found


def test_lines_come_out_whole_and_in_order(pipe: tuple[int, int]) -> None:
    """As they went in."""
    queue = LineQueue(pipe[1], lambda _: None)
    for number in range(1000):
        queue.put(b"line %d\n" % number)
    assert read_until(pipe[0], b"line 999\n").splitlines() == [b"line %d" % number for number in range(1000)]
    assert queue.drain()


def test_lines_that_wait_are_written_together_as_far_as_a_pipe_keeps_them_in_one_piece() -> None:
    """Whoever else writes into the pipe gets between lines, never into one. Each write is a packet here."""
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    lines = [b"line %d %s\n" % (number, b"x" * (number % 700)) for number in range(1000)]
    lines.insert(500, b"y" * (select.PIPE_BUF + 1) + b"\n")
    with reader, writer:
        queue = LineQueue(writer.fileno(), lambda _: None)
        for line in lines:
            queue.put(line)
        packets: list[bytes] = []
        while sum(map(len, packets)) < sum(map(len, lines)):
            packets.append(reader.recv(65_536))
    assert b"".join(packets) == b"".join(lines)
    assert len(packets) < len(lines) / 4
    assert all(packet.endswith(b"\n") for packet in packets)
    assert [packet for packet in packets if len(packet) > select.PIPE_BUF] == [lines[500]]


def test_who_asks_is_told_when_all_before_it_is_written(pipe: tuple[int, int]) -> None:
    """Not before: what a process that is killed had not written is not taken for told."""
    queue = LineQueue(pipe[1], lambda _: None)
    written = threading.Event()
    queue.put(b"x" * 8000 + b"\n")  # more than the pipe takes
    queue.when_written(written.set)
    assert not written.wait(0.05)
    read_until(pipe[0], b"\n")
    assert written.wait(10)


def test_what_does_not_fit_is_lost_and_counted_and_endings_are_kept(pipe: tuple[int, int]) -> None:
    """Nobody reads: plain lines go first, those to be kept are still there, and the number of the lost ones is said."""
    said: list[str] = []
    told = threading.Event()
    queue = LineQueue(pipe[1], lambda what: (said.append(what), told.set()), room=10_000)
    queue.put(b"y" * 8000 + b"\n")  # more than the pipe takes
    for _ in range(2000):
        queue.put(b"x" * 99 + b"\n")
    began = time.monotonic()
    for number in range(20):
        queue.put(b"ending %d\n" % number, keep=True)
    assert not queue.drain(0.1)
    assert time.monotonic() - began < 5
    read = read_until(pipe[0], b"ending 19\n")
    assert read.count(b"ending") == 20
    assert told.wait(10)
    lost = int(said[0].split()[0])
    assert lost + read.count(b"x\n") == 2000
    assert lost > 0


def test_even_what_is_kept_has_an_end(pipe: tuple[int, int]) -> None:
    """A reader that hangs forever costs a bounded amount of memory."""
    queue = LineQueue(pipe[1], lambda _: None, room=1000)
    for _ in range(3000):
        queue.put(b"x" * 100, keep=True)
    assert queue.waiting <= 4100 + 100


def test_a_reader_that_is_gone_is_said_once(pipe: tuple[int, int]) -> None:
    """And costs nothing else."""
    said: list[str] = []
    gone, writer = os.pipe()
    os.close(gone)
    queue = LineQueue(writer, said.append)
    for _ in range(3):
        queue.put(b"line\n")
        assert queue.drain()
    assert said == ["log lines are lost: Broken pipe"]
    os.close(writer)
