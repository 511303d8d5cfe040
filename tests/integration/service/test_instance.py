"""One daemon a state folder, and commands that look without getting in its way."""

import fcntl
import os
import re
import threading
from pathlib import Path

import pytest

from watcher.errors import Unavailable
from watcher.service.instance import IDENTITY_NAME, LOCK_NAME, InstanceLock, instance_id, running_pid


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


def test_a_state_folder_keeps_its_name(tmp_path: Path) -> None:
    """Twelve digits, made once; nothing half written lies about."""
    name = instance_id(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", name)
    assert (name, [IDENTITY_NAME]) == (instance_id(tmp_path), os.listdir(tmp_path))


@pytest.mark.parametrize("left", [b"", b"\n", b"0123456789", b"\0" * 13, b"\xff\xfe"], ids=repr)
def test_a_name_that_was_never_written_whole_is_replaced(tmp_path: Path, left: bytes) -> None:
    """Two daemons with an empty name would take each other's staged originals for leftovers of their own."""
    (tmp_path / IDENTITY_NAME).write_bytes(left)
    name = instance_id(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", name)
    assert name == instance_id(tmp_path)


def test_a_name_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    """With what to do; nobody works under none."""
    (tmp_path / IDENTITY_NAME).mkdir()
    with pytest.raises(Unavailable, match=r"instance-id cannot be read: Is a directory \(give it to the daemon's user\)"):
        instance_id(tmp_path)
