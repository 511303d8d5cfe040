"""How the circuit gets into each phase, until when it stays there, and what is said of it. Pure; `circuit` decides when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from watcher.backoff import blocked_delay, capped_wait, probe_delay
from watcher.compressor.circuit_state import NOBODY, Circuit, CircuitChange, Episode, LogLine, Phase
from watcher.model import Event, Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from watcher.compressor.circuit_state import Names


LED_SECONDS: Final = 60.0
"""So rarely a host asks the account that another one asks for it."""
_CAPPED: Final = "capped"


def closed(circuit: Circuit, blamed: Names = NOBODY) -> Circuit:
    """The way is open; `blamed` are suspects from now on."""
    return Circuit(passed=circuit.passed, suspects=circuit.suspects | blamed)


def recovery(circuit: Circuit, now: float) -> tuple[LogLine, ...]:
    """What is said when an episode ends."""
    episode = circuit.episode
    if episode is None:
        return ()
    fields = {"seconds": round(now - episode.since, 3), "waited": len(episode.waited), "after": str(episode.event)}
    return (LogLine(Event.API_RECOVERED, fields),)


def asked_to_wait(circuit: Circuit, line: LogLine, seconds: float, now: float) -> CircuitChange:
    """The API wants to be left alone, as another host was told; `line` says so."""
    episode = Episode(line.event, now, str(line.fields["message"]), said=frozenset({str(line.event)}))
    waiting = replace(
        circuit, phase=Phase.THROTTLED, cause=line.event, level=1, wake_at=now + seconds, trial=None, episode=episode
    )
    return CircuitChange(waiting, (line,))


def opened(circuit: Circuit, failure: Failure, now: float, jitter: float) -> CircuitChange:
    """Nobody gets through: the account is asked after a while, a longer one each time."""
    level = _next_level(circuit, Event.API_UNAVAILABLE)
    wait = LED_SECONDS if circuit.led_by else probe_delay(level, jitter)
    fields = {**_words(failure), "probe_in": round(wait, 3), **_leader(circuit)}
    step = _say(circuit, Event.API_UNAVAILABLE, failure, now, fields)
    return _to(step, Phase.OPEN, Event.API_UNAVAILABLE, level, now + wait)


def blocked(circuit: Circuit, failure: Failure, now: float, *, again: bool) -> CircuitChange:
    """Key or quota. `again`: the account or a trial was refused, not one of many requests that were under way together."""
    event = failure.event or Event.API_UNAUTHORIZED
    level = _next_level(circuit, event)
    wait = LED_SECONDS if circuit.led_by else blocked_delay(level)
    step = _say(circuit, event, failure, now, {**_words(failure), "probe_in": wait, **_leader(circuit)})
    if circuit.phase is Phase.BLOCKED and not again:
        return step
    return _to(step, Phase.BLOCKED, event, level, now + wait)


def _leader(circuit: Circuit) -> dict[str, str]:
    """Which host it was that met it first, and asks for all."""
    return {"host": circuit.led_by} if circuit.led_by else {}


def throttled(circuit: Circuit, failure: Failure, now: float, jitter: float) -> CircuitChange:
    """The API wants to be left alone: everybody waits for as long as it says."""
    if circuit.phase is Phase.BLOCKED:
        return CircuitChange(circuit)
    repeated = circuit.phase is Phase.THROTTLED
    level = circuit.level if repeated else _next_level(circuit, Event.API_THROTTLED)
    wait = probe_delay(level, jitter)
    fields = _words(failure)
    if failure.retry_after is not None:
        asked = capped_wait(failure.retry_after)
        wait = asked.seconds
        fields |= {"retry_after": failure.retry_after, **({_CAPPED: True} if asked.capped else {})}
    step = _say(circuit, Event.API_THROTTLED, failure, now, {**fields, "wait": round(wait, 3)})
    until = max(circuit.wake_at or 0.0, now + wait) if repeated else now + wait
    return _to(step, Phase.THROTTLED, Event.API_THROTTLED, level, until)


def _next_level(circuit: Circuit, event: Event) -> int:
    return circuit.level + 1 if circuit.cause is event else 1


def _to(step: CircuitChange, phase: Phase, cause: Event, level: int, wake_at: float) -> CircuitChange:
    circuit = replace(
        step.circuit, phase=phase, cause=cause, level=level, wake_at=wake_at, trial=None, chargeable=NOBODY, failures=0
    )
    return replace(step, circuit=circuit)


def _words(failure: Failure) -> dict[str, Any]:
    fields = {"message": failure.message, "hint": failure.hint, "status": failure.status}
    return {key: value for key, value in fields.items() if value}


def _say(circuit: Circuit, event: Event, failure: Failure, now: float, fields: Mapping[str, Any]) -> CircuitChange:
    """Each thing once in an episode, however often it is met; that a wait was capped is one more thing."""
    episode = circuit.episode or Episode(event, now, failure.message, waited=circuit.streak)
    topic = f"{event} {_CAPPED}" if _CAPPED in fields else str(event)
    lines = () if topic in episode.said else (LogLine(event, fields),)
    episode = replace(episode, message=failure.message, said=episode.said | {topic, str(event)})
    return CircuitChange(replace(circuit, episode=episode), lines)
