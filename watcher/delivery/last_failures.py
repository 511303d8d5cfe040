"""How the deliveries that have not ended failed last. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from watcher.model import Failure

LIMIT: Final = 10_000


class LastFailures:
    """By the delivery's name. An image that is superseded while it waits ends unseen, so the oldest go when there are too many.

    `forgotten` is told of each that went so: whoever else keeps something by its name may let go of it as well.
    """

    def __init__(self, forgotten: Callable[[str], None], limit: int = LIMIT) -> None:
        self._forgotten = forgotten
        self._limit = limit
        self._failures: dict[str, Failure] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def get(self, name: str) -> Failure | None:
        """The last failure, if there was one."""
        return self._failures.get(name)

    def keep(self, name: str, failure: Failure) -> None:
        """This was the last one."""
        self.drop(name)
        self._failures[name] = failure
        if len(self._failures) > self._limit:
            oldest = next(iter(self._failures))
            self.drop(oldest)
            self._forgotten(oldest)

    def drop(self, name: str) -> None:
        """The delivery has ended."""
        self._failures.pop(name, None)
