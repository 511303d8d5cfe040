"""The way from the API to the originals: whether an answer that came without a result speaks of it, and not of the image. Pure.

An API that could not get an original says nothing about the image. What this machine knows of the fetches decides whether
to believe that: where all bytes left as often as they were asked for, the refusal stands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher.model import FailureKind

if TYPE_CHECKING:
    from watcher.model import Failure

LOOK_AT_WAY: Final = (
    "look at the way from the API to this machine: publish.serve.public_url, the proxy or tunnel it leads through, the firewall; "
    "sending goes on by itself once originals can be fetched"
)
LOOK_AT_STAGING: Final = (
    "look whether publish.presign.endpoint can be reached from outside and whether this machine's clock is right; "
    "sending goes on by itself once originals can be fetched"
)


@dataclass(frozen=True, slots=True)
class Fetches:
    """What is known of the fetches of one original when an answer comes.

    `asked` requests needed it; `done` times all of it left, None where that cannot be told; `moved`: some bytes did;
    `turned_away`: during this request somebody was refused it for a reason of ours.
    """

    asked: int
    done: int | None
    moved: bool = False
    turned_away: bool = False


def is_our_refusal(failure: Failure, fetches: Fetches) -> bool:
    """Whether the call failed since we ourselves refused the original. Nothing can be learnt from that, and it is tried again."""
    concerned = failure.kind is FailureKind.TRANSIENT or (failure.kind is FailureKind.PERMANENT and not _all_left(fetches))
    return fetches.turned_away and concerned and not failure.unreachable


def our_refusal(failure: Failure) -> Failure:
    """The failure of a call that followed our own refusal."""
    message = f"the original could not be served just now: {failure.message}"
    return replace(failure, kind=FailureKind.TRANSIENT, message=message, hint="it is tried again by itself", not_fetched=True)


def judged(failure: Failure, fetches: Fetches) -> Failure:
    """The failure as what it is: an outage of the way to us where the original was asked for in vain, else as it was."""
    if not failure.not_fetched:
        return failure
    if _all_left(fetches):
        return replace(failure, not_fetched=False)
    if fetches.done is None:
        found, hint = "the API could not fetch the original from the staging bucket", LOOK_AT_STAGING
    elif fetches.moved:
        found, hint = "the way from the API to public_url broke before all bytes of the original had left", LOOK_AT_WAY
    else:
        found, hint = (
            "the API does not get through to public_url (proxy, tunnel, firewall?): nobody came for the original",
            LOOK_AT_WAY,
        )
    return replace(failure, kind=FailureKind.TRANSIENT, message=f"{found}; {failure.message}", hint=hint)


def _all_left(fetches: Fetches) -> bool:
    return fetches.done is not None and fetches.done >= fetches.asked
