"""A service on the internet, as a daemon and its programs see it: a name, TLS that is trusted, a proxy that leads there."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self

from tests.support.fronts import TlsFront, make_certificate
from tests.support.receivers import ReceivingServer


class Elsewhere:
    """`https://name` is answered by a ReceivingServer for everybody who has this `environment`; no other name is."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.receiver = ReceivingServer()
        self._certificate, self._key = make_certificate(directory, name)
        self._proxy = socket.create_server(("127.0.0.1", 0))
        self.refused: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """What leads there."""
        trusted = {name: str(self._certificate) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")}
        return {"HTTPS_PROXY": f"http://127.0.0.1:{self._proxy.getsockname()[1]}", **trusted}

    def __enter__(self) -> Self:
        self.receiver.start()
        self._front = TlsFront(self.receiver.port, self._certificate, self._key).__enter__()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.shutdown(socket.SHUT_RDWR)
        self._proxy.close()
        self._front.__exit__()
        self.receiver.stop()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._proxy.accept()
            except OSError:
                return
            threading.Thread(target=self._lead, args=(connection,), daemon=True).start()

    def _lead(self, connection: socket.socket) -> None:
        """CONNECT to our name; any other host is refused, so that nothing leaves this machine."""
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536)
            method, target = head.split(b" ")[:2]
            if method != b"CONNECT" or target.decode() != f"{self.name}:443":
                self.refused.append(target.decode())
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._front.port)) as onward:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pass_on, args=(onward, connection), daemon=True)
                back.start()
                _pass_on(connection, onward)
                back.join(30)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
