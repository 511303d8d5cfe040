"""`[engine]`: the local engine and its connectors."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from watcher.config.section import Section
from watcher.config.units import Duration, FileMode, Size
from watcher.config.values import AbsolutePath, Address, HttpUrl, is_loopback

DEFAULT_ENGINE_ADDRESS: Final = "127.0.0.1:8787"
"""Where an engine on its own listens unless told otherwise."""


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


ConnectorSettings = Annotated[DirectoryConnectorSettings | B2ConnectorSettings, Field(discriminator="kind")]


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
    connectors: dict[str, ConnectorSettings] = Field(default_factory=dict)
    """Where results are stored, by the id that `store.id` names."""
