"""The metrics, for Prometheus. Gauges are the figures of `status`; counters start with the process and follow the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from watcher.model import Event
from watcher.shown.report import API_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from watcher.shown.figures import Status

PREFIX: Final = "compressor_watcher_"
STORED_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
CALL_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_ENDINGS: Final = {
    Event.IMAGE_STORED: "stored",
    Event.IMAGE_FAILED: "failed",
    Event.IMAGE_SUPERSEDED: "superseded",
    Event.IMAGE_VANISHED: "vanished",
}
_OF_HOST: Final = (
    "waiting",
    "in_flight",
    "failed",
    "oldest_waiting_timestamp_seconds",
    "files_not_whole",
    "files_ignored",
    "folder_images",
    "folder_available",
    "folder_paused",
    "api_available",
    "api_state",
    "receiver_backlog",
    "receiver_available",
    "audit_unwritten_lines",
    "up",
    "host_alive",
    "host_in_hand",
    "host_waiting",
)
"""What the journal tells of another host; the rest is counted in that host's own process."""
_HEALTH: Final = {Event.JOURNAL_UNAVAILABLE: 0, Event.JOURNAL_RECOVERED: 1}


class Metrics:
    """Counts what it is told of. `event` may be called from any thread."""

    def __init__(self, version: str, folders: Iterable[str]) -> None:
        """`folders`: their series are there from the start, at zero, so that rates are right from the first image on."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._counters()
        self._gauges()
        self._gauge("build_info", "The version that runs; always 1.", "version").labels(version).set(1)
        for folder in folders:
            self._begin(folder)

    # --- what there is --------------------------------------------------------------------------------------------------------

    def _counters(self) -> None:
        self._endings = self._counter("endings", "Outputs that ended, by how and why.", "folder", "ending", "reason")
        self._unchanged = self._counter("unchanged", "Outputs that needed no request: the content lies there already.", "folder")
        self._bytes_in = self._counter("input_bytes", "Bytes of the originals of stored outputs.", "folder")
        self._bytes_out = self._counter("output_bytes", "Bytes of stored outputs.", "folder")
        self._retries = self._counter("retries", "Times that an image was put off for another try.", "folder")
        self._scans = self._counter("scans", "Scans of a folder that were finished.", "folder")
        self._overflows = self._counter("watch_overflows", "Times that the kernel dropped events of a folder.", "folder")
        self._denied = self._counter("denied_fetches", "Requests for temporary URLs that were denied, by reason.", "reason")
        self._answers = self._counter("api_answers", 'Answers of the API by HTTP status; "none": no answer.', "call", "status")
        self._seconds = self._histogram("stored_seconds", "Seconds from drop to stored.", STORED_BUCKETS, "folder")
        self._calls = self._histogram("api_call_seconds", "Seconds that calls of the API took.", CALL_BUCKETS, "call")

    def _gauges(self) -> None:
        self._waiting = self._gauge("waiting", "Images that wait for a request.")
        self._in_flight = self._gauge("in_flight", "Images with a request or a job on its way.")
        self._failed = self._gauge("failed", "Images that have failed and that nobody has retried, replaced or dismissed.")
        self._oldest = self._gauge("oldest_waiting_timestamp_seconds", "When the oldest open image was detected; 0 for none.")
        self._not_whole = self._gauge("files_not_whole", "Files that are waited for, since they are not whole yet.")
        self._ignored = self._gauge("files_ignored", "Files that lie in the folders and are not taken for what they are.")
        self._by_folder = self._gauge("folder_images", "Images now waiting, in flight or failed, by folder.", "folder", "state")
        self._watched = self._gauge("folder_available", "1 while drops into the folder are found, 0 while it is away.", "folder")
        self._paused = self._gauge("folder_paused", "1 while nothing of the folder is sent because somebody paused it.", "folder")
        self._api = self._gauge("api_available", "1 while requests may be sent, 0 while the API is out, refuses or throttles.")
        self._api_state = self._gauge("api_state", "1 for the state that the way to the API is in.", "state")
        self._backlog = self._gauge("receiver_backlog", "Endings that a receiver has yet to confirm.", "receiver")
        self._receiving = self._gauge("receiver_available", "1 while a receiver takes what it is sent, else 0.", "receiver")
        self._audit_behind = self._gauge("audit_unwritten_lines", "Endings that are not in the audit file yet.")
        self._audit = self._gauge("audit_available", "1 while the audit file can be written.")
        self._journal = self._gauge("journal_available", "1 while the journal can be written.")
        self._manifest = self._gauge("manifest_available", "1 while the manifests can be written.")
        self._up = self._gauge("up", "1 while every part of the daemon moves.")
        self._ready = self._gauge("ready", "1 while all folders are watched, the API is usable and nothing stops.")
        self._host_alive = self._gauge("host_alive", "1 while a host that shares the journal is alive, else 0.", "host")
        self._in_hand = self._gauge("host_in_hand", "Images that a host has in hand.", "host")
        self._orphans = self._gauge("host_waiting", "Images that only a host which is gone could deliver.", "host")
        self._audit.set(1)
        self._manifest.set(1)
        self._journal.set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], label: str) -> Histogram:
        return Histogram(PREFIX + name, text, (label,), buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(PREFIX + name, text, labels, registry=self.registry)

    def _begin(self, folder: str) -> None:
        for ending in _ENDINGS.values():
            self._endings.labels(folder, ending, "")
        for counter in (self._unchanged, self._bytes_in, self._bytes_out, self._retries, self._scans, self._overflows):
            counter.labels(folder)
        self._seconds.labels(folder)

    # --- what is counted ------------------------------------------------------------------------------------------------------

    def event(self, event: Event, fields: Mapping[str, Any]) -> None:
        """Count an event of the log."""
        folder = str(fields.get("folder", ""))
        if event in _ENDINGS:
            self._endings.labels(folder, _ENDINGS[event], str(fields.get("reason") or "")).inc()
        if event is Event.IMAGE_STORED:
            self._stored(folder, fields)
        elif event is Event.IMAGE_UNCHANGED:
            self._unchanged.labels(folder).inc()
        elif event is Event.IMAGE_RETRY:
            self._retries.labels(folder).inc()
        elif event is Event.SCAN_FINISHED:
            self._scans.labels(folder).inc()
        elif event is Event.WATCH_OVERFLOW:
            for name in fields.get("folders", ()):
                self._overflows.labels(str(name)).inc()
        elif event is Event.SERVE_DENIED:
            self._denied.labels(str(fields.get("reason"))).inc(int(fields.get("count") or 1))
        elif event in _HEALTH:
            self._health(str(fields.get("what", "journal"))).set(_HEALTH[event])

    def _health(self, what: str) -> Gauge:
        return {"audit": self._audit, "manifest": self._manifest}.get(what, self._journal)

    def _stored(self, folder: str, fields: Mapping[str, Any]) -> None:
        size, saved = (fields.get("output") or {}).get("size"), fields.get("saved_bytes")
        if size is not None and saved is not None:
            self._bytes_in.labels(folder).inc(size + saved)
            self._bytes_out.labels(folder).inc(size)
        self._seconds.labels(folder).observe(float(fields.get("seconds") or 0.0))

    def call(self, name: str, status: int | None, seconds: float) -> None:
        """Count a call of the API: "fetch", "job" or "account", the HTTP status of its answer, and how long it took."""
        self._answers.labels(name, "none" if status is None else str(status)).inc()
        self._calls.labels(name).observe(seconds)

    # --- what is shown --------------------------------------------------------------------------------------------------------

    def exposition(self, status: Status, *, alive: bool, ready: bool) -> bytes:
        """Everything in Prometheus' text format."""
        self._show(status, alive=alive)
        self._ready.set(ready)
        return generate_latest(self.registry)

    def exposition_of_host(self, status: Status) -> bytes:
        """What is known here of one host, in the same format."""
        self._show(status, alive=status.daemon.is_running)
        names = [PREFIX + name for name in _OF_HOST]
        return generate_latest(self.registry.restricted_registry(names))

    def _show(self, status: Status, *, alive: bool) -> None:
        counts = status.counts
        self._waiting.set(counts.waiting)
        self._in_flight.set(counts.in_flight)
        self._failed.set(counts.failed)
        self._not_whole.set(status.journal.not_whole)
        self._ignored.set(status.journal.ignored)
        self._oldest.set(status.journal.oldest_open or 0)
        self._audit_behind.set(status.journal.unwritten_audit_lines)
        self._up.set(alive)
        self._api.set(status.api.state == "reachable")
        for word in API_WORDS:
            self._api_state.labels(word).set(word == status.api.state)
        self._show_folders(status)
        self._show_receivers(status)
        self._show_hosts(status)

    def _show_folders(self, status: Status) -> None:
        self._by_folder.clear()
        self._watched.clear()
        self._paused.clear()
        for each in status.folders:
            name = each.folder.name
            self._watched.labels(name).set(each.folder.is_fine)
            self._paused.labels(name).set(each.paused is not None)
            for state in ("waiting", "in_flight", "failed"):
                self._by_folder.labels(name, state).set(getattr(each.counts, state))

    def _show_receivers(self, status: Status) -> None:
        self._backlog.clear()
        self._receiving.clear()
        for each in status.receivers:
            self._backlog.labels(each.receiver.name).set(each.backlog)
            self._receiving.labels(each.receiver.name).set(each.receiver.is_fine)

    def _show_hosts(self, status: Status) -> None:
        for gauge in (self._host_alive, self._in_hand, self._orphans):
            gauge.clear()
        for each in status.hosts:
            self._host_alive.labels(each.name).set(each.alive)
            self._in_hand.labels(each.name).set(each.in_hand)
            self._orphans.labels(each.name).set(sum(each.waiting.values()))
