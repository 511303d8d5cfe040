"""The proxies that the environment names, and for whom."""

from __future__ import annotations

import pytest

from watcher.network.proxies import Proxies

API = "https://api.compressor.test/1.0"
PROXY = "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other.test:1"}, PROXY),
        ({"HTTPS_PROXY": "proxy.test:3128"}, PROXY),
        ({"HTTPS_PROXY": " http://user:secret@proxy.test:3128 "}, "http://user:secret@proxy.test:3128"),
        ({"HTTPS_PROXY": "", "ALL_PROXY": PROXY}, PROXY),
        ({"ALL_PROXY": PROXY}, PROXY),
        ({"HTTPS_PROXY": PROXY, "ALL_PROXY": "socks5://127.0.0.1:1080"}, PROXY),
        ({"HTTP_PROXY": PROXY}, None),
    ],
)
def test_the_variables_are_read_as_curl_reads_them(environment: dict[str, str], proxy: str | None) -> None:
    """The scheme's own variable before ALL_PROXY, lower case before upper case, no scheme means http, empty means unset."""
    proxies = Proxies.of_environment(environment)
    assert proxies.for_url(API) == proxy
    assert proxies.problem(API) is None


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8787/1.0", "http://localhost:1", "http://[::1]:1", "https://api.localhost", "http://127.8.8.8"],
)
def test_this_machine_is_never_asked_through_a_proxy(url: str) -> None:
    """A proxy elsewhere cannot reach it, and one that cannot be used does not matter."""
    for value in (PROXY, "socks5://127.0.0.1:1080", "nonsense:"):
        proxies = Proxies.of_environment({"ALL_PROXY": value})
        assert (proxies.for_url(url), proxies.problem(url)) == (None, None)


@pytest.mark.parametrize(
    ("exceptions", "url", "excepted"),
    [
        ("*", API, True),
        ("compressor.test", API, True),
        (".compressor.test", API, True),
        ("*.compressor.test", API, True),
        ("COMPRESSOR.TEST", API, True),
        ("pressor.test", API, False),
        ("api.compressor.test:443", API, True),
        ("api.compressor.test:8443", API, False),
        ("api.compressor.test:8443", "https://api.compressor.test:8443/1.0", True),
        ("localhost, 127.0.0.1, fe80::/10, [::1]", API, False),
        ("10.0.0.0/8", "https://10.1.2.3/1.0", True),
        ("10.0.0.0/8", "https://11.1.2.3/1.0", False),
        ("10.1.2.3", "https://10.1.2.3:8443/1.0", True),
        ("fd00::/8", "https://[fd00::1]/1.0", True),
        ("[fd00::1]", "https://[fd00::1]/1.0", True),
        ("[fd00::1]:8443", "https://[fd00::1]/1.0", False),
        ("fd00::1", "https://[fd00::1]/1.0", True),
        (",, ,", API, False),
    ],
)
def test_no_proxy_excepts_hosts(exceptions: str, url: str, excepted: bool) -> None:
    """Names with all below them, addresses, networks, ports, in any notation."""
    proxies = Proxies.of_environment({"HTTPS_PROXY": PROXY, "NO_PROXY": exceptions})
    assert (proxies.for_url(url) is None) is excepted


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("socks5://user:secret@127.0.0.1:1080", "SOCKS"),
        ("socks5h://127.0.0.1:1080", "SOCKS"),
        ("ftp://proxy.test", "names no proxy"),
        ("http://", "names no proxy"),
        ("http://[::1:3128", "cannot be read"),
        ("http://proxy.test:port", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_variable(value: str, word: str) -> None:
    """In words that say how to write it, without the value, which may hold a password."""
    proxies = Proxies.of_environment({"all_proxy": value})
    problem = proxies.problem(API)
    assert problem is not None
    assert problem.startswith("all_proxy: ")
    assert word in problem
    assert "secret" not in problem
    assert proxies.for_url(API) is None
