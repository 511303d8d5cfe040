"""`[publish]`: how the API gets at an original."""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, model_validator

from watcher.config.section import Section
from watcher.config.units import Duration
from watcher.config.values import AbsolutePath, Address, BucketName, HttpUrl, RegionName, is_loopback

PRESIGN_LIMIT_SECONDS: Final = 604_800
"""A presigned link lives at most seven days (S3 signature version 4; B2 keeps to it)."""


class ServeSettings(Section):
    """`[publish.serve]`: temporary URLs from this process."""

    listen: Address | None = None
    """Address and port of the temporary URLs. Default: the port of `public_url` on every address."""
    public_url: HttpUrl | None = None
    """How the API reaches `listen`: a reverse proxy, a tunnel, an open port."""
    ttl: Duration = 3600.0
    """A URL lives no longer than this, and ends with its image; not below `compressor.timeout`."""
    require_header: bool = True
    """Whether the API is asked to send a second secret as a header, without which the URL opens nothing."""
    certificate: AbsolutePath | None = None
    """TLS in this process: PEM file, reloaded when it changes. Goes with `private_key`."""
    private_key: AbsolutePath | None = None
    """PEM file of the key to `certificate`."""

    @model_validator(mode="after")
    def _pair(self) -> ServeSettings:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("`certificate` and `private_key` go together")
        return self


def _is_prefix(prefix: str) -> bool:
    """Whether objects of every store can be named with it."""
    segments = prefix.split("/")
    named = segments[-1] == "" and not any(each in ("", ".", "..") for each in segments[:-1])
    return named and "\\" not in prefix and prefix.isprintable() and len(prefix.encode()) <= 500


class PresignSettings(Section):
    """`[publish.presign]`: originals staged in a private bucket of any S3-compatible store."""

    endpoint: HttpUrl
    """The store's S3 address."""
    region: RegionName
    """Its region."""
    bucket: BucketName
    """A private bucket."""
    prefix: str = "staging/"
    """Where in it originals are staged."""
    ttl: Duration = 3600.0
    """How long a signed link lives; seven days at most."""
    key_id: SecretStr | None = None
    """Better in the environment or a credential named `publish_presign_key_id`."""
    application_key: SecretStr | None = None
    """Credential `publish_presign_application_key`. Needs `readFiles`, `writeFiles`, `deleteFiles`, `listFiles`."""

    @model_validator(mode="after")
    def _limits(self) -> PresignSettings:
        if self.ttl > PRESIGN_LIMIT_SECONDS:
            raise ValueError("`ttl`: a presigned link lives seven days at most")
        parts = urlsplit(self.endpoint)
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("`endpoint`: plain http is for this machine only")
        if self.prefix and not _is_prefix(self.prefix):
            raise ValueError(
                '`prefix` is empty or like "staging/": no control characters, backslash, `.` or `..` in it, 500 bytes at most'
            )
        if parts.path.strip("/"):
            raise ValueError("`endpoint` is the store's address alone, without a bucket or another path behind it")
        return self


class PublishSettings(Section):
    """`[publish]`: how the API gets at an original."""

    mode: Literal["serve", "presign"] = "serve"
    """`serve` opens temporary URLs on this machine, `presign` stages originals in a private bucket."""
    serve: ServeSettings = ServeSettings()
    presign: PresignSettings | None = None
