"""Receivers with a URL, as they answer and as they do not."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fronts import TlsFront, make_certificate
from tests.support.receivers import SECRET, ReceivingServer
from watcher.network.proxies import Proxies
from watcher.notify import web
from watcher.notify.messages import Message
from watcher.notify.plan import ReceiverPlan
from watcher.notify.sender import NotConfirmed
from watcher.notify.web import WebSender

MESSAGE = Message("msg_1", '{"file":"stühle.jpg"}'.encode())


@pytest.fixture
def receiver() -> Iterator[ReceivingServer]:
    """A receiver."""
    with ReceivingServer() as server:
        yield server


def sender_to(url: str, secret: str = "", proxies: Proxies | None = None) -> WebSender:
    """The way to a URL."""
    host = url.split("/")[2]
    return WebSender(ReceiverPlan("cms", "url", host, url=url, secret=secret), proxies or Proxies(), time.time)


async def refusal(url: str) -> NotConfirmed:
    """Why a receiver does not confirm."""
    sender = sender_to(url)
    try:
        with pytest.raises(NotConfirmed) as error:
            await sender.send(MESSAGE)
    finally:
        await sender.aclose()
    assert "planted" not in error.value.message + error.value.hint
    return error.value


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_confirms(receiver: ReceivingServer, status: int) -> None:
    """Signed, by one connection for many messages."""
    receiver.status, receiver.secret = status, SECRET
    sender = sender_to(receiver.url, SECRET)
    for _ in range(3):
        assert await sender.send(MESSAGE) == f"127.0.0.1:{receiver.port} answered {status}"
    await sender.aclose()

    assert [call.body for call in receiver.confirmed] == [MESSAGE.body] * 3


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (301, "set `url` to where it leads"),
        (400, ""),
        (401, "compare `secret`"),
        (404, "look at the URL"),
        (410, "gone for good"),
        (500, ""),
    ],
)
async def test_anything_else_does_not(receiver: ReceivingServer, status: int, hint: str) -> None:
    """A redirect is not followed: the answer says what to do."""
    receiver.status, receiver.answer_headers = status, {"Location": receiver.url + "/elsewhere"}
    refused = await refusal(receiver.url)

    assert f"answered {status}" in refused.message
    assert hint in refused.hint
    assert len(receiver.calls) == 1


async def test_a_receiver_may_ask_for_a_pause(receiver: ReceivingServer) -> None:
    """Retry-After in seconds."""
    receiver.status, receiver.answer_headers = 429, {"Retry-After": "17"}

    assert (await refusal(receiver.url)).retry_after == 17.0


async def test_a_connection_that_was_closed_meanwhile_is_no_failure() -> None:
    """Servers end idle connections; the message goes once more at once, over a new one."""
    with ReceivingServer() as receiver:
        sender = sender_to(receiver.url)
        await sender.send(MESSAGE)
        receiver.stop()
        receiver.start()
        await sender.send(MESSAGE)
        await sender.aclose()

    assert len(receiver.calls) == 2


async def test_who_is_not_there_is_said() -> None:
    """Refused, no such name, no TLS at the port."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with ReceivingServer() as plain:
        tls = await refusal(plain.url.replace("http:", "https:"))

    assert (await refusal(f"http://127.0.0.1:{port}/planted")).message.endswith("cannot be reached: connection refused")
    assert (await refusal("http://no-such-host.invalid/planted")).message == "the name of no-such-host.invalid cannot be resolved"
    assert tls.message.startswith("no TLS connection to 127.0.0.1")


async def test_a_certificate_of_nobody_is_not_trusted(tmp_path: Path) -> None:
    """What is sent may be secret."""
    with ReceivingServer() as behind, TlsFront(behind.port, *make_certificate(tmp_path, "cms.example.com")) as front:
        refused = await refusal(f"https://127.0.0.1:{front.port}/planted")

    assert refused.message.startswith(f"the certificate of 127.0.0.1:{front.port} is not trusted")
    assert "SSL_CERT_FILE" in refused.hint


async def test_a_receiver_that_hangs_is_given_up(receiver: ReceivingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole call is bounded."""
    monkeypatch.setattr(web, "ANSWER_SECONDS", 0.5)
    receiver.hangs = True
    began = time.monotonic()
    refused = await refusal(receiver.url)

    assert "did not answer within" in refused.message
    assert time.monotonic() - began < 5


async def test_an_answer_without_end_confirms_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status has said it; what follows is not waited for, nor kept."""
    monkeypatch.setattr(web, "_READ_SECONDS", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_answer_for_ever, args=(listener,), daemon=True).start()
    sender = sender_to(f"http://127.0.0.1:{listener.getsockname()[1]}/x")

    assert "answered 200" in await sender.send(MESSAGE)
    await sender.aclose()
    listener.close()


def _answer_for_ever(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection, contextlib.suppress(OSError):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"5\r\nhello\r\n")
            time.sleep(0.01)


async def test_nonsense_is_no_answer() -> None:
    """Whatever listens there speaks no HTTP."""
    listener = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"220 smtp.example.com ESMTP\r\n")

    threading.Thread(target=speak, daemon=True).start()
    refused = await refusal(f"http://127.0.0.1:{listener.getsockname()[1]}/planted")
    listener.close()

    assert "no answer that can be read" in refused.message or "closed the connection" in refused.message


async def test_a_receiver_elsewhere_is_reached_through_the_proxy(receiver: ReceivingServer) -> None:
    """As everything else is; the proxy gets the whole address."""
    proxies = Proxies.of_environment({"HTTP_PROXY": f"http://127.0.0.1:{receiver.port}"})
    sender = sender_to("http://cms.example.com/hook", proxies=proxies)

    await sender.send(MESSAGE)
    await sender.aclose()

    assert [call.path for call in receiver.calls] == ["http://cms.example.com/hook"]
