"""Sends one message by Apprise: `python -m watcher.notify.apprise_send`, a JSON object on stdin. Exit status 0: it was taken.

With `check` as argument it reads a JSON array of addresses instead, and says as JSON which of them Apprise does not understand.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any, Final
from urllib.parse import unquote

_SHORTEST_SECRET: Final = 4
_REFUSED: Final = 1


def main() -> int:
    """Do what standard input asks for."""
    import apprise  # an extra; slow to load, and loaded in no other process

    asked: Any = json.load(sys.stdin)
    if sys.argv[1:] == ["check"]:
        json.dump([apprise.Apprise.instantiate(url, suppress_exceptions=True) is None for url in asked], sys.stdout)
        return 0
    target = apprise.Apprise()
    if not target.add(asked["url"]):
        return _say("Apprise does not understand the address", asked["url"])
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as said:
        taken = target.notify(title=asked["title"], body=asked["body"], body_format=apprise.NotifyFormat.TEXT)
        return 0 if taken else _say(said.getvalue(), asked["url"])


def _say(words: str, url: str) -> int:
    """Why it was not taken, without anything of the address."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    sys.stdout.write(redacted(lines[-1] if lines else "", url) + "\n")
    return _REFUSED


def redacted(words: str, url: str) -> str:
    """`words` without any part of an address, each of which could be a token."""
    parts = {part for piece in re.split(r"[/:@?&=#,]+", url.partition("://")[2]) for part in (piece, unquote(piece))}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET:
            words = words.replace(part, "***")
    return words


if __name__ == "__main__":
    sys.exit(main())
