"""Staged links: originals put into a private bucket for a while, and links to them that are signed here.

For hosts that nobody can reach. The key is `{prefix}watcher-{expires}[-{owner}]/{token}/{name}`:

* `token` cannot be guessed, and whoever lists the bucket holds the application key anyway.
* `expires` (Unix seconds) is the moment at which the ticket, and with it every link to the object, is dead. So any daemon that
  shares bucket and prefix may remove what is past it, whatever its own `ttl` says, and never touches what still works.
* `owner` names the daemon whose tickets these are. What carries the own name and belongs to no live ticket was left by a
  crash of this very daemon and is removed at once. Without an owner only age decides.

Stores that keep versions (Backblaze B2 always does) only hide an object that is deleted by name, and go on billing it: the
version that the PUT named is deleted, and where more than one may have been made (a try whose answer was lost, an earlier run)
all versions of the key are listed and deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from watcher.config.publish_settings import PRESIGN_LIMIT_SECONDS
from watcher.errors import Unavailable
from watcher.model import Event
from watcher.ports import Publication
from watcher.publish.answers import shown_name
from watcher.publish.diagnosis import CheckLine, diagnose
from watcher.publish.staging import HINTS
from watcher.s3.bucket import Bucket, PutObject
from watcher.s3.client import S3Client
from watcher.s3.errors import S3Error
from watcher.s3.listing import Version
from watcher.s3.signing import Credentials

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from pydantic import SecretStr

    from watcher.config.publish_settings import PresignSettings
    from watcher.model import Ticket
    from watcher.network.proxies import Proxies
    from watcher.ports import Clock, EventLog, Source

MARK: Final = "watcher-"
SWEEP_SECONDS: Final = 3600.0
SWEEP_MARGIN_SECONDS: Final = 600
"""Clocks of daemons that share a bucket may differ by so much."""
STOP_SECONDS: Final = 10.0
REMOVAL_PAUSES: Final = (5.0, 30.0, 120.0)
"""Seconds between rounds of deleting; each round has its own quick retries."""
_READ_BYTES: Final = 256 * 1024
_KEY: Final = re.compile(MARK + r"(?P<expires>[0-9]{10})(?:-(?P<owner>[a-z0-9]+))?/(?P<token>[^/]+)/[^/]+")


# --- decisions --------------------------------------------------------------------------------------------------------------


def staged_key(prefix: str, owner: str, ticket: Ticket, name: str) -> str:
    """Where a ticket's original is staged."""
    return f"{staged_folder(prefix, owner, ticket)}{key_name(name)}"


def staged_folder(prefix: str, owner: str, ticket: Ticket) -> str:
    """The part of the key that is the ticket's alone."""
    owned = f"-{owner}" if owner else ""
    return f"{prefix}{MARK}{math.ceil(ticket.expires_at):010d}{owned}/{ticket.token}/"


def key_name(name: str) -> str:
    """A name that every store takes and no signer escapes differently: letters and digits of all scripts, `.`, `_`, `-`."""
    return "".join(character if character.isalnum() or character in "._-" else "-" for character in shown_name(name))


def is_leftover(key: str, prefix: str, owner: str, live: Collection[str], now: float) -> bool:
    """Whether an object may be removed: one of ours in form, and dead by age, or this daemon's own and of no live ticket."""
    match = _KEY.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
    if match is None:
        return False
    if int(match["expires"]) + SWEEP_MARGIN_SECONDS < now:
        return True
    return bool(owner) and match["owner"] == owner and match["token"] not in live


def signing_window(ticket: Ticket, ttl: float, now: float) -> tuple[float, int]:
    """When a ticket's link is dated and how many seconds it lives: the same for a ticket whenever it is asked for.

    It ends when the ticket does. A ticket that was made under a longer `ttl` would be dated in the future; it is dated now.
    """
    signed_at = min(ticket.expires_at - ttl, now)
    lifetime = max(1, min(round(ticket.expires_at - signed_at), PRESIGN_LIMIT_SECONDS))
    return signed_at, lifetime


# --- the edge ---------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Staged:
    """What is known of a ticket's object: versions that were put; `all_known` False where there may be more."""

    key: str
    name: str
    expires_at: float
    sha1: str = ""
    versions: list[Version] = field(default_factory=list)
    all_known: bool = True


class _Moved(Exception):
    """The bytes are not those that were hashed."""


class StagedLinks:
    """The Publisher of `[publish] mode = "presign"`.

    `owner` (letters and digits, lower case) names this daemon among those that share bucket and prefix; it must stay the same
    over restarts. `random` gives numbers from 0 to 1 for the waits between tries.
    """

    def __init__(
        self,
        settings: PresignSettings,
        log: EventLog,
        clock: Clock,
        *,
        owner: str = "",
        random: Callable[[], float] = random.random,
        proxies: Proxies | None = None,
    ) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._owner = owner
        self._client = S3Client(clock, random, proxies=proxies)
        self.bucket = Bucket(self._client, settings.endpoint, settings.bucket, _credentials(settings))
        self._started_at = clock.now()
        self._staged: dict[str, _Staged] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._withdrawn: dict[str, float] = {}
        """Tokens that are done with, until they expire."""
        self._housekeeping: asyncio.Task[None] | None = None
        self._sweep_failing = False

    # --- life ---------------------------------------------------------------------------------------------------------------

    @property
    def removals(self) -> int:
        """How many staged originals are being deleted in the background."""
        return len(self._removals)

    def use_keys(self, settings: PresignSettings) -> None:
        """Sign with these keys from now on; a link that is asked for again is signed anew."""
        self.bucket.credentials = _credentials(settings)

    async def start(self) -> None:
        """Begin to look for what is past its time, now and every hour. The store need not be up."""
        self._housekeeping = asyncio.create_task(self._keep_house())

    async def stop(self, grace: float = STOP_SECONDS) -> None:
        """Let removals under way end for up to `grace` seconds; what is left then is found by a later sweep."""
        if self._removals:
            await asyncio.wait(self._removals.values(), timeout=grace)
        tasks = [*self._removals.values(), *([self._housekeeping] if self._housekeeping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    def alive(self) -> bool:
        """Whether the housekeeping runs."""
        return self._housekeeping is not None and not self._housekeeping.done()

    async def _keep_house(self) -> None:
        while True:
            now = self._clock.now()
            self._staged = {token: staged for token, staged in self._staged.items() if now < staged.expires_at}
            self._withdrawn = {token: expires for token, expires in self._withdrawn.items() if now < expires}
            await self._sweep_and_say()
            await self._clock.sleep(SWEEP_SECONDS)

    # --- Publisher ----------------------------------------------------------------------------------------------------------

    async def publish(self, ticket: Ticket, source: Source) -> Publication:
        """Stage the source under the ticket, unless it lies there already, and sign a link. Same ticket: the same URL.

        Raises Unavailable where the store does not take it, or where the source is no longer what was hashed.
        """
        staged = await self._known(ticket, source.facts.name)
        if staged.sha1 != source.facts.sha1:
            await self._upload(staged, source)
        signed_at, lifetime = signing_window(ticket, self._settings.ttl, self._clock.now())
        return Publication(self.bucket.link(staged.key, signed_at, lifetime))

    async def withdraw(self, ticket: Ticket) -> None:
        """Delete the staged object, in the background: the link leads nowhere a moment later, or at its end at the latest.

        What an earlier process staged under the ticket goes too.
        """
        staged = self._staged.pop(ticket.token, None)
        if staged is None:
            if ticket.token in self._removals or ticket.token in self._withdrawn or not self._is_from_before(ticket):
                return
            staged = _Staged(staged_folder(self._settings.prefix, self._owner, ticket), "", ticket.expires_at, all_known=False)
        self._withdrawn[ticket.token] = ticket.expires_at
        removal = asyncio.create_task(self._remove(staged))
        self._removals[ticket.token] = removal
        removal.add_done_callback(lambda done: self._forget_removal(ticket.token, done))

    def times_fetched(self, ticket: Ticket) -> None:
        """The store serves the bytes: nobody here can tell."""

    def refusals(self, ticket: Ticket) -> int:  # noqa: ARG002 - the port's
        """Nobody asks here, so nobody is turned away."""
        return 0

    def moved_at(self, ticket: Ticket) -> None:
        """As above."""

    def _forget_removal(self, token: str, removal: asyncio.Task[None]) -> None:
        if self._removals.get(token) is removal:
            del self._removals[token]

    async def _known(self, ticket: Ticket, name: str) -> _Staged:
        """What is known of the ticket's object; a removal that is still under way is called off first."""
        key = staged_key(self._settings.prefix, self._owner, ticket, name)
        removal = self._removals.pop(ticket.token, None)
        if removal is not None:
            removal.cancel()
            await asyncio.wait([removal])
        self._withdrawn.pop(ticket.token, None)
        fresh = not self._is_from_before(ticket)
        return self._staged.setdefault(ticket.token, _Staged(key, name, ticket.expires_at, all_known=fresh and removal is None))

    def _is_from_before(self, ticket: Ticket) -> bool:
        """Whether an earlier process made the ticket, and so may have staged under it."""
        return ticket.expires_at - self._settings.ttl < self._started_at

    async def _upload(self, staged: _Staged, source: Source) -> None:
        known_before, staged.all_known = staged.all_known, False
        try:
            stored = await self._put(staged.key, source)
        except S3Error as error:
            raise Unavailable(
                f"the original cannot be staged in {self.bucket.name}: {error.message}", HINTS[error.kind]
            ) from None
        except _Moved:
            raise Unavailable("the file changed while it was staged", "its new version is taken by itself") from None
        except OSError as error:
            raise Unavailable(f"the original cannot be read: {error.strerror}", "it is tried again by itself") from None
        staged.sha1 = source.facts.sha1
        staged.versions.append(Version(staged.key, stored.version))
        staged.all_known = known_before and stored.alone

    async def _put(self, key: str, source: Source) -> PutObject:
        """Upload what is held, or from an own descriptor, so that the source may be closed meanwhile."""
        facts, headers = source.facts, {"Content-Type": source.facts.format.mime}
        if (held := source.held) is not None:
            return await self.bucket.put(key, headers, facts.size, lambda: _held(held))
        descriptor = os.dup(source.fileno())
        try:
            return await self.bucket.put(key, headers, facts.size, lambda: _content(descriptor, facts.size, facts.sha1))
        finally:
            os.close(descriptor)

    async def check(self) -> list[CheckLine]:
        """Try for real what publishing needs, with one tiny object, and say of each thing whether it works and what to do."""
        return await diagnose(self.bucket, self._client, self._settings, self._clock)

    # --- removal ------------------------------------------------------------------------------------------------------------

    async def _remove(self, staged: _Staged) -> None:
        """Rounds of deleting until one succeeds; the last failure is said, and the object left to the sweeps."""
        for pause in (*REMOVAL_PAUSES, None):
            try:
                await self._delete_all(staged)
            except S3Error as error:
                if pause is None:
                    self._say(error, "a staged original could not be deleted; a later sweep tries again", name=staged.name)
                    return
                await self._clock.sleep(pause)
            else:
                return

    async def _delete_all(self, staged: _Staged) -> None:
        versions = staged.versions
        if not staged.all_known:
            folder = staged.key.endswith("/")
            versions = [each async for each in self.bucket.versions(staged.key) if folder or each.key == staged.key]
        for version in versions:
            await self.bucket.delete(version)

    async def sweep(self, live: Collection[str] | None = None) -> int:
        """Remove what is past its time and, where `live` names the tokens still in use, this daemon's own that none of them is.

        Gives the number of versions removed. Tickets published by this object are live without being named. Raises Unavailable.
        """
        try:
            return await self._sweep(live)
        except S3Error as error:
            problem = f"the staging bucket {self.bucket.name} cannot be swept: {error.message}"
            raise Unavailable(problem, HINTS[error.kind]) from None

    async def _sweep(self, live: Collection[str] | None) -> int:
        prefix, now = self._settings.prefix, self._clock.now()
        owner = "" if live is None else self._owner
        removed = 0
        async for version in self.bucket.versions(f"{prefix}{MARK}"):
            in_use = {*(live or ()), *self._staged, *self._removals}
            if is_leftover(version.key, prefix, owner, in_use, now):
                await self.bucket.delete(version)
                removed += 1
        return removed

    async def _sweep_and_say(self) -> None:
        try:
            await self._sweep(None)
        except S3Error as error:
            if not self._sweep_failing:
                self._say(error, f"the staging bucket {self.bucket.name} cannot be swept; tried again every hour")
            self._sweep_failing = True
        else:
            self._sweep_failing = False

    def _say(self, error: S3Error, what: str, **fields: str) -> None:
        """One line; never with the key, which holds the token."""
        shown = {name: shown_name(value) for name, value in fields.items()}
        message, hint = f"{what}: {error.message}", HINTS[error.kind]
        self._log.event(Event.IMAGE_RETRY, message=message, hint=hint, bucket=self.bucket.name, **shown)


def _credentials(settings: PresignSettings) -> Credentials:
    return Credentials(_secret(settings.key_id), _secret(settings.application_key), settings.region)


def _secret(value: SecretStr | None) -> str:
    return value.get_secret_value() if value else ""


async def _held(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _content(descriptor: int, size: int, sha1: str) -> AsyncIterator[bytes]:
    """The bytes behind a descriptor, read at explicit offsets. The last ones are given only if all are those that were hashed."""
    digest, offset = hashlib.sha1(usedforsecurity=False), 0
    while offset < size:
        chunk = await asyncio.to_thread(_read, descriptor, min(_READ_BYTES, size - offset), offset, digest.update)
        offset += len(chunk)
        if not chunk or (offset == size and digest.hexdigest() != sha1):
            raise _Moved
        yield chunk


def _read(descriptor: int, count: int, offset: int, note: Callable[[bytes], None]) -> bytes:
    chunk = os.pread(descriptor, count, offset)
    note(chunk)
    return chunk
