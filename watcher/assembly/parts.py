"""The parts of the daemon as values, and what every part is built with.

The modules beside it build them, each the part of the room that it is named for; `watcher.app` calls them in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watcher.compressor.gate import CircuitGate
    from watcher.compressor.wire import FetchRequest
    from watcher.config.schema import Settings
    from watcher.network.proxies import Proxies
    from watcher.ports import Api, Clock, ObjectStore, Publisher
    from watcher.publish.serve import TemporaryUrls
    from watcher.records.journal import ThreadedJournal
    from watcher.records.outbox import OutboxRelay
    from watcher.service.control import Control
    from watcher.service.lifecycle import Lifecycle
    from watcher.service.metrics import Metrics
    from watcher.service.observed_log import ObservedLog
    from watcher.service.systemd import Notifier


@dataclass(slots=True)
class Context:
    """What every part is built with. `settings` are those in force: a reload replaces them."""

    settings: Settings
    events: ObservedLog
    clock: Clock
    life: Lifecycle
    control: Control
    notifier: Notifier
    proxies: Proxies
    metrics: Metrics | None = None
    patient: bool = False
    """Whether a journal's server that is away at the start is waited for."""

    def use(self, settings: Settings) -> None:
        """Put settings in force."""
        self.settings = settings


@dataclass(frozen=True, slots=True)
class Records:
    """The journal, and the relay from it to the audit file."""

    journal: ThreadedJournal
    relay: OutboxRelay


@dataclass(frozen=True, slots=True)
class Publishing:
    """How originals get an address. Links are served by `urls`, or presigned, and then `public_url` is None."""

    publisher: Publisher
    urls: TemporaryUrls | None = None
    public_url: str | None = None

    def moved_at(self, request: FetchRequest) -> float | None:
        """When bytes of a request's original last moved; None where that cannot be told."""
        return self.urls.moved_at_url(request.url) if self.urls is not None else None


@dataclass(frozen=True, slots=True)
class ApiAccess:
    """The way to the API, and to what it stored."""

    client: Api
    gate: CircuitGate
    store: ObjectStore
