"""`service install` and `service uninstall`: the systemd service, put in place from the package that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Literal

from watcher.errors import WatcherError
from watcher.service.assets import assets

if TYPE_CHECKING:
    from pathlib import Path


def change_service(action: Literal["install", "uninstall"], *, python: Path | None, wheels: Path | None) -> int:
    """Run the installer that comes with the package; gives its exit status.

    It copies the packages of this environment, so nothing is downloaded. In a checkout it does what `make install` does.
    Raises WatcherError where the package came without the installer.
    """
    folder = assets()
    script = folder / "systemd" / "install.sh"
    if not script.is_file():
        raise WatcherError(f"{script} is missing: reinstall the package")
    environment = {**os.environ, **({"PYTHON": str(python)} if python else {}), **({"WHEELS": str(wheels)} if wheels else {})}
    if not (folder / "pyproject.toml").is_file():
        environment["FROM"] = sys.executable
    return subprocess.run(["bash", script, action], env=environment, check=False).returncode  # noqa: S603, S607 - our own script
