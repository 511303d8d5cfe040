"""The stand-in itself, which later tests lean on: true answers, true counts, faults when told and only then."""

from __future__ import annotations

import asyncio
import hashlib
import io
import urllib.request
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from aiohttp import web
from PIL import Image

from tests.support.publishing import wait_until
from tests.support.standin import DEFAULT_KEY, Fault, Standin, StandinProcess, facts_of, rewrap
from watcher.compressor.client import CompressorClient
from watcher.compressor.wire import FetchRequest, Result
from watcher.errors import CallFailed


def picture(image_format: str) -> bytes:
    """A small image."""
    content = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 10, 10)).save(content, image_format)
    return content.getvalue()


PHOTO = picture("JPEG")


@pytest.fixture
async def originals() -> AsyncIterator[str]:
    """Where every path gives the photograph."""

    async def photo(_: web.Request) -> web.Response:
        return web.Response(body=PHOTO)

    application = web.Application()
    application.router.add_get("/{path:.*}", photo)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def process() -> Iterator[StandinProcess]:
    with StandinProcess(api_key="its-key") as started:
        yield started


def request_for(url: str, name: str = "cat.jpg") -> FetchRequest:
    """Into one bucket, with our two metadata keys."""
    metadata = {"source-sha1": hashlib.sha1(PHOTO).hexdigest(), "rule": "r1"}
    store = {"id": "c", "bucket": "bu", "region": "us-west-004", "path": f"a b/{name}", "metadata": metadata}
    return FetchRequest(f"{url}/t/token/{name}", store=store)


async def test_the_process_works_counts_and_keeps_what_it_stored(process: StandinProcess, originals: str) -> None:
    """What it says of the object is true of the object, and the daemon that asked may come and go."""
    results: list[Result] = []
    for number in (1, 2):
        async with CompressorClient(process.url, lambda: "its-key") as client:
            answer = await client.fetch(request_for(originals))
        assert isinstance(answer, Result)
        results.append(answer)
        assert process.report()["paid"] == {"cat.jpg": number}
    url = process.verify_url.replace("{bucket}", "bu").replace("{key}", "a%20b/cat.jpg")
    with await asyncio.to_thread(urllib.request.urlopen, url, timeout=20) as response:
        body, headers = response.read(), response.headers
    assert results[1].output.body() == facts_of("cat.jpg", body)
    assert headers["x-amz-meta-source-sha1"] == results[1].input.sha1 == hashlib.sha1(PHOTO).hexdigest()
    assert process.report()["paid_keys"] == {"bu/a b/cat.jpg": 2}


async def test_the_process_does_what_it_is_told(process: StandinProcess, originals: str) -> None:
    """Faults and options over its control address; a refused key; a second start on the same port."""
    async with CompressorClient(process.url, lambda: "its-key") as client:
        process.set_faults(Fault("status", times=1, status=422, file="bad*"))
        assert isinstance(await client.fetch(request_for(originals)), Result)
        with pytest.raises(CallFailed):
            await client.fetch(request_for(originals, "bad.jpg"))
        assert isinstance(await client.fetch(request_for(originals, "bad.jpg")), Result)
        process.set_options(api_key="another")
        with pytest.raises(CallFailed):
            await client.account()
        assert process.report()["struck"] == {"status": 1}
        port = process.port
        process.stop()
        process.start()
        assert process.port == port
        await client.account()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_an_output_is_another_whole_image(image_format: str) -> None:
    """Other bytes, the same picture: it could be dropped back in."""
    source = picture(image_format)
    output = rewrap(source)
    assert output != source
    with Image.open(io.BytesIO(output)) as opened:
        opened.load()
        assert opened.size == (8, 6)


async def outcomes(seed: int, originals: str) -> list[bool]:
    """Which of twenty requests got through under a fault that strikes every third or so."""
    told: list[bool] = []
    async with Standin(seed=seed) as standin, CompressorClient(standin.url, lambda: DEFAULT_KEY) as client:
        standin.faults = [Fault("reset", share=0.3)]
        for _ in range(20):
            try:
                await client.fetch(request_for(originals))
                told.append(True)
            except CallFailed:
                told.append(False)
    return told


async def test_chance_is_seeded(originals: str) -> None:
    """The same seed, the same faults."""
    first = await outcomes(7, originals)
    assert first == await outcomes(7, originals)
    assert {True, False} == set(first)


async def test_the_work_goes_on_after_the_client_has_given_up(originals: str) -> None:
    """An answer that comes too late was paid for, and the object is there."""
    async with Standin() as standin, CompressorClient(standin.url, lambda: DEFAULT_KEY, timeout=0.4) as client:
        standin.faults = [Fault("delay", seconds=0.8)]
        with pytest.raises(CallFailed) as caught:
            await client.fetch(request_for(originals))
        assert caught.value.failure.unknown
        assert not standin.objects
        await wait_until(lambda: ("bu", "a b/cat.jpg") in standin.objects)
        assert standin.paid["cat.jpg"] == 1


@pytest.mark.parametrize("name", ["wrong_sha1", "wrong_size"])
async def test_a_wrong_input_is_only_said_not_done(originals: str, name: str) -> None:
    """The lie is in `input`; what is stored is what was fetched."""
    async with Standin() as standin, CompressorClient(standin.url, lambda: DEFAULT_KEY) as client:
        standin.faults = [Fault(name)]
        result = await client.fetch(request_for(originals))
        assert isinstance(result, Result)
        true = facts_of("cat.jpg", PHOTO)
        assert (result.input.sha1 != true["sha1"]) == (name == "wrong_sha1")
        assert (result.input.size != true["size"]) == (name == "wrong_size")
        assert standin.objects["bu", "a b/cat.jpg"].body == rewrap(PHOTO)


@pytest.mark.parametrize("how", ["option", "fault"])
async def test_the_url_can_drop_the_folder_as_the_vendors_sample_does(originals: str, how: str) -> None:
    """Always, or by chance."""
    async with Standin() as standin, CompressorClient(standin.url, lambda: DEFAULT_KEY) as client:
        if how == "option":
            standin.options.url_form = "short"
        else:
            standin.faults = [Fault("short_url")]
        result = await client.fetch(request_for(originals))
        assert isinstance(result, Result)
        assert result.url == "https://bu.s3.us-west-004.backblazeb2.com/cat.jpg"


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ("{}", "text/plain", 415),
        ("{}", "application/json", 422),
        ("[]", "application/json", 422),
        ('{"url": "http://127.0.0.1:1/x.jpg"}', "application/json", 422),
        ('{"url": "http://127.0.0.1:1/x.jpg", "store": {"id": "c", "bucket": "b"}}', "application/json", 422),
        (
            '{"url": "http://127.0.0.1:1/x.jpg", "store": {"id": "c", "bucket": "b", "region": "r", "headers": {"Age": "0"}}}',
            "application/json",
            422,
        ),
        ('{"url": "http://127.0.0.1:1/x.jpg", "webhook": {"url": "http://127.0.0.1:1/"}}', "application/json", 422),
    ],
)
async def test_a_bad_request_is_refused(body: str, content_type: str, status: int) -> None:
    """As the vendor's API would, with its envelope, and nothing is paid."""
    async with Standin() as standin, httpx.AsyncClient(auth=(DEFAULT_KEY, ""), trust_env=False) as client:
        standin.options.refuse_webhook = True
        answer = await client.post(f"{standin.url}/fetch", content=body, headers={"Content-Type": content_type})
        assert (answer.status_code, answer.json()["success"], answer.json()["code"]) == (status, False, status)
        assert not standin.paid


async def test_both_ways_to_show_the_key_are_accepted() -> None:
    """Basic with the key as user, and Bearer; nothing else."""
    async with Standin() as standin, httpx.AsyncClient(trust_env=False) as client:
        account = f"{standin.url}/account"
        answers = [
            await client.get(account, auth=(DEFAULT_KEY, "")),
            await client.get(account, headers={"Authorization": f"Bearer {DEFAULT_KEY}"}),
            await client.get(account, auth=(DEFAULT_KEY, "password")),
            await client.get(account, headers={"Authorization": "Bearer other"}),
            await client.get(account, headers={"Authorization": "Basic ***"}),
            await client.get(account),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 401, 401, 401, 401]


def test_a_misspelt_fault_is_an_error() -> None:
    """A test that thinks it made trouble must not pass in peace."""
    with pytest.raises(ValueError, match="resett"):
        Fault("resett")
