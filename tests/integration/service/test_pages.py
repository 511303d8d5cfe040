"""The page over a real socket, with a source that the test changes: streams, what looking costs, and what is refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import aiohttp
import pytest

from tests.support.publishing import wait_until
from watcher.clock import SystemClock
from watcher.errors import Unavailable
from watcher.service.admin import AdminServer, Health
from watcher.service.metrics import Metrics
from watcher.service.page import pages as page_module
from watcher.service.page.pages import PageRoutes
from watcher.service.page.source import Snapshot, Which
from watcher.service.password import PasswordCheck
from watcher.shown.figures import Counts, DaemonFigures, JournalFigures, Status
from watcher.shown.hours import Hour
from watcher.shown.images import Fate, Found, JournalPicture, ShownImage, ShownOutput, ShownStory
from watcher.shown.report import ApiFigures, DaemonReport, FolderState

REPORT = DaemonReport(ApiFigures("reachable"), (FolderState("products", "/srv", "watching"),))
STORED = ShownOutput(None, "stored", "a.jpg", "https://bucket.example/a.jpg", output_size=10, format="jpeg")


class FakeSource:
    """What the page shows; tests change it and say so by `number`."""

    def __init__(self) -> None:
        self.number = 1
        self.failed = 0
        self.api = REPORT.api
        self.images: tuple[ShownImage, ...] = ()
        self.trouble: Unavailable | None = None
        self.pictures = 0
        self.questions = 0
        self.asked: list[object] = []

    def origins(self) -> frozenset[str]:
        return frozenset({"https://cdn.example"})

    async def version(self) -> object:
        self.questions += 1
        if self.trouble is not None:
            raise self.trouble
        return self.number

    async def picture(self) -> Snapshot:
        self.pictures += 1
        figures = JournalFigures({"products": Counts(failed=self.failed)})
        status = Status.of(DaemonFigures("/state", 7, 0.0), replace(REPORT, api=self.api), figures)
        return Snapshot(1_796_000_400.0, status, JournalPicture(figures, latest=self.images))

    async def picture_of_host(self, host: str) -> Snapshot | None:
        return None

    async def hours(self) -> Sequence[Hour]:
        return ()

    async def told(self, image_id: str) -> ShownStory | None:
        return None

    async def search(self, text: str) -> Found:
        return Found((), True, 0)

    async def retry(self, which: Which) -> int:
        self.asked.append(which)
        return 3

    async def dismiss(self, which: Which) -> int:
        return 0

    async def pause(self, folder: str | None) -> bool:
        self.asked.append(folder)
        return True

    async def resume(self, folder: str | None) -> bool:
        return False

    async def status(self) -> Status:
        return (await self.picture()).status

    def health(self) -> Health:
        return Health(alive=True)


class Site:
    """A running port with the page."""

    def __init__(self) -> None:
        self.source = FakeSource()
        self.pages = PageRoutes(self.source, SystemClock(), "1.2.3")
        check = PasswordCheck(lambda: None, SystemClock())
        self.server = AdminServer(self.source, Metrics("1.2.3", []), check, self.pages.routes())
        self.base = ""
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self.streams: list[aiohttp.ClientResponse] = []

    async def text(self, path: str = "/", **options: object) -> tuple[int, str]:
        async with self.session.get(self.base + path, **options) as answer:  # type: ignore[arg-type]
            return answer.status, await answer.text()

    async def stream(self, seen: int = 0) -> aiohttp.ClientResponse:
        self.streams.append(await self.session.get(f"{self.base}/events?seen={seen}"))
        return self.streams[-1]

    async def token(self) -> str:
        found = re.search(r'name="token" value="([\w-]+)"', (await self.text())[1])
        assert found is not None
        return found[1]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    opened = Site()
    opened.base = f"http://127.0.0.1:{await opened.server.start('127.0.0.1', 0)}"
    yield opened
    for stream in opened.streams:
        stream.close()
    await opened.session.close()
    await opened.pages.close()
    await opened.server.stop()


async def events(stream: aiohttp.ClientResponse, until: str = "seen", seconds: float = 5.0) -> dict[str, str]:
    """The events that come, the last of each name, up to one of this name."""
    found: dict[str, str] = {}
    async with asyncio.timeout(seconds):
        while until not in found:
            block = (await stream.content.readuntil(b"\n\n")).decode()
            lines = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith("data"))
            if "event" in lines:
                data = [line.partition(": ")[2] for line in block.splitlines() if line.startswith("data")]
                found[lines["event"]] = "\n".join(data)
    return found


async def test_a_stream_tells_what_has_changed_and_nothing_else(site: Site) -> None:
    """Whole sections; who has seen the last frame hears only of what came after."""
    await site.text()
    stream = await site.stream(seen=1)
    site.source.failed, site.source.number = 4, 2
    told = await events(stream)
    assert set(told) == {"stamp", "now", "folders", "seen"}
    assert 'value="4" data-figure="failed"' in told["now"]
    again = await events(await site.stream(seen=0))
    assert {"now", "failures", "unready", "underway", "latest", "folders", "hosts", "receivers", "activity"} <= set(again)
    assert again["failures"] == ""


async def test_a_hundred_pages_share_one_picture(site: Site) -> None:
    """Each hears of a change; the journal is asked once."""
    await site.text()
    streams = await asyncio.gather(*(site.stream(seen=1) for _ in range(100)))
    before = site.source.pictures
    site.source.failed, site.source.number = 4, 2
    told = await asyncio.gather(*(events(stream, seconds=20) for stream in streams))
    assert all('value="4" data-figure="failed"' in each["now"] for each in told)
    assert site.source.pictures <= before + 2


async def test_nobody_who_looks_costs_nothing(site: Site) -> None:
    """When the last page is closed nobody asks the journal any more; events of the log are let pass."""
    (await site.stream()).close()
    await wait_until(lambda: site.pages.live._keeping is None)  # noqa: SLF001 - nothing else tells
    before = site.source.questions
    site.pages.live.poke()
    await asyncio.sleep(1.2)  # longer than the next look would take
    assert site.source.questions == before


async def test_what_has_not_changed_is_not_drawn_again(site: Site) -> None:
    """A look at the journal's version is all."""
    stream = await site.stream()
    await events(stream)
    before, drawn = site.source.questions, site.source.pictures
    await wait_until(lambda: site.source.questions >= before + 2)
    assert site.source.pictures == drawn


async def test_a_journal_that_cannot_be_read_is_said_and_comes_back(site: Site) -> None:
    """503 with the reason for who comes; open pages wait for it."""
    await site.text()
    stream = await site.stream(seen=1)
    await events(stream, until="stamp")
    site.source.trouble = Unavailable("the journal cannot be read: disk I/O error", "look at its disk")
    site.pages.live.expire()
    status, text = await site.text()
    assert (status, "disk I/O error" in text) == (503, True)

    site.source.trouble, site.source.failed, site.source.number = None, 1, 2
    assert 'value="1" data-figure="failed"' in (await events(stream))["now"]
    assert (await site.text())[0] == 200


async def test_a_stream_of_another_process_begins_anew(site: Site) -> None:
    """Its number means nothing here: everything is sent, with the stamp that has the page load itself again."""
    told = await events(await site.stream(seen=9_999))
    assert {"stamp", "now", "latest"} <= set(told)


async def test_pictures_from_elsewhere_change_the_stamp_and_the_policy(site: Site) -> None:
    """A page that is open may not load them; loaded anew it may."""

    async def policy() -> str:
        async with site.session.get(site.base) as answer:
            return answer.headers["Content-Security-Policy"]

    assert "img-src 'self' https://cdn.example;" in await policy()
    stream = await site.stream()
    before = (await events(stream))["stamp"]
    site.source.images = (ShownImage("id-1", "products", "a.jpg", "/srv/a.jpg", 0.0, 10, Fate("stored", 1.0), (STORED,)),)
    site.source.number = 2
    assert (await events(stream))["stamp"] != before
    site.pages.live.expire()
    assert "img-src 'self' https://bucket.example https://cdn.example;" in await policy()


async def test_the_end_of_the_daemon_ends_the_streams(site: Site) -> None:
    """At once: a stop waits for no page."""
    streams = [await site.stream() for _ in range(3)]
    async with asyncio.timeout(2):
        await site.pages.close()
        await asyncio.gather(*(stream.read() for stream in streams))


async def test_too_many_streams_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptors are for the work; who is refused comes again."""
    monkeypatch.setattr(page_module, "MOST_STREAMS", 2)
    open_ones = [await site.stream() for _ in range(2)]
    refused = await site.stream()
    assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
    for each in open_ones:
        each.close()
    await wait_until(lambda: site.pages.live._keeping is None)  # noqa: SLF001 - nothing else tells
    assert (await site.stream()).status == 200


async def test_buttons_answer_people_and_scripts(site: Site) -> None:
    """A form leads back to where it stood, a script gets words; neither leads anywhere else."""
    form, own = {"token": await site.token(), "reason": "rejected"}, {"Origin": site.base}

    async def press(headers: dict[str, str], **more: str) -> aiohttp.ClientResponse:
        data = {**form, **more}
        return await site.session.post(f"{site.base}/retry", data=data, headers={**own, **headers}, allow_redirects=False)

    assert await (await press({"Accept": "application/json"})).json() == {"notice": "3 images put back in the queue."}
    for back, place in (("/images/abc-1", "/images/abc-1"), ("https://evil.example/", "/"), ("//evil.example", "/"), ("", "/")):
        answer = await press({}, back=back)
        assert (answer.status, answer.headers["Location"]) == (303, f"{place}?done=retried-3")
    assert set(site.source.asked) == {Which(None, "rejected")}
    assert "3 images put back in the queue." in (await site.text("/?done=retried-3"))[1]


async def test_static_files_are_found_at_their_address_only(site: Site) -> None:
    """Kept by browsers for as long as they like: another content has another address."""
    style = re.search(r'href="(/static/[^"]+\.css)"', (await site.text())[1])
    assert style is not None
    async with site.session.get(site.base + style[1]) as answer:
        assert (answer.status, answer.content_type) == (200, "text/css")
        assert "immutable" in answer.headers["Cache-Control"]
    for path in ("/static/0/page.css", "/static/x/../../pages.py", "/static/0/pages.py", "/static/page.css"):
        assert (await site.text(path))[0] == 404
