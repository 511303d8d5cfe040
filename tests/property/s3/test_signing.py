"""Our signatures against those of botocore, the reference."""

import datetime
from unittest.mock import patch
from urllib.parse import urlsplit

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from watcher.s3.addresses import object_url, path_style
from watcher.s3.signing import Credentials, query_text, signed_headers, signed_link

ENDPOINTS = st.sampled_from(
    [
        "https://s3.eu-central-003.backblazeb2.com",
        "https://s3.example.com:8443",
        "http://127.0.0.1:9000",
        "https://s3.example.com:443",
    ]
)
KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(
    lambda key: not key.startswith("/") and not any(part in ("", ".", "..") for part in key.split("/"))
)
TIMES = st.integers(1_000_000_000, 4_000_000_000)
QUERIES = st.dictionaries(st.text("abcXYZ-_", min_size=1, max_size=8), st.text(max_size=12), max_size=3)
NOTES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
OURS = Credentials("004abc", "K004/secret+key", "eu-central-003")
THEIRS = BotoCredentials("004abc", "K004/secret+key")


def frozen(seconds: int) -> object:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return patch.object(botocore.auth, "get_current_datetime", lambda *_a, **_k: moment.replace(tzinfo=None))


@given(ENDPOINTS, KEYS, TIMES, QUERIES, st.sampled_from(["GET", "HEAD", "PUT", "DELETE"]), NOTES)
def test_signed_headers_are_botocores(endpoint: str, key: str, now: int, query: dict[str, str], method: str, note: str) -> None:
    """Whatever the key, the query and the headers, the Authorization header is the reference's."""
    url = object_url(path_style(endpoint), "my-bucket", key)
    headers = {"Content-Type": "image/jpeg", "x-amz-meta-note": note}
    ours = signed_headers(OURS, method, url, query, headers, now)
    full = f"{url}?{query_text(query)}" if query else url
    request = AWSRequest(method=method, url=full, headers=headers)
    request.context["payload_signing_enabled"] = False
    request.context["client_config"] = None
    with frozen(now), patch.object(botocore.auth.S3SigV4Auth, "payload", lambda *_: "UNSIGNED-PAYLOAD"):
        botocore.auth.S3SigV4Auth(THEIRS, "s3", "eu-central-003").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]


@given(ENDPOINTS, KEYS, TIMES, st.integers(1, 604_800))
def test_signed_links_are_botocores(endpoint: str, key: str, now: int, lifetime: int) -> None:
    """Whatever the key and the lifetime, the link is the reference's."""
    url = object_url(path_style(endpoint), "my-bucket", key)
    request = AWSRequest(method="GET", url=url)
    with frozen(now):
        botocore.auth.S3SigV4QueryAuth(THEIRS, "s3", "eu-central-003", expires=lifetime).add_auth(request)
    assert signed_link(OURS, url, now, lifetime) == request.url
    assert urlsplit(url).query == ""
