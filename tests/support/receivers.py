"""A receiver of notifications: a real HTTP server that checks signatures with the package `standardwebhooks`, and misbehaves."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Call:
    """One request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    answered: int

    @property
    def object(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def id(self) -> str:
        """Its `webhook-id`."""
        return self.headers["webhook-id"]


@dataclass
class ReceivingServer:
    """Listens on a port of loopback that stays its own over `stop` and `start`. `status` is what it answers; with a `secret` a
    request whose signature is not right gets 401. `hangs`: it takes the request and never answers."""

    secret: str | None = None
    status: int = 200
    hangs: bool = False
    delay: float = 0.0
    answer_headers: dict[str, str] = field(default_factory=dict)
    answer: Callable[[Call], bytes] = lambda _: b"ok"
    """What the body of its answer is."""
    calls: list[Call] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen."""
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and break those there are."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._server.break_connections()

    @property
    def url(self) -> str:
        """Where it listens; there is a token in it."""
        return f"http://127.0.0.1:{self.port}/hooks/planted-token"

    @property
    def confirmed(self) -> list[Call]:
        """The requests that it answered with 2xx."""
        return [call for call in list(self.calls) if 200 <= call.answered < 300]

    def numbers(self) -> list[int]:
        """`seq` of what was confirmed, in order."""
        return [call.object["seq"] for call in self.confirmed]

    def take(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Call:
        """Judge a request."""
        if self.hangs:
            self._released.wait(120)
            raise ConnectionAbortedError("it was never answered")
        time.sleep(self.delay)
        status = self.status if self._is_signed(headers, body) else 401
        call = Call(method, path, headers, body, time.time(), status)
        self.calls.append(call)
        return call

    def _is_signed(self, headers: dict[str, str], body: bytes) -> bool:
        if self.secret is None:
            return True
        try:
            Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError:
            return False
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *arguments: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def break_connections(self) -> None:
        for each in self._open:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever called is gone."""


def _handler(receiver: ReceivingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = receiver.take(self.command, self.path, headers, body)
            self.send_response(call.answered)
            for name, value in receiver.answer_headers.items():
                self.send_header(name, value)
            if call.answered == 204:
                self.end_headers()
                return
            answer = receiver.answer(call)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET = _take

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    return Handler
