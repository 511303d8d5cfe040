"""Addresses of objects, whatever the key."""

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from watcher.s3.addresses import B2_OBJECT, is_object_url, object_url, path_style

KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)
TEMPLATES = st.sampled_from([B2_OBJECT, path_style("https://s3.example.com:8443"), "https://cdn.example.com/{key}"])


@given(TEMPLATES, KEYS)
def test_an_address_names_its_key(template: str, key: str) -> None:
    """It is ASCII, and is recognised as it stands, percent-decoded, and with its host in capitals."""
    url = object_url(template, "My-bucket", key, "eu-central-003")
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    assert url.isascii()
    for given_url in (url, unquote(url), f"{scheme}://{host.upper()}/{path}"):
        assert is_object_url(given_url, template, "My-bucket", key, "eu-central-003")


@given(TEMPLATES, KEYS, KEYS)
def test_another_key_has_another_address(template: str, key: str, other: str) -> None:
    """No two keys share one."""
    one, two = (object_url(template, "bucket", each, "eu-central-003") for each in (key, other))
    assert (one == two) is (key == other)
