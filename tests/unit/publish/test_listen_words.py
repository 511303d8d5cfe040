"""Where temporary URLs are served by default, and what is said where that does not go."""

import errno
import os

import pytest

from watcher.publish.listen_words import default_listen, listen_problem


def test_the_default_is_for_whom_the_url_is_for() -> None:
    """Without a public URL nobody but this machine can be meant, and no port is taken from anybody."""
    assert default_listen(None) == "127.0.0.1:0"
    assert default_listen("https://drops.example.com") == "0.0.0.0:8080"


@pytest.mark.parametrize(
    ("number", "message", "hint"),
    [
        (errno.EADDRINUSE, "another program has this port", "sport = :8080"),
        (errno.EACCES, "not allowed", "below 1024"),
        (errno.EPERM, "not allowed", "below 1024"),
        (errno.EADDRNOTAVAIL, "Cannot assign requested address", "an address of this machine"),
    ],
    ids=["in use", "no access", "no permission", "another machine's"],
)
def test_why_an_address_cannot_be_listened_on(number: int, message: str, hint: str) -> None:
    """In words that lead to what to do."""
    problem = listen_problem("0.0.0.0:8080", OSError(number, os.strerror(number)))
    assert str(problem).startswith("cannot listen on 0.0.0.0:8080: ")
    assert message in str(problem)
    assert hint in problem.hint
