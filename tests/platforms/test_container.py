"""The container image, built by the Containerfile's own steps and run read-only, as a user without rights, as process 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.containers import Container, Image, build, own
from tests.support.daemon import wait_until, write_config
from tests.support.pictures import jpeg
from tests.support.roots import REPOSITORY, why_no_roots
from tests.support.standin import DEFAULT_KEY, StandinProcess

pytestmark = [
    pytest.mark.platforms,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(why_no_roots()), reason=why_no_roots() or "has all"),
]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(REPOSITORY / "Containerfile", tmp_path_factory.mktemp("image"))


@pytest.fixture
def place(tmp_path: Path, image: Image) -> Path:
    """Drop folder, state and what else is mounted."""
    for name in ("drop", "state", "bucket", "secrets"):
        (tmp_path / name).mkdir()
    tmp_path.chmod(0o755)
    return tmp_path


def mounts(place: Path, config: Path) -> dict[Path, str]:
    return {
        config: "/etc/compressor-watcher/config.toml:ro",
        place / "drop": "/srv/drop",
        place / "state": "/var/lib/compressor-watcher",
        place / "bucket": "/srv/bucket",
        place / "secrets": "/run/secrets:ro",
    }


@pytest.fixture
def containers() -> Iterator[list[Container]]:
    started: list[Container] = []
    yield started
    for each in started:
        each.end()


def events(container: Container, name: str) -> list[dict[str, Any]]:
    return [line for line in container.lines if line["event"] == name]


def test_the_daemon_runs_read_only_and_without_rights(image: Image, place: Path, containers: list[Container]) -> None:
    """Drop, stored line, healthy, SIGTERM, exit status 0; the key comes as a secret's file."""
    (place / "secrets/compressor_api_key").write_text(DEFAULT_KEY)
    with StandinProcess() as standin:
        config = write_config(
            place / "config.toml",
            {
                "compressor": {"url": standin.url},
                "publish": {"serve": {"listen": "127.0.0.1:0"}},
                "verify": {"url": standin.verify_url},
                "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
                "folders": [{"name": "products", "path": "/srv/drop"}],
            },
        )
        own(place, image.user)
        container = Container(image, mounts(place, config), environment={"CREDENTIALS_DIRECTORY": "/run/secrets"})
        containers.append(container)
        wait_until(lambda: bool(events(container, "service.ready")))
        assert container.exec(*image.health).returncode == 0
        (place / "drop/.a.jpg").write_bytes(jpeg())
        (place / "drop/.a.jpg").rename(place / "drop/a.jpg")
        wait_until(lambda: bool(events(container, "image.stored")))
        assert container.stop() == 0
    assert events(container, "service.stopped")
    assert (place / "state/audit.jsonl").exists()


def test_the_embedded_engine_works_in_it(image: Image, place: Path, containers: list[Container]) -> None:
    """Image work in worker processes, scratch files in a tmpfs, objects into a mounted folder."""
    config = write_config(
        place / "config.toml",
        {
            "compressor": {"url": "embedded"},
            "publish": {"serve": {"listen": "127.0.0.1:0"}},
            "store": {"id": "local", "bucket": "shop-bucket", "region": "eu-central-003"},
            "engine": {
                "allow_private": ["127.0.0.0/8"],
                "connectors": {"local": {"kind": "directory", "path": "/srv/bucket"}},
            },
            "folders": [{"name": "products", "path": "/srv/drop", "image": {"resize": {"width": 40}}}],
        },
    )
    own(place, image.user)
    (place / "drop/a.jpg").write_bytes(jpeg(400, 300))
    own(place, image.user)
    container = Container(image, mounts(place, config), tmpfs=True)
    containers.append(container)
    wait_until(lambda: bool(events(container, "image.stored")))
    assert events(container, "image.stored")[0]["output"]["width"] == 40
    assert container.stop() == 0
    assert (place / "bucket/shop-bucket/products/a.jpg").exists()


@pytest.mark.parametrize("name", ["account", "embedded", "cluster", "engines"])
def test_compose_samples_say_what_the_image_needs(image: Image, name: str) -> None:
    """Read-only root, the state in a volume, time to stop, the configuration where the image looks for it."""
    file = REPOSITORY / f"docs/compose/{name}.yaml"
    sample = yaml.safe_load(file.read_text(encoding="utf-8"))
    watchers = [each for each in sample["services"].values() if "build" in each]
    assert watchers
    for each in watchers:
        assert (file.parent / each["build"]["context"] / each["build"]["dockerfile"]).exists()
        assert each["read_only"] is True
        targets = [volume.split(":")[1] for volume in each["volumes"]]
        assert image.environment["WATCHER_CONFIG"] in targets
        assert set(image.volumes) <= set(targets)
        assert int(each["stop_grace_period"].rstrip("s")) > 20
