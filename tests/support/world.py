"""Everything around a daemon under test that outlives it: folders, files, configuration, what must be true in the end."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.daemon import command, read_audit, write_config
from tests.support.journals import Journals
from tests.support.lives import Nursery
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY, StandinProcess

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}
BUCKET = "my-bucket"
ENDINGS = ("image.stored", "image.failed", "image.superseded", "image.vanished")


def small_image(number: int) -> bytes:
    """A whole image of a few hundred bytes, another one for each number (phones add bytes behind the end marker, too)."""
    return jpeg(24, 16) + b"%d" % number


@dataclass
class World:
    """One state folder and what belongs to it. `changes` are tables of the configuration."""

    path: Path
    standin: StandinProcess
    bucket: str = BUCKET
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if "journal" not in self.changes:
            self.changes = {**self.changes, **Journals.tables()}
        self.drop = self.path / "drop"
        self.drop.mkdir(exist_ok=True)
        self.log = self.path / "log.jsonl"
        self.audit_path = self.path / "state" / "audit.jsonl"
        self.config = self.write_config()

    def write_config(self, **changes: Any) -> Path:
        """Write the configuration, with further changes."""
        data = {
            "state_dir": self.path / "state",
            "compressor": {"url": self.standin.url},
            "publish": {"serve": {"listen": "127.0.0.1:0"}},
            "store": {"id": "connector", "bucket": self.bucket, "region": "eu-central-003"},
            "verify": {"url": self.standin.verify_url},
            "folders": [{"name": "products", "path": self.drop}],
        }
        for key, value in {**self.changes, **changes}.items():
            before = data.get(key)
            data[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
        return write_config(self.path / "config.toml", data)

    def put(self, name: str, content: bytes | None = None, folder: Path | None = None) -> Path:
        """A file in a drop folder; made under a name that is never taken and moved in, as careful programs do."""
        path = (folder or self.drop) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent / f".{path.name}.part"
        partial.write_bytes(small_image(next(_numbers)) if content is None else content)
        return partial.rename(path)

    def audit(self) -> list[dict[str, Any]]:
        """The lines of the audit file."""
        return read_audit(self.audit_path)

    def endings(self) -> dict[tuple[str, str | None], list[str]]:
        """The endings of each (file, rendition), in order."""
        found: dict[tuple[str, str | None], list[str]] = {}
        for line in self.audit():
            found.setdefault((line["file"], line["rendition"]), []).append(line["event"].removeprefix("image."))
        return found

    def paid(self) -> Counter[str]:
        """How often the work was done for each key of the bucket."""
        place = f"{self.bucket}/"
        paid = self.standin.report()["paid_keys"]
        return Counter({key.removeprefix(place): count for key, count in paid.items() if key.startswith(place)})

    def assert_audit_is_whole(self, nursery: Nursery | None = None) -> None:
        """One line for each ending, chained, none twice: told by the file itself and by the command."""
        lines = self.audit()
        counted = Counter((line["id"], line["rendition"]) for line in lines)
        assert [] == [ending for ending, count in counted.items() if count > 1]
        assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
        verify = ("audit", "verify", "--config", self.config)
        if nursery is not None:
            said = self.path / "verify.txt"
            life = nursery.begin(*verify, log=said)
            assert 0 == life.wait(), said.read_text() + life.errors()
            return
        verified = command(*verify)
        assert 0 == verified.returncode, verified.stdout + verified.stderr

    def assert_store_was_asked(self) -> None:
        """Nothing was sent again without the store having said, in between, that it is not there."""
        assert [] == sent_without_asking(self.standin.trace(), f"{self.bucket}/")

    def assert_nothing_left_over(self) -> None:
        """No file of ours lies about in any folder."""
        left = [(str(each), each.is_dir()) for each in self.path.rglob(".compressor-watcher-*")]
        assert left == [], left


def sent_without_asking(trace: list[tuple[str, str]], place: str) -> list[str]:
    """Keys of which a request was sent again although the store had not been asked since, or had said that it is there."""
    last: dict[str, str] = {}
    wrong = []
    for what, key in trace:
        if not key.startswith(place):
            continue
        if what == "asked" and last.get(key, "absent") != "absent":
            wrong.append(key)
        if what != "paid":
            last[key] = what
    return wrong


def sha1_of(path: Path) -> str:
    """The SHA-1 of a file."""
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()


PORTS_TO_COME_BACK_TO = range(15_000, 30_000)
"""Below those that Linux gives to outgoing connections (32768 and up): nobody takes one while its daemon is down."""


def free_address() -> str:
    """An address on loopback that nobody listens on, for a daemon that has to come back to the same one after a restart."""
    for port in random.SystemRandom().sample(PORTS_TO_COME_BACK_TO, 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return f"127.0.0.1:{port}"
    raise AssertionError("a hundred ports were tried, and none is free")


def said(seed: int) -> random.Random:
    """A seeded source of randomness; the seed is printed, and pytest shows it with a failure."""
    print(f"seed {seed}")
    return random.Random(seed)


_numbers = iter(range(1, 1_000_000_000))
