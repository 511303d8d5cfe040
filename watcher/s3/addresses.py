"""Addresses of stores and objects. Pure.

The key is percent-encoded as B2 and S3 want it (a space is %20, a plus %2B), its slashes stay.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote, urlsplit

B2_OBJECT: Final = "https://{bucket}.s3.{region}.backblazeb2.com/{key}"
"""Backblaze's own form of an object's address, as a template for `object_url`."""


def b2_endpoint(region: str) -> str:
    """Where the buckets of a Backblaze region are."""
    return f"https://s3.{region}.backblazeb2.com"


def path_style(endpoint: str) -> str:
    """The template of a store's objects with the bucket in the path: its name may hold dots, which no certificate covers."""
    return f"{endpoint}/{{bucket}}/{{key}}"


def object_url(template: str, bucket: str, key: str, region: str = "") -> str:
    """The address of an object: `template` with its "{bucket}", "{region}" and "{key}" filled in."""
    filled = template.replace("{bucket}", quote(bucket, safe="")).replace("{region}", quote(region, safe=""))
    return filled.replace("{key}", quote(key, safe="/-._~"))


def bucket_url(endpoint: str, bucket: str) -> str:
    """The address of a bucket itself, for listings."""
    return f"{endpoint}/{quote(bucket, safe='')}"


def is_object_url(url: str, template: str, bucket: str, key: str, region: str = "") -> bool:
    """Whether `url` is the object's address, percent-encoded or not. Hosts have no case."""
    wanted = object_url(template, bucket, key, region)
    if url == wanted:
        return True
    expected, found = _parts(wanted), _parts(url)
    if expected is None or found is None or expected[0] != found[0]:
        return False
    return unquote(expected[1]) in (found[1], unquote(found[1]))


def _parts(url: str) -> tuple[str, str] | None:
    """Scheme and host in lower case, and all that follows as it stands; None where it cannot be read."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin.lower(), url[len(origin) :]
