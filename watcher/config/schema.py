"""The whole configuration. `[compressor]` and the short tables are here, the others in modules of their name.

Nothing is read here (`loading`), and what only the whole can tell is judged in `validation`. No value is ever repeated in a
message, since it may be a secret.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from watcher.config.api_tables import StoreTable
from watcher.config.engine_settings import EngineSettings
from watcher.config.folder_settings import Folder
from watcher.config.publish_settings import PublishSettings
from watcher.config.receiver_settings import ReceiverName, ReceiverSettings
from watcher.config.section import Section
from watcher.config.units import DURATION_SCHEMA, Duration, DurationOrZero, parse_duration
from watcher.config.values import AbsolutePath, Address, Name, http_url, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping


EMBEDDED: Final = "embedded"
LEAST_LEASE_SECONDS: Final = 3.0
MOST_LEASE_SECONDS: Final = 3600.0
MOST_REQUESTS: Final = 1024
"""What `compressor.concurrency` may be at most."""


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
            parts = urlsplit(http_url(self.url))
            if parts.scheme == "http" and not is_loopback(parts.hostname):
                raise ValueError("`url`: plain http is for this machine only; the API key would travel readable")
        return self


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
    """`postgresql://user@host/database`: a journal that hosts share, and engines their jobs. Default: a file in `state_dir`."""
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

    @property
    def engine_state_dir(self) -> Path:
        """Where an engine on its own keeps its state."""
        return self.state_dir / "engine"

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
