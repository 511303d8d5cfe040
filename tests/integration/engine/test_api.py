"""The HTTP face: who may call, what is refused, and how a refusal looks."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.engine import KEY, Client, Sources, local_store, running_engine, wait_until
from tests.support.pictures import jpeg
from watcher.config.engine_settings import EngineSettings
from watcher.engine.server import Capacity, Engine
from watcher.errors import ConfigurationError, Unavailable


def basic(user: str, password: str = "") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("headers", [basic(KEY), {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY}"}])
async def test_both_ways_of_presenting_the_key_are_taken(standing: Client, headers: dict[str, str]) -> None:
    """HTTP Basic with the key as user and an empty password, and Bearer: /account says that the key works."""
    status, answer = await standing.call("GET", "/1.0/account", headers=headers)
    assert (status, answer["success"]) == (200, True)


async def test_a_load_balancer_needs_no_key(standing: Client, sources: Sources) -> None:
    """`/healthz` answers anybody; where the balancer ends TLS, addresses of outputs say https."""
    async with standing.session.get(standing.url("/healthz")) as response:
        assert (response.status, await response.text()) == (200, "ok\n")
    headers = {**standing.headers, "X-Forwarded-Proto": "https", "Host": "engine.example.com"}
    _, answer = await standing.call("POST", "/1.0/fetch", headers=headers, json={"url": sources.add("/a.jpg", jpeg())})
    assert answer["url"].startswith("https://engine.example.com/")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("wrong"),
        basic(KEY, "password"),
        basic(""),
        {"Authorization": "Bearer "},
        {"Authorization": f"Token {KEY}"},
        {"Authorization": "Basic %%%"},
        {"Authorization": KEY},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/1.0/account"), ("POST", "/1.0/fetch"), ("GET", "/1.0/jobs/x")])
async def test_without_a_known_key_nothing_is_told(standing: Client, headers: dict[str, str], method: str, path: str) -> None:
    """401 in the error envelope, with a challenge; the key is not repeated."""
    async with standing.session.request(method, standing.url(path), headers=headers) as response:
        answer = await response.json()
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic")
    assert set(answer) == {"success", "code", "id", "message"}
    assert (answer["success"], answer["code"]) == (False, 401)
    assert KEY not in str(answer)


@pytest.mark.parametrize(
    ("method", "path", "options", "expected"),
    [
        ("GET", "/1.0/fetch", {}, 405),
        ("DELETE", "/1.0/account", {}, 405),
        ("GET", "/1.0/nothing", {}, 404),
        ("GET", "/nothing", {}, 404),
        ("GET", "/1.0/jobs/38a8bb5e-7b50-4a22-a0a6-b9602fccb225", {}, 404),
        ("POST", "/1.0/fetch", {"data": "{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", "/1.0/fetch", {"data": {"url": "x"}}, 415),
        ("POST", "/1.0/fetch", {"data": "{", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", "/1.0/fetch", {"data": b"\xff", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", "/1.0/fetch", {"data": "[" * 50_000, "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", "/1.0/fetch", {"json": []}, 400),
        ("POST", "/1.0/fetch", {"json": {}}, 422),
        ("POST", "/1.0/fetch", {"data": " " * 300_000, "headers": {"Content-Type": "application/json"}}, 413),
    ],
)
async def test_every_refusal_has_its_status_and_the_envelope(
    standing: Client, method: str, path: str, options: dict[str, Any], expected: int
) -> None:
    """Status and `code` agree, and `message` is words for a person."""
    headers = {**standing.headers, **options.pop("headers", {})}
    status, answer = await standing.call(method, path, headers=headers, **options)
    assert status == expected
    assert (answer["success"], answer["code"], bool(answer["id"]), bool(answer["message"])) == (False, expected, True, True)


async def test_a_405_says_what_is_allowed(standing: Client) -> None:
    """The Allow header names the method that the address takes."""
    async with standing.session.get(standing.url("/1.0/fetch"), headers=standing.headers) as response:
        assert response.headers["Allow"] == "POST"


async def test_unknown_fields_are_all_named(standing: Client) -> None:
    """One answer names every field that is not known or not right, with its place."""
    body = {
        "url": "https://example.com/a.jpg",
        "video": {},
        "image": {"rotate": 90, "resize": {"width": 0, "background": "#fff"}},
        "store": {"id": "local", "path": "/absolute", "colour": 1},
    }
    status, message = await standing.refused(body)
    assert status == 422
    for place in ("video", "image.rotate", "image.resize.background", "image.resize.width", "store.bucket", "store.region"):
        assert place in message
    assert "store.path" in message
    assert "store.colour" in message


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"id": "unknown"}, "store.id"),
        ({"region": "Frankfurt"}, "store.region"),
        ({"region": "eu-central-1"}, "store.region"),
        ({"acl": "authenticated-read"}, "store.acl"),
        ({"path": "a/../b"}, "store.path"),
        ({"path": "/a"}, "store.path"),
        ({"headers": {"Expires": "0"}}, "store.headers"),
        ({"headers": {"Cache-Control": "a\nb"}}, "Cache-Control"),
        ({"metadata": {"b2-x": "1"}}, "store.metadata"),
        ({"metadata": {"name": "ü"}}, "store.metadata"),
        ({"metadata": {"name": "x" * 3000}}, "2048"),
        ({"bucket": "../etc"}, "store.bucket"),
    ],
)
async def test_store_parameters_are_checked_before_anything_is_fetched(
    standing: Client, sources: Sources, changes: dict[str, Any], named: str
) -> None:
    """A store that cannot be meant is a 422 that names the parameter, and the source is never asked for."""
    status, message = await standing.refused({"url": sources.add("/a.jpg", jpeg()), "store": local_store(**changes)})
    assert status == 422
    assert named in message
    assert sources.requests == []


async def test_requests_beyond_the_capacity_are_told_when_to_come_again(tmp_path: Path, sources: Sources) -> None:
    """With as many requests as are taken on, the next gets 429 and Retry-After, and the others end well."""
    release = asyncio.Event()

    async def slow(_: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response(body=jpeg())

    sources.answers["/slow.jpg"] = slow
    async with running_engine(tmp_path, capacity=Capacity(requests=2)) as client:
        body = {"url": sources.url("/slow.jpg")}
        waiting = [asyncio.create_task(client.fetch(body)) for _ in range(2)]

        async def both_are_in() -> bool:
            return len(sources.requests) == 2

        await wait_until(both_are_in)
        async with client.session.post(client.url("/1.0/fetch"), json=body, headers=client.headers) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "1")
        release.set()
        assert [status for status, _ in await asyncio.gather(*waiting)] == [200, 200]


async def test_a_temporary_address_ends(tmp_path: Path, sources: Sources) -> None:
    """After its hour a result is gone, although the file may not have been swept yet."""
    now = [1_800_000_000.0]
    async with running_engine(tmp_path, clock=lambda: now[0]) as client:
        _, answer = await client.fetch({"url": sources.add("/a.jpg", jpeg())})
        assert answer["url"].split("/")[3] == "1800003600"
        async with client.session.get(answer["url"]) as response:
            assert response.status == 200
        now[0] += 3600
        async with client.session.get(answer["url"]) as response:
            assert response.status == 404


@pytest.mark.parametrize("tail", ["../../engine-jobs.db", "..%2f..%2fengine-jobs.db", "other.jpeg", "%2e%2e"])
async def test_a_temporary_address_leads_nowhere_else(standing: Client, sources: Sources, tail: str) -> None:
    """No other name of a result's folder, and nothing above it, can be read."""
    _, answer = await standing.fetch({"url": sources.add("/a.jpg", jpeg())})
    async with standing.session.get(answer["url"].rpartition("/")[0] + "/" + tail) as response:
        assert response.status == 404


async def test_a_taken_port_is_said_in_one_line(tmp_path: Path, client: Client) -> None:
    """Unavailable, with the address and what to do; a second engine on the same state likewise."""
    other = Engine(EngineSettings(), tmp_path / "other", api_keys=["k"])
    with pytest.raises(Unavailable, match=str(client.port)) as failure:
        await other.start("127.0.0.1", client.port)
    assert failure.value.hint
    second = Engine(EngineSettings(), tmp_path / "state", api_keys=["k"])
    with pytest.raises(Unavailable, match="another engine"):
        await second.start("127.0.0.1", 0)


def test_an_engine_without_a_key_is_refused(tmp_path: Path) -> None:
    """An engine that anybody could use is a mistake of its configuration."""
    with pytest.raises(ConfigurationError, match="API key"):
        Engine(EngineSettings(), tmp_path, api_keys=[""])


async def test_state_is_for_its_owner_only(client: Client, tmp_path: Path) -> None:
    """Requests hold addresses and headers that may be secret, results may be private: nobody else can read them."""
    state = tmp_path / "state"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
    assert modes["engine-jobs.db"] == 0o600
    assert (modes["engine-work"], modes["engine-results"]) == (0o700, 0o700)


def test_missing_extras_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra's packages there is one clear line with the command that installs them."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyvips" else object())
    with pytest.raises(ConfigurationError) as failure:
        Engine(EngineSettings(), tmp_path, api_keys=["k"])
    assert failure.value.problems == ("the embedded engine needs pyvips: pip install 'compressor-watcher[engine]'",)


def test_the_main_process_never_loads_libvips() -> None:
    """Image libraries are loaded by workers alone: importing the engine is quick, and a crash of theirs is not ours."""
    code = "import sys, watcher.engine.server; print([name for name in ('pyvips', 'PIL', 'pillow_heif') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
