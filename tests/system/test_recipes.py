"""Every recipe of docs/RECIPES.md at work: configuration and program as they stand there, against a stand-in of the service."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import COMMAND, Daemon, clean_environment, command, wait_until
from tests.support.elsewhere import Elsewhere
from tests.support.notified import KEY, NotifiedPlace
from tests.support.pictures import jpeg
from tests.support.receivers import SECRET, Call
from tests.support.standin import StandinProcess

PAGE = Path("docs/RECIPES.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def standin() -> Iterator[StandinProcess]:
    """The API stand-in."""
    with StandinProcess() as process:
        yield process


class Recipe:
    """One section of the page: its configuration, and its program, put where this test may put it."""

    def __init__(self, heading: str) -> None:
        section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        assert section, f"no recipe {heading!r}"
        self.blocks = dict[str, str](re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL))

    def settings(self, place: NotifiedPlace, tmp_path: Path) -> dict[str, Any]:
        """Its tables, with our folder and our place for the program."""
        data = tomllib.loads(self.blocks["toml"])
        for folder in data.get("folders", []):
            folder["path"] = str(place.drop)
        for receiver in data["notify"].values():
            if "command" in receiver and "python" in self.blocks:
                receiver["command"][0] = self.program(tmp_path)
        return data

    def program(self, tmp_path: Path) -> str:
        """The program, installed."""
        path = tmp_path / "program"
        path.write_text(self.blocks["python"].replace("#!/usr/bin/env python3", f"#!{sys.executable}", 1))
        path.chmod(0o755)
        return str(path)


@pytest.fixture
def place(tmp_path: Path, standin: StandinProcess) -> NotifiedPlace:
    """A daemon's files."""
    return NotifiedPlace(tmp_path, standin.url, standin.verify_url)


def write(place: NotifiedPlace, data: dict[str, Any]) -> None:
    """The recipe's configuration beside what every daemon needs."""
    notify = data.pop("notify")
    place.write(notify, **data)


def replace_a_picture(place: NotifiedPlace, daemon: Daemon, name: str) -> None:
    """Store a picture, then another one at the same key."""
    for number, width in enumerate((60, 70), 1):
        (place.drop / name).write_bytes(jpeg(width, 40))
        daemon.wait_for("image.stored", number)


def test_cloudflare_forgets_what_was_replaced(place: NotifiedPlace, tmp_path: Path) -> None:
    """The second version of a picture is purged at its link; the first one is not."""
    write(place, Recipe("Purge Cloudflare").settings(place, tmp_path))
    with Elsewhere(tmp_path, "api.cloudflare.com") as cloudflare:
        secrets = {"CLOUDFLARE_ZONE": "zone-1", "CLOUDFLARE_TOKEN": "token-1"}
        with Daemon(place.config, {**KEY, **cloudflare.environment, **secrets}) as daemon:
            replace_a_picture(place, daemon, "chair.jpg")
            wait_until(lambda: cloudflare.receiver.confirmed)

        (call,) = cloudflare.receiver.calls
    assert (call.method, call.path) == ("POST", "/client/v4/zones/zone-1/purge_cache")
    assert call.headers["authorization"] == "Bearer token-1"
    assert call.object == {"files": ["https://images.example.com/drop/chair.jpg"]}


def test_a_purge_that_is_refused_is_said_and_tried_again(place: NotifiedPlace, tmp_path: Path) -> None:
    """A wrong token: the log says what the program said, and nothing is lost once it is right."""
    write(place, Recipe("Purge Cloudflare").settings(place, tmp_path))
    with Elsewhere(tmp_path, "api.cloudflare.com") as cloudflare:
        cloudflare.receiver.status = 403
        secrets = {"CLOUDFLARE_ZONE": "zone-1", "CLOUDFLARE_TOKEN": "token-1"}
        with Daemon(place.config, {**KEY, **cloudflare.environment, **secrets}) as daemon:
            replace_a_picture(place, daemon, "chair.jpg")
            (said,) = daemon.wait_for("notify.unavailable")
            cloudflare.receiver.status = 200
            daemon.wait_for("notify.recovered")

    assert "HTTP Error 403" in said["message"]
    assert "token-1" not in str(daemon.lines)


def test_bunny_forgets_what_was_replaced(place: NotifiedPlace, tmp_path: Path) -> None:
    """Names with spaces and other letters arrive whole."""
    write(place, Recipe("Purge bunny.net").settings(place, tmp_path))
    with Elsewhere(tmp_path, "api.bunny.net") as bunny:
        with Daemon(place.config, {**KEY, **bunny.environment, "BUNNY_KEY": "key-1"}) as daemon:
            replace_a_picture(place, daemon, "stühle & tische.jpg")
            wait_until(lambda: bunny.receiver.confirmed)

        (call,) = bunny.receiver.calls
    path, _, query = call.path.partition("?")
    assert (call.method, path, call.headers["accesskey"]) == ("POST", "/purge", "key-1")
    purged = urllib.parse.parse_qs(query)
    assert purged == {"url": ["https://my-zone.b-cdn.net/drop/st%C3%BChle%20%26%20tische.jpg"], "async": ["true"]}


def test_a_post_of_wordpress_gets_its_picture(place: NotifiedPlace, tmp_path: Path) -> None:
    """Found by its slug; a file without a post changes nothing."""
    write(place, Recipe("Update WordPress").settings(place, tmp_path))

    def answer(call: Call) -> bytes:
        found = [{"id": 17}] if call.path.endswith("?slug=oak-chair&_fields=id") else []
        return json.dumps(found if call.method == "GET" else {"id": 17}).encode()

    with Elsewhere(tmp_path, "www.example.com") as site:
        site.receiver.answer = answer
        with Daemon(place.config, {**KEY, **site.environment, "WORDPRESS_LOGIN": "editor:abcd efgh"}) as daemon:
            for name in ("nobody.jpg", "Oak-Chair.jpg"):
                (place.drop / name).write_bytes(jpeg(60, 40, quality=80 + len(name)))
            daemon.wait_for("image.stored", 2)
            wait_until(lambda: [call for call in site.receiver.confirmed if call.method == "POST"])

        (change,) = [call for call in site.receiver.calls if call.method == "POST"]
    assert change.path == "/wp-json/wp/v2/posts/17"
    assert base64.b64decode(change.headers["authorization"].removeprefix("Basic ")) == b"editor:abcd efgh"
    assert change.object == {"meta": {"image_url": "https://my-bucket.s3.eu-central-003.backblazeb2.com/drop/Oak-Chair.jpg"}}


def test_a_hugo_site_is_built_once_for_many_pictures(place: NotifiedPlace, tmp_path: Path) -> None:
    """Not for each of them, and its data file has all when it is built last."""
    data, site, bin_ = Recipe("Build a Hugo site").settings(place, tmp_path), tmp_path / "site", tmp_path / "bin"
    for folder in (site / "data", bin_):
        folder.mkdir(parents=True)
    hugo = bin_ / "hugo"
    hugo.write_text('#!/bin/sh\necho "$@" >> "$2/built"\ncp "$2/data/images.json" "$2/public.json"\n')
    hugo.chmod(0o755)
    data["folders"][0]["manifest"] = str(site / "data" / "images.json")
    data["notify"]["hugo"]["command"][2] = str(site)
    data["notify"]["hugo"]["digest"] = "4s"
    write(place, data)

    def shown() -> str:
        return (site / "public.json").read_text() if (site / "public.json").exists() else ""

    with Daemon(place.config, {**KEY, "PATH": f"{bin_}:{os.environ['PATH']}"}) as daemon:
        place.drop_some(6)
        daemon.wait_for("image.stored", 6)
        wait_until(lambda: all(f"/drop/{number:05d}.jpg" in shown() for number in range(1, 7)))

    built = (site / "built").read_text().splitlines()
    assert set(built) == {f"--source {site} --quiet"}
    assert len(built) <= 2  # the drops of a slow machine may take longer than a digest


def test_a_product_of_shopify_gets_its_picture(place: NotifiedPlace, tmp_path: Path) -> None:
    """Found by its handle, and added as media that Shopify fetches."""
    write(place, Recipe("Add pictures to Shopify").settings(place, tmp_path))

    def answer(call: Call) -> bytes:
        if "productByIdentifier" in call.object["query"]:
            known = call.object["variables"]["handle"] == "oak-chair"
            return json.dumps({"data": {"productByIdentifier": {"id": "gid://shopify/Product/1"} if known else None}}).encode()
        return b'{"data": {"productUpdate": {"userErrors": []}}}'

    with Elsewhere(tmp_path, "my-shop.myshopify.com") as shop:
        shop.receiver.answer = answer
        with Daemon(place.config, {**KEY, **shop.environment, "SHOPIFY_TOKEN": "token-1"}) as daemon:
            (place.drop / "oak-chair.jpg").write_bytes(jpeg(60, 40))
            (place.drop / "nothing.jpg").write_bytes(jpeg(64, 40))
            daemon.wait_for("image.stored", 2)
            wait_until(lambda: len(shop.receiver.confirmed) >= 3)

        (added,) = [call for call in shop.receiver.calls if "productUpdate" in call.object["query"]]
    assert {call.headers["x-shopify-access-token"] for call in shop.receiver.calls} == {"token-1"}
    assert added.path == "/admin/api/2026-10/graphql.json"
    assert added.object["variables"] == {
        "product": {"id": "gid://shopify/Product/1"},
        "media": [
            {
                "originalSource": "https://my-bucket.s3.eu-central-003.backblazeb2.com/drop/oak-chair.jpg",
                "mediaContentType": "IMAGE",
                "alt": "oak-chair",
            }
        ],
    }


def test_slack_is_told_what_failed(place: NotifiedPlace, tmp_path: Path) -> None:
    """By Apprise, from an address whose tokens come from a credential."""
    data = Recipe("Slack when something fails").settings(place, tmp_path)
    tokens = "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "notify_team_apprise").write_text(
        data["notify"]["team"].pop("apprise").replace("TokenA/TokenB/TokenC", tokens)
    )
    data["notify"]["team"]["digest"] = "2s"
    write(place, {**data, "max_wait": "1s"})
    with Elsewhere(tmp_path, "hooks.slack.com") as slack:
        environment = {**KEY, **slack.environment, "CREDENTIALS_DIRECTORY": str(credentials)}
        with Daemon(place.config, environment) as daemon:
            place.drop_some(1)
            (place.drop / "cut.jpg").write_bytes(jpeg(60, 40)[:300])
            daemon.wait_for("image.failed")
            wait_until(lambda: slack.receiver.confirmed)

        (call,) = slack.receiver.calls
    assert call.path == f"/services/{tokens}"
    assert "1 failed" in str(call.object)
    assert "cut.jpg" in str(call.object)
    assert tokens not in str(daemon.lines)


def test_images_are_sent_at_night_only(place: NotifiedPlace, tmp_path: Path) -> None:
    """The two lines of the crontab, run as cron runs them."""
    morning, evening = re.findall(r"(?m)^0 \d+ \* \* \*\s+root\s+(.*)$", Recipe("Only at night").blocks["text"])
    place.write({})
    with Daemon(place.config, KEY) as daemon:
        cron(morning, place)
        place.drop_some(2)
        daemon_is_paused = wait_until(lambda: status(place)["queue"] == 2)
        assert status(place)["paused"]
        assert not daemon.events("image.stored")
        cron(evening, place)
        daemon.wait_for("image.stored", 2)

    assert daemon_is_paused


def cron(line: str, place: NotifiedPlace) -> None:
    """Run a line of a crontab: by sh, with hardly an environment."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/root", "WATCHER_CONFIG": str(place.config)}
    text = line.replace("/usr/local/bin/compressor-watcher", str(COMMAND))
    subprocess.run(["/bin/sh", "-c", text], env=environment, check=True, timeout=60)


def status(place: NotifiedPlace) -> dict[str, Any]:
    """What `status --json` says."""
    shown: dict[str, Any] = json.loads(command("status", "--json", "--config", place.config).stdout)
    return shown


def test_healthchecks_hears_that_the_daemon_is_alive(place: NotifiedPlace, tmp_path: Path) -> None:
    """A GET, again and again."""
    data = Recipe("Be told when the daemon is gone").settings(place, tmp_path)
    data["notify"]["alive"]["heartbeat"] = "500ms"
    write(place, data)
    with Elsewhere(tmp_path, "hc-ping.com") as checks:
        with Daemon(place.config, {**KEY, **checks.environment}):
            wait_until(lambda: len(checks.receiver.confirmed) >= 3)
        calls = list(checks.receiver.calls)

    assert {(call.method, call.path, call.headers["host"]) for call in calls} == {("GET", "/your-uuid", "hc-ping.com")}


def test_a_program_of_ones_own_checks_the_signature(place: NotifiedPlace, tmp_path: Path) -> None:
    """The receiver that the page shows takes what is signed, and nothing else."""
    recipe = Recipe("Your own program")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    data = recipe.settings(place, tmp_path)
    data["notify"]["cms"]["url"] = f"http://127.0.0.1:{port}/hooks/images"
    write(place, data)
    environment = clean_environment(SECRET=SECRET, PORT=str(port))
    receiver = subprocess.Popen([sys.executable, recipe.program(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: is_open(port))
        unsigned = command("notify", "test", "cms", "--config", place.config)
        signed = command("notify", "test", "cms", "--config", place.config, environment={"WATCHER_NOTIFY__CMS__SECRET": SECRET})
        assert receiver.stdout is not None
        line = receiver.stdout.readline()
    finally:
        receiver.kill()
        receiver.communicate()

    assert (unsigned.returncode, signed.returncode) == (1, 0), signed.stderr
    assert "no `secret` is set here" in unsigned.stderr
    assert line == "image.stored https://my-bucket.s3.eu-central-003.backblazeb2.com/test/sample.jpg\n"


def is_open(port: int) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_every_recipe_has_its_test() -> None:
    """A recipe that is added to the page is run as well."""
    tested = re.findall(r'Recipe\("([^"]+)"\)', Path(__file__).read_text(encoding="utf-8"))

    assert set(re.findall(r"(?m)^## (.*)$", PAGE)) - {"How it works"} == set(tested)
