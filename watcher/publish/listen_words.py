"""Where temporary URLs are served if the configuration does not say, and why an address cannot be listened on. Pure."""

from __future__ import annotations

import errno
from typing import Final

from watcher.errors import Unavailable

_DEFAULT_PORT: Final = 8080


def default_listen(public_url: str | None) -> str:
    """Where to listen if the configuration does not say: for others on port 8080, for this machine alone on any free port."""
    return "127.0.0.1:0" if public_url is None else f"0.0.0.0:{_DEFAULT_PORT}"


def listen_problem(address: str, error: OSError) -> Unavailable:
    """Why an address cannot be listened on, in the operator's words."""
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"cannot listen on {address}: another program has this port",
            f"find it with `ss -ltnp 'sport = :{address.rpartition(':')[2]}'`, or set [publish.serve] listen to a free port",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Unavailable(
            f"cannot listen on {address}: not allowed",
            "ports below 1024 need a right: set [publish.serve] listen to a higher one, with a reverse proxy in front",
        )
    return Unavailable(
        f"cannot listen on {address}: {error.strerror or error}",
        "[publish.serve] listen must name an address of this machine; 0.0.0.0 means all of them",
    )
