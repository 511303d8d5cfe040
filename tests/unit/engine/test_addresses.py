"""Which addresses may be connected to."""

import pytest

from watcher.engine.addresses import AddressPolicy

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"]
INNER = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.0.8", "192.0.2.1", "192.88.99.1",
    "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "100::1", "2001:db8::1", "3fff::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1", "5f00::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    """Without any permission, what is public unicast may be connected to."""
    assert AddressPolicy().permits("example.com", 443, address)


@pytest.mark.parametrize("address", INNER)
def test_all_others_are_not(address: str) -> None:
    """Private, loopback, link-local, shared, documentation, multicast and reserved ones may not, wrapped or not."""
    assert not AddressPolicy().permits("example.com", 443, address)


def test_an_allowed_network_opens_itself_alone() -> None:
    """Only addresses inside an allowed network are permitted besides public ones."""
    policy = AddressPolicy.of(["10.1.0.0/16", "fd00::/8"])
    assert policy.permits("x", 80, "10.1.2.3")
    assert policy.permits("x", 80, "::ffff:10.1.2.3")
    assert policy.permits("x", 80, "fd00::1")
    assert not policy.permits("x", 80, "10.2.0.1")
    assert not policy.permits("x", 80, "127.0.0.1")


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST", "other.example"])
def test_an_allowed_host_and_port_open_nothing_else(host: str) -> None:
    """A (host, port) pair holds for the host as the URL names it, or as it resolves, at that port alone."""
    policy = AddressPolicy.of([], [("127.0.0.1", 8080), ("localhost", 8080)])
    assert policy.permits(host, 8080, "127.0.0.1")
    assert not policy.permits(host, 8081, "127.0.0.1")
    assert not policy.permits("other.example", 8080, "127.0.0.2")
