"""What a refusal of the staging bucket means to the operator: hints in the words of `[publish.presign]`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from watcher.s3.errors import S3ErrorKind

if TYPE_CHECKING:
    from collections.abc import Mapping

HINTS: Final[Mapping[S3ErrorKind, str]] = {
    S3ErrorKind.UNREACHABLE: "look at the network and at [publish.presign] endpoint; it goes on by itself",
    S3ErrorKind.BUSY: "it goes on by itself",
    S3ErrorKind.KEY: (
        "[publish.presign] key_id is not known there; B2 says the same of a key of another region's account (is `endpoint` the "
        "one that B2 shows with the bucket?) and of the master key (make an application key)"
    ),
    S3ErrorKind.SECRET: "[publish.presign] application_key does not belong to key_id",
    S3ErrorKind.BUCKET: "[publish.presign] bucket is not there; B2's bucket names are per region: look at `endpoint` too",
    S3ErrorKind.MISSING: "look at [publish.presign] endpoint: what answers there knows no such bucket or object",
    S3ErrorKind.REGION: "[publish.presign] region or endpoint is not the bucket's; both are shown with the bucket",
    S3ErrorKind.CLOCK: "this machine's clock is wrong; let NTP set it (`timedatectl`)",
    S3ErrorKind.CAP: "a cap of the B2 account is used up; raise it in B2 under Caps & Alerts, or wait for 00:00 UTC",
    S3ErrorKind.ACL: "the staging bucket does not take objects without an ACL; use a private bucket",
    S3ErrorKind.DENIED: (
        "the application key lacks a capability, or is for another bucket or prefix; `compressor-watcher check` tells which"
    ),
    S3ErrorKind.UNSUPPORTED: "what answers at [publish.presign] endpoint cannot do this; is it an S3-compatible store?",
    S3ErrorKind.OTHER: "look at [publish.presign] endpoint, and at what the message says",
}
