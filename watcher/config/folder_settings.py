"""`[[folders]]`: the watched folders and their renditions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from watcher.config.api_tables import ImageTable, StoreTable
from watcher.config.section import Section
from watcher.config.values import AbsolutePath, ManifestPath, Name


class MoveTo(Section):
    """`{ move = "/srv/done" }`"""

    move: AbsolutePath
    """An absolute folder."""


def _after_success(value: object) -> object:
    if not isinstance(value, dict | MoveTo) and value not in ("keep", "delete"):
        raise ValueError('is "keep", "delete" or { move = "/folder" }')
    return value


def _after_failure(value: object) -> object:
    if not isinstance(value, dict | MoveTo) and value != "keep":
        raise ValueError('is "keep" or { move = "/folder" }; a failed image is never deleted')
    return value


def _polling(value: object) -> object:
    if value != "auto" and not isinstance(value, bool):
        raise ValueError('is "auto", true or false')
    return value


def _after_kind(value: object) -> str:
    return "table" if isinstance(value, dict | MoveTo) else "word"


_MoveTable = Annotated[MoveTo, Tag("table")]
AfterSuccess = Annotated[
    Annotated[Literal["keep", "delete"], Tag("word")] | _MoveTable,
    Discriminator(_after_kind),
    BeforeValidator(_after_success),
]
AfterFailure = Annotated[
    Annotated[Literal["keep"], Tag("word")] | _MoveTable, Discriminator(_after_kind), BeforeValidator(_after_failure)
]


class Rendition(Section):
    """One more output of each image of a folder."""

    name: Name
    """Names this output; `{rendition}` in keys."""
    image: ImageTable = Field(default_factory=dict)
    """Laid over the folder's `image`, key by key."""
    store: StoreTable = StoreTable()
    """Laid over the folder's `store`, key by key."""
    link: str | None = None
    """Laid over the folder's `link`."""


class Folder(Section):
    """A watched folder and its rule."""

    name: Name = ""
    """Names the folder in logs and keys. Default: the folder's own name."""
    path: AbsolutePath
    """The folder to watch, absolute."""
    recursive: bool = True
    """Whether folders inside are watched too."""
    include: tuple[str, ...] = ("**/*",)
    """Globs on the path inside the folder; a file has to match one."""
    exclude: tuple[str, ...] = ()
    """Globs on the path inside the folder; a file must match none."""
    polling: Annotated[Literal["auto"] | bool, BeforeValidator(_polling)] = "auto"
    """Whether to poll instead of watching. `auto` polls on NFS, SMB, FUSE and where watching fails."""
    on_success: AfterSuccess = "keep"
    """What becomes of an original whose outputs are all stored: `keep`, `delete`, or `{ move = "/folder" }`."""
    on_failure: AfterFailure = "keep"
    """What becomes of an original of which an output failed: `keep` or `{ move = "/folder" }`."""
    prune_empty: bool = False
    """Whether folders that delete or move emptied are removed, with what desktops leave there (`.DS_Store`, `Thumbs.db`)."""
    link: str | None = None
    """Logged beside `url` with `{key}` replaced, for a CDN in front of the bucket."""
    manifest: ManifestPath | None = None
    """A file kept up to date: which files the folder has, and what lies in the bucket of each. Ends in `.json`, or `.csv`."""
    image: ImageTable = Field(default_factory=dict)
    """The API's own `image` object; unknown keys are passed on."""
    store: StoreTable = StoreTable()
    """The API's own `store` object, laid over `[store]`."""
    renditions: tuple[Rendition, ...] = ()
    """More outputs of each image."""

    @model_validator(mode="before")
    @classmethod
    def _default_name(cls, data: object) -> object:
        if isinstance(data, dict) and "name" not in data and isinstance(data.get("path"), str):
            return {**data, "name": Path(data["path"]).name or "root"}
        return data

    @model_validator(mode="after")
    def _links(self) -> Folder:
        for link in (self.link, *(rendition.link for rendition in self.renditions)):
            if link is not None and "{key}" not in link:
                raise ValueError('`link` needs "{key}" where the object key belongs')
        return self
