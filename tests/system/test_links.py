"""`links`, `show` and `retry` by any name, `tail --urls`: through the installed command, with the embedded engine."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, command, read_audit, write_config
from tests.support.pictures import encoded, jpeg, photograph
from tests.support.standin import DEFAULT_KEY, Fault, StandinProcess


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose folder has three files stored, each with a thumbnail; the daemon has ended."""
    place = tmp_path_factory.mktemp("links")
    (place / "drop" / "sub").mkdir(parents=True)
    config = write_config(
        place / "config.toml",
        {
            "state_dir": place / "state",
            "compressor": {"url": "embedded"},
            "store": {"id": "local", "bucket": "shop-bucket", "region": "eu-central-003"},
            "engine": {"connectors": {"local": {"kind": "directory", "path": place / "bucket"}}},
            "folders": [
                {
                    "name": "products",
                    "path": place / "drop",
                    "link": "https://cdn.example.com/{key}",
                    "image": {"resize": {"width": 600, "height": 600}},
                    "renditions": [
                        {
                            "name": "thumb",
                            "image": {"resize": {"width": 100, "height": 100}},
                            "store": {"path": "products/{dir}/{stem}-thumb.{ext}"},
                        }
                    ],
                }
            ],
        },
    )
    for name in ("chair.jpg", 'sub/a "b" & c.jpg'):
        (place / "drop" / name).write_bytes(jpeg(1200, 800, quality=90))
    (place / "drop" / "sub" / "table.png").write_bytes(encoded(photograph(300, 200), "PNG"))
    with Daemon(config) as daemon:
        daemon.wait_for("image.stored", 6)
    return config


def ask(config: Path, *words: str | Path, status: int = 0) -> Any:
    done = command(*words, "--config", config, environment={})
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done


def links(config: Path, *words: str | Path, status: int = 0) -> list[str]:
    found: list[str] = ask(config, "links", *words, status=status).stdout.splitlines()
    return found


CHAIR = ["https://cdn.example.com/products/chair.jpg", "https://cdn.example.com/products/chair-thumb.jpg"]


def test_a_file_has_many_names(published: Path) -> None:
    """Path, key (of any output), link, URL, id and its beginning lead to the same addresses."""
    drop = published.parent / "drop"
    (line, *_) = [line for line in read_audit(published.parent / "state/audit.jsonl") if line["file"].endswith("chair.jpg")]

    for name in (
        drop / "chair.jpg",
        "products/chair.jpg",
        "products/chair-thumb.jpg",
        CHAIR[1],
        line["url"],
        line["id"],
        line["id"][:8],
    ):
        assert links(published, name) == CHAIR, name
        assert json.loads(ask(published, "show", name, "--json").stdout)["id"] == line["id"], name


def test_forms(published: Path) -> None:
    """What people paste: with real sizes in pixels."""
    chair = published.parent / "drop" / "chair.jpg"

    assert links(published, chair, "--as", "markdown") == [f"![chair]({address})" for address in CHAIR]
    assert links(published, chair, "--as", "html") == [
        f'<img src="{CHAIR[0]}" width="600" height="400" alt="chair">',
        f'<img src="{CHAIR[1]}" width="100" height="67" alt="chair">',
    ]
    sizes = 'sizes="(max-width: 600px) 100vw, 600px"'
    assert links(published, chair, "--as", "picture") == [
        f'<img src="{CHAIR[0]}" srcset="{CHAIR[1]} 100w, {CHAIR[0]} 600w" {sizes} width="600" height="400" alt="chair">'
    ]
    (odd, *_) = links(published, published.parent / "drop" / "sub" / 'a "b" & c.jpg', "--as", "html")
    assert 'alt="a &quot;b&quot; &amp; c"' in odd
    objects = [json.loads(line) for line in links(published, chair, "--as", "json")]
    assert [(each["rendition"], each["width"], each["input"]["width"]) for each in objects] == [
        (None, 600, 1200),
        ("thumb", 100, 1200),
    ]
    rows = list(csv.DictReader(io.StringIO("\n".join(links(published, chair, "--as", "csv")))))
    assert [row["link"] for row in rows] == CHAIR


def test_many_files(published: Path) -> None:
    """By folder, by time, by directory; each file once, in the order of the paths."""
    everything = links(published, "--folder", "products")
    assert len(everything) == 6
    assert everything[:2] == CHAIR
    assert links(published, "--since", "1h") == everything
    assert links(published, published.parent / "drop") == everything
    assert links(published, published.parent / "drop/sub", "products/sub/table.png") == everything[2:]
    assert links(published, "--folder", "products", "--since", "2100-01-01", status=1) == []


def test_nothing_found_is_said(published: Path) -> None:
    """Exit status 1, and each name that means nothing; what was found is printed all the same. Wrong usage is another matter."""
    done = ask(published, "links", "products/chair.jpg", "nothing.jpg", status=1)
    assert done.stdout.splitlines() == CHAIR
    assert "nothing is published of nothing.jpg" in done.stderr
    assert "did you mean `products`" in ask(published, "links", "--folder", "product", status=1).stderr
    assert "picture" in ask(published, "links", "x", "--as", "xml", status=2).stderr
    assert ask(published, "links", status=2).stderr
    assert "no image is known by this path, id, key or address" in ask(published, "show", "products/no.jpg", status=1).stderr


def test_tail_gives_addresses(published: Path) -> None:
    """For `xargs` and the like: an address a line and nothing else."""
    found = ask(published, "tail", "--urls", "--no-follow").stdout.splitlines()

    assert sorted(found) == sorted(links(published, "--folder", "products"))
    assert ask(published, "tail", "--urls", "--json", status=2).stderr


def test_retry_by_file_and_key(tmp_path: Path) -> None:
    """What failed is named as people know it; what has not failed, and what nobody knows, is said."""
    (tmp_path / "drop").mkdir()
    with StandinProcess() as standin:
        config = write_config(
            tmp_path / "config.toml",
            {
                "state_dir": tmp_path / "state",
                "compressor": {"url": standin.url, "max_attempts": 1},
                "publish": {"serve": {"listen": "127.0.0.1:0"}},
                "verify": {"url": standin.verify_url},
                "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
                "folders": [{"name": "products", "path": tmp_path / "drop"}],
            },
        )
        standin.set_faults(Fault("status", status=422))
        with Daemon(config, {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}) as daemon:
            for number in range(3):
                (tmp_path / f"drop/{number}.jpg").write_bytes(jpeg(100 + number, 80))
            daemon.wait_for("image.failed", 3)
            standin.set_faults()
            address = "https://shop-bucket.s3.eu-central-003.backblazeb2.com/products/2.jpg"
            done = ask(config, "retry", tmp_path / "drop/0.jpg", "products/1.jpg", address)
            assert "3 images are in the queue again" in done.stdout
            daemon.wait_for("image.stored", 3)
            done = ask(config, "retry", "products/0.jpg", "products/nobody.jpg", status=1)
            assert "it has not failed, it is stored" in done.stderr
            assert "products/nobody.jpg: no image has this id, and no file this path, key or address" in done.stderr
            assert links(config, "products/2.jpg") == links(config, address)
