"""The intake from start to stop: waiting, giving up, rights, reload, restarts, many folders."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.drops import QUICK, drops, in_thread, rules_for, until
from tests.support.publishing import wait_until
from tests.support.rights import DAC_OVERRIDE, DAC_READ_SEARCH, LEASE, without
from tests.support.ways import picture
from watcher.errors import SourceChanged
from watcher.intake.candidates import HANGING_RETRY_SECONDS
from watcher.intake.intake import IntakeSettings
from watcher.intake.unreadable import NAMED
from watcher.model import Event


class TestCompleteness:
    async def test_a_file_held_open_is_taken_when_it_is_closed(self, tmp_path: Path) -> None:
        """However whole it looks: somebody may still write."""
        async with drops(tmp_path) as bench:
            with (bench.root / "a.jpg").open("wb") as file:
                file.write(picture())
                file.flush()
                await bench.until_heard()
                assert bench.taken() == []
                assert bench.intake.waiting() == 1
                assert not bench.intake.is_quiet()
            await bench.until_taken("a.jpg")

            assert bench.taken() == ["a.jpg"]
            assert bench.woken == 1

    @pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (picture()[:900], "truncated")])
    async def test_what_never_becomes_whole_fails_with_words(self, tmp_path: Path, content: bytes, reason: str) -> None:
        """After max_wait, once; and a version that is whole later is taken without a restart."""
        async with drops(tmp_path) as bench:
            (bench.root / "a.jpg").write_bytes(content)
            await bench.until_heard()
            await wait_until(lambda: bench.intake.waiting() == 1)
            bench.clock.move(3601)
            await wait_until(lambda: bench.intake.waiting() == 0)
            await until(lambda: ended(bench.journal, 1))

            (found,) = await bench.journal.endings_after(0, 10)
            assert (found.record["event"], found.record["reason"]) == ("image.failed", reason)
            assert found.record["hint"]
            (bench.root / "a.jpg").write_bytes(picture())
            await bench.until_taken("a.jpg")

    async def test_what_lacks_only_its_formal_end_is_taken_after_max_wait(self, tmp_path: Path) -> None:
        """Not before, and its facts say so; another version of it has to stand still as long."""
        async with drops(tmp_path) as bench:
            path = bench.root / "a.jpg"
            path.write_bytes(picture()[:-2])
            await bench.until_heard()
            await wait_until(lambda: bench.intake.waiting() == 1)
            bench.clock.move(3500)
            await bench.until_heard()
            assert bench.taken() == []
            bench.clock.move(101)
            await bench.until_taken("a.jpg")

            taken = bench.observation("a.jpg")
            source = await bench.originals.open(bench.file("a.jpg"), taken)
            source.close()
            assert source.facts.no_formal_end
            path.write_bytes(picture()[:-1])
            with pytest.raises(SourceChanged):
                await bench.originals.open(bench.file("a.jpg"), taken)

    async def test_without_the_right_to_a_lease_files_have_to_stand_still(self, tmp_path: Path) -> None:
        """Another user's files, and no CAP_LEASE: size and times decide, and the content."""
        with without(LEASE):
            async with drops(tmp_path, times={"settle": 0.4}) as bench:
                path = bench.root / "a.jpg"
                path.touch()
                os.chown(path, 12_345, -1)
                with path.open("wb") as file:
                    for _ in range(4):
                        file.write(picture())
                        file.flush()
                        await asyncio.sleep(0.2)
                        assert bench.taken() == []
                await bench.until_taken("a.jpg")


def _kept(calls: list[object], method: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The method, its calls kept."""

    async def keeping(*arguments: object) -> None:
        calls.append(arguments)
        await method(*arguments)

    return keeping


class TestRights:
    async def test_a_file_made_readable_is_taken_without_a_restart(self, tmp_path: Path) -> None:
        """Said once, looked at again by itself."""
        with without(DAC_OVERRIDE, DAC_READ_SEARCH):
            async with drops(tmp_path) as bench:
                path = bench.root / "a.jpg"
                hidden = bench.root / ".a"
                hidden.write_bytes(picture())
                hidden.chmod(0)
                hidden.rename(path)
                await bench.until_heard()
                await wait_until(lambda: bench.ignored().get("a.jpg") == "unreadable")
                await bench.intake.rescan()
                await bench.intake.rescan()
                told = [line for line in bench.said(Event.IMAGE_IGNORED) if line["reason"] == "unreadable"]
                assert len(told) == 1
                assert bench.intake.is_quiet()

                path.chmod(0o644)
                bench.clock.move(6)
                await bench.until_taken("a.jpg")

    async def test_thousands_that_cannot_be_read_cost_little_and_are_counted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first ones are named, the others counted; looking again writes nothing to the journal and says nothing."""
        count = 1_500
        with without(DAC_OVERRIDE, DAC_READ_SEARCH):
            async with drops(tmp_path, started=False) as bench:
                for number in range(count):
                    path = bench.root / f"{number}.jpg"
                    path.write_bytes(b"")
                    path.write_bytes(picture())
                    path.chmod(0)
                await bench.start()
                await bench.until_scanned()
                told = bench.said(Event.IMAGE_IGNORED)
                assert len(told) == NAMED + 1
                assert told[-1]["message"].startswith(f"{count - NAMED} more files or folders cannot be read")
                assert await bench.journal.unreadable() == count

                written: list[object] = []
                monkeypatch.setattr(bench.journal, "ignore", _kept(written, bench.journal.ignore))
                bench.clock.move(HANGING_RETRY_SECONDS + 1)
                await bench.intake.rescan()
                bench.clock.move(HANGING_RETRY_SECONDS + 1)
                await bench.intake.rescan()
                await bench.until_heard()
                assert len(bench.said(Event.IMAGE_IGNORED)) == NAMED + 2
                assert len(written) == 1

                (bench.root / "7.jpg").chmod(0o644)
                await bench.intake.rescan()
                await bench.until_taken("7.jpg")

    async def test_a_file_made_readable_while_down_is_taken(self, tmp_path: Path) -> None:
        """Rights that change no stat value (a group given to the service) are found out at the next start."""
        with without(DAC_OVERRIDE, DAC_READ_SEARCH):
            async with drops(tmp_path, started=False) as bench:
                (bench.root / "a.jpg").write_bytes(picture())
                (bench.root / "a.jpg").chmod(0)
                await bench.start()
                await wait_until(lambda: "a.jpg" in bench.ignored())
        async with drops(tmp_path) as again:
            await again.until_taken("a.jpg")

    async def test_a_directory_that_cannot_be_read_is_said_and_read_later(self, tmp_path: Path) -> None:
        """Its files are found by the first scan after it was opened to us."""
        with without(DAC_OVERRIDE, DAC_READ_SEARCH):
            async with drops(tmp_path, started=False) as bench:
                closed = bench.root / "closed"
                closed.mkdir()
                (closed / "a.jpg").write_bytes(picture())
                closed.chmod(0)
                await bench.start()
                await wait_until(lambda: bench.ignored().get("closed") == "unreadable")
                await bench.intake.rescan()
                assert len([line for line in bench.said(Event.IMAGE_IGNORED) if line["file"].endswith("closed")]) == 1

                closed.chmod(0o755)
                await bench.intake.rescan()
                await bench.until_taken("closed/a.jpg")
                (closed / "b.jpg").write_bytes(picture(1))
                await bench.until_taken("closed/b.jpg")


class TestKnowledge:
    async def test_known_files_are_not_looked_at_again(self, tmp_path: Path) -> None:
        """A restart takes nothing twice, and forgets what is gone from the tree."""
        async with drops(tmp_path) as bench:
            for name in ("a.jpg", "b.jpg", "deep/c.jpg", "deep/er/d.jpg"):
                (bench.root / name).parent.mkdir(parents=True, exist_ok=True)
                (bench.root / name).write_bytes(picture())
            await bench.until_taken("a.jpg", "b.jpg", "deep/c.jpg", "deep/er/d.jpg")
            await bench.intake.rescan()
            (bench.root / "b.jpg").unlink()
            (bench.root / "deep/er/d.jpg").unlink()
            (bench.root / "deep/er").rmdir()
            await bench.intake.rescan()

            assert set(await bench.journal.known("drop", b"")) == {b"a.jpg"}
            assert set(await bench.journal.known("drop", b"deep")) == {b"c.jpg"}
            assert await bench.journal.known("drop", b"deep/er") == {}
            await bench.restart()
            await bench.until_scanned(1)
            assert sorted(bench.taken()) == ["a.jpg", "b.jpg", "deep/c.jpg", "deep/er/d.jpg"]

    async def test_a_directory_that_was_away_is_judged_once_when_it_is_back(self, tmp_path: Path) -> None:
        """No new image, and the journal knows all of it again, also what is ignored: the next scans have nothing to look at."""
        async with drops(tmp_path) as bench:
            deep = bench.root / "deep"
            deep.mkdir()
            (bench.root / "stays.jpg").write_bytes(picture(1))
            (deep / "a.jpg").write_bytes(picture(2))
            (deep / "text.jpg").write_bytes(b"no image at all")
            await bench.until_taken("deep/a.jpg", "stays.jpg")
            await wait_until(lambda: "deep/text.jpg" in bench.ignored())
            await bench.intake.rescan()
            before, images = await bench.journal.known("drop", b"deep"), await bench.images()
            away = deep.rename(tmp_path / "away")
            await bench.until_heard()
            await bench.intake.rescan()
            assert await bench.journal.known("drop", b"deep") == {}

            away.rename(deep)
            await bench.until_heard()
            await bench.intake.rescan()
            assert await bench.journal.known("drop", b"deep") == before
            said = len(bench.said(Event.IMAGE_DETECTED)) + len(bench.said(Event.IMAGE_IGNORED))
            await bench.intake.rescan()
            await bench.restart()
            await bench.until_scanned(1)
            assert len(bench.said(Event.IMAGE_DETECTED)) + len(bench.said(Event.IMAGE_IGNORED)) == said
            assert [each.id for each in await bench.images()] == [each.id for each in images]

    async def test_a_new_version_supersedes_one_that_waits(self, tmp_path: Path) -> None:
        """Same path, new content: the older one ends, the newer is queued."""
        async with drops(tmp_path) as bench:
            (bench.root / "a.jpg").write_bytes(picture(1))
            await bench.until_taken("a.jpg")
            (bench.root / "a.jpg").write_bytes(picture(2))
            await until(lambda: bench.is_known("a.jpg"))

            (image,) = await bench.images()
            assert image.observation == bench.observation("a.jpg")
            (record,) = [each.record for each in await bench.journal.endings_after(0, 10)]
            assert record["event"] == "image.superseded"

    async def test_the_pipeline_can_ask_for_another_look(self, tmp_path: Path) -> None:
        """Even where the version is the one that was taken: it is then the journal that says whether it is new."""
        async with drops(tmp_path) as bench:
            (bench.root / "a.jpg").write_bytes(picture())
            await bench.until_taken("a.jpg")
            (image,) = await bench.images()
            asked = bench.woken
            bench.intake.look_at(image.file)
            await wait_until(lambda: bench.woken > asked)

            assert [each.id for each in await bench.images()] == [image.id]
            assert len(bench.said(Event.IMAGE_DETECTED)) == 1

    async def test_an_ignored_name_costs_no_place_in_the_journal(self, tmp_path: Path) -> None:
        """Names are judged anew at every start, since the configuration may have changed."""
        async with drops(tmp_path, exclude=["b*"]) as bench:
            (bench.root / "b.jpg").write_bytes(picture())
            await wait_until(lambda: bench.ignored() == {"b.jpg": "excluded"})

            assert await bench.journal.known("drop", b"") == {}
            bench.folders = [{**bench.folders[0], "exclude": []}]
            await bench.restart()
            await bench.until_taken("b.jpg")


class TestReload:
    async def test_folders_come_and_go_and_rules_change(self, tmp_path: Path) -> None:
        """Nothing is lost: a folder taken away stops, a new one is scanned, other rules are for what is detected from now on."""
        one, two = tmp_path / "one", tmp_path / "two"
        tables = [{"name": "one", "path": str(one)}, {"name": "two", "path": str(two)}]
        for path in (one, two):
            path.mkdir()
        async with drops(tmp_path, folders=tables[:1]) as bench:
            (one / "a.jpg").write_bytes(picture())
            await wait_until(lambda: bench.taken("one") == ["a.jpg"])
            (two / "early.jpg").write_bytes(picture())
            bench.folders = [{**tables[0], "image": {"compression": "ultra"}, "exclude": ["x*"]}, tables[1]]
            await bench.intake.reload(rules_for(bench.folders))
            await wait_until(lambda: bench.taken("two") == ["early.jpg"])
            (one / "b.jpg").write_bytes(picture(1))
            (one / "x.jpg").write_bytes(picture(1))
            await wait_until(lambda: bench.ignored("one") == {"x.jpg": "excluded"} and len(bench.taken("one")) == 2)

            images = {image.file.relative_text: image for image in await bench.images()}
            assert images["a.jpg"].rule.outputs[0].image == {}
            assert images["b.jpg"].rule.outputs[0].image == {"compression": "ultra"}
            await bench.intake.reload(rules_for(tables[1:]))
            assert [status.name for status in bench.intake.status()] == ["two"]
            (one / "c.jpg").write_bytes(picture())
            (two / "late.jpg").write_bytes(picture())
            await wait_until(lambda: bench.taken("two") == ["early.jpg", "late.jpg"])
            assert bench.taken("one") == ["a.jpg", "b.jpg"]

    async def test_a_file_that_is_waited_for_survives_other_rules(self, tmp_path: Path) -> None:
        """A slow copy under way is taken when it is whole, under the new rule."""
        async with drops(tmp_path) as bench:
            with (bench.root / "a.jpg").open("wb") as file:
                file.write(picture()[:500])
                file.flush()
                await wait_until(lambda: bench.intake.waiting() == 1)
                await bench.intake.reload(rules_for([{**bench.folders[0], "image": {"compression": "high"}}]))
                file.write(picture()[500:])
            await bench.until_taken("a.jpg")

            (image,) = await bench.images()
            assert image.rule.outputs[0].image == {"compression": "high"}

    async def test_a_folder_that_moved_is_watched_at_its_new_place(self, tmp_path: Path) -> None:
        """The same name with another path is another directory; times may change as well."""
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        async with drops(tmp_path) as bench:
            bench.folders = [{"name": "drop", "path": str(elsewhere), "polling": True}]
            await bench.intake.reload(rules_for(bench.folders), replace(IntakeSettings(**QUICK), settle=0.05))
            (elsewhere / "a.jpg").write_bytes(picture())
            await bench.until_taken("a.jpg")

            assert bench.intake.status()[0].mode == "polling"


class TestManyFolders:
    async def test_more_folders_than_inotify_instances_share_observers(self, tmp_path: Path) -> None:
        """A user has 128 of them; each folder is watched all the same. (The daemon has three hundred in
        tests/fault/test_storms.py.)
        """
        tables = []
        for number in range(140):
            path = tmp_path / "drop" / str(number)
            path.mkdir(parents=True)
            tables.append({"name": f"folder {number}", "path": str(path)})
        async with drops(tmp_path, folders=tables) as bench:
            await bench.until_scanned(140, 60)
            for table in tables:
                Path(table["path"], "a.jpg").write_bytes(picture())
            await wait_until(lambda: len(bench.said(Event.IMAGE_DETECTED)) >= 140, 60)

            assert all(bench.taken(table["name"]) == ["a.jpg"] for table in tables)
            assert {status.mode for status in bench.intake.status()} == {"watching"}
            assert len(bench.said(Event.SCAN_FINISHED)) == 140

    async def test_two_thousand_files_in_a_hundred_new_directories(self, tmp_path: Path) -> None:
        """Made at full speed, ten deep: none is missed, none is taken twice, and no scan is waited for. (Ten thousand come to the
        daemon in tests/fault/test_storms.py.)
        """

        def make() -> None:
            for number in range(100):
                directory = bench.root.joinpath(
                    *(f"{number % 10}" if level == 0 else f"{level}" for level in range(number // 10 + 1))
                )
                directory.mkdir(parents=True, exist_ok=True)
                for file in range(20):
                    (directory / f"{number}-{file}.jpg").write_bytes(picture())

        async with drops(tmp_path) as bench:
            await bench.until_scanned()
            await in_thread(make)
            await wait_until(lambda: len(bench.said(Event.IMAGE_DETECTED)) >= 2_000, 60)
            await bench.until_heard(seconds=60)

            assert len(set(bench.taken())) == len(bench.taken()) == 2_000
            assert bench.intake.alive()


async def ended(journal: object, count: int) -> bool:
    return await journal.last_seq() >= count  # type: ignore[attr-defined,no-any-return]


async def test_endings_of_given_up_files_are_all_of_their_outputs(tmp_path: Path) -> None:
    """A folder with renditions: each output fails for itself."""
    renditions = [{"name": "thumb", "store": {"path": "t/{name}"}}]
    async with drops(tmp_path, renditions=renditions) as bench:
        (bench.root / "a.jpg").touch()
        await wait_until(lambda: bench.intake.waiting() == 1)
        bench.clock.move(3601)
        await until(lambda: ended(bench.journal, 2))

        found = await bench.journal.endings_after(0, 10)
        assert [each.rendition for each in found] == [None, "thumb"]
        assert {each.record["reason"] for each in found} == {"empty"}
        assert {each.record["event"] for each in found} == {"image.failed"}
