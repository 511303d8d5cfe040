"""Where to look again: bounded, and waking the loop once a burst."""

from watcher.intake.hints import Hints


def test_the_loop_is_woken_once_for_a_burst() -> None:
    """Only the first hint after a drain wakes."""
    woken: list[int] = []
    hints = Hints(lambda: woken.append(1))
    for number in range(100):
        hints.file(b"%d" % number)
    hints.tree(b"new")
    assert len(woken) == 1

    heard = hints.drain()
    assert (len(heard.files), heard.trees, heard.everything) == (100, frozenset({b"new"}), False)
    assert hints.is_empty()
    hints.file(b"a")
    assert len(woken) == 2


def test_the_same_path_is_one_hint() -> None:
    """Created, closed, closed again: one look."""
    hints = Hints(lambda: None)
    for _ in range(3):
        hints.file(b"a.jpg")
    assert hints.drain().files == {b"a.jpg"}


def test_more_hints_than_are_kept_mean_everything() -> None:
    """Memory stays bounded, and nothing is forgotten: the whole folder is looked through."""
    hints = Hints(lambda: None, limit=10)
    for number in range(1_000):
        hints.file(b"%d" % number)
    heard = hints.drain()
    assert len(heard.files) == 10
    assert heard.everything
    assert not hints.drain().everything
