"""Lets tasks go on, without any time passing."""

from __future__ import annotations

import asyncio


async def settled(rounds: int = 10) -> None:
    """Until every task has gone as far as it can. `rounds`: how often one may have to wait for another."""
    for _ in range(rounds):
        await asyncio.sleep(0)
