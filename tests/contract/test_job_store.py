"""What every store of the engine's jobs promises, in a SQLite file and on PostgreSQL, alike."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.job_stores import SetClock, open_shared, open_sqlite
from tests.support.postgres import Postgres
from watcher.job_store import Job, JobState, JobStore, NewJob, QueueFull

MOST = 1_000
DAY = 86_400.0


@dataclass
class Scene:
    """A store that is open, and its time."""

    store: JobStore
    clock: SetClock

    async def add(self, *names: str, webhook: str | None = None) -> None:
        for name in names:
            await self.store.add(NewJob(name, {"url": f"https://x/{name}"}, "https://engine", webhook), MOST)

    async def begun(self, name: str = "a", webhook: str | None = None) -> Job:
        await self.add(name, webhook=webhook)
        (job,) = await self.store.claim(1)
        return job

    async def ended(self, name: str = "a", webhook: str | None = "https://hook") -> None:
        job = await self.begun(name, webhook)
        assert await self.store.end(job, "completed", {"id": name, "url": "u"})

    async def status(self, name: str) -> str | None:
        found = await self.store.find(name)
        return found and found.status


@pytest.fixture(params=["sqlite", "postgresql"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    clock = SetClock()
    store: JobStore
    if request.param == "sqlite":
        store = await open_sqlite(tmp_path / "jobs.db", clock)
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        store = await open_shared(postgres.database(), clock)
    yield Scene(store, clock)
    await store.close()


class TestJobs:
    async def test_wait_until_somebody_takes_them(self, scene: Scene) -> None:
        """As many as are asked for, oldest first, each once, with all that was posted."""
        await scene.add("b", "a", "c")

        first = await scene.store.claim(2)

        assert [(job.id, job.request, job.base_url, job.starts) for job in first] == [
            ("b", {"url": "https://x/b"}, "https://engine", 0),
            ("a", {"url": "https://x/a"}, "https://engine", 0),
        ]
        assert [job.id for job in await scene.store.claim(9)] == ["c"]
        assert await scene.store.claim(9) == []
        assert await scene.store.claim(0) == []

    async def test_are_found_in_every_state(self, scene: Scene) -> None:
        """What `GET /1.0/jobs/{id}` says of them; an unknown one is none."""
        await scene.add("a")
        assert await scene.store.find("a") == JobState("enqueued", {})
        (job,) = await scene.store.claim(1)
        assert await scene.store.find("a") == JobState("processing", {})
        assert await scene.store.end(job, "failed", {"code": 422, "message": "cut off"})
        assert await scene.store.find("a") == JobState("failed", {"code": 422, "message": "cut off"})
        assert await scene.store.find("b") is None

    async def test_at_work_already_are_nobody_elses(self, scene: Scene) -> None:
        """A request that turned into a job is not taken again, and ends as others do."""
        job = await scene.store.add(NewJob("a", {}, "https://engine"), MOST, at_work=True)

        assert await scene.store.claim(1) == []
        assert await scene.store.holds(job)
        assert await scene.store.end(job, "completed", {"url": "u"})
        assert await scene.status("a") == "completed"

    async def test_end_once(self, scene: Scene) -> None:
        """A second ending changes nothing, and says so."""
        job = await scene.begun()
        assert await scene.store.end(job, "completed", {"url": "first"})
        assert not await scene.store.end(job, "failed", {"code": 500, "message": "late"})
        assert await scene.store.find("a") == JobState("completed", {"url": "first"})

    async def test_given_back_are_taken_again(self, scene: Scene) -> None:
        """Before those that came later, and as if they had not been begun."""
        job = await scene.begun("a")
        await scene.add("b")
        await scene.store.requeue(job)

        assert await scene.status("a") == "enqueued"
        assert [(each.id, each.starts) for each in await scene.store.claim(2)] == [("a", 0), ("b", 0)]

    async def test_are_taken_up_to_a_number(self, scene: Scene) -> None:
        """Those that wait and those at work count; one that has ended makes room."""
        job = await scene.begun("a")
        await scene.add("b")
        with pytest.raises(QueueFull):
            await scene.store.add(NewJob("c", {}, ""), 2)
        with pytest.raises(QueueFull):
            await scene.store.add(NewJob("c", {}, ""), 2, at_work=True)
        await scene.store.end(job, "completed", {})
        await scene.store.add(NewJob("c", {}, ""), 2)
        assert await scene.status("c") == "enqueued"

    async def test_hold_any_text(self, scene: Scene) -> None:
        """Of all scripts, and also what JSON can say and a database cannot hold."""
        await scene.store.add(NewJob("a", {"url": "https://x/ä漢\U0001f600\x00\ud800"}, ""), MOST)
        (job,) = await scene.store.claim(1)
        assert str(job.request["url"]).startswith("https://x/ä漢\U0001f600")
        assert await scene.store.end(job, "completed", {"name": "\x00ä\ud800"})
        assert "ä" in (await scene.store.find("a") or JobState("", {})).answer["name"]

    async def test_are_forgotten_a_day_after_their_end(self, scene: Scene) -> None:
        """Those that wait are not."""
        await scene.ended("old")
        await scene.add("waiting")
        scene.clock.time += DAY - 1
        await scene.store.forget_old()
        assert await scene.status("old") == "completed"
        scene.clock.time += 2
        await scene.store.forget_old()
        assert (await scene.status("old"), await scene.status("waiting")) == (None, "enqueued")


class TestWebhooks:
    async def test_are_due_when_the_job_has_ended(self, scene: Scene) -> None:
        """With the answer's JSON as it is told to callers; not before, and not where none was asked for."""
        await scene.begun("none", webhook=None)
        job = await scene.begun("a", "https://hook")
        assert await scene.store.claim_calls(9) == ([], None)
        await scene.store.end(job, "completed", {"id": "a", "url": "u"})

        (call,), later = await scene.store.claim_calls(9)

        assert (call.id, call.url, call.body, call.tries, call.ended) == (
            "a",
            "https://hook",
            '{"id": "a", "url": "u"}',
            0,
            scene.clock.time,
        )
        assert later is None

    async def test_are_called_by_one_at_a_time(self, scene: Scene) -> None:
        """A call that is out is not taken again; once confirmed it is over."""
        await scene.ended("a")
        await scene.ended("b")
        (first,), _ = await scene.store.claim_calls(1)
        (second,), later = await scene.store.claim_calls(9)
        assert (first.id, second.id, later) == ("a", "b", None)
        await scene.store.delivered(first)
        assert await scene.store.claim_calls(9) == ([], None)

    async def test_are_tried_again_when_it_is_time(self, scene: Scene) -> None:
        """Until then, whoever asks is told when."""
        await scene.ended()
        (call,), _ = await scene.store.claim_calls(9)
        await scene.store.try_again(call, scene.clock.time + 30)

        assert await scene.store.claim_calls(9) == ([], scene.clock.time + 30)
        scene.clock.time += 30
        (again,), _ = await scene.store.claim_calls(9)
        assert (again.id, again.tries) == ("a", 1)

    async def test_that_were_broken_off_are_due_again(self, scene: Scene) -> None:
        """Nobody knows whether the receiver got it."""
        await scene.ended()
        await scene.store.claim_calls(9)
        await scene.store.release_calls()
        (call,), _ = await scene.store.claim_calls(9)
        assert (call.id, call.tries) == ("a", 0)

    async def test_none_are_asked_for(self, scene: Scene) -> None:
        """Where all hands are full, none is taken, and the time of the next is told."""
        await scene.ended()
        assert await scene.store.claim_calls(0) == ([], scene.clock.time)
