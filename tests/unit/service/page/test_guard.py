"""Who may press a button, and under which names the page answers."""

import pytest

from watcher.service.page.guard import is_own_form, names_this_machine

TOKEN = "a-token"
OWN = {"Host": "localhost:8081", "Origin": "http://localhost:8081"}


def test_our_own_form_is_taken() -> None:
    """The token, and an origin that is the host that was asked."""
    assert is_own_form(OWN, TOKEN, TOKEN)
    assert is_own_form({**OWN, "Sec-Fetch-Site": "same-origin"}, TOKEN, TOKEN)


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        pytest.param(OWN, "", id="no-token"),
        pytest.param(OWN, "a-tokem", id="wrong-token"),
        pytest.param(OWN, "\u00fc", id="odd-token"),
        pytest.param({**OWN, "Origin": "http://evil.example"}, TOKEN, id="other-site"),
        pytest.param({**OWN, "Origin": "http://localhost:9999"}, TOKEN, id="other-port"),
        pytest.param({**OWN, "Origin": "null"}, TOKEN, id="hidden-origin"),
        pytest.param({"Host": "localhost:8081"}, TOKEN, id="no-origin"),
        pytest.param({"Origin": "http://"}, TOKEN, id="empty-origin"),
        pytest.param({**OWN, "Sec-Fetch-Site": "cross-site"}, TOKEN, id="cross-site"),
        pytest.param({**OWN, "Sec-Fetch-Site": "same-site"}, TOKEN, id="same-site"),
    ],
)
def test_forged_forms_are_refused(headers: dict[str, str], token: str) -> None:
    """Each of the two is needed; a browser that says more is believed."""
    assert not is_own_form(headers, token, TOKEN)


def test_a_proxy_may_ask_by_another_name() -> None:
    """What the browser asked stands in X-Forwarded-Host then."""
    headers = {"Host": "127.0.0.1:8081", "X-Forwarded-Host": "images.example.com", "Origin": "https://images.example.com"}
    assert is_own_form(headers, TOKEN, TOKEN)


@pytest.mark.parametrize("host", ["localhost", "localhost:8081", "LOCALHOST.", "127.0.0.1:80", "[::1]:8081", "app.localhost"])
def test_loopback_names_are_this_machine(host: str) -> None:
    """However a loopback address is written."""
    assert names_this_machine(host, "127.0.0.1")


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8081", "10.0.0.1", "localhost.evil.example", "[::1", "127.0.0.1.evil"]
)
def test_other_names_are_not(host: str) -> None:
    """A name that anybody can make lead here."""
    assert not names_this_machine(host, "127.0.0.1")


def test_the_address_that_is_listened_on_is_this_machine() -> None:
    """A name of the hosts file that stands in `listen`."""
    assert names_this_machine("loop:8081", "loop")
