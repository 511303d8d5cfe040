"""A directory against what the journal knows of it."""

from watcher.intake.scan import Digests, Listing, gone, news, unreadable
from watcher.model import KnownDirectory

OLD, NEW, TARGET = (10, 1, 1, 7), (10, 2, 2, 7), (99, 5, 5, 8)


def listing(entries: dict[bytes, tuple[int, int, int, int]], **more: object) -> Listing:
    return Listing(b"d", entries, digest=hash(frozenset(entries.items())), **more)  # type: ignore[arg-type]


def test_only_what_is_not_known_in_this_version_is_news() -> None:
    """New names and new versions. What could not be read is told apart: its rights may have changed without a trace."""
    here = listing({b"same": OLD, b"changed": NEW, b"new": OLD, b"closed": OLD, b"ignored": OLD})
    known = KnownDirectory(
        {b"same": OLD, b"changed": OLD, b"closed": OLD, b"ignored": OLD, b"gone": OLD},
        {b"closed": "unreadable", b"ignored": "not_an_image"},
    )

    assert sorted(news(here, known)) == [b"changed", b"new"]
    assert unreadable(here, known) == [b"closed"]
    assert gone(here, known) == {b"gone": OLD}


def test_a_link_is_known_by_itself_or_by_its_target() -> None:
    """One that is taken is known as its file, one that is left as itself."""
    here = listing({b"taken": OLD, b"left": OLD, b"turned": OLD}, targets={b"taken": TARGET, b"turned": TARGET})
    known = KnownDirectory({b"taken": TARGET, b"left": OLD, b"turned": NEW}, {b"left": "symlink_outside"})

    assert news(here, known) == [b"turned"]


def test_nothing_is_gone_from_what_could_not_be_read() -> None:
    """Nor from a root with nothing in it at all: that is how a mount point looks without its mount."""
    known = KnownDirectory({b"a": OLD}, {})

    assert gone(Listing(b"d", error=OSError(5, "I/O error")), known) == {}
    assert gone(Listing(b""), known) == {}
    assert gone(Listing(b"d"), known) == {b"a": OLD}


def test_a_settled_directory_is_not_looked_up_again() -> None:
    """Until anything in it differs; memory is for directories only, and bounded."""
    digests = Digests(limit=2)
    digests.settled(listing({b"a": OLD}))
    assert digests.is_settled(listing({b"a": OLD}))
    assert not digests.is_settled(listing({b"a": NEW}))
    for number in range(5):
        digests.settled(Listing(b"%d" % number))
    assert len(digests) == 2
    assert digests.forget_others({b"0"}) == [b"d"]
    assert not digests.knows(b"d")
