"""Whether Apprise is there and understands the addresses of receivers: asked in a process of its own, which is not kept."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from watcher.config.receiver_settings import ReceiverSettings

INSTALL: Final = "pip install 'compressor-watcher[notify]'"
_COMMAND: Final = (sys.executable, "-m", "watcher.notify.apprise_send", "check")
_SECONDS: Final = 60.0


def apprise_problems(receivers: Mapping[str, ReceiverSettings]) -> Iterator[str]:
    """Why receivers that Apprise is to reach cannot be."""
    addresses = {name: each.apprise.get_secret_value() for name, each in receivers.items() if each.apprise is not None}
    if addresses and not is_installed():
        for name in addresses:
            yield f"notify.{name}.apprise: needs the package `apprise`, which is not installed: {INSTALL}"
    elif addresses:
        for name, address in addresses.items():
            if not _is_understood(address):
                yield (
                    f"notify.{name}.apprise: Apprise does not understand this address;"
                    " https://github.com/caronc/apprise shows the form of each service"
                )


def is_installed() -> bool:
    """Whether the package is installed; it is not loaded."""
    return importlib.util.find_spec("apprise") is not None


@lru_cache(maxsize=64)
def _is_understood(address: str) -> bool:
    """What Apprise says; where it says nothing, the address is let through, and sending will tell."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCHER_")}
    try:
        asked = json.dumps([address])
        done = subprocess.run(  # noqa: S603 - the program is ours
            _COMMAND, input=asked, capture_output=True, text=True, timeout=_SECONDS, env=environment, check=True
        )
        return not json.loads(done.stdout)[0]
    except (OSError, subprocess.SubprocessError, ValueError):
        return True
