"""What may be asked for, read strictly."""

from typing import Any

import pytest

from watcher.engine.geometry import Resize
from watcher.engine.orders import key_problem, read_order, region_problem
from watcher.engine.refusal import Refusal
from watcher.engine.work import OutputOrder

STORE = {"id": "c", "bucket": "my-bucket", "region": "eu-central-003"}


def refusal(body: Any) -> Refusal:
    with pytest.raises(Refusal) as refused:
        read_order(body)
    return refused.value


def test_the_vendors_example_is_read() -> None:
    """Every field of the vendor page's request arrives."""
    order = read_order(
        {
            "url": "https://www.website.com/image.jpg",
            "image": {"resize": {"width": 640, "height": 480, "mode": "fit"}},
            "store": {**STORE, "path": "assets/image.jpg", "headers": {"Cache-Control": "max-age=2592000000"}},
        }
    )
    assert order.image.resize == Resize(640, 480, "fit")
    assert order.image.compression == "high"
    assert order.store is not None
    assert (order.store.acl, order.store.key("x.jpeg")) == ("public-read", "assets/image.jpg")
    assert order.store.headers == {"Cache-Control": "max-age=2592000000"}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({}, OutputOrder()),
        ({"format": "web"}, OutputOrder("web")),
        ({"format": "jpeg", "background": "#08f"}, OutputOrder("jpeg", (0, 136, 255))),
        ({"format": "webp", "background": "Black"}, OutputOrder("webp", (0, 0, 0))),
    ],
)
def test_the_output_is_read(output: Any, expected: OutputOrder) -> None:
    """A format and a background, each with its default."""
    assert read_order({"url": "http://x/y", "image": {"output": output}}).image.output == expected


def test_header_names_become_canonical() -> None:
    """The case of the four header names does not matter; the canonical name is sent."""
    order = read_order({"url": "http://x/y", "store": {**STORE, "headers": {"cache-CONTROL": "no-store"}}})
    assert order.store is not None
    assert order.store.headers == {"Cache-Control": "no-store"}


@pytest.mark.parametrize(("path", "key"), [("", "out.jpeg"), ("a/", "a/out.jpeg"), ("a/b.jpg", "a/b.jpg")])
def test_the_key_follows_from_the_path(path: str, key: str) -> None:
    """No path is the bucket's root, a trailing slash a folder, anything else the whole key."""
    order = read_order({"url": "http://x/y", "store": {**STORE, "path": path}})
    assert order.store is not None
    assert order.store.key("out.jpeg") == key


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "url is required"),
        ({"url": "ftp://x/y"}, "url must be"),
        ({"url": "http://"}, "url must be"),
        ({"url": "http://x:99999/"}, "url must be"),
        ({"url": "http://x/a b"}, "url must be"),
        ({"url": 5}, "url"),
        ({"url": "http://x/y", "image": {"output": {"format": "gif"}}}, "image.output.format must be 'auto', 'jpeg', 'png'"),
        ({"url": "http://x/y", "image": {"output": {"quality": 80}}}, "image.output.quality is not known"),
        ({"url": "http://x/y", "image": {"output": "webp"}}, "image.output"),
        (
            {"url": "http://x/y", "image": {"output": {"background": "pinkish"}}},
            "image.output.background a colour is written",
        ),
        ({"url": "http://x/y", "image": {"compression": "lossless"}}, "image.compression must be 'medium', 'high' or 'ultra'"),
        ({"url": "http://x/y", "image": {"resize": {}}}, "image.resize needs `width` or `height`"),
        ({"url": "http://x/y", "image": {"resize": {"width": 5, "mode": "fit"}}}, 'mode "fit" needs both'),
        ({"url": "http://x/y", "image": {"resize": {"width": 5.5}}}, "image.resize.width"),
        ({"url": "http://x/y", "image": {"resize": {"width": True}}}, "image.resize.width"),
        ({"url": "http://x/y", "image": {"resize": {"width": 70_000}}}, "image.resize.width"),
        ({"url": "http://x/y", "image": {"resize": {"width": 5, "upscale": "yes"}}}, "image.resize.upscale"),
        ({"url": "http://x/y", "image": {"resize": {"width": 5, "gravity": "face"}}}, "image.resize.gravity"),
        ({"url": "http://x/y", "headers": {"Host": "x"}}, "headers must not set `Host`"),
        ({"url": "http://x/y", "headers": {"content-length": "1"}}, "must not set"),
        ({"url": "http://x/y", "headers": {"X": "a\r\nY: b"}}, "printable"),
        ({"url": "http://x/y", "headers": {"X y": "a"}}, "no HTTP header name"),
        ({"url": "http://x/y", "webhook": {}}, "webhook.url is required"),
        ({"url": "http://x/y", "webhook": {"url": "x"}}, "webhook.url must be"),
        ({"url": "http://x/y", "store": {**STORE, "metadata": {str(n): "x" for n in range(11)}}}, "at most 10"),
        ({"url": "http://x/y", "store": {**STORE, "metadata": {"A": "1", "a": "2"}}}, "twice"),
        ({"url": "http://x/y", "store": {**STORE, "metadata": {"a": 1}}}, "store.metadata.a"),
        ({"url": "http://x/y", "store": {**STORE, "headers": {"X-Mine": "1"}}}, "store.headers takes Cache-Control"),
        ({"url": "http://x/y", "extra": None}, "extra is not known"),
    ],
)
def test_what_will_not_do_is_named(body: dict[str, Any], named: str) -> None:
    """422, with the place and the reason."""
    refused = refusal(body)
    assert refused.code == 422
    assert named in refused.message


@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_a_body_that_is_no_object_is_a_400(body: Any) -> None:
    """JSON that is no object is not the API's language."""
    assert refusal(body).code == 400


def test_no_value_is_repeated() -> None:
    """Values may be secret; messages hold names and rules only."""
    body = {"url": "secret://value", "headers": {"X": "secret\n"}, "store": {**STORE, "path": "/secret", "acl": "secret"}}
    assert "secret" not in refusal(body).message


@pytest.mark.parametrize("path", ["a", "a/b.jpg", "a/", "ü/東京.jpg", "a b+%#?.jpg", "..a", "a..", "x" * 250, ""])
def test_keys_that_are_fine(path: str) -> None:
    """Letters of all scripts and every printable character but the backslash."""
    assert key_problem(path) is None


@pytest.mark.parametrize(
    "path",
    ["/a", "a//b", "../a", "a/..", "a/./b", ".", "a\\b", "a\nb", "a\x7f", "\ud800", "x" * 251, "ü" * 126, "a/" * 600, "//"],
)
def test_keys_that_are_not(path: str) -> None:
    """What B2 refuses, or what an address would turn into another key."""
    assert key_problem(path)


@pytest.mark.parametrize("region", ["eu-central-003", "us-west-004", "ca-east-006", "ca-central-001", "ap-south-east-012"])
def test_regions_are_known_by_their_shape(region: str) -> None:
    """Any region of Backblaze's shape is taken; the list on the vendor's page is not complete."""
    assert region_problem(region, any_store=False) is None


@pytest.mark.parametrize("region", ["", "eu-central-1", "EU-central-003", "eu-central", "eu--003", "eu-central-003\n", "a-b-001"])
def test_what_is_no_region_is_refused(region: str) -> None:
    """Other shapes are no region of Backblaze's."""
    assert region_problem(region, any_store=False)


def test_other_stores_have_other_regions() -> None:
    """With an endpoint of one's own the region is whatever the store calls it."""
    assert region_problem("us-east-1", any_store=True) is None
    assert region_problem("../x", any_store=True)
