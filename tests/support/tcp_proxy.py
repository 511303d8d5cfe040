"""A way to a server that can be cut, or that swallows what is sent."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
"""What a PostgreSQL server answers to a COMMIT that has gone through."""


class TcpProxy:
    """Passes connections on to a port of this machine, until told otherwise."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._flows = threading.Event()
        self._flows.set()
        self._refuses = False
        self._sockets: list[socket.socket] = []
        self.loses: Callable[[bytes], bool] | None = None
        """Of an answer of the far side: where it says so the answer is lost, and the connection is cut."""
        self.holds: Callable[[bytes], float] | None = None
        """Of what is sent to the far side: it comes so many seconds late, and who sent it is cut off at once."""
        self.hears_of_ends = True
        """Whether the far side is told when a connection ends; it is not where a machine loses its power."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._flows.set()
        self.cut()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def refuse(self) -> None:
        """End what there is, and all that comes."""
        self._refuses = True
        self.cut()

    def swallow(self) -> None:
        """Take what is sent, and pass nothing on; new connections get no answer either."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass everything on again. What was swallowed meanwhile is gone with its connections."""
        self._refuses = False
        self.cut()
        self._flows.set()

    def cut(self) -> None:
        """End all connections there are."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def _far(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._to))

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:  # closed
                return
            if self._refuses:
                near.close()
                continue
            try:
                far = self._far()
            except OSError:
                near.close()
                continue
            self._sockets += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other, one is far), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                if is_answer and self.loses is not None and self.loses(data):
                    break
                if not is_answer and self.holds is not None and (seconds := self.holds(data)):
                    one.shutdown(socket.SHUT_RDWR)
                    time.sleep(seconds)
                if self._flows.is_set():
                    other.sendall(data)
        if not self.hears_of_ends and not is_answer:
            return  # its other half stays as it is until the proxy's end
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


class Balancer(TcpProxy):
    """Passes each connection on to one of several ports in turn; one where nobody listens is passed by."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(0)
        self.ports = ports
        """As health checks would have them: a test takes out whom they would."""
        self._turn = 0

    def _far(self) -> socket.socket:
        for _ in self.ports:
            self._turn += 1
            with contextlib.suppress(ConnectionRefusedError):
                return socket.create_connection(("127.0.0.1", self.ports[self._turn % len(self.ports)]))
        raise ConnectionRefusedError
