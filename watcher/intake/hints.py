"""Where to look again: what the watcher's threads have heard of one folder, until the loop comes for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT: Final = 20_000
"""Paths kept at most; beyond that the whole folder is looked through, and memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was drained: files to look at, directories to look through, or everything. Paths inside the folder."""

    files: frozenset[bytes]
    trees: frozenset[bytes]
    everything: bool


class Hints:
    """A bounded set of paths. Added to from any thread; `wake` is called once when it stops being empty."""

    def __init__(self, wake: Callable[[], None], limit: int = LIMIT) -> None:
        self._wake = wake
        self._limit = limit
        self._lock = threading.Lock()
        self._files: set[bytes] = set()
        self._trees: set[bytes] = set()
        self._everything = False
        self.heard = 0
        """How many hints came so far."""

    def file(self, relative: bytes) -> None:
        """A file appeared, was closed or was moved to here."""
        self._add(self._files, relative)

    def tree(self, relative: bytes) -> None:
        """A directory appeared, perhaps with things in it."""
        self._add(self._trees, relative)

    def _add(self, paths: set[bytes], relative: bytes) -> None:
        with self._lock:
            silent = self._is_empty()
            self.heard += 1
            if len(self._files) + len(self._trees) < self._limit:
                paths.add(relative)
            else:
                self._everything = True
        if silent:
            self._wake()

    def drain(self) -> Heard:
        """Everything that was heard since the last time."""
        with self._lock:
            heard = Heard(frozenset(self._files), frozenset(self._trees), self._everything)
            self._files, self._trees, self._everything = set(), set(), False
        return heard

    def is_empty(self) -> bool:
        """Whether nothing was heard since the last drain."""
        with self._lock:
            return self._is_empty()

    def _is_empty(self) -> bool:
        return not (self._files or self._trees or self._everything)
