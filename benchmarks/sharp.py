"""sharp, the image library of Node, for the benchmarks that compare the engine with it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.common import Missing

SHARP = Path(__file__).parents[1] / ".cache" / "sharp"
"""Where it is installed."""


def need_sharp() -> None:
    """Install it, once. Raises Missing."""
    if shutil.which("npm") is None:
        raise Missing("npm is missing: apt install npm")
    if (SHARP / "node_modules" / "sharp").exists():
        return
    SHARP.mkdir(parents=True, exist_ok=True)
    (SHARP / "package.json").write_text('{"private": true}')
    command = ["npm", "install", "--no-audit", "--no-fund", "sharp@0.34"]
    done = subprocess.run(command, cwd=SHARP, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"sharp cannot be installed from npm: {done.stderr.strip()[-200:]}")
