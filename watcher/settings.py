"""The configuration: TOML file, `WATCHER_` environment and systemd credentials, read strictly.

Order of precedence: command line, environment, credentials, file, default. Every problem is collected and reported with its
place; no value is ever repeated in a message, since it may be a secret.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
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
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from watcher.compressor.wire import STORE_HEADERS
from watcher.errors import ConfigurationError
from watcher.keys import template_problem
from watcher.units import Duration, DurationOrZero, Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

EMBEDDED: Final = "embedded"
ENVIRONMENT_PREFIX: Final = "WATCHER_"
CONFIG_VARIABLE: Final = "WATCHER_CONFIG"
SYSTEM_CONFIG: Final = Path("/etc/compressor-watcher/config.toml")
Purpose = Literal["daemon", "engine", "read"]
DEFAULT_KEY_TEMPLATE: Final = "{folder}/{dir}/{name}"
PRESIGN_LIMIT_SECONDS: Final = 604_800
"""A presigned link lives at most seven days (S3 signature version 4; B2 keeps to it)."""
MAX_METADATA_BYTES: Final = 2_048
"""Name and value bytes of `store.metadata`, ours included (S3 rule; B2's own is 7,000, less with encryption)."""


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
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 16
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
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
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


def find_config_file(given: Path | None, environment: Mapping[str, str]) -> Path:
    """The file to read: given, else $WATCHER_CONFIG, else ./config.toml, else the one in /etc.

    Raises ConfigurationError where none is there.
    """
    named = given or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise ConfigurationError([f"{named}: no such file"])
        return named
    for candidate in (Path("config.toml"), SYSTEM_CONFIG):
        if candidate.is_file():
            return candidate
    raise ConfigurationError(
        [f"no configuration: name one with --config FILE or ${CONFIG_VARIABLE}, or put it at ./config.toml or {SYSTEM_CONFIG}"]
    )


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Raises ConfigurationError with line and column where it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path}: not valid TOML: {error}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: not valid TOML: it must be UTF-8"]) from None
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}"]) from None


def load_settings(
    data: Mapping[str, Any],
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    purpose: Purpose = "daemon",
) -> Settings:
    """Merge file data, credentials, environment and command line, and check the whole.

    `purpose` says how much must be there: "daemon" needs folders, stores and secrets; "engine" needs the engine's keys;
    "read" (commands that only read or steer) needs no secret at all. Raises ConfigurationError with every problem.
    """
    problems = list(_misspelt(environment))
    try:
        from_environment = _environment_values(environment)
    except SettingsError as error:
        raise ConfigurationError([*problems, f"environment: {error}"]) from None
    merged: dict[str, Any] = {}
    credentials = _credentials(data, environment)
    for source in (data, credentials, from_environment, overrides or {}):
        merged = merge(merged, source)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        places = Places(from_environment)
        raise ConfigurationError([*problems, *_describe(error, merged, places)]) from None
    problems += check_whole(settings, purpose)
    if problems:
        raise ConfigurationError(problems)
    return settings


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`, key by key, in every table; anything that is not a table is replaced."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both_tables = isinstance(below, dict) and isinstance(value, dict)
        result[key] = merge(below, value) if both_tables and below is not None else value
    return result


def _environment_values(environment: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(Settings, env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__")
    source.env_vars = {key.lower(): value for key, value in environment.items() if key.upper() != CONFIG_VARIABLE}
    return source()


def _misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    for variable in sorted(environment):
        upper = variable.upper()
        if upper.startswith(ENVIRONMENT_PREFIX) and upper != CONFIG_VARIABLE:
            first = upper.removeprefix(ENVIRONMENT_PREFIX).split("__")[0].lower()
            if first not in Settings.model_fields:
                yield f"environment variable {variable}: no such setting{_did_you_mean(first, Settings.model_fields)}"


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def _credentials(data: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Secrets from the service's credentials: the file's name is the setting's path joined by `_`. An empty file is none.

    Raises ConfigurationError for one that cannot be read.
    """
    paths = {"_".join(path): path for path in secret_paths(data)}
    texts: dict[str, str] = {}
    for directory in _credential_directories(environment):
        for name, file in _credential_files(directory, paths).items():
            texts[name] = texts.get(name) or _credential(file)
    result: dict[str, Any] = {}
    for name, text in texts.items():
        value: Any = text.split() if name == "engine_api_keys" else text
        for key in reversed(paths[name]):
            value = {key: value}
        result = merge(result, value) if text else result
    return result


def _credential_directories(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where the service manager puts credentials, the newest first.

    systemd 252 fills $CREDENTIALS_DIRECTORY at the start only; the unit's ExecReload= puts fresh copies into $RUNTIME_DIRECTORY.
    """
    if runtime := environment.get("RUNTIME_DIRECTORY"):
        yield Path(runtime.split(":")[0]) / "credentials"
    if directory := environment.get("CREDENTIALS_DIRECTORY"):
        yield Path(directory)


def _credential_files(directory: Path, names: Iterable[str]) -> dict[str, Path]:
    """The file of each credential that is there.

    systemd's directory form of LoadCredential= puts the credential's own name before the file's: `secrets_compressor_api_key`.
    """
    found: dict[str, Path] = {}
    files = [each for each in directory.iterdir() if each.is_file()] if directory.is_dir() else []
    for file in sorted(files, key=lambda each: (len(each.name), each.name)):
        fitting = [name for name in names if file.name == name or file.name.endswith(f"_{name}")]
        if fitting:
            found.setdefault(max(fitting, key=len), file)
    return found


def _credential(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError([f"credential {file}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"credential {file}: cannot be read: it is not UTF-8 text"]) from None


def secret_paths(data: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Where a secret may stand, for this file's connectors."""
    pair = ("key_id", "application_key")
    engine = data.get("engine")
    connectors = engine.get("connectors") if isinstance(engine, dict) else None
    return [
        ("compressor", "api_key"),
        ("engine", "api_keys"),
        *(("publish", "presign", key) for key in pair),
        *(("verify", key) for key in pair),
        *(("engine", "connectors", name, key) for name in (connectors or {}) for key in pair),
    ]


class Places:
    """Tells where a setting was written, for the messages."""

    def __init__(self, environment: Mapping[str, Any]) -> None:
        self._environment = environment

    def name(self, path: Sequence[str | int]) -> str:
        """`folders[0].image.compression`, or the environment variable's name where it was set there."""
        if self._in_environment(path):
            return "environment variable " + ENVIRONMENT_PREFIX + "__".join(str(part).upper() for part in path)
        text = ""
        for part in path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
        return text or "configuration"

    def _in_environment(self, path: Sequence[str | int]) -> bool:
        value: Any = self._environment
        for part in path:
            if not isinstance(value, dict) or part not in value:
                return False
            value = value[part]
        return bool(path)


def _describe(error: ValidationError, data: Mapping[str, Any], places: Places) -> list[str]:
    problems: list[str] = []
    for detail in error.errors(include_input=False, include_url=False, include_context=False):
        path = _real_path(detail["loc"], data)
        text = f"{places.name(path)}: {_message(detail)}"
        if text not in problems:
            problems.append(text)
    return problems


def _message(detail: Any) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return "no such setting"
    if kind == "missing":
        return "is missing"
    return str(detail["msg"]).removeprefix("Value error, ")


def _real_path(location: Sequence[str | int], data: Any) -> list[str | int]:
    """`location` without the names that the validator adds for alternatives of a union."""
    path: list[str | int] = []
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(data, dict) and (part in data or last):
            data = data.get(part)
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        path.append(part)
    return path


def check_whole(settings: Settings, purpose: Purpose) -> list[str]:
    """What no table can see alone: secrets, stores of folders, overlaps, names, times."""
    if purpose == "engine":
        return [] if settings.engine.api_keys else ["engine.api_keys: is missing; without a key nobody may use the engine"]
    problems = [*_check_folders(settings), *_check_publish(settings)]
    if purpose == "daemon":
        problems += _check_daemon(settings)
    return problems


def _check_daemon(settings: Settings) -> Iterator[str]:
    if not settings.folders:
        yield "folders: is missing; add a [[folders]] table with a `path`"
    if settings.compressor.api_key is None and not settings.compressor.embedded:
        yield (
            "compressor.api_key: is missing; set WATCHER_COMPRESSOR__API_KEY, or a systemd credential named compressor_api_key"
        )
    presign = settings.publish.presign
    if settings.publish.mode == "presign" and presign is not None:
        for key in ("key_id", "application_key"):
            if getattr(presign, key) is None:
                yield f"publish.presign.{key}: is missing; set WATCHER_PUBLISH__PRESIGN__{key.upper()} or a systemd credential"


def _check_publish(settings: Settings) -> Iterator[str]:
    publish, timeout = settings.publish, settings.compressor.timeout
    if publish.mode == "presign":
        if publish.presign is None:
            yield 'publish.presign: is missing; mode "presign" needs `endpoint`, `region` and `bucket`'
        elif publish.presign.ttl < timeout:
            yield "publish.presign.ttl: is below compressor.timeout, so a link could die while it is fetched"
        return
    if publish.serve.ttl < timeout:
        yield "publish.serve.ttl: is below compressor.timeout, so a URL could die while it is fetched"
    if publish.serve.public_url is None and not settings.compressor.embedded:
        host = urlsplit(settings.compressor.url).hostname
        if not is_loopback(host):
            yield "publish.serve.public_url: is missing; it says how the API reaches this machine (see README)"


def _check_folders(settings: Settings) -> Iterator[str]:
    yield from _check_names("folders", [folder.name for folder in settings.folders])
    yield from _check_overlaps(settings.folders)
    for number, folder in enumerate(settings.folders):
        place = f"folders[{number}]"
        yield from _check_names(f"{place}.renditions", [rendition.name for rendition in folder.renditions])
        yield from _check_stores(settings, folder, place)


def _check_names(place: str, names: Sequence[str]) -> Iterator[str]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield f"{place}[{number}].name: another one has the same name"


def _check_overlaps(folders: Sequence[Folder]) -> Iterator[str]:
    resolved = [Path(os.path.realpath(folder.path)) for folder in folders]
    for number, path in enumerate(resolved):
        for other, above in enumerate(resolved):
            inside = path.is_relative_to(above) and number != other
            if inside and (folders[other].recursive or path == above) and not (path == above and other > number):
                yield f"folders[{number}].path: lies in folders[{other}].path; watched folders must not overlap"


def _check_stores(settings: Settings, folder: Folder, place: str) -> Iterator[str]:
    """Required keys, and no two outputs of one image at one key."""
    stores = [("", output_store(settings, folder, None))]
    stores += [(rendition.name, output_store(settings, folder, rendition)) for rendition in folder.renditions]
    addresses: dict[tuple[str, str, str], str] = {}
    for name, store in stores:
        where = place if not name else f"{place}, rendition `{name}`"
        missing = [key for key in ("id", "bucket", "region") if not store.get(key)]
        for key in missing if not name else ():
            yield f"{where}: store.{key} is missing; set it in [store] or [folders.store]"
        template = str(store.get("path", DEFAULT_KEY_TEMPLATE)).replace("{rendition}", name)
        address = (str(store.get("id")), str(store.get("bucket")), template)
        if address in addresses:
            other = addresses[address] or "the folder's own output"
            yield f"{where}: store.path gives the same key as {other}; use another path or {{rendition}}"
        addresses[address] = f"rendition `{name}`" if name else ""
        if (size := metadata_bytes(store.get("metadata") or {})) > MAX_METADATA_BYTES:
            yield f"{where}: store.metadata has {size} bytes with ours; {MAX_METADATA_BYTES} are allowed"


def metadata_bytes(metadata: Mapping[str, str]) -> int:
    """What `metadata` and our own two keys weigh together."""
    ours = len("source-sha1") + 40 + len("rule") + 40
    return ours + sum(len(key) + len(value) for key, value in metadata.items())


def output_store(settings: Settings, folder: Folder, rendition: Rendition | None) -> dict[str, Any]:
    """The merged `store` table of a folder's own output (None) or of one of its renditions."""
    store = merge(settings.store.table(), folder.store.table())
    return merge(store, rendition.store.table()) if rendition else store


def output_image(folder: Folder, rendition: Rendition | None) -> dict[str, Any]:
    """The merged `image` table of a folder's own output (None) or of one of its renditions."""
    return merge(folder.image, rendition.image) if rendition else dict(folder.image)
