"""One order from source to answer: fetch, image work, store or keep for a while."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from watcher.compressor.wire import FileFacts, Result
from watcher.engine.connectors import StoreError
from watcher.engine.formats import FORMATS
from watcher.engine.orders import key_problem, region_problem
from watcher.engine.refusal import Refusal, disk_trouble, unprocessable
from watcher.engine.work import Limits, Task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path

    from watcher.engine.connectors import Connector
    from watcher.engine.fetch import FetchedSource, Fetcher
    from watcher.engine.orders import Order, StoreOrder
    from watcher.engine.work import Outcome
    from watcher.engine.workers import WorkerPool
    from watcher.job_store import Results

_EXTENSIONS: Final = frozenset({*FORMATS, "jpg", "jpe", "jfif", "tif", "heif", "svgz", "dib", "apng"})
_STORE_RETRY_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Parts:
    """What a processor works with."""

    fetcher: Fetcher
    workers: WorkerPool
    connectors: Mapping[str, Connector]
    results: Results
    limits: Limits
    folder: Path


class Processor:
    """Carries orders out, `at_work` of them at a time; the others wait their turn."""

    def __init__(self, parts: Parts, at_work: int) -> None:
        self._parts = parts
        self._turns = asyncio.Semaphore(at_work)

    def check(self, order: Order) -> None:
        """Raises Refusal (422) where the order's store cannot be meant: before anything is fetched."""
        if order.store is None:
            return
        connector = self._connector(order.store)
        if problem := region_problem(order.store.region, any_store=connector.any_region):
            raise unprocessable(problem)

    async def run(
        self,
        identity: str,
        order: Order,
        base_url: str,
        on_size: Callable[[int], None],
        before_storing: Callable[[], Awaitable[None]],
    ) -> Result:
        """The answer to `order`. `on_size` hears the source's size as it becomes known; what `before_storing` raises is the end.

        Raises Refusal, and Unavailable where a result that is not stored cannot be kept now.
        """
        async with self._turns:
            with self._files(identity) as (source_file, output_file):
                source = await self._parts.fetcher.fetch(order.url, order.headers, source_file, on_size)
                outcome = await self._parts.workers.run(Task(source_file, output_file, order.image, self._parts.limits))
                name = output_name(source.name, outcome.output_format)
                await before_storing()
                if order.store is None:
                    url = base_url + await self._kept(output_file, identity, name)
                else:
                    name, url = await self._stored(order.store, name, output_file, outcome)
        return Result(identity, url, _input(source, outcome), _output(name, outcome))

    async def _kept(self, output: Path, identity: str, name: str) -> str:
        try:
            return await self._parts.results.keep(output, identity, name)
        except OSError as error:
            raise disk_trouble(error) or error from None

    async def _stored(self, order: StoreOrder, name: str, output: Path, outcome: Outcome) -> tuple[str, str]:
        key = order.key(name)
        if problem := key_problem(key):
            raise unprocessable(f"store.path {problem}")
        headers = {"Content-Type": FORMATS[outcome.output_format].mime, **order.headers}
        try:
            stored = await self._connector(order).put(
                order.bucket, order.region, key, output, headers=headers, metadata=order.metadata, acl=order.acl
            )
        except StoreError as error:
            raise _store_refusal(error) from None
        return key.rpartition("/")[2], stored.url

    def _connector(self, order: StoreOrder) -> Connector:
        connector = self._parts.connectors.get(order.id)
        if connector is None:
            raise unprocessable("store.id names no connector of this engine; see [engine.connectors] of its configuration")
        return connector

    @contextlib.contextmanager
    def _files(self, identity: str) -> Iterator[tuple[Path, Path]]:
        # a job that another engine took for lost, and that came back to this one, may still be at work here
        run = f"{identity}.{secrets.token_hex(4)}"
        source, output = (self._parts.folder / f"{run}.{part}" for part in ("source", "output"))
        try:
            yield source, output
        finally:
            source.unlink(missing_ok=True)
            output.unlink(missing_ok=True)


def output_name(source_name: str, format_name: str) -> str:
    """The input's name with the canonical extension of the output's format (`image.jpg` becomes `image.jpeg`)."""
    stem, _, extension = source_name.rpartition(".")
    if not stem or extension.lower() not in _EXTENSIONS:
        stem = source_name
    return f"{stem}.{FORMATS[format_name].extension}"


def _store_refusal(error: StoreError) -> Refusal:
    message = f"{error.message}; {error.hint}" if error.hint else error.message
    if error.retryable:
        return Refusal(503, message, retry_after=error.retry_after or _STORE_RETRY_SECONDS)
    return unprocessable(message)


def _input(source: FetchedSource, outcome: Outcome) -> FileFacts:
    mime = FORMATS[outcome.input_format].mime
    pixels = (outcome.input_width, outcome.input_height)
    return FileFacts(source.name, "image", outcome.input_format, mime, source.size, source.sha1, *pixels)


def _output(name: str, outcome: Outcome) -> FileFacts:
    mime = FORMATS[outcome.output_format].mime
    return FileFacts(name, "image", outcome.output_format, mime, outcome.size, outcome.sha1, outcome.width, outcome.height)
