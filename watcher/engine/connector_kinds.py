"""The kinds of connectors that a configuration may name, and how each is built."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from watcher.clock import SystemClock
from watcher.config.engine_settings import ConnectorSettings, DirectoryConnectorSettings, EngineSettings
from watcher.engine.b2 import B2Connector
from watcher.engine.directory import DirectoryConnector
from watcher.errors import WatcherError
from watcher.s3.client import S3Client

if TYPE_CHECKING:
    from watcher.engine.connectors import Connector
    from watcher.network.proxies import Proxies


def build_connectors(settings: EngineSettings, proxies: Proxies) -> dict[str, Connector]:
    """The configured stores by id. Raises WatcherError where one lacks its keys."""
    return {identity: _built(identity, kind, proxies) for identity, kind in settings.connectors.items()}


def _built(identity: str, settings: ConnectorSettings, proxies: Proxies) -> Connector:
    if isinstance(settings, DirectoryConnectorSettings):
        return DirectoryConnector(settings.path, settings.file_mode)
    if settings.key_id is None or settings.application_key is None:
        raise WatcherError(
            f"connector {identity} has no key_id or no application_key",
            f"set both in [engine.connectors.{identity}], the environment or a systemd credential",
        )
    client = S3Client(SystemClock(), random.random, proxies=proxies)
    return B2Connector(client, settings.key_id.get_secret_value(), settings.application_key.get_secret_value(), settings.endpoint)
