"""Whether downloads move, and whether the line has room for more."""

from __future__ import annotations

from watcher.publish.traffic import AHEAD_SECONDS, FREE_BYTES, QUIET_SECONDS, Download, Traffic, Uplink


class Acknowledged:
    """What a client has confirmed."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        return self.count


def test_a_download_moves_when_the_other_side_confirms_bytes() -> None:
    """However few; and stands still when it does not."""
    client = Acknowledged()
    download = Download(client, 0.0)
    assert download.look(1.0) == 1.0
    assert download.look(50.0) == 1.0
    client.count = 1
    assert download.look(60.0) == 60.0


def test_a_publication_is_fetched_when_all_bytes_have_left() -> None:
    """A response that broke off does not count."""
    traffic = Traffic(100, 0.0)
    for sent, whole in ((0, False), (60, False), (40, True)):
        download = Download(Acknowledged(), 0.0)
        traffic.downloads.add(download)
        traffic.ended(download, sent, 1.0)
        assert traffic.is_complete is whole
    assert traffic.moved_at(5.0) == 1.0


def test_only_what_somebody_takes_loads_the_line() -> None:
    """From the publication on, until it is fetched or nothing was taken of it for a while."""
    traffic = Traffic(100, published_at=10.0)
    assert traffic.loads_the_line(11.0) == 100
    assert traffic.loads_the_line(11.0 + QUIET_SECONDS) == 0
    client = Acknowledged()
    traffic.downloads.add(Download(client, 60.0))
    client.count = 7
    assert traffic.loads_the_line(60.0) == 100


def test_a_line_that_is_not_known_takes_a_few_and_a_thin_one_no_more() -> None:
    """At 500 KB/s about one original of 12 MB at a time; on a fast line nobody waits; one may always go."""
    thin, fast = Uplink(), Uplink()
    assert thin.has_room(0, 10 * FREE_BYTES, 0.0)
    assert thin.has_room(FREE_BYTES // 2, FREE_BYTES // 2, 0.0)
    assert not thin.has_room(FREE_BYTES, 1, 0.0)
    for second in range(9):
        thin.sent(500_000, float(second))
        fast.sent(50_000_000, float(second))
    assert 400_000 < thin.rate(9.0) < 600_000
    assert not thin.has_room(FREE_BYTES, 12_000_000, 9.0)
    assert fast.has_room(FREE_BYTES, 12_000_000, 9.0)
    assert fast.rate(9.0) * AHEAD_SECONDS > 700_000_000
    assert fast.rate(100.0) == 0.0
