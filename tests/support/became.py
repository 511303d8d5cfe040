"""What became of dropped files, put together from a daemon's lines at level debug and from the stand-in of the API."""

from __future__ import annotations

import http.client
import itertools
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.support.drops import logged_path
from tests.support.standin import StandinProcess
from tests.support.world import BUCKET, ENDINGS, sha1_of

Line = dict[str, Any]


@dataclass
class Became:
    """The lines about images, sorted by what they say. Files are named by the bytes of their absolute paths.

    A version that is looked at again may be said to be detected again, with the id that it has.
    """

    detected: dict[bytes, list[str]] = field(default_factory=dict)
    ignored: dict[bytes, str] = field(default_factory=dict)
    ended: dict[str, list[Line]] = field(default_factory=dict)
    unchanged: Counter[str] = field(default_factory=Counter)
    stored: dict[bytes, list[Line]] = field(default_factory=dict)
    failed: dict[bytes, list[Line]] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Self:
        """What these lines say."""
        found = cls()
        for line in lines:
            if line["event"].startswith("image.") and "file" in line:
                found.add(line)
        return found

    def add(self, line: Line) -> None:
        """One more line."""
        event, path = line["event"], logged_path(line)
        if event == "image.detected":
            ids = self.detected.setdefault(path, [])
            ids += [line["id"]] * (line["id"] not in ids)
        elif event == "image.unchanged" or (event == "image.ignored" and "id" in line):
            self.unchanged[line["id"]] += 1
        elif event in ENDINGS:
            self.ended.setdefault(line["id"], []).append(line)
        if event == "image.ignored":
            self.ignored[path] = line["reason"]
        elif event in ("image.stored", "image.failed"):
            (self.stored if event == "image.stored" else self.failed).setdefault(path, []).append(line)

    def detected_in(self, root: Path) -> dict[str, list[str]]:
        """What was taken below a directory: path inside it, and the ids of its versions."""
        top = os.fsencode(root) + b"/"
        return {os.fsdecode(path[len(top) :]): ids for path, ids in self.detected.items() if path.startswith(top)}

    def endings(self, path: Path) -> list[str]:
        """How the versions of a file ended, in the order of their taking; "" for one that has not."""
        return [self._ending(identity) for identity in self.detected.get(os.fsencode(path), [])]

    def _ending(self, identity: str) -> str:
        if identity in self.ended:
            return str(self.ended[identity][0]["event"]).removeprefix("image.")
        return "unchanged" if self.unchanged[identity] else ""

    def is_stored(self, path: Path) -> bool:
        """Whether what was stored last of a file is what lies there now."""
        lines = self.stored.get(bytes(path), [])
        return bool(lines) and lines[-1]["input"]["sha1"] == sha1_of(path)

    def count(self, event: str) -> int:
        """How many endings of a kind there were."""
        return sum(line["event"] == event for lines in self.ended.values() for line in lines)

    def without_one_ending(self) -> list[str]:
        """Versions that were taken and have no ending, or more than one."""
        ids = [identity for each in self.detected.values() for identity in each]
        return [each for each in ids if len(self.ended.get(each, [])) + bool(self.unchanged[each]) != 1]

    def sent_again(self) -> list[str]:
        """Files whose content was stored twice in succession at one key."""
        wrong = []
        for path, lines in self.stored.items():
            sent = [(line["key"], line["input"]["sha1"]) for line in lines]
            wrong += [os.fsdecode(path) for before, after in itertools.pairwise(sent) if before == after]
        return wrong


class Bucket:
    """The stand-in's bucket, asked for many objects over one connection."""

    def __init__(self, standin: StandinProcess, name: str = BUCKET) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", standin.port, timeout=60)
        self._name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, key: str) -> bytes | None:
        """The object at a key; None where there is none."""
        self._connection.request("GET", f"/bucket/{self._name}/{quote(key)}")
        answer = self._connection.getresponse()
        body = answer.read()
        return body if answer.status == http.HTTPStatus.OK else None
