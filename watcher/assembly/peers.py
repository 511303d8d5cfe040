"""Has hosts that share a journal be of one mind towards the API: one limit, and one of them that asks how it is in bad times."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from watcher.compressor.peers import Peer, Standing
from watcher.errors import Unavailable

if TYPE_CHECKING:
    from watcher.assembly.parts import ApiAccess, Context, Records
    from watcher.compressor.gate import CircuitGate
    from watcher.records.peers import PeerRecords

LOOK_SECONDS: Final = 1.0
"""So often the others are looked at where no call comes."""
REST_SECONDS: Final = 0.1
"""Between two looks, however many call."""
PATIENCE_SECONDS: Final = 3.0
"""After so long without an answer of the database a host is of its own mind."""


class SharedMind:
    """Tells the other hosts how the way to the API stands here, and the gate how it stands there."""

    def __init__(self, records: PeerRecords, gate: CircuitGate) -> None:
        self._records = records
        self._gate = gate
        self._called = asyncio.Event()
        self._news = asyncio.Event()

    def call(self) -> None:
        """Another host may have said something."""
        self._called.set()

    def tell(self) -> None:
        """There is something to say."""
        self._news.set()

    async def talk(self) -> None:
        """Say what is new, for ever. What changes meanwhile is said with the next."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._records.tell(self._gate.standing.to_json())

    async def listen(self) -> None:
        """Hear what the others say, for ever."""
        while True:
            self._called.clear()
            asking = asyncio.ensure_future(self._records.heard())
            try:
                await self._hear(asking)
            finally:
                asking.cancel()
            await asyncio.sleep(REST_SECONDS)
            await asyncio.wait({waiting := asyncio.ensure_future(self._called.wait())}, timeout=LOOK_SECONDS)
            waiting.cancel()

    async def _hear(self, asking: asyncio.Future[list[tuple[str, dict[str, Any]]]]) -> None:
        while not (await asyncio.wait({asking}, timeout=PATIENCE_SECONDS))[0]:
            self._gate.hear_nobody()
        self._gate.hear([Peer(name, _standing(said)) for name, said in asking.result()])


def _standing(said: dict[str, Any]) -> Standing:
    """As it is by now."""
    standing = Standing.from_json(said)
    return replace(standing, wait=max(0.0, standing.wait - float(said.get("age", 0.0))))


def start_peers(context: Context, records: Records, api: ApiAccess) -> None:
    """Where the journal is shared, be one of several from now on."""
    peers = records.journal.peers
    if peers is None:
        return
    mind = SharedMind(peers, api.gate)
    api.gate.join(context.settings.host, mind.tell, peers.take_places)
    records.journal.on_call(mind.call)
    for work, name in ((mind.talk(), "talk to hosts"), (mind.listen(), "listen to hosts")):
        context.life.run(_until_closed(work), name)


async def _until_closed(work: Any) -> None:
    """At a stop the journal is closed before."""
    try:
        await work
    except Unavailable:
        return
