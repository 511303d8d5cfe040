"""Tables laid over each other: what a folder's output has of its own, and what of the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.config.folder_settings import Folder, Rendition
    from watcher.config.schema import Settings


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, key by key, in every table; anything that is not a table is replaced."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both_tables = isinstance(below, dict) and isinstance(value, dict)
        result[key] = merge(below, value) if both_tables and below is not None else value
    return result


def output_store(settings: Settings, folder: Folder, rendition: Rendition | None) -> dict[str, Any]:
    """The merged `store` table of a folder's own output (None) or of one of its renditions."""
    store = merge(settings.store.table(), folder.store.table())
    return merge(store, rendition.store.table()) if rendition else store


def output_image(folder: Folder, rendition: Rendition | None) -> dict[str, Any]:
    """The merged `image` table of a folder's own output (None) or of one of its renditions."""
    return merge(folder.image, rendition.image) if rendition else dict(folder.image)
