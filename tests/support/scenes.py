"""Acts on the folders of a running daemon: each in a folder of its own, all of them at the same time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.support.became import Became, Bucket
from tests.support.daemon import PATIENCE_SECONDS, Daemon, wait_until
from tests.support.world import KEY, World


class Scene:
    """One folder of a running daemon, and a directory beside it for whatever an act needs."""

    def __init__(self, world: World, name: str, **table: Any) -> None:
        self.root = world.drop / name
        self.table = {"name": name, "path": self.root, **table}
        self.aside = world.path / "aside" / name
        self.daemon: Daemon
        self.bucket: Bucket

    def put(self, name: str, content: bytes) -> Path:
        """A file, written at its place."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def until(self, path: Path, *endings: str) -> None:
        """Until the versions of a file have ended like this, in this order, and no other ending can come of them."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := Became.of(self.daemon.lines).endings(path)) != list(endings):
            assert time.monotonic() < deadline, f"{path}: {found} and not {endings}"
            time.sleep(0.02)

    def until_ignored(self, path: Path, reason: str) -> None:
        """Until the file was left for this reason."""
        wait_until(lambda: Became.of(self.daemon.lines).ignored.get(bytes(path)) == reason)

    def stored(self, path: Path) -> list[dict[str, Any]]:
        """The lines of image.stored of a file."""
        return Became.of(self.daemon.lines).stored.get(bytes(path), [])

    def object_of(self, path: Path) -> bytes | None:
        """What lies in the bucket where the file was stored last."""
        return self.bucket.get(self.stored(path)[-1]["key"])


Act = Callable[[Scene], None]


def play(
    world: World, acts: dict[str, Act], tables: dict[str, dict[str, Any]], *, missing: Container[str] = (), **changes: Any
) -> list[dict[str, Any]]:
    """All acts at the same time, in one life of the daemon; gives its lines. Every version must have had exactly one ending.

    `tables` are further keys of their [[folders]], `missing` those whose folder is not there at the start, `changes` those of the
    configuration.
    """
    scenes = {name: Scene(world, name, **tables.get(name, {})) for name in acts}
    for name, scene in scenes.items():
        scene.aside.mkdir(parents=True)
        if name not in missing:
            scene.root.mkdir(exist_ok=True)
    world.write_config(log={"level": "debug"}, folders=[scene.table for scene in scenes.values()], **changes)
    with Daemon(world.config, KEY) as daemon, contextlib.ExitStack() as stack, ThreadPoolExecutor(len(acts)) as pool:
        daemon.wait_for("scan.finished", len(acts) - sum(name in missing for name in acts))
        for scene in scenes.values():
            scene.daemon, scene.bucket = daemon, stack.enter_context(Bucket(world.standin))
        playing = {name: pool.submit(act, scenes[name]) for name, act in acts.items()}
        problems = {name: repr(error) for name, each in playing.items() if (error := each.exception()) is not None}
        assert problems == {}, problems
        wait_until(lambda: not Became.of(daemon.lines).without_one_ending())
        assert daemon.errors == [], daemon.errors
    world.assert_audit_is_whole()
    return daemon.lines
