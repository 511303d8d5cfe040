"""`image` and `store`: the API's own objects, as a folder and its renditions have them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from watcher.compressor.wire import STORE_HEADERS
from watcher.config.keys import template_problem
from watcher.config.section import Section
from watcher.config.units import parse_colour
from watcher.config.values import BucketName, RegionName
from watcher.model import OutputFormat

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema


class ResizeSettings(BaseModel):
    """The known keys of `image.resize`. They are checked, never rewritten."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, use_attribute_docstrings=True)
    width: Annotated[int, Field(strict=True, ge=1, le=65_535)] | None = None
    """Pixels. At least one of `width` and `height`."""
    height: Annotated[int, Field(strict=True, ge=1, le=65_535)] | None = None
    """Pixels."""
    mode: Literal["auto", "fit"] = "auto"
    """`auto` stays inside the box; `fit` covers it and crops."""
    upscale: Annotated[bool, Field(strict=True)] | None = None
    """Whether a smaller picture is enlarged. Default: `auto` does not, `fit` does."""

    @model_validator(mode="after")
    def _box(self) -> ResizeSettings:
        if self.width is None and self.height is None:
            raise ValueError("needs `width` or `height`")
        if self.mode == "fit" and (self.width is None or self.height is None):
            raise ValueError('mode "fit" needs both `width` and `height`')
        return self


def _colour(value: str) -> str:
    parse_colour(value)
    return value


class OutputSettings(BaseModel):
    """The known keys of `image.output`. They are checked, never rewritten."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, use_attribute_docstrings=True)
    format: OutputFormat = "auto"
    """The format that is stored. `auto`: as it came; `web`: what browsers show (HEIC and TIFF become JPEG, BMP PNG)."""
    background: Annotated[str, AfterValidator(_colour)] = "#ffffff"
    """What shows through where the picture is transparent and the stored format (JPEG) has no transparency."""


class ImageOperations(BaseModel):
    """The known keys of `image`. Others are the vendor's and pass through unread."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True, use_attribute_docstrings=True)
    compression: Literal["medium", "high", "ultra"] | None = None
    """How hard to compress."""
    resize: ResizeSettings | None = None
    """The box the picture has to fit."""
    output: OutputSettings | None = None
    """The format that is stored. The embedded engine converts; the vendor's name for it is not known."""


def _image(value: dict[str, Any]) -> dict[str, Any]:
    ImageOperations.model_validate(value)
    return value


class _DescribedAs:
    """Describes a value in the JSON Schema as the model that checks it."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(self._model.__pydantic_core_schema__)


ImageTable = Annotated[dict[str, Any], AfterValidator(_image), _DescribedAs(ImageOperations)]


class StoreTable(Section):
    """`store` of the API, with `path` a template. Every key is optional here; the merged table is checked per folder."""

    id: Annotated[str, Field(min_length=1)] | None = None
    """Of the Storage Connector in your Compressor account."""
    bucket: BucketName | None = None
    """Name of the bucket."""
    region: RegionName | None = None
    """Region of the bucket, as in `eu-central-003`."""
    path: str | None = None
    """Template of the object key; its fields are in docs/CONFIGURATION.md. Default: `{folder}/{dir}/{name}`."""
    acl: Literal["public-read", "private"] | None = None
    """Who may read the object; must be the bucket's own. Default of the API: `public-read`."""
    metadata: dict[str, str] | None = None
    """Stored with the object: keys of letters, digits, `-`, `_`, `.`, values in printable ASCII."""
    headers: dict[str, str] | None = None
    """Stored with the object: `Cache-Control`, `Content-Type`, `Content-Encoding`, `Content-Disposition`."""

    @model_validator(mode="after")
    def _limits(self) -> StoreTable:
        if self.path is not None and (problem := template_problem(self.path)):
            raise ValueError(f"`path`: {problem}")
        for header in self.headers or {}:
            if header not in STORE_HEADERS:
                raise ValueError(f"`headers` takes {', '.join(STORE_HEADERS)} and no other (case as here)")
        for key, value in (self.metadata or {}).items():
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,50}", key) or key.lower() in ("source-sha1", "rule"):
                raise ValueError("`metadata` keys are 1-50 letters, digits, `-`, `_`, `.`; `source-sha1` and `rule` are ours")
            if not value.isascii() or not value.isprintable():
                raise ValueError("`metadata` values are printable ASCII (percent-encode anything else)")
        return self

    def table(self) -> dict[str, Any]:
        """Only what the user wrote."""
        return self.model_dump(exclude_none=True)
