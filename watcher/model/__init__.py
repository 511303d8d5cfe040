"""The words everybody speaks: files, rules, images, outputs, endings, failures. Pure.

A table of contents: what others import from here is written in the modules beside it. What the edges promise: `watcher.ports`.
"""

from __future__ import annotations

from watcher.model.ending import AuditLine, Ending, PublishedObject, StoredObject
from watcher.model.event import ENDINGS, Event, FailedReason, IgnoredReason, Notice
from watcher.model.failure import Absence, Failure, FailureKind, HeadAnswer
from watcher.model.file import (
    FARTHEST_NS,
    INODE_BITS,
    FileRef,
    Known,
    KnownDirectory,
    Observation,
    Stamp,
    Subtree,
    Unfinished,
    path_fields,
)
from watcher.model.image import (
    OPEN_STATES,
    Format,
    Image,
    ImageState,
    Output,
    OutputState,
    Postponement,
    Sighting,
    SourceFacts,
    Taken,
    Ticket,
)
from watcher.model.log_fields import Json, Record, optional_timestamp, timestamp
from watcher.model.rule import OutputFormat, OutputRule, Rule, canonical

__all__ = [
    "ENDINGS",
    "FARTHEST_NS",
    "INODE_BITS",
    "OPEN_STATES",
    "Absence",
    "AuditLine",
    "Ending",
    "Event",
    "FailedReason",
    "Failure",
    "FailureKind",
    "FileRef",
    "Format",
    "HeadAnswer",
    "IgnoredReason",
    "Image",
    "ImageState",
    "Json",
    "Known",
    "KnownDirectory",
    "Notice",
    "Observation",
    "Output",
    "OutputFormat",
    "OutputRule",
    "OutputState",
    "Postponement",
    "PublishedObject",
    "Record",
    "Rule",
    "Sighting",
    "SourceFacts",
    "Stamp",
    "StoredObject",
    "Subtree",
    "Taken",
    "Ticket",
    "Unfinished",
    "canonical",
    "optional_timestamp",
    "path_fields",
    "timestamp",
]
