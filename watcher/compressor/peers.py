"""What hosts that share a journal tell each other of the way to the API, and what each makes of it. Pure: values in, values out.

A host whose way is shut says so. The others look for themselves, once: each asks the account, and lets one request through. Who
finds the way open goes on, for it was the other host's own trouble (its network, its key). Who does not is *led*: it leaves the
asking to the host whose trouble began first, and asks itself once a minute only. When that host says that it is over, all that it
leads go on at once. When it is gone, the next one leads. What the API itself asks for, a pause, is believed without a look.

A host that hears of nobody, since the database is away, leads itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from watcher.compressor import circuit as rules
from watcher.compressor import circuit_phases
from watcher.compressor.circuit_state import NOBODY, Circuit, CircuitChange, LogLine, Phase
from watcher.model import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

IN_TROUBLE: Final = (Phase.OPEN, Phase.BLOCKED, Phase.HALF_OPEN)
SHUT: Final = (Phase.OPEN, Phase.BLOCKED)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the way to the API stands on a host, as it tells the others."""

    phase: Phase = Phase.CLOSED
    since: float | None = None
    """When the trouble began, in Unix seconds: it also names the trouble."""
    over: float | None = None
    """The trouble that ended last, by when it began: the API works again."""
    wait: float = 0.0
    """For so many seconds the API wants to be left alone."""
    message: str = ""
    idle: bool = True
    """Nobody waits here who could try."""
    led: bool = False
    """Another host met it first, and asks for this one as well."""

    @property
    def is_in_trouble(self) -> bool:
        """Whether the way is known to be shut."""
        return self.phase in IN_TROUBLE and self.since is not None

    def to_json(self) -> dict[str, Any]:
        """For the journal; `from_json` gives the same back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What `to_json` gave, also of a release that knows of less or more."""
        known = {name: value for name, value in data.items() if name in cls.__slots__}
        return cls(**{**known, "phase": Phase(data.get("phase", Phase.CLOSED))})


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host that is alive, and how the way stands there."""

    name: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class Member:
    """What a host knows of itself among the others."""

    name: str
    standing: Standing = Standing()
    """As it told it."""
    led_by: Peer | None = None
    looked_at: frozenset[tuple[str, float]] = frozenset()
    """Troubles of others, by host and beginning, into which it has looked."""


@dataclass(frozen=True, slots=True)
class MemberChange:
    """What follows from hearing of the others."""

    member: Member
    change: CircuitChange


def hear(circuit: Circuit, member: Member, peers: Sequence[Peer], now: float) -> MemberChange:
    """Take note of how the way stands on the other hosts. `now` is monotonic."""
    troubled = [peer for peer in peers if peer.standing.is_in_trouble]
    known = frozenset(_name(peer) for peer in peers)
    member = replace(member, looked_at=member.looked_at & known)
    if (leader := _whose_word_is_out(member, peers)) is not None and circuit.led_by:
        return MemberChange(replace(member, led_by=None), _over(circuit, leader.name, now))
    if circuit.phase is Phase.CLOSED:
        return _hear_in_peace(circuit, replace(member, led_by=None), peers, now)
    if circuit.phase in SHUT:
        return _hear_in_trouble(circuit, member, troubled, now)
    return MemberChange(member, CircuitChange(circuit))


def alone(circuit: Circuit, member: Member, now: float) -> MemberChange:
    """Nothing is heard of the others: whoever was led asks for itself."""
    if not circuit.led_by:
        return MemberChange(member, CircuitChange(circuit))
    return MemberChange(replace(member, led_by=None), CircuitChange(_leads(circuit, now)))


def _name(peer: Peer) -> tuple[str, float]:
    return peer.name, peer.standing.since or 0.0


def _whose_word_is_out(member: Member, peers: Sequence[Peer]) -> Peer | None:
    """The host that led this one, where it says that the trouble is over."""
    led_by = member.led_by
    if led_by is None:
        return None
    return next((peer for peer in peers if peer.name == led_by.name and peer.standing.over == led_by.standing.since), None)


def _over(circuit: Circuit, host: str, now: float) -> CircuitChange:
    lines = tuple(LogLine(line.event, {**line.fields, "host": host}) for line in circuit_phases.recovery(circuit, now))
    return CircuitChange(circuit_phases.closed(circuit), lines)


def _hear_in_peace(circuit: Circuit, member: Member, peers: Sequence[Peer], now: float) -> MemberChange:
    fresh = [peer for peer in peers if _name(peer) not in member.looked_at]
    member = replace(member, looked_at=member.looked_at | {_name(peer) for peer in fresh if peer.standing.since is not None})
    waits = [peer for peer in fresh if peer.standing.phase is Phase.THROTTLED and peer.standing.wait > 0]
    troubled = [peer for peer in fresh if peer.standing.is_in_trouble and not peer.standing.led]
    if waits:
        return MemberChange(member, _paused(circuit, max(waits, key=lambda peer: peer.standing.wait), now))
    if not troubled:
        return MemberChange(member, CircuitChange(circuit))
    leader = min(troubled, key=_order)
    looking = replace(circuit, phase=Phase.CHECKING, led_by=leader.name, chargeable=NOBODY, wake_at=now)
    return MemberChange(replace(member, led_by=leader), CircuitChange(looking))


def _paused(circuit: Circuit, peer: Peer, now: float) -> CircuitChange:
    said = peer.standing
    fields = {"message": said.message, "wait": round(said.wait, 3), "host": peer.name}
    return circuit_phases.asked_to_wait(circuit, LogLine(Event.API_THROTTLED, fields), said.wait, now)


def _hear_in_trouble(circuit: Circuit, member: Member, troubled: Sequence[Peer], now: float) -> MemberChange:
    own = Peer(member.name, member.standing)
    leader = min([own, *troubled] if own.standing.is_in_trouble else troubled, key=_order, default=own)
    if leader.name == member.name:
        changed = _leads(circuit, now) if circuit.led_by else circuit
        return MemberChange(replace(member, led_by=None), CircuitChange(changed))
    if leader.standing.phase is Phase.HALF_OPEN and leader.standing.idle and not member.standing.idle:
        if member.led_by is not None and member.led_by.standing == leader.standing:
            return MemberChange(member, CircuitChange(circuit))
        return MemberChange(
            replace(member, led_by=leader), CircuitChange(rules.hastened(replace(circuit, led_by=leader.name), now))
        )
    led = circuit if circuit.led_by == leader.name else rules.led(circuit, leader.name, now)
    return MemberChange(replace(member, led_by=leader), CircuitChange(led))


def _order(peer: Peer) -> tuple[float, str]:
    return peer.standing.since or 0.0, peer.name


def _leads(circuit: Circuit, now: float) -> Circuit:
    return rules.hastened(replace(circuit, led_by=""), now)
