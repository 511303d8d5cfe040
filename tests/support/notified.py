"""A daemon's files, with receivers of notifications in its configuration."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from tests.support.daemon import read_audit, write_config
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}


class NotifiedPlace:
    """`api` and `verify` are the addresses of an API stand-in."""

    def __init__(self, tmp_path: Path, api: str, verify: str) -> None:
        self.config, self.state, self.drop = (tmp_path / name for name in ("config.toml", "state", "drop"))
        self.drop.mkdir()
        self._api, self._verify = api, verify
        self._numbers = itertools.count(1)

    def write(self, notify: dict[str, Any], **changes: Any) -> Path:
        """Write the configuration."""
        data = {
            "state_dir": self.state,
            "compressor": {"url": self._api},
            "store": {"id": "connector", "bucket": "my-bucket", "region": "eu-central-003"},
            "verify": {"url": self._verify},
            "folders": [{"path": self.drop}],
            "notify": notify,
        }
        return write_config(self.config, {**data, **changes})

    def drop_some(self, count: int = 1, folder: Path | None = None) -> list[Path]:
        """Pictures that differ from all others."""
        content, paths = jpeg(60, 40), []
        for _ in range(count):
            number = next(self._numbers)
            path = (folder or self.drop) / f"{number:05d}.jpg"
            note = f"{self.drop}{number}".encode()
            path.write_bytes(content[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + content[2:])
            paths.append(path)
        return paths

    def audit(self) -> list[dict[str, Any]]:
        """The lines of the audit file."""
        return read_audit(self.state / "audit.jsonl")
