"""Engines that share their jobs in PostgreSQL: whichever of them dies or freezes, each job ends once and any of them tells."""

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.support.daemon import command
from tests.support.engine import wait_until
from tests.support.engines import SCHEMA, EngineProcess, Fleet, fleet
from tests.support.pictures import jpeg
from tests.support.postgres import Postgres


async def test_one_is_killed_and_one_frozen_in_the_middle(tmp_path: Path, postgres: Postgres) -> None:
    """Each job ends once with the same bytes at its key, each webhook comes, and any engine says the same of any job."""
    async with fleet(tmp_path, postgres, "one", "two", "three") as engines:
        release = asyncio.Event()

        async def slow(_: web.BaseRequest) -> web.StreamResponse:
            await release.wait()
            return web.Response(body=jpeg(200, 150))

        engines.sources.answers["/slow.jpg"] = slow
        ids = []
        for number in range(9):
            status, answer = await engines.ask("POST", "/1.0/fetch", json=engines.order("/slow.jpg", f"{number}.jpg"))
            assert (status, answer["status"]) == (202, "enqueued")
            ids.append(answer["id"])
        held = {name: await engines.at_work(name) for name in ("one", "two", "three")}
        engines.engines["one"].kill()
        engines.engines["two"].freeze()
        engines.take_out("two")
        release.set()

        jobs = [await engines.ended(identity) for identity in ids]
        await engines.hooked(len(ids))
        engines.engines["two"].thaw()
        (own,) = engines.engines["two"].wait_for("cluster.fenced", host="two")
        after = [await engines.job(identity, "two") for identity in ids]
        starts = dict(engines.sql(f"SELECT id, starts FROM {SCHEMA}.jobs"))

        assert after == jobs
        assert {job["status"] for job in jobs} == {"completed"}
        assert {engines.stored(f"{number}.jpg") for number in range(9)} == {jobs[0]["output"]["sha1"]}
        assert "lease" in own["message"]
        told = {line["host"] for line in engines.engines["three"].events("cluster.fenced")}
        assert told == {"one", "two"}
        assert {starts[held[name]] for name in ("one", "two")} == {2}
        assert sorted({identity for identity, _ in engines.hooks}) == sorted(ids)
        assert all(body["id"] == identity and body["url"] for identity, body in engines.hooks)
        assert len(engines.hooks) == len(ids), "nobody was lost while it made a call"
        await done_once_more(engines, ids[0])


async def done_once_more(engines: Fleet, identity: str) -> None:
    """As where an engine was lost after it stored and before it said so: the same answer, and the same bytes at the same key."""
    before, sha1, path = await engines.job(identity), engines.stored("0.jpg"), engines.folder / "buckets" / "my-bucket" / "0.jpg"
    made_at = path.stat().st_mtime_ns
    request = json.dumps(engines.order("/slow.jpg", "0.jpg"))
    engines.sql(f"UPDATE {SCHEMA}.jobs SET status = 'enqueued', answer = NULL, request = '{request}' WHERE id = '{identity}'")
    assert await engines.ended(identity) == before
    assert engines.stored("0.jpg") == sha1
    assert path.stat().st_mtime_ns > made_at


async def test_a_request_without_a_job_ends_with_its_engine(tmp_path: Path, postgres: Postgres) -> None:
    """The connection is reset; the same again through the balancer is done. An output that is not stored is had from any."""
    async with fleet(tmp_path, postgres, "one", "two") as engines:
        never = asyncio.Event()

        async def stuck(_: web.BaseRequest) -> web.StreamResponse:
            await never.wait()
            return web.Response(status=404)

        engines.sources.answers["/a.jpg"] = stuck
        order = engines.order("/a.jpg", webhook=False)
        waiting = asyncio.ensure_future(engines.ask("POST", "/1.0/fetch", json=order, port=engines.ports["one"]))
        await wait_until(lambda: asked(engines.sources.requests))
        engines.engines["one"].kill()
        with pytest.raises(aiohttp.ClientError):
            await waiting
        del engines.sources.answers["/a.jpg"]
        engines.sources.add("/a.jpg", jpeg())
        status, answer = await engines.ask("POST", "/1.0/fetch", json=order)
        assert status == 200
        await engines.start("three")
        path = "/" + answer["url"].split("/", 3)[3]
        contents = set()
        for name in ("two", "three"):
            async with engines.session.get(f"http://127.0.0.1:{engines.ports[name]}{path}") as response:
                assert response.status == 200
                contents.add(await response.read())
        assert len(contents) == 1
        engines.engines["two"].stop()
        assert (await engines.ask("GET", path.replace("image", "other").replace("a.jp", "b.jp")))[0] == 404


async def asked(requests: list[web.BaseRequest]) -> bool:
    return bool(requests)


async def test_a_stop_hands_over(tmp_path: Path, postgres: Postgres) -> None:
    """What is at work is finished, what waits is another's at once, and none is done twice."""
    async with fleet(tmp_path, postgres, "one") as engines:
        for number in range(6):
            engines.sources.add(f"/{number}.jpg", jpeg(2400, 1800))
        ids = [
            (await engines.ask("POST", "/1.0/fetch", json=engines.order(f"/{number}.jpg", f"{number}.jpg")))[1]["id"]
            for number in range(6)
        ]
        await engines.at_work("one")
        await seen_by_commands(engines)
        assert engines.engines["one"].stop() == 0
        assert engines.sql(f"SELECT count(*) FROM {SCHEMA}.engines") == [(0,)]
        await engines.start("two")
        assert {(await engines.ended(identity))["status"] for identity in ids} == {"completed"}
        await engines.hooked(len(ids))
        assert set(engines.sql(f"SELECT starts FROM {SCHEMA}.jobs")) == {(1,)}
        assert [line["host"] for line in engines.engines["one"].events("cluster.left")] == ["one"]


async def seen_by_commands(engines: Fleet) -> None:
    """`status` and `check` of an engine's configuration tell of the engines and of their jobs."""
    config = engines.engines["one"].config
    status = json.loads((await asyncio.to_thread(command, "status", "--json", "--config", config)).stdout)
    (one,) = status["jobs"]["engines"]
    assert (one["name"], one["state"], one["since"]) == ("one", "alive", None)
    assert (status["running"], status["pid"]) == (True, engines.engines["one"].process.pid)
    shown = (await asyncio.to_thread(command, "status", "--config", config)).stdout
    assert re.search(r"jobs +1 engine up, ", shown), shown
    done = await asyncio.to_thread(command, "check", "--json", "--config", config)
    assert done.returncode == 0, done.stdout
    found = {check["what"]: check["found"] for check in json.loads(done.stdout)["checks"]}
    assert "1 engine up" in found["jobs"]
    assert "connector local" in found
    assert str(engines.engines["one"].process.pid) in found["running engine"]


def test_it_waits_for_a_database_that_is_away(tmp_path: Path) -> None:
    """It says so once, serves nothing yet, and can be stopped."""
    engine = EngineProcess(tmp_path, "one", "postgresql://watcher@127.0.0.1:9/images")
    engine.wait_for("journal.unavailable")
    assert engine.stop() == 0
    assert not engine.errors


def test_what_waiting_does_not_help_ends_it(tmp_path: Path, postgres: Postgres) -> None:
    """Status 69, as the daemon; what to look at is said, and no password."""
    engine = EngineProcess(tmp_path, "one", postgres.url("no_such_database"), journal_password="horse-battery")
    assert engine.wait() == 69
    said = "".join(engine.errors)
    assert "createdb" in said
    assert "horse" not in said
