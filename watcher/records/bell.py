"""Bells that several listeners hear, each in its own time. For one event loop."""

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
        """Listen no more. May be called twice."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def ring(self) -> None:
        """Tell all who listen."""
        for listener in self._listeners:
            listener.set()


class FolderBells:
    """A bell for each folder."""

    def __init__(self) -> None:
        self._bells: dict[str, Bell] = {}

    def listen(self, folder: str) -> asyncio.Event:
        """An event that is set at every ring for this folder from now on."""
        return self._bells.setdefault(folder, Bell()).listen()

    def leave(self, folder: str, listener: asyncio.Event) -> None:
        """Listen no more."""
        self._bells[folder].leave(listener)

    def ring(self, folder: str) -> None:
        """Tell all who listen for this folder."""
        if folder in self._bells:
            self._bells[folder].ring()

    def ring_all(self) -> None:
        """Tell all who listen."""
        for bell in self._bells.values():
            bell.ring()
