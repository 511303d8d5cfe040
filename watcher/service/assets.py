"""Finds the files that come with the package besides its code: the units, the example configuration, the guide to the service."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGED: Final = Path(__file__).parents[1] / "share"
CHECKOUT: Final = Path(__file__).parents[2]


def assets() -> Path:
    """The folder that holds `systemd/`, `config.example.toml` and parts of `docs/`: in an installed package, or the checkout."""
    return PACKAGED if (PACKAGED / "systemd").is_dir() else CHECKOUT
