"""Builds what the Containerfile says, step by step, in roots of mmdebstrap, and runs it as a container runtime does.

No registry and no container engine is needed. What of the Containerfile's language is not used there is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.roots import REPOSITORY, debian, in_root, run

SUITES = {"docker.io/library/debian:12-slim": "bookworm", "docker.io/library/debian:13-slim": "trixie"}


@dataclass
class Image:
    """What the steps have made so far."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)


def steps(text: str) -> list[tuple[str, str]]:
    """(instruction, rest) of each line; comments are left out."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, rest in (line.split(None, 1) for line in lines)]


def build(file: Path, target: Path) -> Image:
    """Carry the steps out; the last stage is the image."""
    stages: dict[str, Image] = {}
    image: Image | None = None
    for number, (name, rest) in enumerate(steps(file.read_text(encoding="utf-8"))):
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            image = Image(debian(SUITES[base], target / f"stage-{number}"))
            stages[stage] = image
        else:
            assert image is not None
            _step(image, name, rest, stages)
    assert image is not None
    return image


def _step(image: Image, name: str, rest: str, stages: dict[str, Image]) -> None:
    match name:
        case "RUN":
            in_root(image.root, rest, environment=image.environment, directory=image.directory)
        case "COPY":
            _copy(image, rest, stages)
        case "ENV":
            key, _, value = rest.partition("=")
            image.environment[key] = value
        case "WORKDIR":
            image.directory = rest
            (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "USER":
            image.user = rest
        case "VOLUME":
            image.volumes.append(rest)
        case "ENTRYPOINT":
            image.entrypoint = json.loads(rest)
        case "CMD":
            image.command = json.loads(rest)
        case "HEALTHCHECK":
            image.health = json.loads(re.sub(r"^.*?CMD ", "", rest))
        case "EXPOSE":
            assert rest.isdigit()
        case _:
            raise AssertionError(f"the test knows no step {name}")


def _copy(image: Image, rest: str, stages: dict[str, Image]) -> None:
    words = rest.split()
    source = stages[words.pop(0).removeprefix("--from=")].root if words[0].startswith("--from=") else REPOSITORY
    *names, place = words
    target = image.root / (Path(image.directory) / place).relative_to("/")
    for each in names:
        path = source / each.lstrip("/")
        if path.is_dir():
            shutil.copytree(path, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)


class Container:
    """A running one: process 1 of its own namespaces, on a read-only root, as the image's user."""

    def __init__(
        self,
        image: Image,
        mounts: dict[Path, str],
        *,
        environment: dict[str, str] | None = None,
        tmpfs: bool = False,
        name: str = "container",
    ) -> None:
        """`mounts` are bound in; what ends with ":ro" cannot be written to. `name` tells several of one image apart."""
        self.image = image
        root = image.root
        lines = [f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        for source, place in mounts.items():
            path, _, mode = place.partition(":")
            inside = root / path.lstrip("/")
            inside.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                inside.mkdir(exist_ok=True)
            else:
                inside.touch()
            lines.append(f"mount --bind {source} {inside}")
            if mode == "ro":
                lines.append(f"mount -o remount,bind,ro {inside}")
        if tmpfs:
            lines.append(f"mount -t tmpfs tmpfs {root}/tmp")
        lines.append(f"mount -o remount,bind,ro {root}")
        self._variables = [f"{name}={value}" for name, value in {**image.environment, **(environment or {})}.items()]
        self._as_user = [
            "setpriv",
            f"--reuid={image.user}",
            f"--regid={image.user}",
            "--clear-groups",
            "env",
            "-i",
            *self._variables,
        ]
        lines.append('exec chroot "$0" "$@"')
        script = "\n".join(lines)
        command = [*self._as_user, *image.entrypoint, *image.command]
        namespaces = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
        self.log = (root.parent / f"{name}.log").open("wb")
        self.process = subprocess.Popen(
            [*namespaces, "sh", "-ec", script, root, *command], stdout=self.log, stderr=subprocess.STDOUT
        )

    @property
    def pid(self) -> int:
        """Process 1 of the container, as this machine numbers it."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as its health check is run."""
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--root", "--wd"]
        return subprocess.run([*inside, *self._as_user, *command], text=True, capture_output=True, timeout=60)

    @property
    def lines(self) -> list[dict[str, object]]:
        """What it has logged so far."""
        text = Path(self.log.name).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def stop(self) -> int:
        """SIGTERM to process 1, as a runtime does; gives its exit status."""
        os.kill(self.pid, 15)
        return self.process.wait(40)

    def end(self) -> None:
        """Whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


def own(path: Path, user: str) -> Path:
    """Give it to the container's user."""
    run(["chown", "-R", f"{user}:{user}", path])
    return path
