"""Processes of the command and of what serves tests that cost no start: one that has imported everything forks them.

    process = fork(("status", "--config", path), environment={...}, stdout=subprocess.PIPE)
    process.wait(10)

What runs is the installed command's own entrance with the arguments, environment, working directory and descriptors given; only
the start of the interpreter is saved, the imports, and the interpreter's taking itself down: nine tenths of what a short command
takes. What start and end themselves are about (closed streams, locales, blocked imports, early signals) needs the command as it
is: tests/system/test_process.py.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import gc
import importlib
import json
import os
import pkgutil
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from tests.support import clocks
from tests.support.crashing import Crash

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60.0
MOST_BYTES = 200_000
"""Of a request: arguments and an environment."""
LATER = ("watcher.__main__", "watcher.commands.samples")
"""Not imported before the fork: the latter starts libvips, whose settings come from the environment."""
LAZY = ("structlog", "rich.console", "rich.table", "rich.progress", "watcher.engine.server")
"""Imported by what is imported here, when it runs."""


class Forked:
    """A process that the fork server began, as subprocess.Popen has them. Descriptors given as subprocess.PIPE are pipes."""

    def __init__(self, server: ForkServer, pid: int, stdout: IO[bytes] | None, stderr: IO[bytes] | None) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = stdout
        self.stderr = stderr
        self._server = server
        self._end = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit status (negative: the signal that ended it), None while it runs."""
        return self._ask(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, when it has ended. Raises subprocess.TimeoutExpired."""
        status = self._ask(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM"""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL"""
        self.send_signal(signal.SIGKILL)

    def _ask(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._end, select.POLLIN)
            if poll.poll(None if seconds is None else seconds * 1000):
                self.returncode = self._server.status(self.pid)
                os.close(self._end)
        return self.returncode


class ForkServer:
    """The process that forks. It ends with the one that asked for it, and what still runs with it.

    It is itself a fork of one that has imported everything for all processes of a run, unless their mounts are others.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket = _connected(_of_this_run())
        atexit.register(self.close)

    def close(self) -> None:
        """Have it end; returns when it has."""
        with contextlib.suppress(OSError), self._socket:
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(10)
            self._socket.recv(1)

    def begin(self, request: dict[str, Any], descriptors: Sequence[int]) -> int:
        """The number of a new process with these for standard input, output and error."""
        return int(self._call(request, descriptors))

    def status(self, pid: int) -> int:
        """The exit status of a process that has ended."""
        return int(self._call({"wait": pid}))

    def _call(self, request: dict[str, Any], descriptors: Sequence[int] = ()) -> Any:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], list(descriptors))
            answer = self._socket.recv(MOST_BYTES)
        assert answer, "the process that forks has died"
        return json.loads(answer)


def _of_this_run() -> int | None:
    """The process that began the run, if it sees the same mounts."""
    try:
        run = int(os.environ["TESTS_RUN"])
        return run if os.readlink(f"/proc/{run}/ns/mnt") == os.readlink("/proc/self/ns/mnt") else None
    except (KeyError, OSError):
        return None


def _connected(run: int | None) -> socket.socket:
    """A connection to a process that forks: of this run, or else of this process alone. It sees the mounts that this one sees.

    Where no workers run the tests, the process that began the run may itself have other mounts by now than its forks have.
    """
    place = Path(tempfile.mkdtemp() if run is None else tempfile.gettempdir(), f"forks-{os.stat('/proc/self/ns/mnt').st_ino}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        try:
            listener.bind(str(place))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            place.chmod(0o600)
            listener.listen(64)
            _begin(listener, os.getpid() if run is None else run)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            connection.connect(str(place))
        except ConnectionRefusedError:  # another process has it bound and listens in a moment
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            break
    if run is None:
        shutil.rmtree(place.parent)
    return connection


def _begin(listener: socket.socket, owner: int) -> None:
    """Begin the process that imports everything; it ends with its owner."""
    subprocess.run(
        [sys.executable, "-m", "tests.support.forks", str(listener.fileno()), str(owner)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if not key.startswith("WATCHER_")},
        pass_fds=(listener.fileno(),),
        check=True,
    )


def fork_server() -> ForkServer:
    """One for all tests of a process, as long as they see the same mounts: those of a private namespace need another."""
    return _fork_server(str(Path("/proc/self/ns/mnt").readlink()))


@functools.cache
def _fork_server(_namespace: str) -> ForkServer:
    return ForkServer()


Descriptor = int | IO[Any] | None


def fork(
    arguments: Sequence[str | Path],
    *,
    environment: dict[str, str],
    name: str = "compressor-watcher",
    cwd: str | Path | None = None,
    stdin: Descriptor = None,
    stdout: Descriptor = None,
    stderr: Descriptor = None,
    start_new_session: bool = False,
    open_files: tuple[int, int] | None = None,
    crash: Crash | None = None,
) -> Forked:
    """Begin one of ENTRANCES; the rest is as subprocess.Popen has it.

    `open_files` is how many it may have (the soft and the hard limit), `crash` how it is to end.
    """
    request = {
        "name": name,
        "arguments": [os.fsdecode(argument) for argument in arguments],
        "environment": environment,
        "cwd": os.fspath(cwd or Path.cwd()),
        "session": start_new_session,
        "open_files": open_files,
        "crash": None if crash is None else asdict(crash),
    }
    with contextlib.ExitStack() as theirs:
        ours: list[IO[bytes] | None] = []
        descriptors: list[int] = []
        for number, given in enumerate((stdin, stdout, stderr)):
            descriptor, pipe = _descriptor(number, given, theirs)
            descriptors.append(descriptor)
            ours.append(pipe)
        pid = fork_server().begin(request, descriptors)
    return Forked(fork_server(), pid, ours[1], ours[2])


def _descriptor(number: int, given: Descriptor, theirs: contextlib.ExitStack) -> tuple[int, IO[bytes] | None]:
    """What the process gets, and our end of it where it is a pipe."""
    if given is None:
        return number, None
    if given == subprocess.PIPE:
        assert number, "what it is to read comes from a file"
        reading, writing = os.pipe()
        theirs.callback(os.close, writing)
        return writing, os.fdopen(reading, "rb")
    if given == subprocess.DEVNULL:
        null = os.open(os.devnull, os.O_RDWR)
        theirs.callback(os.close, null)
        return null, None
    return (given if isinstance(given, int) else given.fileno()), None


# --- in the processes that fork ------------------------------------------------------------------------------------------------


def _command() -> None:
    from watcher.__main__ import main

    main()


def _standin() -> None:
    from tests.support.standin import main

    main()


def _journal_writer() -> None:
    from tests.support.journal_writer import main

    main()


ENTRANCES: dict[str, Callable[[], None]] = {
    "compressor-watcher": _command,
    "standin": _standin,
    "journal_writer": _journal_writer,
}


def _import_everything() -> None:
    """What processes need, so that none has to load it."""
    import watcher

    for module in pkgutil.walk_packages(watcher.__path__, "watcher."):
        if not module.name.startswith(("watcher.engine", *LATER)):
            importlib.import_module(module.name)
    for name in (*LAZY, "tests.support.standin"):
        importlib.import_module(name)
    import typer.main

    from tests.support.drops import rules_for
    from watcher.cli import app
    from watcher.network.certificates import client_context

    rules_for([{"name": "any", "path": "/nowhere"}])  # compiles patterns, which re keeps
    client_context()  # loads the certificates, which it keeps while they are the same
    typer.main.get_command = functools.cache(typer.main.get_command)
    typer.main.get_command(app)  # the tree of commands, which takes as long to be made as all the rest of a short command
    assert "pyvips" not in sys.modules
    gc.freeze()  # no process's collector need look at it again


def _serve_all(listener: socket.socket, owner: int) -> None:
    """Fork a process that forks for each connection, until the owner ends."""
    poll = select.poll()
    for each in (listener.fileno(), os.pidfd_open(owner)):
        poll.register(each, select.POLLIN)
    while [number for number, _ in poll.poll()] == [listener.fileno()]:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            _serve(connection)
            os._exit(0)
        connection.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)  # one that has ended, if there is any
    os._exit(0)


def _serve(server: socket.socket) -> None:
    running: set[int] = set()
    while True:
        message, descriptors, _, _ = socket.recv_fds(server, MOST_BYTES, 3)
        if not message:
            break
        request = json.loads(message)
        if "wait" in request:
            running.discard(request["wait"])
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                server.detach()
                _become(request, descriptors)
                raise AssertionError("it has ended")
            running.add(answer)
            for descriptor in descriptors:
                os.close(descriptor)
        server.send(json.dumps(answer).encode())
    for pid in running:
        os.kill(pid, signal.SIGKILL)  # not waited for: the number is still its own


def _become(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """The process that was asked for; returns or raises SystemExit as its entrance does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["session"]:
        os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if request["open_files"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, tuple(request["open_files"]))
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 - as the interpreter opens them
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - as above
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    clocks.follow()
    if request["crash"] is not None:
        Crash(**request["crash"]).install()
    sys.argv = [str(Path(sys.executable).with_name(request["name"])), *request["arguments"]]
    _work_and_leave(ENTRANCES[request["name"]])


def _work_and_leave(work: Callable[[], None]) -> None:
    """End as the interpreter does: wait for threads, call what was registered, flush.

    But leave its modules alone: to take them apart copies thirteen thousand pages that are shared with the process that forks.
    Where something is out of order the interpreter has its own way.
    """
    status: object = None
    try:
        work()
    except SystemExit as leaving:
        status = leaving.code
    if isinstance(status, int | None):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other name for it
        atexit._run_exitfuncs()  # noqa: SLF001 - as above
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit((status or 0) & 0xFF)
    sys.exit(status)  # type: ignore[arg-type]


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: meant for the tests, with which this ends
    if os.fork():
        os._exit(0)  # nobody has to wait for it
    _import_everything()
    with contextlib.suppress(ProcessLookupError):  # the owner has ended
        _serve_all(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))


if __name__ == "__main__":
    _main()
