"""`check --probe`: one tiny image through everything, in the daemon's own parts, and where it stopped.

It has a drop folder and a state of its own, which are gone afterwards; API, store, way of publishing and the first folder's
`image` and `store` are those of the configuration.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watcher.app import started
from watcher.commands.checks.finding import fail, ok, skip, warn
from watcher.commands.checks.recording import RecordingLog
from watcher.commands.checks.tiny import tiny_png
from watcher.config.keys import DEFAULT_KEY_TEMPLATE
from watcher.config.merging import output_store
from watcher.config.schema import AdminSettings, LogSettings
from watcher.errors import WatcherError
from watcher.log import quiet_libraries
from watcher.model import ENDINGS, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcher.commands.checks.finding import Finding
    from watcher.config.schema import Settings
    from watcher.model import Record

NAME: Final = ".compressor-watcher-probe"
PATIENCE_SECONDS: Final = 60.0
"""Beyond what one request may take."""
RESCAN_SECONDS: Final = 5.0
"""Should no event tell of the image, it is found all the same."""
STEPS: Final = ("detected", "published", "requested", "fetched", "answered", "verified")
_STOPPED: Final = frozenset({*ENDINGS, Event.API_UNAVAILABLE, Event.API_UNAUTHORIZED, Event.API_QUOTA, Event.IMAGE_IGNORED})
_API: Final = (Event.API_UNAUTHORIZED, Event.API_QUOTA, Event.API_UNAVAILABLE, Event.API_THROTTLED)

Lines = list[tuple[Event, "Record"]]


async def run_probe(settings: Settings, *, running: bool) -> list[Finding]:
    """Send it and give a line for each step, to the one that failed. `running`: a daemon has the port."""
    if running and settings.publish.mode == "serve":
        todo = "stop the daemon for the moment, or drop a picture into a folder and look at `compressor-watcher tail`"
        return [fail("probe", "the running daemon has the port that the API would fetch from", todo)]
    quiet_libraries()
    with tempfile.TemporaryDirectory(prefix="compressor-watcher-probe-") as place:
        probe = probe_settings(settings, Path(place), str(uuid.uuid4()))
        probe.folders[0].path.mkdir()
        log = RecordingLog()
        try:
            async with started(probe, log):
                await _send(log, probe)
        except WatcherError as error:
            return [fail("probe", error.message, error.hint)]
    return judge(log.lines, serves=settings.publish.mode == "serve", verifies=settings.verify.mode != "never")


def probe_settings(settings: Settings, place: Path, identity: str) -> Settings:
    """The configuration of the probe: one folder in `place`, one try, and the key that `probe_key` gives."""
    first = settings.folders[0]
    key = probe_key(str(output_store(settings, first, None).get("path", DEFAULT_KEY_TEMPLATE)), first.name, identity)
    folder = first.model_copy(
        update={
            "path": place / "drop",
            "include": ("**/*",),
            "exclude": (),
            "polling": "auto",
            "on_success": "keep",
            "on_failure": "keep",
            "renditions": (),
            "store": first.store.model_copy(update={"path": key}),
        }
    )
    always = settings.verify.model_copy(update={"mode": "never" if settings.verify.mode == "never" else "always"})
    return settings.model_copy(
        update={
            "state_dir": place / "state",
            "folders": (folder,),
            "compressor": settings.compressor.model_copy(update={"max_attempts": 1}),
            "verify": always,
            "log": LogSettings(),
            "admin": AdminSettings(),
            "engine": settings.engine.model_copy(update={"listen": None}),
            "drain": 0.0,
            "rescan": RESCAN_SECONDS,
        }
    )


def probe_key(template: str, folder: str, identity: str) -> str:
    """A key that nobody else uses, below what all keys of the folder have in common (a B2 key may be limited to that)."""
    fixed = template.replace("{folder}", folder).partition("{")[0].rpartition("/")[0]
    return f"{fixed}/{NAME}/{identity}.png" if fixed else f"{NAME}/{identity}.png"


async def _send(log: RecordingLog, settings: Settings) -> None:
    """Drop the image, and wait until it has ended, or until nothing more can be expected."""
    image = tiny_png(uuid.uuid4().bytes, side=64)
    await asyncio.to_thread((settings.folders[0].path / "probe.png").write_bytes, image)
    with suppress(TimeoutError):
        async with asyncio.timeout(settings.compressor.timeout + PATIENCE_SECONDS):
            await log.until(is_over)


def is_over(lines: Sequence[tuple[Event, Record]]) -> bool:
    """Whether the image has ended, or waits for something that a probe does not wait for."""
    return any(event in _STOPPED or (event is Event.IMAGE_RETRY and "wait" in fields) for event, fields in lines)


# --- what came of it --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Course:
    """What the daemon's parts said, asked by event."""

    lines: Lines
    serves: bool

    def of(self, *events: Event) -> Record | None:
        """The last line of any of these events."""
        return next((fields for event, fields in reversed(self.lines) if event in events), None)


def judge(lines: Lines, *, serves: bool, verifies: bool) -> list[Finding]:
    """A line for each step, to the first that failed; those after it were not reached."""
    course = Course(lines, serves)
    findings = [_detected(course), _published(course), _requested(course), _fetched(course), _answered(course)]
    findings.append(_verified(course, verifies=verifies))
    reached = next((number for number, finding in enumerate(findings) if finding.state == "fail"), len(findings))
    missed = [skip(f"probe: {step}", "not reached") for step in STEPS[reached + 1 :]]
    return [*findings[: reached + 1], *missed]


def _detected(course: Course) -> Finding:
    if course.of(Event.IMAGE_DETECTED) is not None:
        return ok("probe: detected", "a tiny PNG in a folder of its own was taken")
    ignored = course.of(Event.IMAGE_IGNORED) or {}
    return fail("probe: detected", f"it was not taken {ignored.get('reason', '')}".rstrip(), "please report this")


def _published(course: Course) -> Finding:
    what = "probe: published"
    if course.of(Event.IMAGE_PUBLISHED) is not None:
        return ok(what, "at a temporary URL" if course.serves else "staged, with a signed link")
    return _held(course, what, "it could not be published")


def _requested(course: Course) -> Finding:
    what = "probe: requested"
    if course.of(Event.IMAGE_REQUESTED) is not None:
        return ok(what, "the API was asked to fetch it")
    return _held(course, what, "the API was not asked")


def _fetched(course: Course) -> Finding:
    """Whether the API came to our URL. A staged original is fetched from the store, which does not tell us."""
    what = "probe: fetched"
    if not course.serves:
        return ok(what, "from the staging bucket; the answer tells")
    if (fetched := course.of(Event.IMAGE_FETCHED)) is not None:
        return ok(what, f"by {fetched.get('remote')}: {fetched.get('bytes')} bytes")
    if (denied := course.of(Event.SERVE_DENIED)) is not None:
        return fail(what, f"a request was refused: {denied.get('reason')}", str(denied.get("hint", "")))
    if (troubled := course.of(*_API)) is not None:
        return fail(what, f"the API did not get so far: {troubled.get('message')}", str(troubled.get("hint", "")))
    told = course.of(Event.IMAGE_FAILED, Event.IMAGE_RETRY) or {}
    found = f"the API did not come to our URL; it said: {told.get('message', 'nothing')}"
    return fail(what, found, "look at `public_url`, port forwarding, firewall, proxy or tunnel; ask it from outside with curl")


def _answered(course: Course) -> Finding:
    what = "probe: answered"
    if (stored := course.of(Event.IMAGE_STORED)) is not None:
        place = f"{stored.get('bucket')}/{stored.get('key')}"
        return ok(what, f"{stored.get('url')}; the object stays, since the API cannot delete: remove {place} by hand")
    return _held(course, what, "no answer came in time")


def _verified(course: Course, *, verifies: bool) -> Finding:
    what = "probe: verified"
    stored = course.of(Event.IMAGE_STORED) or {}
    if stored.get("url_mismatch"):
        found = "the API names another address than bucket, region and key give"
        return warn(what, found, "look at the connector's settings: bucket and region may be others than here")
    if not verifies:
        return skip(what, 'the store was not asked ([verify] mode = "never")')
    if (hint := course.of(Event.IMAGE_RETRY)) is not None:
        return warn(what, str(hint.get("message")), str(hint.get("hint", "")))
    return ok(what, "the store has the object, made from the very bytes that were served")


def _held(course: Course, what: str, otherwise: str) -> Finding:
    """A step that was not done: because of the API, of the image, or for a reason that a retry tells."""
    told = course.of(*_API) or course.of(Event.IMAGE_FAILED) or course.of(Event.IMAGE_RETRY) or {}
    reason = f"{told['reason']}: " if "reason" in told else ""
    return fail(what, f"{reason}{told.get('message', otherwise)}", str(told.get("hint") or ""))
