"""Addresses, paths and names, as several tables of the configuration have them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from watcher.config.values import (
    AbsolutePath,
    Address,
    BucketName,
    HttpUrl,
    ManifestPath,
    Name,
    RegionName,
    is_loopback,
    split_address,
)


def refuses(kind: Any, value: str) -> bool:
    """Whether the value is not taken; a message repeats none of it."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return True
    return False


@pytest.mark.parametrize(
    ("address", "split"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:65535", ("localhost", 65_535)),
    ],
)
def test_an_address_is_host_and_port(address: str, split: tuple[str, int]) -> None:
    """An IPv6 address stands in brackets."""
    assert not refuses(Address, address)
    assert split_address(address) == split


@pytest.mark.parametrize(
    "address", ["8080", ":8080", "localhost", "localhost:", "localhost:http", "localhost:65536", "localhost:-1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """Half an address would be guessed at."""
    assert refuses(Address, address)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("drops.localhost", True),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("0.0.0.0", False),
        ("", False),
        (None, False),
    ],
)
def test_what_leads_to_this_machine_alone(host: str | None, is_ours: bool) -> None:
    """Secrets travel readable to nobody else."""
    assert is_loopback(host) is is_ours


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://drops.example.com", "https://drops.example.com"),
        ("https://drops.example.com/", "https://drops.example.com"),
        ("http://[::1]:8080/a/b//", "http://[::1]:8080/a/b"),
    ],
)
def test_a_url_is_kept_without_the_slash_at_its_end(url: str, kept: str) -> None:
    """Paths are put behind it."""
    assert TypeAdapter(HttpUrl).validate_python(url) == kept


@pytest.mark.parametrize(
    "url", ["drops.example.com", "ftp://a", "https://", "https://a/?b=c", "https://a/#b", "https://user:word@a"]
)
def test_a_url_with_more_or_less_is_refused(url: str) -> None:
    """What stands in it besides host and path would be lost, or told to others."""
    assert refuses(HttpUrl, url)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (AbsolutePath, ["/srv/drop", "/"], ["drop", "./drop", ""]),
        (ManifestPath, ["/srv/site/a.json", "/a.csv"], ["/srv/site/a.txt", "/srv/site/json", "a.json"]),
        (Name, ["products", "Größe 2", "a" * 100], ["", "a/b", "a\nb", "a" * 101]),
        (BucketName, ["my-bucket", "a.b", "A1"], ["", "-a", "my_bucket", "a" * 64]),
        (RegionName, ["eu-central-003", "auto"], ["", "EU", "eu--x", "-eu", "eu central"]),
    ],
    ids=["absolute path", "manifest", "name", "bucket", "region"],
)
def test_paths_and_names(kind: Any, good: list[str], bad: list[str]) -> None:
    """What is taken and what is not."""
    assert [value for value in good if refuses(kind, value)] == []
    assert [value for value in bad if not refuses(kind, value)] == []
