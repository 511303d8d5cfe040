"""The closed catalogue of log events, and the words that say why."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Event(StrEnum):
    """The closed catalogue of log events."""

    SERVICE_STARTED = "service.started"
    SERVICE_READY = "service.ready"
    SERVICE_STOPPING = "service.stopping"
    SERVICE_STOPPED = "service.stopped"
    CONFIG_RELOADED = "config.reloaded"
    CONFIG_REJECTED = "config.rejected"
    FOLDER_WATCHING = "folder.watching"
    FOLDER_LOST = "folder.lost"
    FOLDER_RECOVERED = "folder.recovered"
    WATCH_OVERFLOW = "watch.overflow"
    SCAN_FINISHED = "scan.finished"
    IMAGE_DETECTED = "image.detected"
    IMAGE_IGNORED = "image.ignored"
    IMAGE_PUBLISHED = "image.published"
    IMAGE_FETCHED = "image.fetched"
    IMAGE_REQUESTED = "image.requested"
    IMAGE_ENQUEUED = "image.enqueued"
    IMAGE_RETRY = "image.retry"
    IMAGE_WAITING = "image.waiting"
    IMAGE_UNCHANGED = "image.unchanged"
    IMAGE_STORED = "image.stored"
    IMAGE_FAILED = "image.failed"
    IMAGE_SUPERSEDED = "image.superseded"
    IMAGE_VANISHED = "image.vanished"
    IMAGE_MOVED = "image.moved"
    IMAGE_DELETED = "image.deleted"
    API_UNAVAILABLE = "api.unavailable"
    API_UNAUTHORIZED = "api.unauthorized"
    API_QUOTA = "api.quota"
    API_THROTTLED = "api.throttled"
    API_RECOVERED = "api.recovered"
    JOURNAL_UNAVAILABLE = "journal.unavailable"
    JOURNAL_RECOVERED = "journal.recovered"
    CLUSTER_JOINED = "cluster.joined"
    CLUSTER_FENCED = "cluster.fenced"
    CLUSTER_LEFT = "cluster.left"
    SERVE_DENIED = "serve.denied"
    NOTIFY_UNAVAILABLE = "notify.unavailable"
    NOTIFY_RECOVERED = "notify.recovered"


ENDINGS: Final = frozenset({Event.IMAGE_STORED, Event.IMAGE_FAILED, Event.IMAGE_SUPERSEDED, Event.IMAGE_VANISHED})


class IgnoredReason(StrEnum):
    """Why a file is not taken (`reason` of image.ignored, and of `explain`)."""

    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED = "unsupported"
    HIDDEN = "hidden"
    TEMPORARY_NAME = "temporary_name"
    NOT_INCLUDED = "not_included"
    EXCLUDED = "excluded"
    SUBFOLDER = "subfolder"
    MOVE_TARGET = "move_target"
    NOT_REGULAR = "not_regular"
    SYMLINK_OUTSIDE = "symlink_outside"
    SYMLINK_BROKEN = "symlink_broken"
    UNREADABLE = "unreadable"
    OWN_OUTPUT = "own_output"


class FailedReason(StrEnum):
    """Why an image ended as failed (`reason` of image.failed)."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    INVALID_KEY = "invalid_key"
    KEY_CONFLICT = "key_conflict"
    REJECTED = "rejected"
    JOB_FAILED = "job_failed"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    INPUT_MISMATCH = "input_mismatch"
    STORE_MISMATCH = "store_mismatch"


class Notice(StrEnum):
    """What an ending warns of (`warnings` of its line)."""

    NOT_WEB_SAFE = "not_web_safe"
    """Browsers do not show what is stored."""
    CACHED_FOREVER = "cached_forever"
    """The picture at the key was replaced, and caches may keep the old one for long."""
    NO_FORMAL_END = "no_formal_end"
    """The original lacked the formal end of its container; all its pixels were there."""
