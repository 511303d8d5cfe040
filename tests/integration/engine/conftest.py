"""A running engine and a server with sources."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import pyvips

from tests.support.engine import Client, Sources, running_engine, serving_sources

pyvips.concurrency_set(1)  # as workers have it: on small pictures more threads only cost


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a module have one loop, since they have an engine in common."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="module"), append=False)


@pytest_asyncio.fixture(loop_scope="module")
async def sources() -> AsyncIterator[Sources]:
    async with serving_sources() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    """Of an engine of the test's own."""
    async with running_engine(tmp_path) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Of an engine that a module's tests have in common: for those that leave it as it was."""
    async with running_engine(tmp_path_factory.mktemp("standing")) as client:
        yield client
