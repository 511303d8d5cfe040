"""One TLS context for all clients, as long as the certificates that are trusted are the same."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest

from watcher.network.certificates import client_context


def authorities(count: int) -> str:
    """The first so many certificates of certifi's bundle."""
    parts = Path(certifi.where()).read_text(encoding="utf-8").split("-----END CERTIFICATE-----")
    return "".join(f"{part}-----END CERTIFICATE-----" for part in parts[:count])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with one certificate, and no folder of them."""
    file = tmp_path / "trusted.pem"
    file.write_text(authorities(1), encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "absent"))
    return file


def test_clients_have_one_context_in_common(store: Path) -> None:
    """It checks certificates and names."""
    context = client_context()
    assert context is client_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1


def test_certificates_that_are_put_there_later_are_trusted(store: Path) -> None:
    """By clients that are made from then on."""
    before = client_context()
    newer = store.with_name("newer.pem")
    newer.write_text(authorities(3), encoding="utf-8")
    newer.replace(store)
    assert len(client_context().get_ca_certs()) == 3
    assert len(before.get_ca_certs()) == 1


def test_another_store_is_another_context(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the variables say at the time."""
    before = client_context()
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert client_context() is not before


def test_a_system_without_certificates_trusts_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bare container is."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "absent"))
    assert len(client_context().get_ca_certs()) > 50
