"""Answers requests for temporary URLs.

What is served is an inode, not a path: every response holds a duplicate of the source's descriptor for its whole length,
made in the same step in which the source was found, and reads at explicit offsets. So a response in flight when its
ticket is withdrawn goes on to its end (as long as it moves), nothing new begins, and a descriptor number that is closed
and used again elsewhere can never lead to another file. Of a small original the very bytes are served that were hashed.

A source behind a descriptor whose bytes moved after they were hashed is answered like an unknown URL. A change while the
bytes travel cannot be seen here; the SHA-1 in the API's answer tells.
"""

from __future__ import annotations

import asyncio
import errno
import os
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web

from watcher.errors import CANNOT_TELL, NotAnswering, Unavailable
from watcher.model import Event
from watcher.publish import sending
from watcher.publish.answers import Representation, ResponsePlan, answer, shown_name, token_in
from watcher.publish.connections import Connections, connection_limit
from watcher.publish.denials import Denial, DenialReport, Denials
from watcher.publish.register import Published, Register, is_equal
from watcher.publish.sending import Pinned

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from watcher.model import SourceFacts, Ticket
    from watcher.ports import Clock, EventLog

KEY_HEADER: Final = "X-Watcher-Key"
"""The request header that carries a ticket's second secret."""

FRESH_SECONDS: Final = 0.25
"""A look at the path of what is held that is no older will do: what it misses could as well happen just after the fetch."""

_COMMON_HEADERS: Final = {
    "Server": "compressor-watcher",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    # an SVG may hold scripts; opened in a browser they must not run under the name of this host
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


class Responder:
    """404 for unknown, expired, withdrawn and changed alike, 405 for anything but GET and HEAD, 403 without the key where one is
    asked for. `{public_url}/t/` alone is 200 with an empty body, for the health checks of proxies. Nothing is written about a
    request but `image.fetched` (debug) and `serve.denied`, never a token.
    """

    def __init__(self, register: Register, prefixes: Sequence[str], log: EventLog, clock: Clock, *, asks_for_key: bool) -> None:
        self.connections = Connections(connection_limit())
        """Who is connected, and how many may be."""
        self.downloads: set[asyncio.Task[object]] = set()
        """Those under way."""
        self._register = register
        self._prefixes = prefixes
        self._log = log
        self._clock = clock
        self._asks_for_key = asks_for_key
        self._denials = Denials()

    def report_due(self) -> None:
        """Say of refused requests what it is time to say."""
        self._say(self._denials.due(self._clock.monotonic()))

    def report_rest(self) -> None:
        """Say what is left to say of them."""
        self._say(self._denials.rest())

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request."""
        transport = request.transport
        self.connections.begin(transport)
        try:
            return await self._answer(request)
        finally:
            self.connections.end(transport)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        token = token_in(request.rel_url.raw_path, self._prefixes)
        if token == "" and request.method in ("GET", "HEAD", "OPTIONS"):
            return web.Response(headers=_COMMON_HEADERS)
        found = self._judge(request, token or "")
        if isinstance(found, Denial):
            return self._refuse(request, found)
        # No await between the judgement and the descriptor's duplicate: nobody can close or reuse the number in between.
        pinned = _pin(found)
        if isinstance(pinned, Denial):
            found.traffic.turned_away += pinned is Denial.BUSY
            return self._refuse(request, pinned)
        try:
            return await self._serve(request, found, pinned)
        except Exception:  # the boundary to the server: it is raised again
            found.traffic.turned_away += 1  # whatever it was, it was ours; the server's log tells of it
            raise
        finally:
            if isinstance(pinned, Pinned):
                found.source.start(pinned.close)

    def _judge(self, request: web.BaseRequest, token: str) -> Published | Denial:
        if request.method not in ("GET", "HEAD"):
            return Denial.METHOD
        found = self._register.find(token)
        if found is None:
            return Denial.UNKNOWN
        if self._clock.monotonic() >= found.until:
            return Denial.EXPIRED
        if self._asks_for_key:
            return _without_key(request.headers.get(KEY_HEADER), found.ticket) or found
        return found

    def _refuse(self, request: web.BaseRequest, reason: Denial) -> web.Response:
        self._say(self._denials.note(reason, _shown_remote(request.remote), self._clock.monotonic()))
        response = web.Response(status=reason.status, headers=_COMMON_HEADERS)
        response.text = f"{response.reason}\n"
        if reason is Denial.METHOD:
            response.headers["Allow"] = "GET, HEAD"
        if reason.status == 503:
            response.headers["Retry-After"] = "5"
        return response

    def _say(self, reports: Iterable[DenialReport]) -> None:
        for report in reports:
            self._log.event(
                Event.SERVE_DENIED, reason=str(report.reason), count=report.count, remote=report.remote, hint=report.reason.hint
            )

    async def _serve(self, request: web.BaseRequest, published: Published, pinned: Pinned | bytes) -> web.StreamResponse:
        if (denial := await self._look(published, pinned)) is not None:
            published.traffic.turned_away += denial in (Denial.SHARE_HANGS, Denial.BUSY)
            return self._refuse(request, denial)
        facts = published.source.facts
        changed = min(published.source.modified, self._clock.now())  # a date to come must not be told (RFC 9110, 8.8.2.1)
        what = Representation(facts.sha1, facts.size, max(0, int(changed)))
        decided = answer(request.method, request.headers, what)
        headers = _headers(what, decided, facts.format.mime)
        if decided.status not in (200, 206):
            return web.Response(status=decided.status, headers=headers)
        response = _response(decided, headers, pinned)
        if request.method == "GET" and decided.count:
            await self._download(request, response, published, pinned, decided)
        return response

    @staticmethod
    async def _look(published: Published, pinned: Pinned | bytes) -> Denial | None:
        """Why the original is not served, if so; asked in a thread that may wait for it. What is held needs no share for that,
        and is not asked after where its path was looked at just now."""
        if isinstance(pinned, bytes) and published.source.seen_within(FRESH_SECONDS):
            return None
        try:
            intact = await published.source.run(partial(_is_intact, published, pinned))
        except Unavailable:
            return None if isinstance(pinned, bytes) else Denial.SHARE_HANGS
        except (OSError, ValueError) as error:  # a stale handle, a disk that fails, a source that was closed meanwhile
            return Denial.BUSY if cannot_tell(error) else Denial.CHANGED
        return None if intact else Denial.CHANGED

    async def _download(
        self,
        request: web.BaseRequest,
        response: web.StreamResponse,
        published: Published,
        pinned: Pinned | bytes,
        span: ResponsePlan,
    ) -> None:
        """Send the span. A client that went away or stalls ends it without a word; the connection is closed then."""
        started, traffic, sent = self._clock.monotonic(), published.traffic, 0
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self.downloads.add(task)
        task.add_done_callback(self.downloads.discard)
        with sending.watched(request, self._clock) as download:
            traffic.downloads.add(download)
            try:
                await sending.send(request, response, published.source, pinned, span, self._register.note_sent)
                sent = span.count
            except (
                OSError,
                NotAnswering,
            ) as error:  # a client that is gone or was cut off, a file that shrank, a disk in trouble
                traffic.turned_away += isinstance(error, NotAnswering) or cannot_tell(error)
                if request.transport is not None:
                    sending.cut_off(request.transport)
                return
            finally:
                traffic.ended(download, sent, self._clock.monotonic())
                self._register.download_ended()
        self._tell_fetched(published.source.facts, span, started, request.remote)

    def _tell_fetched(self, facts: SourceFacts, span: ResponsePlan, started: float, remote: str | None) -> None:
        self._log.event(
            Event.IMAGE_FETCHED,
            name=shown_name(facts.name),
            sha1=facts.sha1,
            bytes=span.count,
            seconds=round(self._clock.monotonic() - started, 6),
            remote=_shown_remote(remote),
        )


def _shown_remote(remote: str | None) -> str | None:
    """Who asked: an IPv4 client on a socket of both families is shown by its own address."""
    return remote.removeprefix("::ffff:") if remote is not None else None


def _without_key(given: str | None, ticket: Ticket) -> Denial | None:
    if given is None:
        return Denial.KEY_MISSING
    return None if is_equal(given, ticket.secret) else Denial.KEY_WRONG


def _pin(published: Published) -> Pinned | bytes | Denial:
    """The source's bytes, or an own descriptor of them, or why there is none. Does not wait."""
    if (held := published.source.held) is not None:
        return held
    try:
        return Pinned(os.dup(published.source.fileno()))
    except OSError as error:  # EBADF: the source is closed
        return Denial.CHANGED if error.errno == errno.EBADF else Denial.BUSY


def cannot_tell(error: Exception) -> bool:
    """Whether an error says nothing of what was asked for: this process has no descriptor left to ask with."""
    return isinstance(error, OSError) and error.errno in CANNOT_TELL


def _is_intact(published: Published, pinned: Pinned | bytes) -> bool:
    """May wait for the disk."""
    source = published.source
    if isinstance(pinned, bytes):
        return source.is_intact()
    status = os.fstat(pinned.fileno())
    same = (status.st_dev, status.st_ino) == published.inode and status.st_size == source.facts.size
    return same and source.is_intact()


def _response(decided: ResponsePlan, headers: dict[str, str], pinned: Pinned | bytes) -> web.StreamResponse:
    """What is held goes along with it: headers and bytes are one write."""
    if isinstance(pinned, bytes):
        return web.Response(status=decided.status, headers=headers, body=pinned[decided.start : decided.start + decided.count])
    response = web.StreamResponse(status=decided.status, headers=headers)
    response.content_length = decided.count
    return response


def _headers(what: Representation, decided: ResponsePlan, mime: str) -> dict[str, str]:
    headers = {**_COMMON_HEADERS, "ETag": what.etag, "Last-Modified": what.last_modified, "Accept-Ranges": "bytes"}
    if decided.status in (200, 206):
        headers["Content-Type"] = mime
    if content_range := decided.content_range(what.size):
        headers["Content-Range"] = content_range
    return headers
