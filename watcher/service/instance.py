"""One daemon a state folder: the lock that says so, and who holds it."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from typing import TYPE_CHECKING

from watcher.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

LOCK_NAME = "lock"
LOCK_TRIES = 10
LOCK_PAUSE_SECONDS = 0.02
IDENTITY_NAME = "instance-id"
_IDENTITY = re.compile("[0-9a-f]{12}")


def instance_id(state_dir: Path) -> str:
    """Twelve hex digits that name this state folder forever, so that daemons that share a bucket tell their things apart.

    A file that is empty or holds something else, as a crash or a full disk leaves behind, is replaced. Raises Unavailable.
    """
    path = state_dir / IDENTITY_NAME
    try:
        known = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        known = ""
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}", "give it to the daemon's user") from None
    if _IDENTITY.fullmatch(known):
        return known
    identity = secrets.token_hex(6)
    try:
        _replace(path, f"{identity}\n".encode())
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}", "make room, or give it to the daemon's user") from None
    return identity


def _replace(path: Path, content: bytes) -> None:
    """All or nothing, also where the power fails."""
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    beside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class InstanceLock:
    """Holds the state folder for this process until `release` or the end of the process, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, state_dir: Path) -> InstanceLock:
        """Make the folder (0700) where it is missing and lock it.

        Raises Unavailable where it cannot be written, or where another daemon holds it.
        """
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(state_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                f"the state folder {state_dir} cannot be used: {error.strerror}",
                "give its owner to the daemon's user, or set state_dir to a folder that it may write",
            ) from None
        if not _lock(descriptor):
            holder = _read_pid(descriptor)
            os.close(descriptor)
            raise Unavailable(
                f"another daemon{f' (pid {holder})' if holder else ''} works with the state folder {state_dir}",
                "stop it first, or give this one a state_dir of its own",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Give the folder back."""
        os.close(self._descriptor)


def _lock(descriptor: int) -> bool:
    """Lock it for this process alone. `running_pid` holds a lock for an instant as well, so one refusal means nothing."""
    for attempt in range(LOCK_TRIES):
        if attempt:
            time.sleep(LOCK_PAUSE_SECONDS)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


def running_pid(state_dir: Path) -> int | None:
    """The process id of the daemon that holds the state folder, or None where none does.

    Raises Unavailable where the lock may not be read.
    """
    try:
        descriptor = os.open(state_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"{state_dir}: {error.strerror}", "run this as the daemon's user or as root") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read_pid(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
