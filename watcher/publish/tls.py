"""The server's certificate, exchanged under the feet of a running server when its files change."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from watcher.errors import CANNOT_TELL, ConfigurationError, reason_of

if TYPE_CHECKING:
    from pathlib import Path

_Version = tuple[tuple[int, int, int] | None, ...]


class ServerCertificate:
    """A certificate (chain) and its private key, both PEM.

    `context` is one object for life: connections made after a successful `load` get the new certificate, running ones go on.
    """

    def __init__(self, certificate: Path, private_key: Path) -> None:
        """Load both. Raises ConfigurationError where they cannot be used."""
        self.certificate = certificate
        self.private_key = private_key
        self._seen: _Version = ()
        self.context = _new_context()
        self.load()

    def changed(self) -> bool:
        """Whether a file is another one than at the last `load`, successful or not."""
        return self._version() != self._seen

    def load(self) -> None:
        """Read the files again. Raises ConfigurationError where they cannot be used; then the old pair stays in force."""
        self._seen = self._version()
        # A failing load leaves a context with half a pair, so the pair is first tried on one that nobody uses.
        self._load_into(_new_context())
        self._load_into(self.context)

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            # Without a password the library would ask for one on the terminal.
            context.load_cert_chain(self.certificate, self.private_key, password=bytes)
        except ssl.SSLError as error:
            raise ConfigurationError([self._problem(error)]) from None
        except OSError as error:
            place = "publish.serve.certificate or publish.serve.private_key"
            if error.errno in CANNOT_TELL:
                self._seen = ()  # the files are as they were: they are read again
            raise ConfigurationError([f"{place}: a file cannot be read: {reason_of(error)}"]) from None

    def _problem(self, error: ssl.SSLError) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return "publish.serve.private_key: does not belong to publish.serve.certificate"
        return (
            "publish.serve.certificate: it and private_key must be PEM files, the key not encrypted "
            f"({(error.reason or 'not PEM').lower().replace('_', ' ')})"
        )

    def _version(self) -> _Version:
        return tuple(_file_version(path) for path in (self.certificate, self.private_key))


def _file_version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _new_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    return context
