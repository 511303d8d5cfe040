"""What receivers are told: each ending's own object, and for people words. Pure."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from watcher.model import Event, timestamp

if TYPE_CHECKING:
    from watcher.model import AuditLine, Record

SHOWN: Final = 10
"""Files of each kind that a message for people names."""
MOST_GATHERED: Final = 1000
"""Endings in one digest for a program: none is left out, the rest comes in the next."""
_STATES: Final = ("stored", "failed", "superseded", "vanished")
_TITLES: Final = {
    Event.API_UNAVAILABLE: "The Compressor API cannot be reached",
    Event.API_UNAUTHORIZED: "The Compressor API refuses the key",
    Event.API_QUOTA: "The Compressor account is out of quota",
    Event.API_THROTTLED: "The Compressor API asks for a pause",
    Event.API_RECOVERED: "The Compressor API answers again",
    Event.FOLDER_LOST: "A watched folder is away",
    Event.FOLDER_RECOVERED: "A watched folder is back",
    Event.JOURNAL_UNAVAILABLE: "The journal or the audit file cannot be written",
    Event.JOURNAL_RECOVERED: "The journal or the audit file can be written again",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One notification. `id` stays the same however often it is sent; `body` is for programs, `title` and `text` for people."""

    id: str
    body: bytes
    title: str = ""
    text: str = ""


def ending_message(line: AuditLine) -> Message:
    """One ending for a program: the object of its line in the audit file, as it is."""
    return Message(ending_id(line), encoded(line.record))


def ending_id(line: AuditLine) -> str:
    """Names an ending forever: (id, rendition) is unique among them."""
    if line.rendition is None:
        return f"msg_{line.image_id}"
    return f"msg_{line.image_id}_{hashlib.sha1(line.rendition.encode(), usedforsecurity=False).hexdigest()[:8]}"


def encoded(record: Record) -> bytes:
    """An object as the audit file writes it."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def outage_message(record: Record, identity: str) -> Message:
    """A line of the log about an outage or its end. `identity` names it."""
    event = str(record.get("event"))
    title = next((words for each, words in _TITLES.items() if each == event), event)
    if folder := record.get("folder"):
        title = f"{title}: {folder}"
    text = "\n".join(str(record[key]) for key in ("message", "hint") if record.get(key)) or event
    return Message(identity, encoded(record), title, text)


def sample_record(now: float, bucket: str, region: str) -> Record:
    """An ending that never was, for a test: `test` is true, the rest is as it always is."""
    key = "test/sample.jpg"
    facts = {"name": "sample.jpg", "type": "image", "format": "jpeg", "mime": "image/jpeg"}
    return {
        "timestamp": timestamp(now),
        "level": "info",
        "event": str(Event.IMAGE_STORED),
        "id": "00000000-0000-0000-0000-000000000000",
        "folder": "test",
        "file": "/test/sample.jpg",
        "rendition": None,
        "url": f"https://{bucket}.s3.{region}.backblazeb2.com/{key}",
        "bucket": bucket,
        "region": region,
        "key": key,
        "request_id": None,
        "input": {**facts, "size": 2_481_230, "sha1": "0" * 40, "width": 4000, "height": 3000},
        "output": {**facts, "size": 214_007, "sha1": "0" * 40, "width": 1600, "height": 1200},
        "saved_bytes": 2_267_223,
        "saved_percent": 91.4,
        "attempts": 1,
        "seconds": 0.84,
        "recovered": False,
        "url_mismatch": False,
        "replaced": False,
        "test": True,
        "seq": 0,
        "prev": None,
    }


def sample_message(record: Record, identity: str) -> Message:
    """A sample, sent to see whether it arrives."""
    return Message(identity, encoded(record), "A test of compressor-watcher", "Notifications arrive here.")


# --- many endings in one message --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Gathered:
    """Endings that are told together: counts of all, the first few by name, and all objects where `keeps_lines`."""

    keeps_lines: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    folders: dict[str, Counter[str]] = field(default_factory=dict)
    saved: int = 0
    first: AuditLine | None = None
    last: AuditLine | None = None
    named: dict[str, list[str]] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    def add(self, line: AuditLine) -> None:
        """One more."""
        state = line.event.removeprefix("image.")
        self.first, self.last = self.first or line, line
        self.counts[state] += 1
        self.folders.setdefault(line.folder, Counter())[state] += 1
        self.saved += line.record.get("saved_bytes") or 0
        names = self.named.setdefault(state, [])
        if len(names) < SHOWN:
            names.append(_named(line.record))
        if self.keeps_lines:
            self.records.append(line.record)

    @property
    def is_full(self) -> bool:
        """Whether the rest belongs into another message."""
        return len(self.records) >= MOST_GATHERED

    @property
    def title(self) -> str:
        """ "72 stored, 1 failed" """
        return f"compressor-watcher: {_sum(self.counts)}"

    @property
    def text(self) -> str:
        """What happened, what failed and what to do about it, and where the stored ones are."""
        lines = [f"{folder}: {_sum(counts)}" for folder, counts in self.folders.items()]
        if self.saved > 0:
            from watcher.config.units import human_size  # late: with it come the classes that configurations are made of

            lines.append(f"{human_size(self.saved)} saved")
        for state, heading in (("failed", "Failed"), ("stored", "Stored")):
            if names := self.named.get(state):
                more = self.counts[state] - len(names)
                lines += ["", f"{heading}:", *names, *([f"and {more} more"] if more else [])]
        return "\n".join(lines)

    def message(self, now: float) -> Message:
        """All of it; there is at least one ending in it. Its id is made of the first and the last of them."""
        if self.first is None or self.last is None:
            raise ValueError("nothing was gathered")
        record: Record = {
            "timestamp": timestamp(now),
            "event": "digest",
            "from": self.first.seq,
            "to": self.last.seq,
            **{state: self.counts[state] for state in _STATES},
            "saved_bytes": self.saved,
            "text": f"{self.title}\n{self.text}",
            "endings": self.records,
        }
        identity = f"{ending_id(self.first)}_to_{self.last.seq}"
        return Message(identity, encoded(record), self.title, self.text)


def _sum(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state])


def _named(record: Record) -> str:
    """One file in a line or two."""
    name = PurePath(str(record.get("file"))).name
    if record.get("rendition") is not None:
        name = f"{name} ({record['rendition']})"
    if record.get("event") == Event.IMAGE_STORED:
        return f"{name}  {record.get('link') or record.get('url')}"
    said = ". ".join(str(record[key]) for key in ("message", "hint") if record.get(key))
    return f"{name}: {said}" if said else name
