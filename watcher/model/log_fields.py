"""The fields of a log line, and how times stand in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

Json = Mapping[str, Any]
Record = dict[str, Any]
"""The fields of one log line."""


def timestamp(seconds: float) -> str:
    """RFC 3339 UTC with microseconds: "2026-11-22T10:42:00.000000Z"."""
    fraction, whole = math.modf(seconds)
    microseconds = round(fraction * 1_000_000)
    if not 0 <= microseconds < 1_000_000:
        whole, microseconds = whole + microseconds // 1_000_000, microseconds % 1_000_000
    return f"{_to_the_second(whole)}.{microseconds:06d}Z"


def optional_timestamp(seconds: float | None) -> str | None:
    """The same of a time that may not be known."""
    return None if seconds is None else timestamp(seconds)


@lru_cache(maxsize=256)
def _to_the_second(seconds: float) -> str:
    """The same without its fraction: it is what takes long, and lines come many to a second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
