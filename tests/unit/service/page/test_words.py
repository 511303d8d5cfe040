"""The page's words, and what of an image is shown as a picture."""

from datetime import UTC, timedelta, timezone

import pytest

from watcher.service.page import words
from watcher.service.page.pages import content_policy, notice
from watcher.service.page.rendering import code
from watcher.shown.images import Fate, ShownImage, ShownOutput
from watcher.shown.report import ApiFigures

NOON = 1_796_000_400.0  # 2026-11-30 01:00 UTC


def image(*outputs: ShownOutput) -> ShownImage:
    return ShownImage("id", "products", "a.jpg", "/srv/a.jpg", NOON, 10, Fate("stored"), outputs)


def output(**fields: object) -> ShownOutput:
    return ShownOutput(**{"rendition": None, "state": "stored", "format": "jpeg", "output_size": 500, **fields})  # type: ignore[arg-type]


def test_times_have_their_date_where_it_is_not_today() -> None:
    """Today, this year, and before; in the zone of the clock on the wall."""
    assert words.moment(NOON, NOON, UTC) == "01:00:00"
    assert words.moment(NOON - 7_200, NOON, UTC) == "29 Nov 23:00"
    assert words.moment(NOON - 400 * 86_400, NOON, UTC) == "26 Oct 2025"
    assert words.moment(NOON, NOON, timezone(timedelta(hours=2))) == "03:00:00"


def test_the_api_in_plain_words() -> None:
    """Since when a trouble lasts is said; of what is well it is not."""
    assert words.api_words(ApiFigures("reachable", NOON - 60), NOON, UTC) == "reachable"
    assert words.api_words(ApiFigures("key_refused", NOON - 1_080), NOON, UTC) == "key refused since 00:42"
    assert words.api_words(ApiFigures("unreachable", NOON - 7_200), NOON, UTC) == "not reachable since 29 Nov 23:00"


def test_sizes_and_savings() -> None:
    """Smaller, larger, and not known."""
    small = output(input_size=2_400_000, output_size=214_000, saved_percent=91.1)
    assert (words.sizes_words(small), words.saved_words(small)) == ("2.4 MB → 214.0 kB", "\N{MINUS SIGN}91 %")
    assert words.saved_words(output(saved_percent=-3.0)) == "+3 %"
    assert words.saved_words(output(saved_percent=-0.2)) == "0 %"
    assert words.sizes_words(output(input_size=900, output_size=None)) == "900 B"
    assert words.saved_words(output(saved_percent=None)) == ""


def test_the_smallest_output_that_browsers_show_is_the_thumbnail() -> None:
    """It costs the bucket least; formats and addresses that a browser cannot have are left out."""
    own = output(url="https://b.example/a.jpg", output_size=90_000)
    thumb = output(rendition="thumb", url="https://b.example/t.jpg", link="https://cdn.example/t.jpg", output_size=4_000)
    heic = output(rendition="heic", url="https://b.example/a.heic", format="heic", output_size=100)
    local = output(rendition="local", url="file:///srv/bucket/a.jpg", output_size=50)
    failed = output(rendition="bad", state="failed", output_size=1, url="https://b.example/no.jpg")

    assert words.thumbnail(image(own, heic, thumb, local, failed)) == "https://cdn.example/t.jpg"
    assert words.thumbnail(image(heic, local, failed)) is None
    assert words.picture_origins([image(own), image(thumb), image(local)]) == {"https://b.example", "https://cdn.example"}


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://b.example:8443/a b.jpg?x#y", "https://b.example:8443"),
        ("http://[::1]:80/x", "http://[::1]:80"),
        ("HTTPS://B.Example/", "https://b.example"),
        ("https://user:pw@b.example/", "https://b.example"),
        ("javascript:alert(1)", None),
        ("data:image/png;base64,xx", None),
        ("file:///x", None),
        ("https://", None),
        ("https://b.example; script-src *", None),
        ("https://b.example:port/", None),
        ("https://bücher.example/", None),
    ],
)
def test_origins_fit_into_a_policy(address: str, origin: str | None) -> None:
    """Whatever an API says as `url`: it widens the policy by no more than one host."""
    assert words.origin_of(address) == origin


def test_the_policy_lets_nothing_in_but_pictures() -> None:
    """No inline script or style, nothing from elsewhere, no frame around us."""
    policy = content_policy(["https://b.example"])
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "connect-src": ["'self'"],
        "img-src": ["'self'", "https://b.example"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }


def test_notices_say_what_a_button_did_and_nothing_else() -> None:
    """An address that somebody else made puts no words of theirs on our page."""
    assert notice({"done": "retried-1"}) == "1 image put back in the queue."
    assert notice({"done": "dismissed-12"}) == "12 images dismissed."
    assert notice({"done": "retried-0"}).startswith("Nothing was put back")
    assert notice({"done": "paused-1"}).startswith("Paused")
    for forged in ("", "call 555-1234", "retried-", "retried-x", "retried-" + "9" * 30, "<b>-1"):
        assert notice({"done": forged}) == ""


def test_code_in_messages() -> None:
    """Between backticks; everything is escaped."""
    assert code("set `image` & try <again>") == "set <code>image</code> &amp; try &lt;again&gt;"
    assert code("none") == "none"
