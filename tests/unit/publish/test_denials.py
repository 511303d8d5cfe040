"""How often a refusal is said."""

import pytest

from watcher.publish.denials import Denial, DenialReport, Denials


def test_the_first_is_said_at_once() -> None:
    """The first refusal for a reason is a line, with who asked."""
    assert Denials().note(Denial.UNKNOWN, "192.0.2.1", 5.0) == [DenialReport(Denial.UNKNOWN, 1, "192.0.2.1")]


def test_a_flood_is_one_line_a_minute() -> None:
    """Whatever comes within a minute is one count in the next line; the last asker is named."""
    denials = Denials()
    lines = [line for second in range(120) for line in denials.note(Denial.UNKNOWN, f"host{second}", float(second))]
    assert lines == [DenialReport(Denial.UNKNOWN, 1, "host0"), DenialReport(Denial.UNKNOWN, 60, "host60")]
    assert denials.rest() == [DenialReport(Denial.UNKNOWN, 59, "host119")]


def test_reasons_are_counted_apart() -> None:
    """One reason's flood does not silence another."""
    denials = Denials()
    denials.note(Denial.UNKNOWN, None, 0.0)
    assert denials.note(Denial.KEY_WRONG, "h", 1.0) == [DenialReport(Denial.KEY_WRONG, 1, "h")]


def test_what_was_counted_is_said_when_its_minute_is_over() -> None:
    """A burst that ends is still reported, once, after its minute."""
    denials = Denials()
    denials.note(Denial.EXPIRED, "a", 0.0)
    denials.note(Denial.EXPIRED, "b", 1.0)
    assert denials.due(59.0) == []
    assert denials.due(60.0) == [DenialReport(Denial.EXPIRED, 1, "b")]
    assert denials.due(61.0) == []


@pytest.mark.parametrize("reason", list(Denial))
def test_every_reason_has_a_status_and_a_hint(reason: Denial) -> None:
    """No reason is without words, and none but the documented statuses is answered."""
    assert reason.hint
    assert reason.status in (403, 404, 405, 503)


def test_reasons_that_would_tell_of_a_file_look_like_unknown() -> None:
    """Expired and changed are the same status as unknown."""
    assert {Denial.EXPIRED.status, Denial.CHANGED.status, Denial.UNKNOWN.status} == {404}
