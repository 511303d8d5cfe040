"""Renders the page: its sections, which live pages replace one by one, and the pages around them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from watcher.config.units import human_duration, human_size
from watcher.service.page import words
from watcher.service.page.forms import copy_forms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from watcher.service.page.plots import Activity
    from watcher.service.page.source import Snapshot
    from watcher.shown.images import Found, ShownStory

SECTIONS: Final = ("now", "failures", "unready", "underway", "latest", "folders", "hosts", "receivers", "activity")
OF_HOST: Final = ("underway", "latest", "folders", "receivers")
"""Those that make sense for one host alone; buttons for failures would act on those of all."""
"""In the order of the page. Each is a template of its own, and an element with this id."""
STATIC: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class PageContext:
    """What all pages of one moment have in common: time and zone, the forms' token, where pictures may come from."""

    now: float
    zone: tzinfo
    token: str
    origins: frozenset[str] = frozenset()

    def at(self, seconds: float) -> Markup:
        """A moment, as the clock on the wall has it."""
        shown = words.moment(seconds, self.now, self.zone)
        return Markup('<time datetime="{}">{}</time>').format(words.machine_time(seconds), shown)

    def picture(self, address: str | None) -> str | None:
        """The address, where the page may load pictures from there."""
        return address if address is not None and words.origin_of(address) in self.origins else None

    @property
    def zone_name(self) -> str:
        """The zone's short name."""
        return datetime.fromtimestamp(self.now, self.zone).strftime("%Z") or str(self.zone)


class Renderer:
    """Makes HTML of values. To be used from one thread at a time; nothing of it waits for anything."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("watcher.service.page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(_FILTERS)
        self._environment.globals.update(_GLOBALS)

    def sections(self, picture: Snapshot, activities: Sequence[Activity], look: PageContext) -> dict[str, str]:
        """The inside of every section."""
        values = {"status": picture.status, "journal": picture.journal, "activities": activities, "look": look}
        return {name: self._render(f"sections/{name}.html", values) for name in SECTIONS}

    def page(self, sections: Mapping[str, str], look: PageContext, **values: Any) -> str:
        """The page as a whole."""
        ready = {name: Markup(html) for name, html in sections.items()}  # noqa: S704 - they come from `sections`
        return self._render("page.html", {"sections": ready, "look": look, **values})

    def host(self, name: str, picture: Snapshot, look: PageContext, **values: Any) -> str:
        """What there is of one host."""
        known = {"status": picture.status, "journal": picture.journal, "look": look}
        sections = {each: Markup(self._render(f"sections/{each}.html", known)) for each in OF_HOST}  # noqa: S704 - of our own
        return self._render("host.html", {"host": name, "sections": sections, "look": look, **values})

    def image(self, story: ShownStory, look: PageContext, **values: Any) -> str:
        """One image's whole history."""
        return self._render("image.html", {"story": story, "look": look, **values})

    def found(self, text: str, found: Found | None, look: PageContext, **values: Any) -> str:
        """What a search brought."""
        return self._render("search.html", {"text": text, "found": found, "look": look, **values})

    def problem(self, title: str, message: str, look: PageContext, **values: Any) -> str:
        """A page that says why there is no other."""
        return self._render("problem.html", {"title": title, "message": message, "look": look, **values})

    def _render(self, template: str, values: dict[str, Any]) -> str:
        return self._environment.get_template(template).render(values)


@cache
def static(name: str) -> bytes:
    """A file that the page loads: one of STATIC."""
    return (files("watcher.service.page") / "static" / name).read_bytes()


@cache
def static_address(name: str) -> str:
    """Where it is loaded from; another address for another content, so that browsers may keep it."""
    return f"/static/{hashlib.sha256(static(name)).hexdigest()[:12]}/{name}"


def local_zone() -> tzinfo:
    """The zone of this machine's clock on the wall."""
    return datetime.now(UTC).astimezone().tzinfo or UTC


def code(text: object) -> Markup:
    """A message's text: what stands between backticks is code."""
    pieces = str(text).split("`")
    marked = (Markup("<code>{}</code>").format(each) if place % 2 else each for place, each in enumerate(pieces))
    return Markup("").join(marked)


_FILTERS: Final = {
    "address": words.address_words,
    "code": code,
    "count": words.count_words,
    "duration": words.duration_words,
    "pixels": words.pixels_words,
    "reason": words.reason_words,
    "saved": words.saved_words,
    "size": human_size,
    "sizes": words.sizes_words,
    "state": words.state_words,
}
_GLOBALS: Final = {
    "api_words": words.api_words,
    "copy_forms": copy_forms,
    "human_duration": human_duration,
    "own_output": words.own_output,
    "static": static_address,
    "thumbnail": words.thumbnail,
    "tones": words.TONES,
    "web_address": words.web_address,
}
