"""The ids of images: UUIDs of version 7 (RFC 9562), which begin with the time.

What is made together lies together in the journal's indexes, however many rows they have: random ids touch a page for each.
"""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.ports import Clock

RANDOM_BYTES = 10


def image_id(now: float, random: bytes) -> str:
    """An id from Unix seconds and ten random bytes."""
    raw = bytearray(max(0, int(now * 1_000)).to_bytes(6, "big") + random)
    raw[6] = raw[6] & 0x0F | 0x70  # version 7
    raw[8] = raw[8] & 0x3F | 0x80  # the variant of RFC 9562
    return str(uuid.UUID(bytes=bytes(raw)))


def new_ids(clock: Clock) -> Callable[[], str]:
    """Gives another id with each call."""
    return lambda: image_id(clock.now(), os.urandom(RANDOM_BYTES))
