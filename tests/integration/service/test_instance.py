"""One daemon a state folder, and commands that look without getting in its way."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from watcher.errors import Unavailable
from watcher.service.instance import LOCK_NAME, InstanceLock, running_pid


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    """With the process id of the first; and not any more when that has ended."""
    first = InstanceLock.take(tmp_path)
    with pytest.raises(Unavailable, match=r"another daemon \(pid \d+\) works with the state folder"):
        InstanceLock.take(tmp_path)
    first.release()
    InstanceLock.take(tmp_path).release()


def test_looking_never_keeps_a_daemon_from_starting(tmp_path: Path) -> None:
    """`running_pid` locks the file for an instant, here for longer; a daemon that starts just then is not refused."""
    InstanceLock.take(tmp_path).release()
    looking = os.open(tmp_path / LOCK_NAME, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    done = threading.Timer(0.03, os.close, (looking,))
    done.start()
    InstanceLock.take(tmp_path).release()
    done.join()


def test_where_nobody_has_run_nobody_runs(tmp_path: Path) -> None:
    """No lock file, no daemon."""
    assert running_pid(tmp_path / "nowhere") is None
