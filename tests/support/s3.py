"""A real S3-compatible store for the session: OpenStack Swift on loopback, strict about signatures, expiry and versions.

The fixture `s3` is known to all tests; the store is started when the first one asks for it.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL = REPOSITORY / "tests" / "tools" / "swift-s3"
CACHE = REPOSITORY / ".cache" / "swift-s3"
REGION = "us-west-004"


@dataclass
class S3Server:
    """A running store and its one key."""

    endpoint: str
    key_id: str = "test:tester"
    application_key: str = "testing"
    region: str = REGION
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @cached_property
    def boto(self) -> Any:
        """boto3's client: the oracle that tests look at the store with."""
        import boto3
        from botocore.config import Config

        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.application_key,
            region_name=self.region,
            config=config,
        )

    def new_bucket(self, *, versioned: bool = False) -> str:
        """An empty private bucket of its own; with `versioned` it keeps every version, as B2 does."""
        name = f"bucket-{os.getpid()}-{next(self._numbers)}"
        self.boto.create_bucket(Bucket=name)
        if versioned:
            self.boto.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def versions(self, bucket: str) -> list[tuple[str, str]]:
        """Key and version of everything in a bucket, hidden versions and delete markers too."""
        listed = self.boto.list_object_versions(Bucket=bucket)
        return [(each["Key"], each["VersionId"]) for kind in ("Versions", "DeleteMarkers") for each in listed.get(kind, [])]

    def keys(self, bucket: str) -> list[str]:
        """The keys that a plain listing shows."""
        return [each["Key"] for each in self.boto.list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.fixture(scope="session")
def s3() -> S3Server:
    """The store, on free ports, once a process; skips, and says why, where it cannot be installed."""
    problem = _install()
    if problem:
        pytest.skip(f"no S3 store: Swift cannot be installed from the package index: {problem}")
    return _started()


@cache
def _started() -> S3Server:
    """One for all processes of a run: the first that asks starts it."""
    directory = _directory()
    written = directory / "endpoint"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not written.exists():
            directory.mkdir(exist_ok=True)
            command = [TOOL, "up", CACHE / "venv", directory, *_free_ports(4)]
            started = subprocess.run(command, capture_output=True, text=True, timeout=90)
            assert started.returncode == 0, started.stderr
            written.write_text(started.stdout.strip())
    return S3Server(written.read_text())


def _directory() -> Path:
    """Of this run's store, whatever process of it asks."""
    return CACHE / f"run-{Path(tempfile.gettempdir()).name}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """The process that began the run stops the store."""
    if not hasattr(config, "workerinput") and _directory().exists():
        subprocess.run([TOOL, "down", _directory()], check=True)
        shutil.rmtree(_directory(), ignore_errors=True)


@cache
def _install() -> str:
    """Why it cannot be installed; empty where it is there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run([TOOL, "install", CACHE / "venv"], capture_output=True, text=True)
        if done.returncode == 0:
            return ""
        shutil.rmtree(CACHE / "venv", ignore_errors=True)
        return done.stderr.strip()[-300:] or f"exit status {done.returncode}"


def _free_ports(count: int) -> list[str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [str(each.getsockname()[1]) for each in sockets]
