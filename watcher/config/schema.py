"""The configuration: TOML file, `WATCHER_` environment and systemd credentials, read strictly.

Order of precedence: command line, environment, credentials, file, default. Every problem is collected and reported with its
place; no value is ever repeated in a message, since it may be a secret.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from watcher.compressor.wire import STORE_HEADERS
from watcher.config.keys import template_problem
from watcher.config.units import Duration, DurationOrZero, Size

if TYPE_CHECKING:
    from collections.abc import Mapping

EMBEDDED: Final = "embedded"
MOST_REQUESTS: Final = 1024
"""What `compressor.concurrency` may be at most."""
DEFAULT_KEY_TEMPLATE: Final = "{folder}/{dir}/{name}"
PRESIGN_LIMIT_SECONDS: Final = 604_800
"""A presigned link lives at most seven days (S3 signature version 4; B2 keeps to it)."""


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors, values do not change, nothing secret is in its messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _address(value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not host or not port.isdigit() or int(port) > 65_535:
        raise ValueError('an address is written like "127.0.0.1:8080" or "[::1]:8080"')
    return value


def _absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("must be an absolute path")
    return value


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.query or parts.fragment:
        raise ValueError("must not have a query or a fragment")
    if parts.username or parts.password:
        raise ValueError("must not hold a user or a password")
    return value.rstrip("/")


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:8080" or "[::1]:8080"."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address means this machine."""
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


Address = Annotated[str, AfterValidator(_address)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f/]+$")]


class Resize(BaseModel):
    """The known keys of `image.resize`; used to check them, never to rewrite what the user said."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)
    width: Annotated[int, Field(strict=True, ge=1, le=65_535)] | None = None
    height: Annotated[int, Field(strict=True, ge=1, le=65_535)] | None = None
    mode: Literal["auto", "fit"] = "auto"
    upscale: Annotated[bool, Field(strict=True)] | None = None

    @model_validator(mode="after")
    def _box(self) -> Resize:
        if self.width is None and self.height is None:
            raise ValueError("needs `width` or `height`")
        if self.mode == "fit" and (self.width is None or self.height is None):
            raise ValueError('mode "fit" needs both `width` and `height`')
        return self


class ImageOperations(BaseModel):
    """The known keys of `image`. Others are the vendor's and pass through unread."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)
    compression: Literal["medium", "high", "ultra"] | None = None
    resize: Resize | None = None


def _image(value: dict[str, Any]) -> dict[str, Any]:
    ImageOperations.model_validate(value)
    return value


ImageTable = Annotated[dict[str, Any], AfterValidator(_image)]


class StoreTable(Section):
    """`store` of the API, with `path` a template. Every key is optional here; the merged table is checked per folder."""

    id: Annotated[str, Field(min_length=1)] | None = None
    bucket: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")] | None = None
    region: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")] | None = None
    path: str | None = None
    acl: Literal["public-read", "private"] | None = None
    metadata: dict[str, str] | None = None
    headers: dict[str, str] | None = None

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


class MoveTo(Section):
    """`{ move = "/srv/done" }`"""

    move: AbsolutePath


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
    image: ImageTable = Field(default_factory=dict)
    store: StoreTable = StoreTable()
    link: str | None = None


class Folder(Section):
    """A watched folder and its rule."""

    name: Name = ""
    path: AbsolutePath
    recursive: bool = True
    include: tuple[str, ...] = ("**/*",)
    exclude: tuple[str, ...] = ()
    polling: Annotated[Literal["auto"] | bool, BeforeValidator(_polling)] = "auto"
    on_success: AfterSuccess = "keep"
    on_failure: AfterFailure = "keep"
    link: str | None = None
    image: ImageTable = Field(default_factory=dict)
    store: StoreTable = StoreTable()
    renditions: tuple[Rendition, ...] = ()

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


class CompressorSettings(Section):
    """`[compressor]`: the API and how hard it is used."""

    url: str = "https://api.compressor.app/1.0"
    api_key: SecretStr | None = None
    concurrency: Annotated[int, Field(ge=1, le=MOST_REQUESTS)] = 16
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    timeout: Duration = 120.0
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 8
    transport: Literal["aiohttp", "httpx"] = "aiohttp"

    @property
    def embedded(self) -> bool:
        """Whether the engine of this package does the work in place of the vendor's API."""
        return self.url == EMBEDDED

    @model_validator(mode="after")
    def _safe_url(self) -> CompressorSettings:
        if not self.embedded:
            parts = urlsplit(_http_url(self.url))
            if parts.scheme == "http" and not is_loopback(parts.hostname):
                raise ValueError("`url`: plain http is for this machine only; the API key would travel readable")
        return self


class ServeSettings(Section):
    """`[publish.serve]`: temporary URLs from this process."""

    listen: Address | None = None
    public_url: HttpUrl | None = None
    ttl: Duration = 3600.0
    require_header: bool = True
    certificate: AbsolutePath | None = None
    private_key: AbsolutePath | None = None

    @model_validator(mode="after")
    def _pair(self) -> ServeSettings:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("`certificate` and `private_key` go together")
        return self


class PresignSettings(Section):
    """`[publish.presign]`: originals staged in a private bucket of any S3-compatible store."""

    endpoint: HttpUrl
    region: str
    bucket: str
    prefix: str = "staging/"
    ttl: Duration = 3600.0
    key_id: SecretStr | None = None
    application_key: SecretStr | None = None

    @model_validator(mode="after")
    def _limits(self) -> PresignSettings:
        if self.ttl > PRESIGN_LIMIT_SECONDS:
            raise ValueError("`ttl`: a presigned link lives seven days at most")
        parts = urlsplit(self.endpoint)
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("`endpoint`: plain http is for this machine only")
        if self.prefix and (not self.prefix.endswith("/") or self.prefix.startswith("/") or "//" in self.prefix):
            raise ValueError('`prefix` is empty or like "staging/"')
        return self


class PublishSettings(Section):
    """`[publish]`: how the API gets at an original."""

    mode: Literal["serve", "presign"] = "serve"
    serve: ServeSettings = ServeSettings()
    presign: PresignSettings | None = None


class VerifySettings(Section):
    """`[verify]`: when and where the stored object is asked for."""

    mode: Literal["recovery", "always", "never"] = "recovery"
    url: str = "https://{bucket}.s3.{region}.backblazeb2.com/{key}"
    key_id: SecretStr | None = None
    application_key: SecretStr | None = None

    @model_validator(mode="after")
    def _template(self) -> VerifySettings:
        if "{key}" not in self.url or not self.url.startswith(("http://", "https://")):
            raise ValueError('`url` is an http(s) address with "{key}" (and "{bucket}", "{region}") in it')
        if (self.key_id is None) != (self.application_key is None):
            raise ValueError("`key_id` and `application_key` go together")
        return self


class LogSettings(Section):
    """`[log]`"""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] | None = None
    audit: AbsolutePath | None = None


class AdminSettings(Section):
    """`[admin]`: off unless `listen` is set."""

    listen: Address | None = None


class DirectoryConnector(Section):
    """A folder that plays the bucket: `<path>/<bucket>/<key>`."""

    kind: Literal["directory"]
    path: AbsolutePath


class B2Connector(Section):
    """A Backblaze B2 account, or with `endpoint` any S3-compatible store."""

    kind: Literal["b2"]
    key_id: SecretStr | None = None
    application_key: SecretStr | None = None
    endpoint: HttpUrl | None = None

    @model_validator(mode="after")
    def _safe_endpoint(self) -> B2Connector:
        parts = urlsplit(self.endpoint or "https://localhost")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("`endpoint`: plain http is for this machine only")
        return self


Connector = Annotated[DirectoryConnector | B2Connector, Field(discriminator="kind")]


def _network(value: str) -> str:
    ipaddress.ip_network(value)
    return value


class EngineSettings(Section):
    """`[engine]`: the local engine, for `url = "embedded"` and for the `engine` command."""

    listen: Address | None = None
    api_keys: tuple[SecretStr, ...] = ()
    allow_private: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    fetch_timeout: Duration = 60.0
    max_input: Size = 256_000_000
    max_pixels: Annotated[int, Field(ge=1)] = 150_000_000
    concurrency: Annotated[int, Field(ge=1, le=256)] | None = None
    connectors: dict[str, Connector] = Field(default_factory=dict)


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=False,
        hide_input_in_errors=True,
    )

    state_dir: AbsolutePath = Field(default_factory=lambda: default_state_dir(os.environ))
    rescan: Duration = 300.0
    settle: DurationOrZero = 2.0
    max_wait: Duration = 3600.0
    drain: DurationOrZero = 20.0
    keep: Duration = 90 * 86_400.0
    ignore: tuple[str, ...] = ()
    compressor: CompressorSettings = CompressorSettings()
    publish: PublishSettings = PublishSettings()
    store: StoreTable = StoreTable()
    verify: VerifySettings = VerifySettings()
    folders: tuple[Folder, ...] = ()
    log: LogSettings = LogSettings()
    admin: AdminSettings = AdminSettings()
    engine: EngineSettings = EngineSettings()

    @property
    def audit_path(self) -> Path:
        """Where the audit file lies."""
        return self.log.audit or self.state_dir / "audit.jsonl"

    @property
    def journal_path(self) -> Path:
        """Where the journal lies."""
        return self.state_dir / "journal.db"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """`load_settings` merges the sources, so that each problem can be traced to its place."""
        return (init_settings,)


def default_state_dir(environment: Mapping[str, str]) -> Path:
    """$STATE_DIRECTORY (systemd), else the user's state folder."""
    if state := environment.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0])
    base = environment.get("XDG_STATE_HOME") or str(Path(environment.get("HOME") or "/").absolute() / ".local/state")
    return Path(base) / "compressor-watcher"


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
