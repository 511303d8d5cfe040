"""The page's words for states, times and sizes, and what of an image can be shown as a picture. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from watcher.config.units import human_duration, human_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from watcher.shown.images import ShownImage, ShownOutput
    from watcher.shown.report import ApiFigures

BROWSER_FORMATS: Final = frozenset({"jpeg", "jpg", "png", "webp", "avif", "gif", "svg", "bmp", "ico"})
"""What browsers show as a picture."""
MINUS: Final = "\N{MINUS SIGN}"
TONES: Final = {
    "stored": "good",
    "unchanged": "good",
    "failed": "bad",
    "open": "busy",
    "waiting": "busy",
    "requested": "busy",
    "enqueued": "busy",
    "retry": "warn",
    "superseded": "dim",
    "vanished": "dim",
}
_STATES: Final = {
    "open": "under way",
    "requested": "being compressed",
    "enqueued": "being compressed, as a job",
    "unchanged": "stored before, unchanged",
    "superseded": "replaced by a newer version",
    "vanished": "deleted before its turn",
}
_REASONS: Final = {
    "empty": "Empty files",
    "truncated": "Files that never became whole",
    "invalid_key": "No usable key",
    "key_conflict": "Two files with one key",
    "rejected": "Refused by the API",
    "job_failed": "Job of the API failed",
    "attempts_exhausted": "Given up after several attempts",
    "input_mismatch": "The API read other bytes",
    "store_mismatch": "The store holds something else",
    "not_an_image": "no image",
    "unsupported": "kind that cannot be done",
    "being_written": "still being written",
}


def state_words(state: str) -> str:
    """A state or outcome for people."""
    return _STATES.get(state, state)


def reason_words(reason: str) -> str:
    """A reason for people."""
    return _REASONS.get(reason, reason.replace("_", " "))


def moment(seconds: float, now: float, zone: tzinfo) -> str:
    """A time of day, with its date where it is not today: "10:42:07", "27 Nov 10:42", "27 Nov 2025"."""
    then, today = datetime.fromtimestamp(seconds, zone), datetime.fromtimestamp(now, zone)
    if then.date() == today.date():
        return f"{then:%H:%M:%S}"
    if abs(now - seconds) < 300 * 86_400:
        return f"{then.day} {then:%b %H:%M}"
    return f"{then.day} {then:%b %Y}"


def short_moment(seconds: float, now: float, zone: tzinfo) -> str:
    """The same to the minute: "10:42"."""
    words = moment(seconds, now, zone)
    return words[:5] if words.count(":") == 2 else words


def machine_time(seconds: float) -> str:
    """For the `datetime` attribute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def api_words(api: ApiFigures, now: float, zone: tzinfo) -> str:
    """How the way to the API stands: "reachable", "key refused since 10:42"."""
    trouble = api.state not in ("reachable", "unknown") and api.since is not None
    return f"{api.words} since {short_moment(api.since, now, zone)}" if trouble and api.since is not None else api.words


def sizes_words(output: ShownOutput) -> str:
    """Before and after: "2.4 MB → 214.0 kB"."""
    before = "" if output.input_size is None else human_size(output.input_size)
    return before if output.output_size is None else f"{before} → {human_size(output.output_size)}".strip()


def saved_words(output: ShownOutput) -> str:
    """How much smaller it has become, in per cent; empty where that is not known."""
    if output.saved_percent is None:
        return ""
    percent = round(output.saved_percent)
    sign = MINUS if percent > 0 else "+" if percent < 0 else ""
    return f"{sign}{abs(percent)} %"


def pixels_words(output: ShownOutput) -> str:
    """Width and height."""
    return f"{output.width} × {output.height}" if output.width and output.height else ""


def count_words(count: int) -> str:
    """A number with its thousands apart."""
    return f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def duration_words(seconds: float | None) -> str:
    """A duration; a dash where there is none."""
    return "–" if seconds is None else human_duration(seconds)


def own_output(image: ShownImage) -> ShownOutput | None:
    """The folder's own output, or the first there is."""
    return next((each for each in image.outputs if each.rendition is None), next(iter(image.outputs), None))


def web_address(output: ShownOutput | None) -> str | None:
    """Where a browser can fetch the output; None where it cannot."""
    address = None if output is None else output.address
    return address if address is not None and origin_of(address) is not None else None


def thumbnail(image: ShownImage) -> str | None:
    """The address of the smallest output that a browser shows; None where there is none."""
    shown = [
        (each.output_size or 0, address)
        for each in image.outputs
        if each.state in ("stored", "unchanged")
        and (each.format or "") in BROWSER_FORMATS
        and (address := web_address(each)) is not None
    ]
    return min(shown)[1] if shown else None


def origin_of(address: str) -> str | None:
    """Scheme, host and port of an http(s) address, fit for a Content-Security-Policy; None of any other."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or not all(each.isalnum() or each in "-._:" for each in host):
        return None
    if not host.isascii():
        return None
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def picture_origins(images: Iterable[ShownImage]) -> set[str]:
    """Where the pictures of these images come from."""
    addresses = (thumbnail(image) for image in images)
    return {origin for address in addresses if address is not None and (origin := origin_of(address)) is not None}


def address_words(address: str) -> str:
    """An address as a link's text: without its scheme."""
    return address.partition("://")[2] or address
