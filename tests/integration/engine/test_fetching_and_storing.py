"""The main way: a source is fetched, worked on and stored, and the answer is true of what was stored."""

import asyncio
import hashlib
import json

import pytest

from tests.support.engine import KEY, Client, Sources, stored_file
from tests.support.pictures import decoded, encoded, jpeg, photograph
from tests.support.publishing import skip_without_curl


async def test_the_answer_has_the_shape_of_the_vendors_page_and_is_true(client: Client, sources: Sources) -> None:
    """The vendor page's example, sent to the engine, is answered in the page's shape, and every fact is true of the bytes."""
    content = jpeg(800, 500)
    answer = await client.stored(
        sources.add("/image.jpg", content),
        {"resize": {"width": 640, "height": 480, "mode": "fit"}},
        path="assets/image.jpg",
        headers={"Cache-Control": "max-age=2592000000"},
    )
    assert list(answer) == ["id", "url", "input", "output"]
    assert answer["input"] == {
        "name": "image.jpg",
        "type": "image",
        "format": "jpeg",
        "mime": "image/jpeg",
        "size": len(content),
        "sha1": hashlib.sha1(content).hexdigest(),
        "width": 800,
        "height": 500,
    }
    assert answer["url"].endswith("/my-bucket/assets/image.jpg")
    stored = stored_file(answer).read_bytes()
    assert answer["output"] == {
        "name": "image.jpg",
        "type": "image",
        "format": "jpeg",
        "mime": "image/jpeg",
        "size": len(stored),
        "sha1": hashlib.sha1(stored).hexdigest(),
        "width": 640,
        "height": 480,
    }
    assert decoded(stored).size == (640, 480)


@pytest.mark.parametrize(("format_name", "path"), [("JPEG", "/a.jpg"), ("PNG", "/a.png"), ("WEBP", "/a.webp")])
async def test_formats_are_kept(client: Client, sources: Sources, format_name: str, path: str) -> None:
    """The output has the input's format, whatever the name says."""
    url = sources.add("/wrong-name.gif", encoded(photograph(), format_name))
    answer = await client.stored(url, {"resize": {"width": 100}}, path=path[1:])
    picture = decoded(stored_file(answer).read_bytes())
    assert (picture.format, picture.size) == (format_name, (100, 62))
    assert answer["output"]["format"] == format_name.lower()


async def test_a_result_without_store_is_to_be_had_at_a_temporary_address(client: Client, sources: Sources) -> None:
    """Without `store` the address has the vendor's form, needs no key, and gives the very bytes the answer speaks of."""
    status, answer = await client.fetch({"url": sources.add("/image.jpg", jpeg())})
    assert status == 200
    assert answer["output"]["name"] == "image.jpeg"
    async with client.session.get(answer["url"]) as response:
        content = await response.read()
        assert response.content_type == "image/jpeg"
    assert hashlib.sha1(content).hexdigest() == answer["output"]["sha1"]
    assert answer["url"].split("/")[4:] == [answer["id"], "image.jpeg"]


async def test_the_vendors_example_with_curl(client: Client, sources: Sources) -> None:
    """The page's own command line, with only host, key, source and bucket replaced, gives a response of the page's shape."""
    skip_without_curl()
    body = {
        "url": sources.add("/image.jpg", jpeg(800, 500)),
        "image": {"resize": {"width": 640, "height": 480, "mode": "fit"}},
        "store": {
            "id": "local",
            "bucket": "my-bucket",
            "region": "eu-central-003",
            "path": "assets/image.jpg",
            "headers": {"Cache-Control": "max-age=2592000000"},
        },
    }
    command = ["curl", "-sS", client.url("/1.0/fetch"), "-X", "POST", "-u", f"{KEY}:", "-H", "Content-Type: application/json"]
    process = await asyncio.create_subprocess_exec(*command, "-d", json.dumps(body), stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    answer = json.loads(output)
    assert list(answer) == ["id", "url", "input", "output"]
    assert answer["url"].endswith("/my-bucket/assets/image.jpg")
    assert decoded(stored_file(answer).read_bytes()).size == (640, 480)
