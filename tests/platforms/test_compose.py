"""The sample of several hosts, as its file has it: two watchers on the image and one PostgreSQL, each a container of its own."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.containers import Container, Image, build, own
from tests.support.daemon import read_audit, wait_until, write_config
from tests.support.pictures import jpeg
from tests.support.postgres import free_port
from tests.support.roots import REPOSITORY, debian, run, why_no_roots
from tests.support.standin import DEFAULT_KEY, StandinProcess

pytestmark = [
    pytest.mark.platforms,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(why_no_roots()), reason=why_no_roots() or "has all"),
]
SAMPLE = REPOSITORY / "docs/compose/cluster.yaml"
WATCHERS = ("one", "two")
SERVER = """
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
$bin/initdb --no-sync --auth-local=trust --auth-host=scram-sha-256 --username="$POSTGRES_USER" \
    --pwfile="$POSTGRES_PASSWORD_FILE" --encoding=UTF8 --locale=C -D /srv/data >&2
echo "CREATE DATABASE $POSTGRES_DB;" | $bin/postgres --single -D /srv/data template1 >&2
exec $bin/postgres -D /srv/data -k /srv/data -c listen_addresses=127.0.0.1 -c fsync=off
"""
"""What the sample's image of PostgreSQL does with its environment."""


class Sample:
    """The services of the file. The network is this machine's, so that ports are others than in the file."""

    def __init__(self, place: Path, image: Image, database: Image, standin: StandinProcess, stack: ExitStack) -> None:
        self.place, self.image, self._database, self._stack = place, image, database, stack
        self.services: dict[str, Any] = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))["services"]
        self.port = free_port()
        self.containers: dict[str, Container] = {}
        for name in ("drop", "data", *WATCHERS):
            (place / name).mkdir()
        (place / "api_key").write_text(DEFAULT_KEY)
        (place / "database_password").write_text(secrets.token_hex(8))
        (place / "hosts").write_text("127.0.0.1 localhost database\n")
        write_config(
            place / "config.toml",
            {
                "journal": "postgresql://watcher@database/images",
                "cluster": {"lease": "3s"},
                "compressor": {"url": standin.url, "concurrency": 2},
                "publish": {"serve": {"listen": "127.0.0.1:0"}},
                "verify": {"url": standin.verify_url},
                "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
                "folders": [{"name": "products", "path": "/srv/drop"}],
            },
        )
        place.chmod(0o755)

    def _secrets(self, service: dict[str, Any]) -> dict[Path, str]:
        files = {"compressor_api_key": "api_key", "journal_password": "database_password"}
        return {self.place / files[name]: f"/run/secrets/{name}:ro" for name in service["secrets"]}

    def start_database(self) -> None:
        service = self.services["database"]
        owner = self._database.user
        own(self.place / "data", owner)
        mounts = {self.place / "data": "/srv/data", **self._secrets(service)}
        self._start("database", self._database, mounts, {**service["environment"], "PGPORT": str(self.port)})
        wait_until(lambda: self.exec("database", "sh", "-c", "$(echo /usr/lib/postgresql/*/bin)/pg_isready -h 127.0.0.1") == 0)

    def start(self, name: str) -> None:
        service = self.services[name]
        assert service["read_only"] is True
        volumes = [volume.split(":", 1) for volume in service["volumes"]]
        mounts = {self.place / source.removeprefix("./"): target for source, target in volumes}
        mounts |= {**self._secrets(service), self.place / "hosts": "/etc/hosts:ro"}
        environment = {**service["environment"], "PGPORT": str(self.port)}
        del environment["WATCHER_PUBLISH__SERVE__PUBLIC_URL"]
        for path in (self.place / name, self.place / "drop"):
            own(path, self.image.user)
        self._start(name, self.image, mounts, environment)

    def _start(self, name: str, image: Image, mounts: dict[Path, str], environment: dict[str, str]) -> None:
        made = Container(image, mounts, environment=environment, name=name)
        self._stack.callback(made.end)
        self.containers[name] = made

    def exec(self, name: str, *command: str) -> int:
        try:
            return self.containers[name].exec(*command).returncode
        except (IndexError, FileNotFoundError, subprocess.TimeoutExpired):  # it has no process yet
            return -1

    def events(self, name: str, event: str) -> list[dict[str, object]]:
        return [line for line in self.containers[name].lines if line["event"] == event]

    def drop(self, *names: str) -> None:
        for name in names:
            (self.place / "drop" / f".{name}").write_bytes(jpeg(24, 16) + name.encode())
            (self.place / "drop" / f".{name}").rename(self.place / "drop" / name)

    def ended(self) -> Counter[str]:
        files = [self.place / name / "audit.jsonl" for name in WATCHERS]
        return Counter(Path(line["file"]).name for file in files if file.exists() for line in read_audit(file))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(REPOSITORY / "Containerfile", tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Debian's PostgreSQL in a root of its own."""
    root = debian("bookworm", tmp_path_factory.mktemp("database") / "root", "postgresql")
    user = next(line.split(":")[2] for line in (root / "etc/passwd").read_text().splitlines() if line.startswith("postgres:"))
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    return Image(root, environment=path, user=user, entrypoint=["sh", "-c", SERVER])


@pytest.fixture
def sample(tmp_path: Path, image: Image, database: Image) -> Iterator[Sample]:
    with ExitStack() as stack:
        yield Sample(tmp_path, image, database, stack.enter_context(StandinProcess()), stack)


def test_two_watchers_share_the_work_and_one_may_die(sample: Sample) -> None:
    """Read-only, without rights, process 1 each; the password comes as a secret's file. The database may be later than they."""
    sample.start("one")
    wait_until(lambda: bool(sample.events("one", "journal.unavailable")))
    sample.start_database()
    sample.start("two")
    for name in WATCHERS:
        wait_until(lambda: bool(sample.events(name, "service.ready")))  # noqa: B023 - it is called here
        assert sample.exec(name, *sample.image.health) == 0
        assert [line["host"] for line in sample.events(name, "cluster.joined")] == [name]
    names = [f"{number:03}.jpg" for number in range(40)]
    sample.drop(*names[:20])
    wait_until(lambda: len(sample.ended()) >= 10)
    os.kill(sample.containers["one"].pid, signal.SIGKILL)
    sample.drop(*names[20:])
    wait_until(lambda: bool(sample.events("two", "cluster.fenced")))
    wait_until(lambda: len(read_audit(sample.place / "two/audit.jsonl")) >= 20)
    sample.start("one")  # it also writes down what it had ended and not yet written when it was killed
    wait_until(lambda: bool(sample.events("one", "service.ready")))
    wait_until(lambda: sorted(sample.ended()) == names)
    verified = sample.containers["two"].exec("compressor-watcher", "audit", "verify", "--cluster")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert set(sample.ended().values()) == {1}
    for name in WATCHERS:
        assert sample.containers[name].stop() == 0
    password = (sample.place / "database_password").read_text()
    assert password not in "".join(Path(each.log.name).read_text() for each in sample.containers.values())
    run(["grep", "-q", "scram-sha-256", sample.place / "data/pg_hba.conf"])
