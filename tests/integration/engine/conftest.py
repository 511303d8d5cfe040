"""A running engine and a server with sources."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.engine import Client, Sources, running_engine, serving_sources


@pytest.fixture
async def sources() -> AsyncIterator[Sources]:
    async with serving_sources() as server:
        yield server


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with running_engine(tmp_path) as client:
        yield client
