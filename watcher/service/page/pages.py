"""Answers the page's requests: reading, the stream of changes, and the buttons."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from watcher.errors import Unavailable
from watcher.result_records import printable
from watcher.service.page.guard import is_own_form
from watcher.service.page.live import Live, event
from watcher.service.page.rendering import STATIC, PageContext, local_zone, static, static_address
from watcher.service.page.source import Which
from watcher.service.page.words import picture_origins

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from watcher.ports import Clock
    from watcher.service.page.source import PageSource
    from watcher.shown.images import ShownImage

MOST_STREAMS: Final = 250
QUIET_SECONDS: Final = 15.0
"""After so long without a change a stream says that it is still there."""
LONGEST_TEXT: Final = 2_000
KEEP_STATIC: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
_BACK: Final = re.compile(r"/(images/[\w-]+)?")


class PageRoutes:
    """The page's routes. Its forms carry a token that lasts as long as the process."""

    def __init__(self, source: PageSource, clock: Clock, version: str) -> None:
        """`version` is the program's. To be made in the event loop."""
        self._source = source
        self._version = version
        self._token = secrets.token_urlsafe(32)
        self._look = PageContext(0.0, local_zone(), self._token)
        self._clock = clock
        self.live = Live(source, clock, self._look)
        self._streams = 0

    def routes(self) -> list[web.RouteDef]:
        """For the admin port."""
        return [
            web.get("/", self._page),
            web.get("/events", self._events),
            web.get("/images/{id}", self._image),
            web.get("/hosts/{name}", self._host),
            web.get("/search", self._search),
            web.get("/static/{digest}/{name}", self._static),
            web.post("/retry", self._retry),
            web.post("/dismiss", self._dismiss),
            web.post("/pause", self._pause),
            web.post("/resume", self._resume),
        ]

    async def close(self) -> None:
        """End the streams."""
        await self.live.close()

    # --- reading --------------------------------------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.Response:
        try:
            frame = await self.live.frame()
        except Unavailable as error:
            return await self._unavailable(error)
        sections = {name: each.html for name, each in frame.sections.items()}
        values = {**self._common(), "seen": frame.number, "notice": notice(request.query), "stamp": self._stamp(frame.look)}
        html = await self.live.render(lambda renderer: renderer.page(sections, frame.look, **values))
        return _html(html, frame.look)

    async def _image(self, request: web.Request) -> web.Response:
        return await self._answer(lambda: self._image_page(request.match_info["id"], notice(request.query)))

    async def _image_page(self, image_id: str, said: str) -> web.Response:
        story = await self._source.told(printable(image_id))
        if story is None:
            return await self._problem("No such image", "The journal has no image with this id (any more).", HTTPStatus.NOT_FOUND)
        look = self._look_at([story.image])
        html = await self.live.render(lambda renderer: renderer.image(story, look, **self._common(), notice=said))
        return _html(html, look)

    async def _host(self, request: web.Request) -> web.Response:
        return await self._answer(lambda: self._host_page(printable(request.match_info["name"])))

    async def _host_page(self, name: str) -> web.Response:
        picture = await self._source.picture_of_host(name)
        if picture is None:
            return await self._problem("No such host", "No host of this name shares the journal.", HTTPStatus.NOT_FOUND)
        look = self._look_at(picture.journal.latest)
        html = await self.live.render(lambda renderer: renderer.host(name, picture, look, **self._common()))
        return _html(html, look)

    async def _search(self, request: web.Request) -> web.Response:
        text = printable(request.query.get("q", "").strip())[:LONGEST_TEXT]
        return await self._answer(lambda: self._found_page(text))

    async def _found_page(self, text: str) -> web.Response:
        found = await self._source.search(text) if text else None
        look = self._look_at(found.images if found is not None else ())
        html = await self.live.render(lambda renderer: renderer.found(text, found, look, **self._common()))
        return _html(html, look)

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in STATIC or request.path != static_address(name):
            raise web.HTTPNotFound
        return web.Response(body=static(name), headers={"Content-Type": STATIC[name], **KEEP_STATIC})

    async def _answer(self, answer: Callable[[], Awaitable[web.Response]]) -> web.Response:
        try:
            return await answer()
        except Unavailable as error:
            return await self._unavailable(error)

    def _common(self) -> dict[str, Any]:
        return {"version": self._version, "token": self._token}

    def _look_at(self, images: Iterable[ShownImage]) -> PageContext:
        return replace(self._look, now=self._clock.now(), origins=frozenset(picture_origins(images)))

    def _stamp(self, look: PageContext) -> str:
        """Where this changes an open page has to be loaded anew: another process, or pictures from elsewhere."""
        return "-".join([self._token[:8], str(len(look.origins))])

    async def _unavailable(self, error: Unavailable) -> web.Response:
        return await self._problem("Not available now", str(error), HTTPStatus.SERVICE_UNAVAILABLE)

    async def _problem(self, title: str, message: str, status: HTTPStatus) -> web.Response:
        look = self._look_at(())
        html = await self.live.render(lambda renderer: renderer.problem(title, message, look, **self._common()))
        return _html(html, look, status)

    # --- the stream -----------------------------------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self._streams >= MOST_STREAMS:
            return web.Response(status=503, text="too many open pages\n", headers={"Retry-After": "10"})
        self._streams += 1
        try:
            async with self.live.looking():
                return await self._stream(request)
        finally:
            self._streams -= 1

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Changes as they come, each reader at its own pace: who is slow misses frames, not their outcome."""
        seen = _number(request.headers.get("Last-Event-ID") or request.query.get("seen"))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        try:
            frame = await self.live.frame()
            stamp = self._stamp(frame.look)
            await response.write(b"retry: 1000\n\n" + event("stamp", stamp))
            if seen > frame.number:
                seen = 0  # of another process
            await self._follow(response, seen, stamp)
        except (ConnectionError, Unavailable):
            pass  # whoever looked has gone; or nothing can be shown now, and the browser asks again
        return response

    async def _follow(self, response: web.StreamResponse, seen: int, stamp: str) -> None:
        while not self.live.closed:
            frame = await self.live.next_frame(seen, QUIET_SECONDS)
            if frame is None:
                await response.write(b": still here\n\n")
                continue
            if stamp != (now := self._stamp(frame.look)):
                stamp = now
                await response.write(event("stamp", stamp))
            await response.write(frame.news(seen))
            seen = frame.number

    # --- the buttons ----------------------------------------------------------------------------------------------------------

    async def _retry(self, request: web.Request) -> web.Response:
        return await self._do(request, lambda form: self._on_failures(form, self._source.retry, "retried"))

    async def _dismiss(self, request: web.Request) -> web.Response:
        return await self._do(request, lambda form: self._on_failures(form, self._source.dismiss, "dismissed"))

    async def _pause(self, request: web.Request) -> web.Response:
        return await self._do(request, lambda form: self._on_folder(form, self._source.pause, "paused"))

    async def _resume(self, request: web.Request) -> web.Response:
        return await self._do(request, lambda form: self._on_folder(form, self._source.resume, "resumed"))

    async def _on_failures(self, form: Mapping[str, str], work: Callable[[Which], Awaitable[int]], said: str) -> str:
        return f"{said}-{await work(Which(form.get('image') or None, form.get('reason') or None))}"

    async def _on_folder(self, form: Mapping[str, str], work: Callable[[str | None], Awaitable[bool]], said: str) -> str:
        return f"{said}-{int(await work(form.get('folder') or None))}"

    async def _do(self, request: web.Request, work: Callable[[Mapping[str, str]], Awaitable[str]]) -> web.Response:
        """Do what a button of our own page asks for; other sites' forms are refused."""
        form = {name: printable(value) for name, value in (await request.post()).items() if isinstance(value, str)}
        if not is_own_form(request.headers, form.get("token", ""), self._token):
            message = "This button was not pressed on a current page of this daemon. Load the page anew and press it there."
            return await self._problem("Refused", message, HTTPStatus.FORBIDDEN)
        try:
            said = await work(form)
        except Unavailable as error:
            return await self._unavailable(error)
        self.live.expire()
        if "application/json" in request.headers.get("Accept", ""):
            return web.json_response({"notice": notice({"done": said})})
        back = form.get("back", "/")
        place = back if _BACK.fullmatch(back) else "/"
        return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": f"{place}?done={said}"})


NOTICES: Final = {
    "retried": ("Nothing was put back in the queue: it was retried, replaced or dismissed before.", "put back in the queue."),
    "dismissed": ("Nothing was dismissed: it was retried, replaced or dismissed before.", "dismissed."),
    "paused": ("It was paused before.", "Paused. What is under way ends; nothing new is sent."),
    "resumed": ("It was not paused.", "Resumed."),
}


def notice(query: Mapping[str, str]) -> str:
    """What a button did, from the `done` of an address: "retried-3"; empty where it holds nothing of ours."""
    said, _, count = query.get("done", "").partition("-")
    if said not in NOTICES or not count.isascii() or not count.isdigit() or len(count) > 9:
        return ""
    nothing, done = NOTICES[said]
    if not int(count):
        return nothing
    if said in ("paused", "resumed"):
        return done
    return f"{int(count)} image{'' if int(count) == 1 else 's'} {done}"


def _html(html: str, look: PageContext, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    headers = {"Content-Security-Policy": content_policy(look.origins), "Referrer-Policy": "same-origin"}
    return web.Response(status=status, text=html, content_type="text/html", charset="utf-8", headers=headers)


def content_policy(origins: Iterable[str]) -> str:
    """Nothing from elsewhere but pictures from these origins, nothing inline, and no page of others around ours."""
    pictures = " ".join(["'self'", *sorted(origins)])
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src {pictures};"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 12 else 0
