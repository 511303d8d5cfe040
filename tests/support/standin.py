"""A stand-in of the vendor's API, with a bucket that can be asked, and every fault that we promise to live with.

It does what the vendor's pages show: really fetches `url` with `headers`, hashes what comes, "compresses" it (the bytes are
wrapped anew, so that they differ and stay a whole image) and keeps it in memory under bucket and key, with metadata and headers.
What it states of input and output is true unless a fault says otherwise. It counts what was paid for.

    async with Standin() as standin:                        in a test
        standin.faults = [Fault("status", status=500, share=0.3)]
        ... standin.url, standin.verify_url, standin.paid["cat.jpg"], standin.objects["bucket", "key"]

    with StandinProcess() as standin:                       as its own process, which outlives the daemon under test
        standin.set_faults(Fault("reset_after", times=1))
        ... standin.report()["paid"]

By hand: `python -m tests.support.standin --port 0` prints {"port": ..., "url": ..., "verify_url": ...} and serves until it is
told to stop. GET /_control/report, PUT /_control/faults (a list), PUT /_control/options (an object).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import dataclasses
import fnmatch
import hashlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import urllib.request
import uuid
import zlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import quote, unquote, urlsplit

import aiohttp
from aiohttp import web

from tests.support.forks import Forked, fork
from watcher.compressor.wire import ASYNC_ABOVE_BYTES, STORE_HEADERS, error_body

DEFAULT_KEY: Final = "stand-in-key"
EVERYWHERE: Final = ("fetch", "job", "account")
OUT_OF_REACH: Final = "The file could not be fetched: connection refused"
SOURCE_AGENT: Final = "Compressor/1.0 (+https://compressor.app)"

BEFORE: Final = ("status", "delay", "never", "reset", "body")
"""Faults that strike before any work is done (`delay` goes on after it)."""
AFTER: Final = ("status_after", "delay_after", "never_after", "reset_after", "body_after", "truncated")
"""Faults that strike when the work is done and paid for."""
ANSWER: Final = ("wrong_sha1", "wrong_size", "short_url", "enqueue", "job_lost", "job_failed", "job_stuck")
"""Faults and turns of the answer itself."""
SOURCE: Final = ("way_is_out", "way_is_out_for_job", "source_answers")
"""Faults of the way to the original, told at once or by the job; `source_answers`: something else than it is there (`status`)."""


@dataclass
class Fault:
    """Something that goes wrong, for a while, for some.

    `share` is the probability (seeded) with which it strikes, `times` how often at most, `file` a glob on the source's name, `on`
    the endpoints: "fetch", "job", "account", "bucket".
    """

    name: str
    share: float = 1.0
    times: int | None = None
    file: str = "*"
    on: Sequence[str] = ("fetch",)
    status: int = 500
    message: str = "made to fail"
    html: bool = False
    retry_after: str | None = None
    seconds: float = 0.0
    body: str = ""
    polls: int = 2
    """For the jobs: how often they answer that they are still at work."""

    def __post_init__(self) -> None:
        if self.name not in (*BEFORE, *AFTER, *ANSWER, *SOURCE):
            raise ValueError(f"no such fault: {self.name}")


@dataclass
class StoredItem:
    """An object in the bucket."""

    body: bytes
    headers: dict[str, str]
    metadata: dict[str, str]


@dataclass
class Job:
    """Work that is answered later. `ending` is "completed", "failed", "unfetched" or "never"."""

    answer: dict[str, Any]
    polls_left: int
    ending: str = "completed"


@dataclass
class Options:
    """What may be set from outside."""

    api_key: str = DEFAULT_KEY
    url_form: str = "full"
    """ "full" keeps the key's folders in `url`, "short" drops them, as the vendor page's sample does."""
    async_above: int = ASYNC_ABOVE_BYTES
    polls: int = 2
    acknowledgement: int = 200
    """HTTP status of `enqueued`."""
    refuse_webhook: bool = False
    failed_job_status: int = 200
    work_seconds: float = 0.0


@dataclass
class Request:
    """A `POST /fetch` as it came, and whether the work was done."""

    file: str
    body: dict[str, Any]
    worked: bool = False


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Lost(Exception):
    """The connection is to be cut."""


class Standin:
    """The server. State outlives `stop` and `start`, which use the same port: between them connections are refused."""

    def __init__(self, api_key: str = DEFAULT_KEY, *, seed: int = 1, port: int = 0, keep_requests: bool = True) -> None:
        self.options = Options(api_key=api_key)
        self.faults: list[Fault] = []
        self.objects: dict[tuple[str, str], StoredItem] = {}
        self.jobs: dict[str, Job] = {}
        self.requests: list[Request] = []
        self.calls: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.paid_keys: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = port
        self._keep_requests = keep_requests
        self.last_bodies: deque[dict[str, Any]] = deque(maxlen=20)
        self.trace: deque[tuple[str, str]] = deque(maxlen=200_000)
        self._random = random.Random(seed)
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._stopping = asyncio.Event()

    # --- life -------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on loopback; the port of an earlier start is used again."""
        self._stopping = asyncio.Event()
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.AppRunner(self._application(), shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection; who calls now is refused."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    @property
    def url(self) -> str:
        """`compressor.url`"""
        return f"http://127.0.0.1:{self.port}/1.0"

    @property
    def verify_url(self) -> str:
        """`verify.url`"""
        return f"http://127.0.0.1:{self.port}/bucket/{{bucket}}/{{key}}"

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=1_000_000)
        application.add_routes(
            [
                web.get("/1.0/account", self._account),
                web.post("/1.0/fetch", self._fetch),
                web.get("/1.0/jobs/{id}", self._job),
                web.get("/bucket/{bucket}/{key:.+}", self._object),
                web.get("/_control/report", self._control_report),
                web.get("/_control/trace", self._control_trace),
                web.put("/_control/faults", self._control_faults),
                web.put("/_control/options", self._control_options),
            ]
        )
        return application

    # --- control ----------------------------------------------------------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """What happened so far: requests and paid work by file and bucket/key, the last bodies, calls by endpoint, faults."""
        return {
            "calls": dict(self.calls),
            "asked": dict(self.asked),
            "paid": dict(self.paid),
            "paid_keys": dict(self.paid_keys),
            "struck": dict(self.struck),
            "objects": [f"{bucket}/{key}" for bucket, key in self.objects],
            "last_bodies": list(self.last_bodies),
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
        }

    async def _control_report(self, _: web.Request) -> web.Response:
        return web.json_response(self.report())

    async def _control_trace(self, _: web.Request) -> web.Response:
        return web.json_response(list(self.trace))

    async def _control_faults(self, request: web.Request) -> web.Response:
        self.faults = [Fault(**each) for each in await request.json()]
        return web.json_response({"faults": len(self.faults)})

    async def _control_options(self, request: web.Request) -> web.Response:
        self.options = dataclasses.replace(self.options, **await request.json())
        return web.json_response(dataclasses.asdict(self.options))

    # --- faults -----------------------------------------------------------------------------------------------------------

    def _strikes(self, names: Iterable[str], endpoint: str, file: str = "") -> Fault | None:
        """The first fault of these names that strikes now."""
        for fault in self.faults:
            fits = fault.name in names and endpoint in fault.on and fnmatch.fnmatchcase(file, fault.file)
            if fits and fault.times != 0 and self._random.random() < fault.share:
                if fault.times is not None:
                    fault.times -= 1
                self.struck[fault.name] += 1
                return fault
        return None

    async def _suffer(
        self, request: web.Request, names: Sequence[str], endpoint: str, file: str = ""
    ) -> web.StreamResponse | None:
        """Let a fault strike: a response to give in place of the right one, or None to go on."""
        fault = self._strikes(names, endpoint, file)
        if fault is None:
            return None
        kind = fault.name.removesuffix("_after")
        if kind == "delay":
            await self._pause(fault.seconds)
            return None
        if kind == "never":
            await self._stopping.wait()
            raise Lost
        if kind == "reset":
            raise Lost
        if kind == "body":
            return web.Response(text=fault.body, status=fault.status, content_type="text/html" if fault.html else "text/plain")
        if kind == "truncated":
            return await self._truncated(request)
        return self._error(fault)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _error(self, fault: Fault) -> web.Response:
        headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
        if fault.html:
            page = f"<html><head><title>{fault.status}</title></head><body><h1>{fault.message}</h1></body></html>"
            return web.Response(text=page, status=fault.status, content_type="text/html", headers=headers)
        return web.json_response(error_body(fault.status, self._new_id(), fault.message), status=fault.status, headers=headers)

    async def _truncated(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "400"})
        await response.prepare(request)
        await response.write(b'{"id": "38a8bb5e-7b50-4a22-a0a6-b9602fccb225", "url": "https://')
        raise Lost

    # --- endpoints --------------------------------------------------------------------------------------------------------

    async def _account(self, request: web.Request) -> web.StreamResponse:
        return await self._guarded(request, "account", self._account_answer)

    async def _account_answer(self, request: web.Request) -> web.StreamResponse:
        struck = await self._suffer(request, BEFORE, "account")
        return struck or self._refusal(request) or web.json_response({"success": True, "plan": "stand-in"})

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._guarded(request, "fetch", self._fetch_answer)
        finally:
            self.in_flight -= 1

    async def _guarded(self, request: web.Request, endpoint: str, answer: Answer) -> web.StreamResponse:
        self.calls[endpoint] += 1
        try:
            return await answer(request)
        except Lost:
            _cut(request)
            return web.Response()

    def _refusal(self, request: web.Request) -> web.Response | None:
        if _key_of(request.headers.get("Authorization", "")) == self.options.api_key:
            return None
        return self._say(401, "The API key is missing, malformed or revoked")

    async def _fetch_answer(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if request.content_type != "application/json":
            return self._say(415, "Content-Type must be application/json")
        try:
            body = await request.json()
        except ValueError:
            return self._say(400, "The request body is not valid JSON")
        if problem := self._problem(body):
            return self._say(422, problem)
        return await self._take(request, Request(unquote(urlsplit(body["url"]).path.rpartition("/")[2]), body))

    def _problem(self, body: object) -> str | None:
        if not isinstance(body, dict) or not isinstance(body.get("url"), str):
            return "url is required"
        if "webhook" in body and self.options.refuse_webhook:
            return "webhook is not allowed"
        store = body.get("store")
        if store is None:
            return None
        missing = [key for key in ("id", "bucket", "region") if not store.get(key)]
        if missing:
            return f"store.{missing[0]} is required"
        unknown = [name for name in store.get("headers", {}) if name not in STORE_HEADERS]
        return f"store.headers.{unknown[0]} is not supported" if unknown else None

    async def _take(self, request: web.Request, asked: Request) -> web.StreamResponse:
        self.asked[asked.file] += 1
        self.trace.append(("asked", place_of(asked)))
        self.last_bodies.append(asked.body)
        if self._keep_requests:
            self.requests.append(asked)
        struck = await self._suffer(request, BEFORE, "fetch", asked.file)
        if struck is not None:
            return struck
        answer = await self._work(asked)
        if isinstance(answer, web.Response):
            return answer
        struck = await self._suffer(request, AFTER, "fetch", asked.file)
        return struck if struck is not None else self._answer(asked, answer)

    def _answer(self, asked: Request, answer: dict[str, Any]) -> web.Response:
        turn = self._strikes(("enqueue", "job_lost", "job_failed", "job_stuck"), "fetch", asked.file)
        if turn is None and answer["input"]["size"] <= self.options.async_above and "webhook" not in asked.body:
            return web.json_response(answer)
        endings = {"job_failed": "failed", "job_stuck": "never"}
        name = turn.name if turn is not None else "enqueue"
        if name != "job_lost":
            polls = turn.polls if turn is not None else self.options.polls
            self.jobs[answer["id"]] = Job(answer, polls, endings.get(name, "completed"))
        return web.json_response({"id": answer["id"], "status": "enqueued"}, status=self.options.acknowledgement)

    async def _job(self, request: web.Request) -> web.StreamResponse:
        return await self._guarded(request, "job", self._job_answer)

    async def _job_answer(self, request: web.Request) -> web.StreamResponse:
        struck = await self._suffer(request, BEFORE, "job") or self._refusal(request)
        if struck is not None:
            return struck
        identity = request.match_info["id"]
        job = self.jobs.get(identity)
        if job is None:
            return self._say(404, "No such job")
        if job.polls_left > 0 or job.ending == "never":
            job.polls_left -= 1
            return web.json_response({"id": identity, "status": "processing"})
        if job.ending in ("failed", "unfetched"):
            words = OUT_OF_REACH if job.ending == "unfetched" else "made to fail"
            failure = {"success": False, "id": identity, "status": "failed", "code": 422, "message": words}
            return web.json_response(failure, status=self.options.failed_job_status)
        return web.json_response({**job.answer, "status": "completed"})

    async def _object(self, request: web.Request) -> web.StreamResponse:
        return await self._guarded(request, "bucket", self._object_answer)

    async def _object_answer(self, request: web.Request) -> web.StreamResponse:
        struck = await self._suffer(request, BEFORE, "bucket", request.match_info["key"])
        if struck is not None:
            return struck
        bucket, key = request.match_info["bucket"], request.match_info["key"]
        item = self.objects.get((bucket, key))
        self.trace.append(("absent" if item is None else "present", f"{bucket}/{key}"))
        if item is None:
            return web.Response(status=404)
        metadata = {f"x-amz-meta-{name.lower()}": value for name, value in item.metadata.items()}
        return web.Response(body=item.body, headers={**item.headers, **metadata})

    def _say(self, status: int, message: str) -> web.Response:
        return web.json_response(error_body(status, self._new_id(), message), status=status)

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    # --- work -------------------------------------------------------------------------------------------------------------

    async def _work(self, asked: Request) -> dict[str, Any] | web.Response:
        """Fetch, wrap, store, and say what was done; or why not."""
        if self.options.work_seconds:
            await self._pause(self.options.work_seconds)
        if self._strikes(("way_is_out_for_job",), "fetch", asked.file):
            identity = self._new_id()
            self.jobs[identity] = Job({}, 1, "unfetched")
            return web.json_response({"id": identity, "status": "enqueued"}, status=self.options.acknowledgement)
        source = await self._source(asked)
        if isinstance(source, str):
            return self._say(422, source)
        asked.worked = True
        self.paid[asked.file] += 1
        output = rewrap(source)
        store = asked.body.get("store") or {}
        key = store.get("path") or asked.file
        if store:
            self._put(store, key, output)
        return {
            "id": self._new_id(),
            "url": self._address(store, key, asked.file),
            "input": self._stated(asked.file, source),
            "output": facts_of(key.rpartition("/")[2], output),
        }

    def _put(self, store: Mapping[str, Any], key: str, output: bytes) -> None:
        self.paid_keys[f"{store['bucket']}/{key}"] += 1
        self.trace.append(("paid", f"{store['bucket']}/{key}"))
        self.objects[store["bucket"], key] = StoredItem(output, dict(store.get("headers", {})), dict(store.get("metadata", {})))

    def _address(self, store: Mapping[str, Any], key: str, file: str) -> str:
        if not store:
            return f"{self.url.removesuffix('/1.0')}/1765712100/{self._new_id()}/{quote(key)}"
        short = self.options.url_form == "short" or self._strikes(("short_url",), "fetch", file) is not None
        shown = key.rpartition("/")[2] if short else key
        return f"https://{store['bucket']}.s3.{store['region']}.backblazeb2.com/{quote(shown)}"

    def _stated(self, name: str, source: bytes) -> dict[str, Any]:
        stated = facts_of(name, source)
        if self._strikes(("wrong_sha1",), "fetch", name):
            stated["sha1"] = hashlib.sha1(b"other" + source).hexdigest()
        if self._strikes(("wrong_size",), "fetch", name):
            stated["size"] += 1
        return stated

    async def _source(self, asked: Request) -> bytes | str:
        """The bytes behind `url`, or why they cannot be had."""
        assert self._session is not None
        if fault := self._strikes(SOURCE, "fetch", asked.file):
            return OUT_OF_REACH if fault.name == "way_is_out" else f"The source answered with status {fault.status}"
        body = asked.body
        headers = {"User-Agent": SOURCE_AGENT, **body.get("headers", {})}
        try:
            async with self._session.get(body["url"], headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as response:
                if response.status != 200:
                    return f"The file could not be fetched: {body['url']} answered {response.status}"
                return await response.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return f"The file could not be fetched: {type(error).__name__}"


def place_of(asked: Request) -> str:
    """bucket/key that a request wants its output at; the file's name where it wants none."""
    store = asked.body.get("store") or {}
    return f"{store['bucket']}/{store.get('path') or asked.file}" if store else asked.file


def _key_of(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return None
    return user if scheme.lower() == "basic" and not password else None


def _cut(request: web.Request) -> None:
    """Reset the connection: no farewell, no half of an answer."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def rewrap(source: bytes) -> bytes:
    """Other bytes of the same image: a comment is put in where the format has a place for one."""
    if source.startswith(b"\xff\xd8"):
        note = b"compressed"
        return source[:2] + b"\xff\xfe" + struct.pack(">H", len(note) + 2) + note + source[2:]
    if source.startswith(b"\x89PNG\r\n\x1a\n"):
        chunk = b"tEXt" + b"Comment\0compressed"
        framed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return source[:33] + framed + source[33:]
    return source + b"\0"


_MAGIC: Final = {b"\xff\xd8": "jpeg", b"\x89PNG": "png", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp", b"II*\0": "tiff"}


def facts_of(name: str, content: bytes) -> dict[str, Any]:
    """`input` or `output` as the vendor's page shows them."""
    format_name = next((word for magic, word in _MAGIC.items() if content.startswith(magic)), "jpeg")
    return {
        "name": name,
        "type": "image",
        "format": format_name,
        "mime": f"image/{format_name}",
        "size": len(content),
        "sha1": hashlib.sha1(content).hexdigest(),
    }


class StandinProcess:
    """The stand-in as a process of its own."""

    def __init__(self, *, api_key: str = DEFAULT_KEY, seed: int = 1) -> None:
        self.api_key = api_key
        self.seed = seed
        self.port = 0
        self._process: Forked | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; a second start listens on the port of the first."""
        arguments = ("--port", str(self.port), "--api-key", self.api_key, "--seed", str(self.seed))
        self._process = fork(arguments, name="standin", environment=dict(os.environ), stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the stand-in did not start"
        self.port = json.loads(line)["port"]

    def stop(self) -> None:
        """Stop it. What it kept is gone."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            assert self._process.stdout is not None
            self._process.stdout.close()

    @property
    def url(self) -> str:
        """`compressor.url`"""
        return f"http://127.0.0.1:{self.port}/1.0"

    @property
    def verify_url(self) -> str:
        """`verify.url`"""
        return f"http://127.0.0.1:{self.port}/bucket/{{bucket}}/{{key}}"

    def report(self) -> dict[str, Any]:
        """`Standin.report`"""
        report: dict[str, Any] = self._call("GET", "report")
        return report

    def trace(self) -> list[tuple[str, str]]:
        """`Standin.trace`: what happened at which bucket/key, in order: asked, paid, absent or present (a HEAD's answer)."""
        return [(what, place) for what, place in self._call("GET", "trace")]

    def set_faults(self, *faults: Fault) -> None:
        """These, and no others."""
        self._call("PUT", "faults", [dataclasses.asdict(fault) for fault in faults])

    def set_options(self, **options: Any) -> None:
        """Change some of `Options`."""
        self._call("PUT", "options", options)

    def _call(self, method: str, what: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/_control/{what}", data, method=method)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


async def serve(port: int, api_key: str, seed: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Standin(api_key, seed=seed, port=port, keep_requests=False) as standin:
        print(json.dumps({"port": standin.port, "url": standin.url, "verify_url": standin.verify_url}), flush=True)
        await stop.wait()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--api-key", default=DEFAULT_KEY)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.api_key, given.seed))


if __name__ == "__main__":
    main()
