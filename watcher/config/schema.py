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
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from watcher.compressor.wire import STORE_HEADERS
from watcher.config.keys import template_problem
from watcher.config.receivers import ReceiverName, ReceiverSettings
from watcher.config.section import Section
from watcher.config.units import DURATION_SCHEMA, Duration, DurationOrZero, FileMode, Size, parse_colour, parse_duration
from watcher.model import OutputFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

EMBEDDED: Final = "embedded"
LEAST_LEASE_SECONDS: Final = 3.0
MOST_LEASE_SECONDS: Final = 3600.0
MOST_REQUESTS: Final = 1024
"""What `compressor.concurrency` may be at most."""
PRESIGN_LIMIT_SECONDS: Final = 604_800
"""A presigned link lives at most seven days (S3 signature version 4; B2 keeps to it)."""


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


def _manifest(value: Path) -> Path:
    if value.suffix not in (".json", ".csv"):
        raise ValueError("ends in .json or .csv")
    return _absolute(value)


Address = Annotated[str, AfterValidator(_address)]
ManifestPath = Annotated[Path, AfterValidator(_manifest)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f/]+$")]


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


BucketName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")]
RegionName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


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
    """Stored with the object: `Cache-Control`, `Content-Disposition`, `Content-Language`, `Expires`."""

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


def _canary(value: object) -> object:
    if value in ("auto", False, "false"):  # the environment has texts only
        return value if value == "auto" else False
    try:
        seconds = parse_duration(value)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise ValueError('is "auto", false or an interval like "10m"')
    return seconds


Canary = Annotated[
    Literal["auto"] | bool | float,
    BeforeValidator(_canary),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"const": False}, DURATION_SCHEMA]}),
]
"""`auto`, False, or seconds."""


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
    """Whether folders inside it that delete or move emptied are removed."""
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


class CompressorSettings(Section):
    """`[compressor]`: the API and how hard it is used."""

    url: str = "https://api.compressor.app/1.0"
    """The API, or `embedded`: the engine of this package does the work."""
    api_key: SecretStr | None = None
    """Key of your Compressor account. Better in the environment or a systemd credential named `compressor_api_key`."""
    concurrency: Annotated[int, Field(ge=1, le=MOST_REQUESTS)] = 16
    """Requests in flight."""
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    """Default: no limit."""
    timeout: Duration = 120.0
    """Of one request."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 8
    """Requests that were answered and failed, or were lost, while the API worked for others; then the image fails."""
    transport: Literal["aiohttp", "httpx"] = "aiohttp"
    """What httpx sends with; `httpx` is its own, slower with many requests in flight."""

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


class VerifySettings(Section):
    """`[verify]`: when and where the stored object is asked for."""

    mode: Literal["recovery", "always", "never"] = "recovery"
    """When the store is asked for the object: after an unknown answer, always, or never."""
    url: str = "https://{bucket}.s3.{region}.backblazeb2.com/{key}"
    """Where the object can be asked for."""
    key_id: SecretStr | None = None
    """Signs the HEAD where the bucket is private."""
    application_key: SecretStr | None = None
    """Needs `readFiles`."""

    @model_validator(mode="after")
    def _template(self) -> VerifySettings:
        if "{key}" not in self.url or not self.url.startswith(("http://", "https://")):
            raise ValueError('`url` is an http(s) address with "{key}" (and "{bucket}", "{region}") in it')
        if (self.key_id is None) != (self.application_key is None):
            raise ValueError("`key_id` and `application_key` go together")
        return self


class LogSettings(Section):
    """`[log]`: what is said, how, and where the audit file lies."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged."""
    format: Literal["json", "console"] | None = None
    """Default: `console` on a terminal, else `json`."""
    audit: AbsolutePath | None = None
    """Default: `audit.jsonl` in `state_dir`."""


class AdminSettings(Section):
    """`[admin]`: off unless `listen` is set."""

    listen: Address | None = None
    """Address and port of the status page, `/metrics` and `/healthz`. Off unless set."""
    password: Annotated[SecretStr, Field(min_length=1)] | None = None
    """What the page and `/metrics` ask for, with any user name. Needed unless `listen` is a loopback address."""


def postgres_url(value: str) -> str:
    """The URL, if it can be one of a journal. Raises ValueError."""
    parts = urlsplit(value)
    query = parse_qs(parts.query)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError("must begin with postgresql://; where it is not set, the journal is a SQLite file in state_dir")
    if parts.password is not None or "password" in query:
        raise ValueError(
            "must not hold a password; set WATCHER_JOURNAL_PASSWORD, a credential named journal_password, or ~/.pgpass"
        )
    if not parts.path.strip("/") and "dbname" not in query:
        raise ValueError("must name a database: postgresql://user@host/database")
    return value


def _lease(value: float) -> float:
    if not LEAST_LEASE_SECONDS <= value <= MOST_LEASE_SECONDS:
        raise ValueError(f"must be between {LEAST_LEASE_SECONDS:.0f}s and {MOST_LEASE_SECONDS:.0f}s")
    return value


class ClusterSettings(Section):
    """`[cluster]`: with a journal on PostgreSQL, which several hosts may share."""

    name: Name | None = None
    """This host's name, unlike that of any other host. Default: the host name."""
    lease: Annotated[Duration, AfterValidator(_lease)] = 30.0
    """After so long without a word a host counts as gone, and others go on with what it had in hand."""


class DirectoryConnectorSettings(Section):
    """A folder that plays the bucket: `<path>/<bucket>/<key>`."""

    kind: Literal["directory"]
    path: AbsolutePath
    """An absolute folder."""
    file_mode: FileMode = 0o644
    """Rights of the objects, whatever the umask; folders get the right to enter wherever this gives one to read."""


class B2ConnectorSettings(Section):
    """A Backblaze B2 account, or with `endpoint` any S3-compatible store."""

    kind: Literal["b2"]
    key_id: SecretStr | None = None
    """Better in the environment or a credential."""
    application_key: SecretStr | None = None
    """Needs `writeFiles` (and `readFiles` for questions after an unknown answer)."""
    endpoint: HttpUrl | None = None
    """For another S3-compatible store than Backblaze B2."""

    @model_validator(mode="after")
    def _safe_endpoint(self) -> B2ConnectorSettings:
        parts = urlsplit(self.endpoint or "https://localhost")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("`endpoint`: plain http is for this machine only")
        return self


Connector = Annotated[DirectoryConnectorSettings | B2ConnectorSettings, Field(discriminator="kind")]


def _network(value: str) -> str:
    ipaddress.ip_network(value)
    return value


class EngineSettings(Section):
    """`[engine]`: the local engine, for `url = "embedded"` and for the `engine` command."""

    listen: Address | None = None
    """Address and port. Default for `embedded`: any port of loopback."""
    api_keys: tuple[SecretStr, ...] = ()
    """Whoever has one of these may use the engine. Better in a credential named `engine_api_keys`."""
    allow_private: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    """Networks besides public addresses that it may fetch from."""
    fetch_timeout: Duration = 60.0
    """Of one fetch."""
    max_input: Size = 256_000_000
    """Largest original."""
    max_pixels: Annotated[int, Field(ge=1)] = 150_000_000
    """Largest picture, width times height times frames."""
    concurrency: Annotated[int, Field(ge=1, le=256)] | None = None
    """Images at work. Default: the number of cores."""
    connectors: dict[str, Connector] = Field(default_factory=dict)
    """Where results are stored, by the id that `store.id` names."""


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    state_dir: AbsolutePath = Field(default_factory=lambda: default_state_dir(os.environ))
    """Where the journal, the lock and the audit file lie. Default: `$STATE_DIRECTORY`, else the user's state folder."""
    journal: Annotated[str, AfterValidator(postgres_url)] | None = None
    """`postgresql://user@host/database`: a journal that several hosts share. Default: a SQLite file in `state_dir`."""
    journal_password: Annotated[SecretStr, Field(min_length=1)] | None = None
    """Of the user in `journal`. Better in the environment, a credential, or ~/.pgpass."""
    rescan: Duration = 300.0
    """How often the folders are scanned for what events did not tell."""
    settle: DurationOrZero = 2.0
    """How long size and times must stand still where the close of a file cannot be seen."""
    max_wait: Duration = 3600.0
    """A file that stays cut or empty so long is given up. One that lacks only its formal end is sent then, with a warning."""
    canary: Canary = "auto"
    """Small files that prove a watcher alive: `auto` (rare where nothing changes), every so often, or `false`."""
    drain: DurationOrZero = 20.0
    """How long requests in flight may take to end at a stop."""
    keep: Duration = 90 * 86_400.0
    """How long endings stay in the journal."""
    ignore: tuple[str, ...] = ()
    """More names of files in the making: globs on the name."""
    compressor: CompressorSettings = CompressorSettings()
    publish: PublishSettings = PublishSettings()
    store: StoreTable = StoreTable()
    """Defaults of every folder's `store`."""
    verify: VerifySettings = VerifySettings()
    folders: tuple[Folder, ...] = ()
    """The watched folders."""
    log: LogSettings = LogSettings()
    admin: AdminSettings = AdminSettings()
    notify: dict[ReceiverName, ReceiverSettings] = Field(default_factory=dict)
    """Who is told of endings, by name."""
    engine: EngineSettings = EngineSettings()
    cluster: ClusterSettings = ClusterSettings()

    @property
    def host(self) -> str:
        """The name of this host among those that share a journal."""
        return self.cluster.name or os.uname().nodename

    @property
    def audit_path(self) -> Path:
        """Where the audit file lies."""
        return self.log.audit or self.state_dir / "audit.jsonl"

    @property
    def journal_path(self) -> Path:
        """Where the journal lies, unless it is on PostgreSQL."""
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
