"""The memory of judgements: what was said is not said again, and memory stays bounded."""

from watcher.intake.judgements import RecentJudgements


def test_a_judgement_is_new_until_it_was_made() -> None:
    """Of each path for itself; another judgement is new again."""
    recent = RecentJudgements()
    assert recent.is_new(b"a.jpg", "cut")
    assert not recent.is_new(b"a.jpg", "cut")
    assert recent.is_new(b"b.jpg", "cut")
    assert recent.is_new(b"a.jpg", "empty")
    assert recent.is_new(b"a.jpg", "cut")


def test_what_was_forgotten_is_new() -> None:
    """Also where it was never known."""
    recent = RecentJudgements()
    recent.forget(b"a.jpg")
    recent.is_new(b"a.jpg", "cut")
    recent.forget(b"a.jpg")
    assert recent.is_new(b"a.jpg", "cut")


def test_the_oldest_go_first() -> None:
    """A judgement that is made anew counts as a late one."""
    recent = RecentJudgements(limit=2)
    for path, judgement in ((b"a", 1), (b"b", 1), (b"a", 2), (b"c", 1)):
        assert recent.is_new(path, judgement)
    assert not recent.is_new(b"a", 2)
    assert not recent.is_new(b"c", 1)
    assert recent.is_new(b"b", 1)
