"""`[notify.NAME]`: who is told of endings, of which, and how. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from standardwebhooks import Webhook

from watcher.config.section import Section
from watcher.config.spelling import did_you_mean
from watcher.config.units import Duration, DurationOrZero
from watcher.model import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

OUTAGE: Final = "outage"
PEOPLE_DIGEST_SECONDS: Final = 600.0
"""So long endings are gathered for people where nothing else is said."""
SECRET_KEYS: Final = ("url", "apprise", "secret")
"""What may hold a secret, and so may come from a credential."""
WAYS: Final = ("url", "command", "apprise")
_EVENTS: Final = ("image.stored", "image.failed", "image.superseded", "image.vanished", "outage")
_ENDINGS: Final = ("image.stored", "image.failed", "image.superseded", "image.vanished")


def _event(value: object) -> object:
    if isinstance(value, str) and value not in _EVENTS:
        word = value.lower()
        guess = f"; did you mean `image.{word}`?" if f"image.{word}" in _EVENTS else did_you_mean(word, _EVENTS)
        raise ValueError(f"no such event{guess} (there are {', '.join(_EVENTS)})")
    return value


def _url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError("must begin with http:// or https:// and name a host")
    return value


def _apprise(value: SecretStr) -> SecretStr:
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S", value.get_secret_value()):
        raise ValueError('must be an address of Apprise, like "ntfy://alerts" (https://github.com/caronc/apprise lists them)')
    return value


def _signing_key(value: SecretStr) -> SecretStr:
    """What the package that signs takes: it is the judge of keys."""
    try:
        Webhook(value.get_secret_value())
    except Exception:  # noqa: BLE001 - the package raises errors of base64, of its own and plain ones; all mean the same
        raise ValueError('must be base64, with "whsec_" before it or not: echo "whsec_$(openssl rand -base64 32)"') from None
    return value


def _command(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not value[0]:
        raise ValueError('names no program; it is written like ["/usr/local/bin/on-image"]')
    if any("\0" in part for part in value):
        raise ValueError("must not hold a NUL character")
    return value


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("names none; leave it out for all")
    return value


EventWord = Annotated[
    Literal["image.stored", "image.failed", "image.superseded", "image.vanished", "outage"], BeforeValidator(_event)
]


class ReceiverSettings(Section):
    """`[notify.NAME]`: one receiver. It is one of `url`, `command` and `apprise`."""

    url: Annotated[SecretStr, AfterValidator(_url)] | None = None
    """Gets a POST of each ending's object, as the audit file has it. Any 2xx confirms."""
    command: Annotated[tuple[str, ...], AfterValidator(_command)] | None = None
    """A program and its arguments, run for each ending with the object on standard input. Exit status 0 confirms."""
    apprise: Annotated[SecretStr, AfterValidator(_apprise)] | None = None
    """An address of Apprise (extra `notify`): e-mail, Slack, ntfy and many more get messages for people."""
    events: Annotated[tuple[EventWord, ...], AfterValidator(_some)] = _ENDINGS
    """What it is told of: endings, and `outage` (`api.*`, `folder.lost`, `journal.*`, and their recovery)."""
    folders: Annotated[tuple[str, ...], AfterValidator(_some)] | None = None
    """Only these folders, by name. Default: all."""
    heartbeat: Duration | None = None
    """A GET of `url` so often while the daemon is healthy, instead of endings."""
    digest: DurationOrZero | None = None
    """What ended in so long is gathered into one message. Default: `10m` for `apprise`, none for `url` and `command`."""
    secret: Annotated[SecretStr, AfterValidator(_signing_key)] | None = None
    """Signs what is sent to `url` (Standard Webhooks). Better in the environment or a credential `notify_NAME_secret`."""

    @property
    def kind(self) -> str:
        """The way it is told: url, command, apprise, or heartbeat."""
        if self.heartbeat is not None:
            return "heartbeat"
        return next((way for way in WAYS if getattr(self, way) is not None), "url")

    @property
    def target(self) -> str:
        """Where that leads, with nothing in it that could be a secret: a host, a program, a kind of service."""
        if self.url is not None:
            parts = urlsplit(self.url.get_secret_value())
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
            return f"{host}:{parts.port}" if parts.port else host
        if self.command is not None:
            return self.command[0]
        return "" if self.apprise is None else self.apprise.get_secret_value().partition(":")[0]

    @property
    def endings(self) -> tuple[str, ...]:
        """The endings that it is told of."""
        return () if self.heartbeat is not None else tuple(event for event in self.events if event in ENDINGS)

    @property
    def gathers(self) -> float | None:
        """For how many seconds endings are gathered into one message; None: each is told by itself."""
        if self.apprise is not None:
            return PEOPLE_DIGEST_SECONDS if self.digest is None else self.digest
        return self.digest or None


def _receiver_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9_-]{1,50}", value):
        raise ValueError("a receiver's name is made of a-z, 0-9, `_` and `-`, 50 at most")
    return value


ReceiverName = Annotated[str, AfterValidator(_receiver_name)]


def receiver_problems(
    name: str, receiver: ReceiverSettings, folders: Collection[str], *, with_secrets: bool = True
) -> Iterator[str]:
    """What its keys say together that cannot be. Without secrets an address may be missing."""
    place, given = f"notify.{name}", receiver.model_fields_set
    ways = [way for way in WAYS if getattr(receiver, way) is not None]
    if len(ways) > 1 or (with_secrets and not ways):
        yield f"{place}: needs exactly one of `url`, `command` and `apprise`" + (f", and has {len(ways)}" if ways else "")
    if receiver.secret is not None and ways and "url" not in ways:
        yield f"{place}.secret: signs what is sent to a `url`; `{ways[0]}` has no use for it"
    if receiver.heartbeat is not None:
        if ways and "url" not in ways:
            yield f"{place}.heartbeat: is a GET of a `url`; `{ways[0]}` cannot have one"
        for key in ("events", "folders", "digest", "secret"):
            if key in given:
                yield f"{place}.{key}: means nothing beside `heartbeat`, which tells of no endings; make it another receiver"
    for number, folder in enumerate(receiver.folders or ()):
        if folder not in folders:
            yield f"{place}.folders[{number}]: no folder has this name{did_you_mean(folder, folders)}"
