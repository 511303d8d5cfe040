"""TLS in the daemon, with certificates that change under it."""

import asyncio
import errno
import os
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.integration.publish.conftest import Starter
from tests.support.fronts import make_certificate
from tests.support.publishing import MovedClock, OpenedFile, RecordedLog, new_ticket, wait_until, write_original
from watcher.errors import ConfigurationError
from watcher.model import Event
from watcher.publish.serve import TemporaryUrls


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    directory = tmp_path_factory.mktemp("certificates")
    return {name: make_certificate(directory, name) for name in ("first.test", "second.test")}


@pytest.fixture
def installed(tmp_path: Path, certificates: dict[str, tuple[Path, Path]]) -> tuple[Path, Path]:
    """The files that the configuration names, at first those of first.test."""
    pair = tmp_path / "tls.crt", tmp_path / "tls.key"
    for source, target in zip(certificates["first.test"], pair, strict=True):
        target.write_bytes(source.read_bytes())
    return pair


async def common_name(server: TemporaryUrls) -> str:
    """Whom the certificate shown to a new connection names."""
    port = urlsplit(server.local_url).port
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return next(name for name in ("first.test", "second.test") if name.encode() in der)


async def test_files_travel_encrypted_and_whole(
    serving: Starter, client: aiohttp.ClientSession, installed: tuple[Path, Path], tmp_path: Path
) -> None:
    """Parallel downloads of one original over TLS are each whole, ranges too, under a certificate that a client accepts."""
    content = os.urandom(3_000_000)
    server = await serving(certificate=installed[0], private_key=installed[1])
    published = await server.publish(new_ticket(), OpenedFile(write_original(tmp_path, content)))
    assert published.url.startswith("https://127.0.0.1:")
    trusted = ssl.create_default_context(cafile=str(installed[0]))

    async def fetch(start: int) -> bool:
        async with client.get(published.url, ssl=trusted, headers={"Range": f"bytes={start}-"}) as response:
            return await response.read() == content[start:]

    assert all(await asyncio.gather(*(fetch(start) for start in range(0, 3_000_000, 400_000))))


async def test_a_changed_certificate_is_shown_without_a_restart(
    serving: Starter,
    installed: tuple[Path, Path],
    certificates: dict[str, tuple[Path, Path]],
    log: RecordedLog,
    clock: MovedClock,
) -> None:
    """Within a minute new connections see the new certificate, and one line says so."""
    server = await serving(certificate=installed[0], private_key=installed[1])
    assert await common_name(server) == "first.test"
    for source, target in zip(certificates["second.test"], installed, strict=True):
        target.write_bytes(source.read_bytes())
    await wait_until(lambda: clock.sleepers)
    clock.move(61)
    await wait_until(lambda: log.of(Event.CONFIG_RELOADED))
    assert await common_name(server) == "second.test"
    assert len(log.of(Event.CONFIG_RELOADED)) == 1


async def test_a_broken_pair_leaves_the_old_one_in_force(
    serving: Starter, installed: tuple[Path, Path], certificates: dict[str, tuple[Path, Path]], log: RecordedLog
) -> None:
    """A certificate without its key, as in the middle of a renewal, is said once; the old pair serves on until it fits."""
    server = await serving(certificate=installed[0], private_key=installed[1])
    installed[0].write_bytes(certificates["second.test"][0].read_bytes())
    for _ in range(3):
        server.reload()
    assert [line["problems"] for line in log.of(Event.CONFIG_REJECTED)] == [
        ["publish.serve.private_key: does not belong to publish.serve.certificate"]
    ]
    assert await common_name(server) == "first.test"
    assert await server.probe()
    installed[1].write_bytes(certificates["second.test"][1].read_bytes())
    server.reload()
    assert await common_name(server) == "second.test"


async def test_a_missing_file_is_said_and_survived(serving: Starter, installed: tuple[Path, Path], log: RecordedLog) -> None:
    """A certificate that is deleted while it serves does not stop the service."""
    server = await serving(certificate=installed[0], private_key=installed[1])
    installed[0].unlink()
    server.reload()
    assert "No such file" in log.of(Event.CONFIG_REJECTED)[0]["problems"][0]
    assert await common_name(server) == "first.test"


async def test_a_pair_that_could_not_be_read_for_want_of_descriptors_is_read_again(
    serving: Starter,
    installed: tuple[Path, Path],
    certificates: dict[str, tuple[Path, Path]],
    log: RecordedLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing about the files changes any more, and yet the new certificate is shown as soon as it can be read."""
    server = await serving(certificate=installed[0], private_key=installed[1])
    for source, target in zip(certificates["second.test"], installed, strict=True):
        target.write_bytes(source.read_bytes())

    def starved(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(ssl.SSLContext, "load_cert_chain", starved)
        server.reload()
    (line,) = log.of(Event.CONFIG_REJECTED)
    assert "LimitNOFILE" in line["problems"][0]
    server.reload()
    assert "second.test" == await common_name(server)


@pytest.mark.parametrize("fault", ["missing", "not_pem", "foreign_key", "encrypted_key"])
async def test_an_unusable_pair_is_refused_at_the_start(
    serving: Starter, installed: tuple[Path, Path], certificates: dict[str, tuple[Path, Path]], fault: str
) -> None:
    """Each way of being wrong is a problem of the configuration with its place, and never a question on the terminal."""
    certificate, key = installed
    if fault == "missing":
        key.unlink()
    elif fault == "not_pem":
        certificate.write_text("hello")
    elif fault == "foreign_key":
        key.write_bytes(certificates["second.test"][1].read_bytes())
    else:
        encrypt = ["openssl", "ec", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(key)]
        subprocess.run(encrypt, check=True, capture_output=True)
    with pytest.raises(ConfigurationError) as caught:
        await serving(certificate=certificate, private_key=key)
    assert caught.value.problems[0].startswith("publish.serve.")


async def test_plain_http_on_the_tls_port_gets_nothing(serving: Starter, installed: tuple[Path, Path]) -> None:
    """A client without TLS is shown the door, and the server goes on."""
    server = await serving(certificate=installed[0], private_key=installed[1])
    port = urlsplit(server.local_url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" not in await reader.read()
    writer.close()
    assert await server.probe()


async def test_connections_that_never_begin_tls_count_from_the_start(serving: Starter, installed: tuple[Path, Path]) -> None:
    """They take up room like others, and make room like others: the own test and new clients get through."""
    server = await serving(certificate=installed[0], private_key=installed[1])
    server.connections.limit = 20
    port = urlsplit(server.local_url).port
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
    await wait_until(lambda: len(server.connections) == 10)
    assert await common_name(server) == "first.test"
    assert await server.probe()
    for _, writer in silent:
        writer.close()
