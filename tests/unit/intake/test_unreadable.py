"""What is said of files that cannot be read: some are named, all are counted."""

from pathlib import Path

from tests.support.publishing import RecordedLog
from watcher.intake.unreadable import NAMED, UnreadableWords
from watcher.model import Event, FileRef


def file(number: int) -> FileRef:
    return FileRef("products", Path("/srv/drop"), b"%d.jpg" % number)


FOLDER = FileRef("products", Path("/srv/drop"), b"")


def test_the_first_are_named_and_the_others_counted() -> None:
    """A log is for people; a whole tree without rights would fill it."""
    log = RecordedLog()
    words = UnreadableWords(log)
    for number in range(NAMED + 7):
        words.say(file(number), "Permission denied")
    assert len(log.lines) == NAMED
    words.scanned(FOLDER, all_readable=False)
    *named, counted = log.of(Event.IMAGE_IGNORED)
    assert {line["message"] for line in named} == {"Permission denied"}
    assert counted["message"].startswith("7 more files or folders cannot be read")
    words.scanned(FOLDER, all_readable=False)
    assert len(log.lines) == NAMED + 1


def test_once_all_can_be_read_the_next_ones_are_named_again() -> None:
    """Until then each is only counted."""
    log = RecordedLog()
    words = UnreadableWords(log)
    for number in range(NAMED):
        words.say(file(number), "Permission denied")
    words.scanned(FOLDER, all_readable=False)
    words.say(file(100), "Permission denied")
    assert len(log.lines) == NAMED
    words.scanned(FOLDER, all_readable=True)
    words.say(file(101), "Permission denied")
    assert log.of(Event.IMAGE_IGNORED)[-1]["file"] == "/srv/drop/101.jpg"
