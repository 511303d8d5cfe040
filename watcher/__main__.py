"""The entrance: what has to be in order before anything else is loaded, then the command line.

Loading takes a good part of a second. Signals that come meanwhile, standard streams that are closed and a locale whose names
are not UTF-8 are dealt with here, with nothing imported but what the interpreter has loaded anyway.
"""

from __future__ import annotations

import sys

from watcher.service import early, pid_one


def main() -> None:
    """Entry point of the command `compressor-watcher`."""
    early.require_linux()
    early.open_standard_streams()
    pid_one.stand_in()
    early.insist_on_utf_8()
    if any(command in sys.argv[1:] for command in ("run", "engine")):
        early.catch_signals()
    with early.Loading():
        from watcher.cli import main as command_line  # late: see above

    early.leave(command_line)


if __name__ == "__main__":
    main()
