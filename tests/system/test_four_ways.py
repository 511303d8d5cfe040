"""The daemon end to end, both ways of publishing with both kinds of API, seen from outside.

{stand-in of the vendor's API, embedded engine} x {temporary URLs from here, originals staged in a private bucket}. What is staged
lies in a real S3 store that keeps versions, behind Backblaze B2's quirks; the engine stores into a folder in one way and, through
its `b2` connector, into that store in the other. What the lines say is recomputed from what lies in the store, with boto3.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest
from PIL import Image

from tests.support.b2_quirks import B2Quirks, Fault, b2_quirks_aside
from tests.support.daemon import Daemon, command, read_audit, wait_until, write_config
from tests.support.pictures import decoded, encoded, jpeg, photograph
from tests.support.s3 import S3Server
from tests.support.standin import StandinProcess

API_KEY = "planted-api-key-6e1f"
ENGINE_KEY = "planted-engine-key-93ab"
REGION = "us-west-004"
BOX, THUMB = 96, 32
LARGE = "large scan.tif"
IMAGES = {
    "photo.jpg": "jpeg",
    "Ünï code.JPG": "jpeg",
    "sub/drawing.png": "png",
    "sub/banner.webp": "webp",
}
LETS_IN = re.compile(r"X-Amz-|x-amz-|AWS4-HMAC|/t/[\w-]{43}")
"""What only a signed address, a signed request or a temporary URL has in it."""


@dataclass
class Way:
    """One of the four: who works, how originals are published, and where what is stored can be seen."""

    embedded: bool
    staged: bool
    folder: Path
    objects: Path | str
    """Where objects lie: a folder, or the name of a bucket in the S3 store."""
    s3: S3Server | None = None
    b2: B2Quirks | None = None
    standin: StandinProcess | None = None
    staging: str = ""
    tickets: set[str] = field(default_factory=set)

    @property
    def drop(self) -> Path:
        """The watched folder."""
        return self.folder / "drop"

    @property
    def environment(self) -> dict[str, str]:
        """Every secret comes by the environment."""
        secrets = {"WATCHER_COMPRESSOR__API_KEY": API_KEY, "WATCHER_ENGINE__API_KEYS": json.dumps([ENGINE_KEY])}
        if self.s3 is None:
            return secrets
        keys = {"KEY_ID": self.s3.key_id, "APPLICATION_KEY": self.s3.application_key}
        places = [*(["PUBLISH__PRESIGN"] if self.staged else []), *(["ENGINE__CONNECTORS__MINE"] if self.embedded else [])]
        return {**secrets, **{f"WATCHER_{place}__{name}": key for place in places for name, key in keys.items()}}

    def config(self, engine_listen: str = "127.0.0.1:0") -> Path:
        """The configuration, without any secret."""
        bucket = self.objects if isinstance(self.objects, str) else "my-bucket"
        thumb = {
            "name": "thumb",
            "image": {"resize": {"width": THUMB, "height": THUMB, "mode": "fit"}},
            "store": {"path": "t/{dir}/{name}"},
        }
        table: dict[str, Any] = {
            "state_dir": self.folder / "state",
            "compressor": {"url": "embedded"},
            "publish": {"serve": {"listen": "127.0.0.1:0"}},
            "store": {
                "id": "mine",
                "bucket": bucket,
                "region": REGION,
                "acl": "private",
                "headers": {"Cache-Control": "no-cache"},
            },
            "folders": [
                {
                    "path": self.drop,
                    "image": {"resize": {"width": BOX, "height": BOX}},
                    "store": {"path": "p/{dir}/{name}"},
                    "renditions": [thumb],
                }
            ],
            "log": {"level": "debug"},
        }
        if self.standin is not None:
            table |= {"compressor": {"url": self.standin.url}, "verify": {"url": self.standin.verify_url}}
        else:
            table["engine"] = {"listen": engine_listen, "concurrency": 2, "connectors": {"mine": self._connector()}}
        if self.b2 is not None:
            presign = {"endpoint": self.b2.endpoint, "region": REGION, "bucket": self.staging}
            table["publish"] = {"mode": "presign", "presign": presign}
        return write_config(self.folder / "config.toml", table)

    def _connector(self) -> dict[str, Any]:
        if isinstance(self.objects, Path):
            return {"kind": "directory", "path": self.objects}
        assert self.b2 is not None
        return {"kind": "b2", "endpoint": self.b2.endpoint}

    def stored(self, line: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        """Bytes and metadata of the object that a line speaks of, as the store itself gives them."""
        bucket, key = line["bucket"], line["key"]
        if self.standin is not None:
            url = f"http://127.0.0.1:{self.standin.port}/bucket/{bucket}/{quote(key)}"
            with urllib.request.urlopen(url, timeout=30) as answer:
                named = {name.lower().removeprefix("x-amz-meta-"): value for name, value in answer.headers.items()}
                return answer.read(), named
        if isinstance(self.objects, Path):
            facts = [json.loads(path.read_bytes()) for path in self.objects.glob(".metadata/**/*.json")]
            metadata = next(fact["metadata"] for fact in facts if fact["key"] == key)
            return Path(unquote(urlsplit(line["url"]).path)).read_bytes(), metadata
        assert self.s3 is not None
        found = self.s3.boto.get_object(Bucket=bucket, Key=key)
        return found["Body"].read(), found["Metadata"]

    def address(self, line: dict[str, Any]) -> str:
        """The address that bucket, region and key give."""
        key = quote(line["key"])
        if self.standin is not None:
            return f"https://my-bucket.s3.{REGION}.backblazeb2.com/{key}"
        if isinstance(self.objects, Path):
            return f"file://{quote(str(self.objects))}/my-bucket/{key}"
        assert self.b2 is not None
        return f"{self.b2.endpoint}/{self.objects}/{key}"

    def staged_versions(self) -> list[tuple[str, str]]:
        """All that lies in the staging bucket, hidden versions and markers too."""
        return self.s3.versions(self.staging) if self.s3 is not None and self.staged else []

    def look(self) -> bool:
        """Remember the tickets that are open now; they are forgotten when their image ends."""
        with closing(sqlite3.connect(f"file:{self.folder}/state/journal.db?mode=ro", uri=True)) as journal:
            found = journal.execute("SELECT token, secret FROM images WHERE token IS NOT NULL").fetchall()
        self.tickets.update(text for row in found for text in row)
        return True

    def secrets(self) -> set[str]:
        """Whatever must never be printed: keys, tokens, second secrets, signatures."""
        found = {API_KEY, ENGINE_KEY, *self.tickets}
        if self.s3 is not None:
            found |= {self.s3.application_key, self.s3.key_id, quote(self.s3.key_id, safe="")}
        if self.b2 is not None:
            seen = " ".join(f"{each.query} {each.headers.get('authorization', '')}" for each in self.b2.requests)
            found |= set(re.findall(r"Signature=(\w+)", seen))
        if self.standin is not None:
            for body in self.standin.report()["last_bodies"]:
                found |= {body["url"], *body.get("headers", {}).values()}
        return found


def test_id(way: tuple[bool, bool]) -> str:
    """What a way is called in reports."""
    embedded, staged = way
    return f"{'engine' if embedded else 'standin'}-{'presign' if staged else 'serve'}"


test_id.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture(params=[(False, False), (False, True), (True, False), (True, True)], ids=test_id)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    """Each of the four, ready to be started."""
    embedded, staged = request.param
    (tmp_path / "drop" / "sub").mkdir(parents=True)
    with ExitStack() as stack:
        made = Way(embedded, staged, tmp_path, tmp_path / "objects")
        if staged:
            made.s3 = request.getfixturevalue("s3")
            made.b2 = stack.enter_context(b2_quirks_aside(made.s3))
            made.b2.region, made.b2.bucket_acl = REGION, "private"
            made.staging = made.s3.new_bucket(versioned=True)
            if embedded:
                made.objects = made.s3.new_bucket(versioned=True)
        if not embedded:
            made.standin = stack.enter_context(StandinProcess(api_key=API_KEY))
        yield made


def drop_images(way: Way) -> dict[str, bytes]:
    """Several images in several formats, one of them so large that it is worked on as a job. Gives their contents."""
    contents = {
        name: encoded(photograph(200 + 8 * number, 120), format_name, quality=90)
        for number, (name, format_name) in enumerate(IMAGES.items())
    }
    contents[LARGE] = encoded(Image.linear_gradient("L").convert("RGB").resize((3600, 3000)), "TIFF")
    assert len(contents[LARGE]) > 32_000_000
    for name, content in contents.items():
        (way.drop / name).write_bytes(content)
    return contents


def check_line(way: Way, line: dict[str, Any], original: bytes) -> None:
    """A stored line against the file that was dropped and the object that lies in the store."""
    content, metadata = way.stored(line)
    stated_in, stated_out = line["input"], line["output"]

    assert (stated_in["sha1"], stated_in["size"]) == (hashlib.sha1(original).hexdigest(), len(original))
    assert (stated_out["sha1"], stated_out["size"]) == (hashlib.sha1(content).hexdigest(), len(content))
    assert stated_in["format"] == stated_out["format"] == decoded(content).format.lower()  # type: ignore[union-attr]
    assert expected_size(way, line, original) == decoded(content).size
    assert metadata["source-sha1"] == stated_in["sha1"]
    assert line["saved_bytes"] == len(original) - len(content)
    assert (line["url"], line["url_mismatch"], line["recovered"], line["attempts"]) == (way.address(line), False, False, 1)


def expected_size(way: Way, line: dict[str, Any], original: bytes) -> tuple[int, int]:
    """Width and height that the rule asks for; the stand-in leaves pictures as they are."""
    width, height = decoded(original).size
    if way.standin is not None:
        return width, height
    return (THUMB, THUMB) if line["rendition"] else (BOX, round(height * BOX / width))


def check_nothing_secret(way: Way, *printed: str) -> None:
    """No key, token or signature, and nothing that looks signed, anywhere in what was printed or written."""
    assert way.tickets
    for text in (*printed, (way.folder / "state" / "audit.jsonl").read_text(encoding="utf-8")):
        assert [secret for secret in way.secrets() if secret in text] == []
        assert LETS_IN.search(text) is None


def output_of(daemon: Daemon) -> str:
    """All that a daemon wrote so far to its two outputs."""
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in daemon.lines) + "".join(daemon.errors)


def test_every_way_stores_what_its_lines_say(way: Way) -> None:
    """Formats, a rendition and a job: every line is true of the store, nothing stays staged, nothing secret is told."""
    if way.b2 is not None:
        way.b2.faults.extend([Fault.NO_TOMES, Fault.RESET])
    with Daemon(way.config(), way.environment) as daemon:
        contents = drop_images(way)
        outputs = 2 * len(contents)
        wait_until(lambda: way.look() and len(daemon.events("image.stored")) == outputs)
        wait_until(lambda: not way.staged_versions())
    lines = daemon.events("image.stored")
    for line in lines:
        check_line(way, line, contents[str(Path(line["file"]).relative_to(way.drop))])

    assert len({(line["file"], line["rendition"]) for line in lines}) == len(lines) == outputs
    assert {Path(line["file"]).name for line in daemon.events("image.enqueued")} == {LARGE}
    assert not daemon.events("image.retry")
    check_nothing_secret(way, output_of(daemon))


def test_every_way_survives_a_kill(way: Way) -> None:
    """Killed in the middle and started again: one true ending for each output, and nothing is left in the staging bucket."""
    if way.standin is not None:
        way.standin.set_options(work_seconds=0.4)
    contents = drop_images(way)
    first = Daemon(way.config(), way.environment)
    try:
        first.wait_for("image.requested", 3)
    finally:
        first.kill()
    way.look()
    ended = {(line["id"], line["rendition"]) for line in first.events("image.stored")}
    with Daemon(way.config(), way.environment) as second:
        audit = wait_until(lambda: audit_of(way, 2 * len(contents)))
        wait_until(lambda: not way.staged_versions())

    assert len(ended) < len(audit) == len({(line["id"], line["rendition"]) for line in audit})
    assert {line["event"] for line in audit} == {"image.stored"}
    assert {line["file"] for line in audit} == {str(way.drop / name) for name in contents}
    for line in audit:
        content, _ = way.stored(line)
        facts = {"size": len(content), "sha1": hashlib.sha1(content).hexdigest()}
        # where the answer was lost and the store was asked instead, its line has no sha1
        assert line["output"].items() & facts.items() == {(name, facts[name]) for name in facts if name in line["output"]}
        assert line["recovered"] or "sha1" in line["output"]
    assert command("audit", "verify", "--config", way.config(), environment=way.environment).returncode == 0
    check_nothing_secret(way, output_of(first), output_of(second))


def audit_of(way: Way, count: int) -> list[dict[str, Any]]:
    """The audit file's lines once there are so many."""
    lines = read_audit(way.folder / "state" / "audit.jsonl")
    return lines if len(lines) >= count else []


class Pictures(BaseHTTPRequestHandler):
    """Answers every GET with a picture."""

    def do_GET(self) -> None:
        content = jpeg()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving_pictures() -> Iterator[str]:
    """The address of a server on loopback that has a picture at every path."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pictures) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


def test_the_embedded_engine_reaches_the_staging_bucket_and_nothing_else_here(tmp_path: Path) -> None:
    """Host and port of the presigning endpoint may be fetched from although they are loopback; every other port may not."""
    (tmp_path / "drop" / "sub").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
    way = Way(embedded=True, staged=True, folder=tmp_path, objects=tmp_path / "objects")
    keys = {f"WATCHER_PUBLISH__PRESIGN__{name}": "any" for name in ("KEY_ID", "APPLICATION_KEY")}
    with serving_pictures() as endpoint, serving_pictures() as other:
        way.b2 = B2Quirks(S3Server(endpoint), endpoint)
        way.staging = "staging"
        with Daemon(way.config(listen), {**way.environment, **keys}):
            own = asked(listen, f"{endpoint}/staging/a.jpg")
            others = [asked(listen, f"{each}/a.jpg") for each in (other, f"http://{listen}", "http://169.254.169.254")]

    assert own == (200, "")
    assert [status for status, _ in others] == [422] * 3
    assert all("not allowed" in message or "public" in message for _, message in others), others


def asked(listen: str, url: str) -> tuple[int, str]:
    """Status and message of the engine's answer to an order for this source."""
    request = urllib.request.Request(
        f"http://{listen}/1.0/fetch",
        json.dumps({"url": url}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {ENGINE_KEY}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["message"]
