"""`retry`: failed images come back under the rule of today."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.integration.commands.conftest import configure
from tests.support.records import image_of
from watcher.commands.retry import dismiss_images, retry_images
from watcher.commands.steering import wake
from watcher.config.schema import Settings
from watcher.model import OutputState
from watcher.records.sqlite_journal import SqliteJournal
from watcher.records.views import JournalViews
from watcher.service.instance import LOCK_NAME, InstanceLock

Captured = pytest.CaptureFixture[str]


def identities(settings: Settings, state: str) -> list[str]:
    """The ids of images with an output in this state, newest first."""
    with JournalViews.open(settings.journal_path) as reader:
        return [image.id for image in reader.images(state=state)]


async def test_all_failed_images_are_queued_under_the_rule_of_today(
    journal: SqliteJournal, settings: Settings, capsys: Captured
) -> None:
    """Each becomes a new image with what the configuration says now, and the count is said."""
    assert await retry_images(settings, [], all_failed=True) == 0

    assert "2 images are in the queue again" in capsys.readouterr().out
    renewed = [await image_of(journal, identity) for identity in identities(settings, "waiting")[:2]]
    assert [image.rule.outputs[0].image for image in renewed] == [{"compression": "ultra"}] * 2
    assert all(output.state is OutputState.WAITING for image in renewed for output in image.outputs)


async def test_nothing_failed_is_no_error(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """A second `retry --failed` finds nothing and says so."""
    await retry_images(settings, [], all_failed=True)
    capsys.readouterr()

    assert await retry_images(settings, [], all_failed=True) == 0
    assert "nothing was put back" in capsys.readouterr().out


async def test_ids_choose(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """Only the images named, whole id or its beginning, each once however often it is named."""
    first, second = identities(settings, "failed")

    assert await retry_images(settings, [first, first, first[:-1] + first[-1]], all_failed=False) == 0
    assert "1 image is in the queue again" in capsys.readouterr().out
    assert await retry_images(settings, [second], all_failed=False) == 0


async def test_what_cannot_be_retried_is_said_and_the_rest_is_done(
    journal: SqliteJournal, settings: Settings, capsys: Captured
) -> None:
    """An unknown id, one too short, one shared by many, a stored image and one retried before: a line each, and exit status 1."""
    (failed, again), stored = identities(settings, "failed"), identities(settings, "stored")[0]
    await retry_images(settings, [again], all_failed=False)
    capsys.readouterr()

    assert await retry_images(settings, ["nobody-knows", "im", "image-", stored, again, failed], all_failed=False) == 1

    captured = capsys.readouterr()
    assert "1 image is in the queue again" in captured.out
    for words in (
        "nobody-knows: no image has this id",
        "im: no image has this id",
        "image-: 4 images have an id that begins so",
        "it has not failed, it is stored",
        "it was retried before, as ",
    ):
        assert words in captured.err, words


async def test_an_image_whose_folder_is_gone_is_not_queued(journal: SqliteJournal, tmp_path: Path, capsys: Captured) -> None:
    """There is no rule to take it under, and that is said."""
    other = configure(tmp_path, folders=[{"name": "other", "path": str(tmp_path / "drop")}])
    failed = identities(other, "failed")[0]

    assert await retry_images(other, [failed], all_failed=False) == 1
    assert "its folder products is not in the configuration any more" in capsys.readouterr().err


async def test_failures_are_dismissed(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """Named ones, then all: no longer listed as failed, and left alone by `retry --failed`. What is no failure is said."""
    (failed, other), stored = identities(settings, "failed"), identities(settings, "stored")[0]

    assert await dismiss_images(settings, [failed, stored, "nobody-knows"], all_failed=False) == 1
    captured = capsys.readouterr()
    assert "1 image dismissed" in captured.out
    assert "it has not failed" in captured.err
    assert "nobody-knows: no image" in captured.err
    assert identities(settings, "failed") == [other]

    assert await dismiss_images(settings, [], all_failed=True) == 0
    assert identities(settings, "failed") == []
    assert await retry_images(settings, [], all_failed=True) == 0
    assert "nothing was put back" in capsys.readouterr().out
    assert await dismiss_images(settings, [failed], all_failed=False) == 1
    assert "dismissed before" in capsys.readouterr().err


async def test_a_failure_of_a_folder_that_is_gone_is_dismissed(journal: SqliteJournal, tmp_path: Path, capsys: Captured) -> None:
    """It cannot be retried; it can be settled."""
    other = configure(tmp_path, folders=[{"name": "other", "path": str(tmp_path / "drop")}])
    failed = identities(other, "failed")
    assert await dismiss_images(other, failed, all_failed=False) == 0
    assert f"{len(failed)} images dismissed" in capsys.readouterr().out


async def test_without_a_journal_there_is_a_clear_word(settings: Settings, capsys: Captured) -> None:
    """Before the first run nothing can have failed."""
    assert await retry_images(settings, [], all_failed=True) == 1
    assert "nothing is recorded yet" in capsys.readouterr().err


async def test_the_daemon_is_told_at_once(journal: SqliteJournal, settings: Settings, capsys: Captured) -> None:
    """Whoever holds the state's lock gets SIGUSR1."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told.set)
    lock = InstanceLock.take(settings.state_dir)
    try:
        await retry_images(settings, [], all_failed=True)
        await asyncio.wait_for(told.wait(), 10)
    finally:
        lock.release()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)


def test_a_stranger_is_never_signalled(settings: Settings) -> None:
    """A process id out of another container may belong to anybody here: only who has the lock file open is told."""
    settings.state_dir.mkdir()
    lock = InstanceLock.take(settings.state_dir)
    try:
        # process 1 of this machine does not have this file open
        (settings.state_dir / LOCK_NAME).write_text("1\n")
        assert wake(settings.state_dir) is False
        (settings.state_dir / LOCK_NAME).write_text("4194399\n")
        assert wake(settings.state_dir) is False
    finally:
        lock.release()
    assert wake(settings.state_dir) is False
