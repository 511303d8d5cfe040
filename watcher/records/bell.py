"""A bell that several listeners hear, each in its own time. For one event loop."""

from __future__ import annotations

import asyncio


class Bell:
    """Whoever listens has an event of its own: it clears that before it looks, and misses nothing that others heard."""

    def __init__(self) -> None:
        self._listeners: list[asyncio.Event] = []

    def listen(self) -> asyncio.Event:
        """An event that is set at every ring from now on."""
        listener = asyncio.Event()
        self._listeners.append(listener)
        return listener

    def leave(self, listener: asyncio.Event) -> None:
        """Listen no more."""
        self._listeners.remove(listener)

    def ring(self) -> None:
        """Tell all who listen."""
        for listener in self._listeners:
            listener.set()
