"""The server of temporary URLs against nginx, on the same files, in MB/s.

    python -m benchmarks.serving [--quick]

Both have one process for the work; curl takes four files at once. nginx has no tokens, no expiry and nothing to look up.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common import SEED, Figure, at_least, child, interleaved, median_ratio, not_measured, say, table

if TYPE_CHECKING:
    from collections.abc import Iterator

WHAT = "temporary URLs / nginx, MB/s, files of 5 MB"
FILE_BYTES = 5_000_000
CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/pid; error_log /dev/null;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {files}; }}
}}
"""


async def serve(paths: list[Path]) -> None:
    """Publish the files, say the URLs, and serve until standard input ends."""
    from tests.support.publishing import OpenedFile, RecordedLog, new_ticket
    from watcher.clock import SystemClock
    from watcher.config.publish_settings import ServeSettings
    from watcher.publish.serve import TemporaryUrls

    urls = TemporaryUrls(ServeSettings(listen="127.0.0.1:0", require_header=False), RecordedLog(), SystemClock())
    await urls.start()
    sources = [OpenedFile(path) for path in paths]
    published = [await urls.publish(new_ticket(), source) for source in sources]
    sys.stdout.write(json.dumps([each.url for each in published]) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await urls.stop(0.0)


@contextmanager
def nginx(folder: Path, files: Path) -> Iterator[str]:
    """An nginx of our own on loopback; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, port=port, files=files))
    process = subprocess.Popen(["nginx", "-c", configuration, "-p", folder], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def rate(folder: Path, urls: list[str], rounds: int) -> float:
    """MB/s that curl gets."""
    wanted = folder / "curl"
    wanted.write_text("".join(f'url = "{url}"\noutput = "/dev/null"\n' for url in urls * rounds))
    started = time.perf_counter()
    subprocess.run(
        ["curl", "-s", "--no-progress-meter", "--fail", "--noproxy", "*", "-Z", "--parallel-max", "4", "-K", wanted],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return len(urls) * rounds * FILE_BYTES / 1e6 / (time.perf_counter() - started)


def measure(quick: bool = False) -> list[Figure]:
    """The figure."""
    if missing := [tool for tool in ("nginx", "curl") if shutil.which(tool) is None]:
        return [not_measured(WHAT, f"{', '.join(missing)} missing: apt install {' '.join(missing)}")]
    rounds, repeats = (10, 1) if quick else (25, 7)
    numbers = random.Random(SEED)  # noqa: S311 - sameness is wanted
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # nginx's worker is another user
        files = folder / "files"
        files.mkdir()
        for number in range(8):
            (files / f"{number}.jpg").write_bytes(numbers.randbytes(FILE_BYTES))
        _, ours = stack.enter_context(child("benchmarks.serving", "--serve", files))
        address = stack.enter_context(nginx(folder, files))
        theirs = [f"{address}/{number}.jpg" for number in range(8)]
        found = interleaved(repeats, ours=lambda: rate(folder, ours, rounds), nginx=lambda: rate(folder, theirs, rounds))
    for server, rates in found.items():
        say(f"  {server}: {', '.join(f'{each:.0f}' for each in rates)} MB/s")
    return [at_least(WHAT, median_ratio(found["ours"], found["nginx"]), 0.7)]


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(serve(sorted(Path(sys.argv[-1]).iterdir())))
    else:
        sys.stdout.write(table(measure("--quick" in sys.argv)))
