"""So many open pages, as browsers keep them: the page once each, then its stream of changes, read as fast as it comes.

    python -m benchmarks.lookers URL COUNT

Prints {"open": COUNT} once all are open; ends when its standard input does, and then prints the bytes that it read.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import urllib.request
from urllib.parse import urlsplit


async def look(address: str, seen: str, opened: asyncio.Semaphore) -> int:
    """Read one stream until it is called off; gives its bytes."""
    parts, size = urlsplit(address), 0
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET /events?seen={seen} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    opened.release()
    try:
        while chunk := await reader.read(1 << 18):
            size += len(chunk)
    except asyncio.CancelledError:
        writer.close()
    return size


async def main(address: str, count: int) -> None:
    """The command."""
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(address).read().decode())
    found = re.search(r'data-seen="(\d+)"', page)
    assert found is not None
    opened = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(look(address, found[1], opened)) for _ in range(count)]
    for _ in range(count):
        await opened.acquire()
    _say({"open": count})
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    _say({"bytes": sum(await asyncio.gather(*tasks))})


def _say(what: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
