"""Several daemons on one PostgreSQL journal: over one tree, each through a path of its own, or each with a folder of its own."""

from __future__ import annotations

import itertools
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, command, read_audit
from tests.support.postgres import Postgres
from tests.support.standin import StandinProcess
from tests.support.tcp_proxy import TcpProxy
from tests.support.world import BUCKET, KEY, World, small_image

LEASE = "3s"
_names = itertools.count(1)


class Host(World):
    """One host: a state folder, a configuration and, while it is up, a daemon."""

    daemon: Daemon | None = None

    @classmethod
    def make(cls, path: Path, standin: StandinProcess, url: str, name: str, drop: Path, **changes: Any) -> Host:
        """`drop` is the folder as this host sees it."""
        path.mkdir()
        tables = {
            "journal": url,
            "cluster": {"name": name, "lease": LEASE},
            "folders": [{"name": "products", "path": drop}],
            "rescan": "2s",
            **changes,
        }
        return cls(path, standin, changes=tables)

    @property
    def name(self) -> str:
        name: str = self.changes["cluster"]["name"]
        return name

    def begin(self, **environment: str) -> Daemon:
        """Start it, and do not wait until it is up."""
        self.daemon = Daemon(self.config, {**KEY, **environment})
        return self.daemon

    def start(self, **environment: str) -> Daemon:
        self.begin(**environment).wait_for("service.ready")
        assert self.daemon is not None
        return self.daemon

    def kill(self) -> None:
        """Nothing is said any more, and nothing is done."""
        assert self.daemon is not None
        self.daemon.signal(signal.SIGKILL)
        self.daemon.wait()
        self.daemon = None

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.stop()
            self.daemon = None


class Cluster:
    """Hosts over one tree, each of which sees it at another path, and one API."""

    def __init__(
        self,
        path: Path,
        postgres: Postgres,
        standin: StandinProcess,
        hosts: int,
        *,
        mounts: bool = False,
        proxy: TcpProxy | None = None,
        **changes: Any,
    ) -> None:
        """`mounts`: the paths are mounts where this user may mount, else links; `unmount` takes them away. `proxy` leads to the
        database.
        """
        self.path, self.postgres, self.standin, self._mounts = path, postgres, standin, mounts
        self.url: str = changes.pop("journal", None) or postgres.journal()
        if proxy is not None:
            self.url = postgres.url(self.url.rpartition("/")[2], proxy.port)
        self.tree = path / "tree"
        self.tree.mkdir()
        self._mounted: list[Path] = []
        self.hosts = [self._host(number, changes) for number in range(1, hosts + 1)]

    def _host(self, number: int, changes: dict[str, Any]) -> Host:
        mount = self._mount(self.path / f"mount{number}")
        return Host.make(self.path / f"host{number}", self.standin, self.url, f"scanner-{number}", mount, **changes)

    def _mount(self, path: Path) -> Path:
        """Another path to the tree."""
        if self._mounts:
            path.mkdir()
            if subprocess.run(["mount", "--bind", self.tree, path], capture_output=True).returncode == 0:
                self._mounted.append(path)
                return path
            path.rmdir()
        path.symlink_to(self.tree)
        return path

    def drop(self, count: int) -> list[str]:
        """So many images, moved in as careful programs do. Gives their names."""
        names = []
        for number in itertools.islice(_names, count):
            name = f"{number:06}.jpg"
            partial = self.tree / f".{name}.part"
            partial.write_bytes(small_image(number))
            partial.rename(self.tree / name)
            names.append(name)
        return names

    def ended(self) -> Counter[str]:
        """How often each file has ended, by its name, in all audit files together."""
        lines = [line for host in self.hosts if host.audit_path.exists() for line in read_audit(host.audit_path)]
        return Counter(Path(line["file"]).name for line in lines)

    def paid(self) -> Counter[str]:
        paid = self.standin.report()["paid_keys"]
        return Counter({key.removeprefix(f"{BUCKET}/products/"): count for key, count in paid.items()})

    def assert_audit_is_whole(self) -> None:
        """Each host's file by itself, and together each ending once."""
        for host in self.hosts:
            host.assert_audit_is_whole()
        done = command("audit", "verify", "--cluster", "--config", self.hosts[0].config)
        assert done.returncode == 0, done.stdout + done.stderr

    def stop(self) -> None:
        for host in self.hosts:
            host.stop()

    def unmount(self) -> None:
        """Take the mounts away."""
        while self._mounted:
            subprocess.run(["umount", "--lazy", self._mounted.pop()], check=True)


@contextmanager
def cluster(path: Path, postgres: Postgres, standin: StandinProcess, hosts: int = 2, **changes: Any) -> Iterator[Cluster]:
    """A cluster whose daemons are up for as long as the context lasts."""
    made = Cluster(path, postgres, standin, hosts, **changes)
    try:
        for host in made.hosts:
            host.start()
        yield made
    finally:
        made.stop()
        made.unmount()
