"""What was judged lately, so that the same is not said or done again."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

REMEMBERED: Final = 10_000
"""Paths whose last judgement is kept in memory, so that several hints for one version are one."""


class RecentJudgements:
    """The last judgements, by path; the oldest go first."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._judged: OrderedDict[bytes, object] = OrderedDict()

    def is_new(self, relative: bytes, judgement: object) -> bool:
        """Whether the last judgement of this path was another one. From now on it is this one."""
        if self._judged.get(relative) == judgement:
            return False
        self._judged[relative] = judgement
        self._judged.move_to_end(relative)
        if len(self._judged) > self._limit:
            self._judged.popitem(last=False)
        return True

    def clear(self) -> None:
        """The next judgement of each path is new."""
        self._judged.clear()

    def forget(self, relative: bytes) -> None:
        """The next judgement is new whatever it is."""
        self._judged.pop(relative, None)
