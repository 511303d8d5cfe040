"""What a reload takes from a changed configuration, and what only a restart does. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from watcher.config.publish_settings import PublishSettings
    from watcher.config.schema import Settings

NEEDS_RESTART: Final = (
    "state_dir",
    "journal",
    "cluster",
    "keep",
    "publish",
    "verify.url",
    "admin.listen",
    "engine",
    "compressor.url",
    "compressor.transport",
    "log.format",
    "log.audit",
)
"""Settings that a reload leaves as they are, but for keys."""


def keeping(old: Settings, new: Settings) -> Settings:
    """The new settings, with those of the old that only a restart changes."""
    compressor = new.compressor.model_copy(update={"url": old.compressor.url, "transport": old.compressor.transport})
    log = new.log.model_copy(update={"format": old.log.format, "audit": old.log.audit})
    verify = new.verify.model_copy(update={"url": old.verify.url})
    kept = {name: getattr(old, name) for name in ("state_dir", "journal", "cluster", "keep", "engine")}
    admin = new.admin.model_copy(update={"listen": old.admin.listen})
    publish = _with_new_keys(old.publish, new.publish)
    return new.model_copy(
        update={**kept, "admin": admin, "compressor": compressor, "log": log, "verify": verify, "publish": publish}
    )


def changed(old: Settings, new: Settings) -> list[str]:
    """The tables and keys of the top level that differ."""
    return [name for name in type(new).model_fields if getattr(old, name) != getattr(new, name)]


def waiting_for_restart(kept: Settings, new: Settings) -> list[str]:
    """Those of NEEDS_RESTART that would be other than `keeping` left them."""
    return [name for name in NEEDS_RESTART if _setting(kept, name) != _setting(new, name)]


def _with_new_keys(old: PublishSettings, new: PublishSettings) -> PublishSettings:
    if old.presign is None or new.presign is None:
        return old
    keys = {"key_id": new.presign.key_id, "application_key": new.presign.application_key}
    return old.model_copy(update={"presign": old.presign.model_copy(update=keys)})


def _setting(settings: Settings, name: str) -> object:
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value
