"""Limits of the kernel and of this process, lowered for a while."""

from __future__ import annotations

import fcntl
import itertools
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

QUEUE_LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")
DEFAULT_QUEUE = 16_384


@contextmanager
def small_event_queue(events: int) -> Iterator[None]:
    """Inotify instances that are made meanwhile, by anybody, drop what goes beyond so many events. Skips without root.

    Tests that do this at the same time wait for each other.
    """
    with QUEUE_LIMIT.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = max(int(QUEUE_LIMIT.read_text()), DEFAULT_QUEUE)
        try:
            QUEUE_LIMIT.write_text(str(events))
        except OSError:
            pytest.skip("changing fs.inotify.max_queued_events needs root")
        try:
            yield
        finally:
            QUEUE_LIMIT.write_text(str(before))


def with_watch_limit(watches: int) -> list[str]:
    """The beginning of a command line: what follows may watch so many directories. Skips without user namespaces."""
    namespace = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("user namespaces are not to be had")
    return [*namespace, "sh", "-c", f'echo {watches} > /proc/sys/user/max_inotify_watches && exec "$0" "$@"']


@contextmanager
def mount_point(path: Path) -> Iterator[Path]:
    """A new directory on which file systems may be mounted, and are not any more in the end. Skips without root."""
    path.mkdir(parents=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "probe", path], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    subprocess.run(["umount", path], check=True)
    try:
        yield path
    finally:
        while path.is_mount():
            subprocess.run(["umount", "-l", path], check=True)


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """This process can open so many files meanwhile, and no more."""
    free = (number for number in itertools.count() if not _is_open(number))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (list(itertools.islice(free, count + 1))[-1], limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _is_open(number: int) -> bool:
    try:
        fcntl.fcntl(number, fcntl.F_GETFD)
    except OSError:
        return False
    return True
