"""From the close of a file to the arrival of its POST, idle: the daemon over a bare inotify reader (benchmarks/bare.py --watch).

    python -m benchmarks.latency [--quick]

Files are dropped one at a time, for both alike; the API is a socket here that notes when a POST comes and refuses it, so that
nothing else happens. What the daemon does in between, and the reader does not: lease, container, hash, journal.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import Figure, at_most, child, daemon, photographs, say, table

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSAL = b'{"success": false, "code": 422, "id": "x", "message": "not today"}'
PAUSE_SECONDS = 0.08
"""Between files: long enough for either to have come to rest."""


class Arrivals(ThreadingHTTPServer):
    """Notes when a POST came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.came = threading.Event()
        self.at = 0.0

    @property
    def url(self) -> str:
        """`compressor.url`"""
        return f"http://127.0.0.1:{self.server_port}/1.0"


class Handler(BaseHTTPRequestHandler):
    """Refuses everything, and keeps the connection."""

    protocol_version = "HTTP/1.1"
    server: Arrivals

    def do_POST(self) -> None:
        """Note the time first."""
        self.server.at = time.monotonic()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.set()
        self.send_response(422)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(REFUSAL)))
        self.end_headers()
        self.wfile.write(REFUSAL)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def arrivals() -> Iterator[Arrivals]:
    """The socket, served by threads."""
    with Arrivals() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def milliseconds(server: Arrivals, drop: Path, contents: list[bytes]) -> list[float]:
    """For each file in turn, from its close to the POST's arrival."""
    found = []
    for number, content in enumerate(contents):
        server.came.clear()
        with (drop / f"{number:04d}.jpg").open("wb") as file:
            file.write(content)
        closed = time.monotonic()
        if not server.came.wait(20):
            raise TimeoutError("no POST within 20 s")
        found.append((server.at - closed) * 1_000)
        time.sleep(PAUSE_SECONDS)
    return found[3:]


def of_daemon(server: Arrivals, folder: Path, contents: list[bytes]) -> list[float]:
    """The daemon's."""
    with daemon(folder, {"compressor": {"url": server.url}}, WATCHER_COMPRESSOR__API_KEY="k"):
        time.sleep(1.0)
        return milliseconds(server, folder / "drop", contents)


def of_reader(server: Arrivals, folder: Path, contents: list[bytes]) -> list[float]:
    """The bare reader's."""
    (folder / "drop").mkdir()
    with child("benchmarks.bare", folder / "drop", server.url, "--key", "k", "--watch"):
        return milliseconds(server, folder / "drop", contents)


def percentile(values: list[float], share: int) -> float:
    """The value that so many percent of all do not pass."""
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


def measure(quick: bool = False) -> list[Figure]:
    """The figures: milliseconds beyond the bare reader's."""
    files, repeats = (43, 1) if quick else (103, 3)
    found: dict[str, list[float]] = {"daemon": [], "reader": []}
    with tempfile.TemporaryDirectory() as name, arrivals() as server:
        contents = [path.read_bytes() for path in photographs(Path(name) / "aside", files, 320, 200)]
        for _ in range(repeats):
            for who, run in (("daemon", of_daemon), ("reader", of_reader)):
                with tempfile.TemporaryDirectory(dir=name) as folder:
                    found[who] += run(server, Path(folder), contents)
    for who, values in found.items():
        say(f"  {who}: p50 {percentile(values, 50):.1f} ms, p99 {percentile(values, 99):.1f} ms")
    return [
        at_most(
            f"close -> POST, p{share}, ms over a bare inotify reader",
            percentile(found["daemon"], share) - percentile(found["reader"], share),
            bar,
        )
        for share, bar in ((50, 5), (99, 25))
    ]


if __name__ == "__main__":
    sys.stdout.write(table(measure("--quick" in sys.argv)))
