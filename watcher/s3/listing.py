"""Listings of a bucket: what lies in it, version by version. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from watcher.s3.errors import S3Error, S3ErrorKind, child_text, local_name, parse_xml

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one object (or the marker of a deletion); `id` None where the store keeps none."""

    key: str
    id: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing, and the query parameters of the next part."""

    versions: tuple[Version, ...]
    following: Mapping[str, str] = field(default_factory=dict)


def version_page(body: str) -> Page:
    """A page of ListObjectVersions: versions and deletion markers alike. Raises S3Error where it is none."""
    root = _listed(body)
    versions = tuple(
        Version(child_text(entry, "Key"), child_text(entry, "VersionId") or None)
        for entry in root
        if local_name(entry.tag) in ("Version", "DeleteMarker")
    )
    markers = {"key-marker": child_text(root, "NextKeyMarker"), "version-id-marker": child_text(root, "NextVersionIdMarker")}
    return Page(versions, _if_truncated(root, markers))


def object_page(body: str) -> Page:
    """A page of ListObjectsV2, for stores that keep no versions. Raises S3Error where it is none."""
    root = _listed(body)
    versions = tuple(Version(child_text(entry, "Key"), None) for entry in root if local_name(entry.tag) == "Contents")
    return Page(versions, _if_truncated(root, {"continuation-token": child_text(root, "NextContinuationToken")}))


def _if_truncated(root: ET.Element, following: Mapping[str, str]) -> dict[str, str]:
    if child_text(root, "IsTruncated") != "true":
        return {}
    return {name: value for name, value in following.items() if value}


def _listed(body: str) -> ET.Element:
    """The document of a listing. Whatever else answers there with success (a proxy's page, say) is not the store."""
    try:
        root = parse_xml(body)
    except ET.ParseError:
        root = ET.Element("nothing")
    if not local_name(root.tag).startswith("List"):
        raise S3Error(S3ErrorKind.OTHER, "what answers at the endpoint is no S3-compatible store: its listing cannot be read")
    return root
