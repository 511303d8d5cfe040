"""The processes that fork for the tests see what the test sees."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ONE_PROCESS_RUNS_ALL = """
import os, sys, tempfile
from pathlib import Path
import pytest
from tests.support.daemon import command
from tests.support.disks import small_disk
from tests.support.fuse import needs

os.environ["TESTS_RUN"] = str(os.getpid())
assert command("--version").returncode == 0
try:
    needs()
    with small_disk(Path(tempfile.gettempdir(), "disk")) as disk:
        (disk.path / "on it").mkdir()
        assert command("--version", cwd=disk.path / "on it").returncode == 0
except pytest.skip.Exception as reason:
    sys.exit(f"skipped: {reason}")
"""


def test_mounts_that_are_made_after_the_first_fork_are_seen() -> None:
    """Where one process runs all tests it has mounts of its own from the first test on that wants them."""
    with tempfile.TemporaryDirectory() as place:  # short, as the address of a socket has to be
        ended = subprocess.run(
            [sys.executable, "-c", ONE_PROCESS_RUNS_ALL],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": place},
            capture_output=True,
            text=True,
            timeout=120,
        )
    if ended.stderr.startswith("skipped: "):
        pytest.skip(ended.stderr)
    assert ended.returncode == 0, ended.stderr
