"""Whom TLS clients trust: the system's certificate store, so that a company's own authority works."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi


def client_context() -> ssl.SSLContext:
    """The context of every TLS client. SSL_CERT_FILE and SSL_CERT_DIR work as OpenSSL has them.

    Where the system has no certificates at all (a bare container), the bundle of the `certifi` package stands in.
    """
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not _has_directory():
        context.load_verify_locations(certifi.where())
    return context


def _has_directory() -> bool:
    """Whether OpenSSL finds certificates one by one, when they are needed."""
    folder = ssl.get_default_verify_paths().capath
    return bool(folder) and any(Path(folder).iterdir())
