"""`reprocess` through the installed command: what changed, and nothing else, is made anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, command, read_audit, wait_until, write_config
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY, Fault, StandinProcess

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}
THUMB = {"name": "thumb", "image": {"compression": "ultra"}, "store": {"path": "thumbs/{name}"}}


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    with StandinProcess() as process:
        yield process


class Shop:
    """A folder with a rendition, and its configuration, which is written anew for each change."""

    def __init__(self, place: Path, standin: StandinProcess) -> None:
        self.place, self.standin = place, standin
        (place / "drop").mkdir()
        self.config = place / "config.toml"
        self.rule({"image": {"compression": "medium"}})

    def rule(self, folder: dict[str, Any], thumb: dict[str, Any] = THUMB, **changes: Any) -> None:
        """Write the configuration with this rule."""
        data = {
            "state_dir": self.place / "state",
            "compressor": {"url": self.standin.url, "concurrency": 1},
            "publish": {"serve": {"listen": "127.0.0.1:0"}},
            "verify": {"url": self.standin.verify_url},
            "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
            "folders": [{"name": "products", "path": self.place / "drop", "renditions": [thumb], **folder}],
            **changes,
        }
        write_config(self.config, data)

    def drop(self, *names: str) -> None:
        for name in names:
            (self.place / "drop" / name).write_bytes(jpeg(100 + len(list((self.place / "drop").iterdir())), 80))

    def ask(self, *words: str, status: int = 0) -> Any:
        done = command(*words, "--config", self.config)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done

    def counts(self, *words: str) -> dict[str, Any]:
        """What a dry run counts."""
        found: dict[str, Any] = json.loads(self.ask("reprocess", "--dry-run", "--json", *words).stdout)
        return found

    def paid(self) -> dict[str, int]:
        """How often the work for each object was paid."""
        found: dict[str, int] = self.standin.report()["paid_keys"]
        return {key.removeprefix("shop-bucket/"): count for key, count in found.items()}

    def audit(self) -> list[dict[str, Any]]:
        return read_audit(self.place / "state/audit.jsonl")


@pytest.fixture
def shop(tmp_path: Path, standin: StandinProcess) -> Shop:
    return Shop(tmp_path, standin)


def test_only_outputs_whose_own_rule_changed_are_made_anew(shop: Shop) -> None:
    """The thumbnail overrides what changed: it is neither counted nor sent. A dry run changes nothing."""
    shop.drop("a.jpg", "b.jpg")
    with Daemon(shop.config, KEY) as daemon:
        daemon.wait_for("image.stored", 4)
    assert shop.counts()["images"] == 0
    assert "nothing to reprocess" in shop.ask("reprocess", "--dry-run").stdout
    assert "2 images left as they are" in shop.ask("reprocess").stdout

    shop.rule({"image": {"compression": "high"}})
    counts = shop.counts()
    assert (counts["images"], counts["requests"], counts["queued"]) == (2, 2, 0)
    assert counts["folders"] == {"products": {"images": 2, "requests": 2}}
    assert (shop.counts("--rendition", "thumb")["images"], shop.counts("--since", "2100-01-01")["images"]) == (0, 0)
    with Daemon(shop.config, KEY) as daemon:
        assert "2 images are in the queue, behind fresh drops: 2 requests" in shop.ask("reprocess").stdout
        daemon.wait_for("image.stored", 2, seconds=30)
        assert shop.counts()["images"] == 0
    assert shop.paid() == {"products/a.jpg": 2, "products/b.jpg": 2, "thumbs/a.jpg": 1, "thumbs/b.jpg": 1}
    assert len({(line["id"], line["rendition"]) for line in shop.audit()}) == len(shop.audit()) == 6
    assert json.loads(shop.ask("audit", "verify", "--json").stdout)["lines"] == 6


def test_fresh_drops_go_first(shop: Shop) -> None:
    """With one request at a time and a queue full of old images, what is dropped now is next."""
    shop.drop(*(f"old-{number}.jpg" for number in range(12)))
    with Daemon(shop.config, KEY) as daemon:
        daemon.wait_for("image.stored", 24)
    shop.rule({"image": {"compression": "high"}})
    shop.standin.set_faults(Fault("delay", seconds=0.5))
    with Daemon(shop.config, KEY) as daemon:
        shop.ask("reprocess")
        daemon.wait_for("image.stored", 1)
        shop.drop("fresh.jpg")
        daemon.wait_for("image.stored", file=str(shop.place / "drop/fresh.jpg"), rendition=None)
        assert len([line for line in daemon.events("image.stored") if "/old-" in line["file"]]) < 12
        shop.standin.set_faults()
        daemon.wait_for("image.stored", 14)


def test_all_is_sent_again_though_nothing_changed(shop: Shop) -> None:
    """For a store that lost them, or an API that does better now; one rendition alone where that is wanted."""
    shop.drop("a.jpg")
    with Daemon(shop.config, KEY) as daemon:
        daemon.wait_for("image.stored", 2)
        assert shop.counts("--all", "--rendition", "thumb")["requests"] == 1
        assert "1 image is in the queue" in shop.ask("reprocess", "--all", "--rendition", "thumb").stdout
        daemon.wait_for("image.stored", 3)
        assert shop.paid() == {"products/a.jpg": 1, "thumbs/a.jpg": 2}
        wait_until(lambda: shop.counts("--all")["requests"] == 2)
        shop.ask("reprocess", "--all")
        daemon.wait_for("image.stored", 5)
    assert shop.paid() == {"products/a.jpg": 2, "thumbs/a.jpg": 3}


def test_a_new_rendition_and_a_new_key_count_as_changes(shop: Shop) -> None:
    """What is not there yet has to be made; an object under another key as well."""
    shop.drop("a.jpg")
    with Daemon(shop.config, KEY) as daemon:
        daemon.wait_for("image.stored", 2)
    shop.rule({"image": {"compression": "medium"}}, {**THUMB, "name": "small", "store": {"path": "small/{name}"}})
    assert shop.counts()["requests"] == 1
    shop.rule({"image": {"compression": "medium"}, "store": {"path": "new/{name}"}})
    assert shop.counts()["requests"] == 1
    with Daemon(shop.config, KEY) as daemon:
        shop.ask("reprocess")
        (line,) = daemon.wait_for("image.stored")
    assert (line["key"], line["replaced"]) == ("new/a.jpg", False)


def test_dates_in_keys_stay_those_of_the_first_storing(shop: Shop) -> None:
    """Otherwise every reprocessing would leave the old object behind, with links that lead to it."""
    shop.rule({"image": {"compression": "medium"}, "store": {"path": "{date:%H-%M-%S-%f}/{name}"}})
    shop.drop("a.jpg")
    with Daemon(shop.config, KEY) as daemon:
        daemon.wait_for("image.stored", 2)
    shop.rule({"image": {"compression": "high"}, "store": {"path": "{date:%H-%M-%S-%f}/{name}"}})
    with Daemon(shop.config, KEY) as daemon:
        shop.ask("reprocess")
        daemon.wait_for("image.stored")
    keys = [line["key"] for line in shop.audit() if line["rendition"] is None]
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_what_cannot_be_done_is_counted_and_said(shop: Shop) -> None:
    """Files that are gone, changed, in the queue, failed: each with what to do. Wrong names get right ones."""
    shop.drop("gone.jpg", "changed.jpg", "queued.jpg", "good.jpg")
    with Daemon(shop.config, KEY) as daemon:
        daemon.wait_for("image.stored", 8)
    (shop.place / "drop/gone.jpg").unlink()
    (shop.place / "drop/changed.jpg").write_bytes(jpeg(300, 200))
    (shop.place / "drop/good.jpg").chmod(0o600)
    shop.rule({"image": {"compression": "high"}})

    done = shop.ask("reprocess", "--dry-run")
    assert "2 images would go into the queue" in done.stdout
    assert "1 image left, gone" in done.stderr
    assert "1 image left, of another version by now" in done.stderr
    shop.ask("reprocess")
    assert shop.counts()["left"] == {
        **dict.fromkeys(("current", "unknown_rule", "elsewhere", "failed"), 0),
        "gone": 1,
        "changed": 1,
        "queued": 2,
    }
    with Daemon(shop.config, KEY) as daemon:
        for name in ("good.jpg", "queued.jpg"):
            daemon.wait_for("image.stored", file=str(shop.place / "drop" / name), rendition=None)
    assert "did you mean `thumb`" in shop.ask("reprocess", "--rendition", "thumbs", status=1).stderr
    assert "did you mean `products`" in shop.ask("reprocess", "--folder", "product", status=1).stderr
    assert shop.ask("reprocess", "--since", "lately", status=2).stderr


def test_originals_that_were_put_away_are_elsewhere(shop: Shop) -> None:
    """`on_success` took them: there is nothing to send, and that is said."""
    shop.rule({"image": {"compression": "medium"}, "on_success": {"move": str(shop.place / "done")}})
    shop.drop("a.jpg")
    with Daemon(shop.config, KEY) as daemon:
        daemon.wait_for("image.moved")
    shop.rule({"image": {"compression": "high"}, "on_success": {"move": str(shop.place / "done")}})
    done = shop.ask("reprocess")
    assert "nothing was put into the queue" in done.stdout
    assert "1 image left, with the original elsewhere" in done.stderr


def test_before_the_first_run(shop: Shop) -> None:
    """A clear word, and nothing is made."""
    assert "nothing is recorded yet" in shop.ask("reprocess").stderr
    assert not (shop.place / "state").exists()
