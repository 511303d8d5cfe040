"""What stands between the daemon and the API: TLS, and a name that has to be resolved."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Self

import pytest

HOSTS = Path("/etc/hosts")
RESOLVER = Path("/etc/resolv.conf")


def make_certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for a host and for 127.0.0.1, and its key, made by openssl."""
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


class TlsFront:
    """Ends TLS on a port of its own and passes everything on, in plain, to another one."""

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        self._to = port
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.show(certificate, key)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]

    def show(self, certificate: Path, key: Path) -> None:
        """Show this certificate to connections from now on."""
        self._context.load_cert_chain(certificate, key)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        """One exchange for each connection: the request in one piece, as our client sends it, then the answer to its end."""
        with connection:
            connection.settimeout(30)
            try:
                secure = self._context.wrap_socket(connection, server_side=True)
            except (ssl.SSLError, ConnectionError):  # the other side does not trust us
                return
            with secure, socket.create_connection(("127.0.0.1", self._to)) as onward:
                onward.sendall(_without_keep_alive(_read_request(secure)))
                while piece := onward.recv(65536):
                    secure.sendall(piece)


def _read_request(connection: ssl.SSLSocket) -> bytes:
    """Head and body of a request that states its length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0]) - len(body) if lengths else 0
    while left > 0 and (piece := connection.recv(left)):
        data, left = data + piece, left - len(piece)
    return data


def _without_keep_alive(request: bytes) -> bytes:
    lines = [line for line in request.partition(b"\r\n\r\n")[0].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close", b"", request.partition(b"\r\n\r\n")[2]])


class NameService:
    """Another /etc/hosts and no DNS for the process that runs behind `within`; the name can be added while it runs.

    Skips where the kernel gives no mount namespace.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._name = name
        self._hosts, self._resolver = directory / "hosts", directory / "resolv.conf"
        self._hosts.write_text("127.0.0.1 localhost\n")
        self._resolver.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        if shutil.which("unshare") is None or subprocess.run([*self.within, "true"], capture_output=True).returncode:
            pytest.skip("mount namespaces are not to be had")

    @property
    def within(self) -> list[str]:
        """The beginning of a command line."""
        mounts = f"mount --bind {self._hosts} {HOSTS} && mount --bind {self._resolver} {RESOLVER}"
        return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{mounts} && exec "$0" "$@"']

    def know_it(self) -> None:
        """The name can be resolved from now on."""
        with self._hosts.open("a") as file:
            file.write(f"127.0.0.1 {self._name}\n")
