"""JSON for what is written and read in large numbers: orjson's speed, with the standard library's reach.

What orjson does not take (numbers beyond 64 bits, NaN) the standard library reads and writes. Text that is no UTF-8 is refused
by both.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def dumps(value: object) -> bytes:
    """The value as JSON without spaces, in UTF-8. Raises UnicodeEncodeError where a text in it is none."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def loads(data: bytes | str) -> Any:
    """The value in a JSON text. Raises ValueError where it is none."""
    try:
        return orjson.loads(data)
    except ValueError:
        return json.loads(data)
