"""Several hundred odd and broken images, one after the other, at one engine."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.corpus import corpus
from tests.support.engine import Client, Sources, local_store, running_engine, serving_sources, stored_file
from tests.support.pictures import jpeg
from tests.unit.formats.test_containers import reader
from watcher.formats.sniffing import sniff

AT_ONCE = 4
LARGE = 60_000
"""Bytes of pictures that are resized where others are compressed: the dozen that are larger takes a fifth of the time."""
MOST_MEMORY = 700_000_000
"""Bytes that an engine with two workers may have in memory after all of them."""


def resident_bytes(process: int | str) -> int:
    fields = Path(f"/proc/{process}/statm").read_text().split()
    return int(fields[1]) * 4096


async def outcome(client: Client, sources: Sources, number: int, path: Path, image: dict[str, Any]) -> tuple[Path, int]:
    """The status for one image; a result is checked against the stored bytes."""
    name = f"/{number}{path.suffix}"
    store = local_store(path=f"{number}/{len(image)}")
    status, answer = await client.fetch({"url": sources.add(name, path.read_bytes()), "image": image, "store": store})
    if status == 200:
        content = stored_file(answer).read_bytes()
        assert answer["output"]["sha1"] == hashlib.sha1(content).hexdigest(), path
        assert answer["output"]["size"] == len(content) > 0, path
        assert sniff(reader(content), len(content)).format == answer["output"]["format"], path
    else:
        assert set(answer) == {"success", "code", "id", "message"}, path
        assert "worker died" not in answer["message"], path
    return path, status


RESIZED = {"resize": {"width": 64, "height": 64, "mode": "fit"}}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("even", "odd"),
    [
        pytest.param({}, RESIZED, id="compress or resize"),
        pytest.param(RESIZED, {}, id="resize or compress", marks=pytest.mark.soak),
    ],
)
async def test_every_image_gets_a_result_or_a_clean_refusal(tmp_path: Path, even: dict[str, Any], odd: dict[str, Any]) -> None:
    """No image of the corpus gives anything but a true result or a 4xx, no worker dies, and memory stays bounded.

    Each goes one of two ways, the large ones that which takes less; `make corpus` has it go the other as well.
    """
    paths = await asyncio.to_thread(corpus)
    gate = asyncio.Semaphore(AT_ONCE)
    async with serving_sources() as sources, running_engine(tmp_path, {"concurrency": 2}) as client:

        async def one(number: int, path: Path) -> tuple[Path, int]:
            async with gate:
                large = path.stat().st_size > LARGE
                return await outcome(client, sources, number, path, odd if large or number % 2 else even)

        ended = await asyncio.gather(*(one(number, path) for number, path in enumerate(paths)))
        counts = Counter(status for _, status in ended)
        assert counts[200] > 300
        assert set(counts) <= {200, 422}, [path.name for path, status in ended if status not in (200, 422)]
        workers = client.engine.workers.process_ids
        assert resident_bytes("self") + sum(map(resident_bytes, workers)) < MOST_MEMORY
        assert (await client.fetch({"url": sources.add("/last.jpg", jpeg())}))[0] == 200
