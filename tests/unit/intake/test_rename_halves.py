"""The queue between the reader of inotify and who follows a root: order, and the two halves of a rename."""

from __future__ import annotations

import threading
import time

from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, Mask, WatchDescriptor
from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper, PathedInotifyEvent

from watcher.intake.rename_halves import RenameHalves

FOREVER = 3600.0
FROM, TO, CREATE = InotifyConstants.IN_MOVED_FROM, InotifyConstants.IN_MOVED_TO, InotifyConstants.IN_CREATE


def event(mask: int, name: str, cookie: int = 0) -> PathedInotifyEvent:
    """An event of the kernel."""
    return PathedInotifyEvent(InotifyEvent(WatchDescriptor(1), Mask(mask), cookie, name.encode()), b"/in/" + name.encode())


def read(halves: RenameHalves, count: int) -> list[object]:
    """So many events."""
    return [halves.read_event() for _ in range(count)]


def test_events_come_in_their_order() -> None:
    """What is no half of a rename is handed on at once."""
    halves = RenameHalves(FOREVER)
    events = [event(CREATE, "a"), event(TO, "b", 7), event(CREATE, "c")]
    for each in events:
        halves.put_event(each)
    assert read(halves, 3) == events


def test_two_halves_become_one_where_the_second_came() -> None:
    """Others may lie between them, and other renames."""
    halves = RenameHalves(FOREVER)
    first, other, second = event(FROM, "old", 1), event(FROM, "older", 2), event(TO, "new", 1)
    between, last = event(CREATE, "between"), event(TO, "newer", 2)
    for each in (first, other, between, second, last):
        halves.put_event(each)
    assert read(halves, 3) == [between, (first, second), (other, last)]


def test_a_first_half_is_shown_while_it_waits_only() -> None:
    """Asked for by its cookie; asking does not take it out."""
    halves = RenameHalves(FOREVER)
    first, second = event(FROM, "old", 1), event(TO, "new", 1)
    halves.put_event(first)
    assert halves.get_queued_moved_from_event(2) is None
    assert halves.get_queued_moved_from_event(1) == first
    assert halves.get_queued_moved_from_event(1) == first
    halves.put_event(second)
    assert halves.get_queued_moved_from_event(1) is None
    assert halves.read_event() == (first, second)


def test_a_first_half_without_another_is_read_alone_and_forgotten() -> None:
    """After its delay; a second half that comes later stands alone as well."""
    halves = RenameHalves(0.001)
    first, second = event(FROM, "old", 1), event(TO, "new", 1)
    halves.put_event(first)
    assert halves.read_event() == first
    assert halves.get_queued_moved_from_event(1) is None
    halves.put_event(second)
    assert halves.read_event() == second


def test_a_cookie_may_come_twice() -> None:
    """The numbers of the kernel begin anew after 2^32; the later first half counts, and the earlier one is not lost."""
    halves = RenameHalves(0.001)
    earlier, later, second = event(FROM, "earlier", 1), event(FROM, "later", 1), event(TO, "new", 1)
    halves.put_event(earlier)
    halves.put_event(later)
    halves.put_event(second)
    assert read(halves, 2) == [earlier, (later, second)]
    halves.put_event(earlier)
    halves.put_event(later)
    assert read(halves, 2) == [earlier, later]


def test_what_is_discarded_is_gone() -> None:
    """After an overflow: a second half that comes then stands alone."""
    halves = RenameHalves(FOREVER)
    second = event(TO, "new", 1)
    halves.put_event(event(CREATE, "a"))
    halves.put_event(event(FROM, "old", 1))
    halves.discard_pending_events()
    halves.put_event(second)
    assert halves.read_event() == second


def test_closing_ends_a_read_that_waits() -> None:
    """It gives None, and so does every later one, whatever waits."""
    halves, answers = RenameHalves(FOREVER), []
    reader = threading.Thread(target=lambda: answers.append(halves.read_event()))
    reader.start()
    halves.close()
    reader.join(30)
    assert answers == [None]
    halves.put_event(event(CREATE, "a"))
    assert halves.read_event() is None


def test_thousands_of_renames_cost_no_more_each_than_a_few() -> None:
    """watchdog's own queue looks through all of them for each: it is the measure, in processor time of this thread."""
    moved = [event(TO, f"{number}", number) for number in range(800)]

    def cost(queue: RenameHalves | InotifyMoveEventGrouper) -> float:
        began = time.thread_time()
        for each in moved:
            queue.get_queued_moved_from_event(each.ev.cookie)
            queue.put_event(each)
        return time.thread_time() - began

    assert cost(RenameHalves(FOREVER)) < cost(InotifyMoveEventGrouper()) / 4
