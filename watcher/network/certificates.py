"""Whom TLS clients trust: the system's certificate store, so that a company's own authority works."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

import certifi

Store = tuple[tuple[str, int, int] | None, ...]
"""Where certificates are trusted from: the file's and the folder's path, number and time of change."""


def client_context() -> ssl.SSLContext:
    """The context of every TLS client. SSL_CERT_FILE and SSL_CERT_DIR work as OpenSSL has them.

    Where the system has no certificates at all (a bare container), the bundle of the `certifi` package stands in. To load them
    takes 20 ms: clients have one context in common for as long as the store stays as it is.
    """
    paths = ssl.get_default_verify_paths()
    return _context((_identity(paths.cafile), _identity(paths.capath)))


@lru_cache(maxsize=1)
def _context(_store: Store) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not _has_directory():
        context.load_verify_locations(certifi.where())
    return context


def _identity(path: str | None) -> tuple[str, int, int] | None:
    if path is None:
        return None
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return path, status.st_ino, status.st_mtime_ns


def _has_directory() -> bool:
    """Whether OpenSSL finds certificates one by one, when they are needed."""
    folder = ssl.get_default_verify_paths().capath
    return bool(folder) and any(Path(folder).iterdir())
