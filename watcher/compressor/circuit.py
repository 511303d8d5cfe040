"""Who may send now, who waits, and whose attempt a failure was: the state of the way to the API. Pure: values in, values out.

    closed ---- 3 failures in a row ---> checking     everybody waits while GET /account is asked; nothing is said yet
       |                                    |
       |--- unreachable, or /account fails -+-------> open        api.unavailable; /account is asked again, ever more rarely
       |--- 429, 503 with Retry-After --------------> throttled   api.throttled; until the time is over
       |--- 401; 402 or 403 to all -----------------> blocked     api.unauthorized or api.quota; /account is asked again
       |                                    |
       `<--- its success --- trial <--------'         one request is let through; its failure leads back

**Whose attempt.** A failure is an image's own only where the API works for others. So a failure is first nobody's: it is kept
in the `streak` until the next success. Then

- where another image gets through, each image of the streak has used one attempt, and is a *suspect*: failing is its own;
- where three failures come in a row, nobody is charged: it is an outage unless one request gets through after all;
- where only suspects fail and `/account` answers, each has used one attempt, although nobody else is there to get through. The
  same holds for one single image that failed while nobody else was under way, if others got through while it was.

402 and 403 may be everybody's (a quota) or one image's own (its connector, its rule). They stop everybody where the account is
answered so too, or where two images are, the account works and a trial fails as well; else they are judged as any other failure,
and nothing is said of the API.

A failure may also be the *way from the API to the originals*: it could not fetch one, and nobody had come for it (`not_fetched`).
Everybody waits for that as in an outage of the API, but only a result proves that the way is open: neither the account nor a job
that was taken nor a refusal does. Charged is only who goes unfetched while another image gets its result; suspects that nobody
came for stop nobody else.

An outage is over when a trial succeeds; without one when nobody is there to try and the account, which was out, answers again, or
when all who failed in it have ended through their own fault.

So an image that fails by itself ends, an image that is alone with a dead API waits forever and uses no attempt.

`name` is whatever is sent as one request: one output of one image.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from watcher.backoff import blocked_delay
from watcher.compressor.circuit_phases import LED_SECONDS, blocked, closed, opened, recovery, throttled
from watcher.compressor.circuit_state import NOBODY, Circuit, CircuitChange, Phase
from watcher.model import Event, Failure, FailureKind

if TYPE_CHECKING:
    from watcher.compressor.circuit_state import Names, Request


STREAK_LIMIT: Final = 3
"""So many failures without a success between them stop all sending until the API has been asked how it is."""
JOB_TRIAL_SECONDS: Final = 60.0
"""So long a trial may be a job at work before somebody else may try."""
LOOK: Final = "?"
"""Ends the name of a look at a job; before it stands the name of the request that the job came of."""


def may_enter(circuit: Circuit, name: str) -> bool:
    """Whether `name` may send now."""
    return circuit.phase is Phase.CLOSED or (circuit.phase is Phase.HALF_OPEN and (not circuit.trial or _tries(circuit, name)))


def _tries(circuit: Circuit, name: str) -> bool:
    """Whether `name` is the trial; a look at a job belongs to the request that it came of."""
    return circuit.phase is Phase.HALF_OPEN and circuit.trial is not None and _output(circuit.trial) == _output(name)


def _output(name: str) -> str:
    return name.removesuffix(LOOK)


def entered(circuit: Circuit, name: str) -> Circuit:
    """`name` is let in; in a trial it is the one that tries."""
    return replace(circuit, trial=name) if circuit.phase is Phase.HALF_OPEN else circuit


def waits(circuit: Circuit, name: str) -> Circuit:
    """`name` was not let in (counted for api.recovered)."""
    if circuit.episode is None:
        return circuit
    return replace(circuit, episode=replace(circuit.episode, waited=circuit.episode.waited | {name}))


def abandoned(circuit: Circuit, name: str) -> Circuit:
    """`name` was let in and brought nothing to judge by: somebody else may try."""
    return replace(circuit, trial=None) if circuit.trial == name else circuit


def forgotten(circuit: Circuit, name: str) -> Circuit:
    """`name` has ended and will not come back. Of a streak it stays part unless its failing was its own: what struck somebody
    who never failed by himself still speaks for the others."""
    if not (circuit.trial or circuit.suspects or circuit.chargeable):
        return circuit  # nothing is kept of anybody, as long as all goes well
    streak = circuit.streak - {name} if name in circuit.suspects else circuit.streak
    suspects, chargeable = circuit.suspects - {name}, circuit.chargeable - {name}
    trial = None if _tries(circuit, name) else circuit.trial
    return _with_streak(replace(circuit, suspects=suspects, chargeable=chargeable, trial=trial), streak)


def _with_streak(circuit: Circuit, streak: Names) -> Circuit:
    return replace(circuit, streak=streak, unfetched=circuit.unfetched & streak, unpaid=circuit.unpaid & streak)


def succeeded(circuit: Circuit, name: str, now: float) -> CircuitChange:
    """`name` got a result: the API works, and it can fetch originals."""
    own = {name, _output(name)}
    passed, suspects = circuit.passed.add(name), circuit.suspects - own
    if circuit.phase is Phase.CLOSED:
        blamed = circuit.streak - own
        return CircuitChange(Circuit(passed=passed, suspects=suspects | blamed), charged=blamed)
    circuit = replace(circuit, passed=passed, suspects=suspects)
    if _tries(circuit, name):
        return CircuitChange(closed(circuit, circuit.streak - own), recovery(circuit, now))
    if circuit.phase is Phase.OPEN:
        return CircuitChange(replace(circuit, wake_at=now))
    return CircuitChange(circuit)


def taken_as_job(circuit: Circuit, name: str, now: float) -> CircuitChange:
    """`name` got a job: the API works. Whether it can fetch originals the job has yet to show; until then a trial goes on."""
    if not circuit.unfetched:
        step = succeeded(circuit, name, now)
        return replace(step, circuit=replace(step.circuit, suspects=step.circuit.suspects | (circuit.suspects & {name})))
    if _tries(circuit, name):
        return CircuitChange(replace(circuit, wake_at=now + JOB_TRIAL_SECONDS))
    return _answered(circuit, name)


def _refused(circuit: Circuit, name: str, now: float) -> CircuitChange:
    """`name` was refused for its own sake: the API works. It need not have fetched anything to say so."""
    if not circuit.unfetched:
        return succeeded(circuit, name, now)
    return _answered(abandoned(circuit, name), name)


def _answered(circuit: Circuit, name: str) -> CircuitChange:
    """The API works, while it is open whether it can fetch originals: who was not fetched goes on waiting for a word on that."""
    circuit = replace(circuit, passed=circuit.passed.add(name))
    if circuit.phase is not Phase.CLOSED:
        return CircuitChange(circuit)
    blamed = circuit.streak - circuit.unfetched - {name}
    unfetched, failures = circuit.unfetched, circuit.failures
    return CircuitChange(
        replace(closed(circuit, blamed), streak=unfetched, unfetched=unfetched, failures=failures), charged=blamed
    )


def failed(circuit: Circuit, request: Request, failure: Failure, now: float, jitter: float) -> CircuitChange:
    """`request` brought `failure`. `jitter` is a random value in [0, 1)."""
    if failure.kind is FailureKind.PERMANENT:
        return _refused(circuit, request.name, now)
    circuit = waits(circuit, request.name)
    in_trial = _tries(circuit, request.name)
    if failure.kind is FailureKind.BLOCKED:
        return _unpaid(circuit, request, failure, now) if _may_be_own(failure) else blocked(circuit, failure, now, again=in_trial)
    if failure.kind is FailureKind.THROTTLED:
        return throttled(circuit, failure, now, jitter)
    if circuit.phase is Phase.CLOSED:
        return _failed_closed(circuit, request, failure, now, jitter)
    circuit = _in_streak(circuit, request.name, failure)
    if in_trial:
        guilty = NOBODY if failure.unreachable or failure.not_fetched else _guilty(circuit, circuit.streak, request)
        return replace(opened(circuit, failure, now, jitter), charged=guilty & {request.name})
    return CircuitChange(circuit)


def _failed_closed(circuit: Circuit, request: Request, failure: Failure, now: float, jitter: float) -> CircuitChange:
    circuit = replace(_in_streak(circuit, request.name, failure), failures=circuit.failures + 1)
    if failure.unreachable:
        return _account_failed(opened(circuit, failure, now, jitter))
    if failure.not_fetched:
        return _not_fetched(circuit, now)
    guilty = _guilty(circuit, circuit.streak, request)
    stop = circuit.failures >= STREAK_LIMIT and not guilty
    phase = Phase.CHECKING if stop else Phase.CLOSED
    return CircuitChange(replace(circuit, phase=phase, chargeable=guilty, wake_at=now))


def _in_streak(circuit: Circuit, name: str, failure: Failure) -> Circuit:
    unfetched = circuit.unfetched | {name} if failure.not_fetched else circuit.unfetched - {name}
    unpaid = circuit.unpaid | {name} if _may_be_own(failure) else circuit.unpaid - {name}
    return replace(circuit, streak=circuit.streak | {name}, unfetched=unfetched, unpaid=unpaid)


def _may_be_own(failure: Failure) -> bool:
    return failure.kind is FailureKind.BLOCKED and failure.event is Event.API_QUOTA


def _unpaid(circuit: Circuit, request: Request, failure: Failure, now: float) -> CircuitChange:
    """402 or 403: the account is asked. Several images stop everybody until it is known; one alone stops nobody."""
    circuit = _in_streak(circuit, request.name, failure)
    several = len({name.partition("/")[0] for name in circuit.unpaid - circuit.suspects}) > 1
    if _tries(circuit, request.name):
        if several:
            return blocked(circuit, failure, now, again=True)
        alone = replace(closed(circuit, NOBODY), streak=circuit.unpaid, unpaid=circuit.unpaid)
        return CircuitChange(alone, recovery(circuit, now))
    if circuit.phase is not Phase.CLOSED:
        return CircuitChange(circuit)
    if several:
        return CircuitChange(replace(circuit, phase=Phase.CHECKING, chargeable=NOBODY, wake_at=now))
    return CircuitChange(replace(circuit, chargeable=_guilty(circuit, circuit.streak, request), wake_at=now))


def _not_fetched(circuit: Circuit, now: float) -> CircuitChange:
    """The account knows nothing of the way to the originals: nobody is charged at its word. Suspects alone stop nobody else."""
    if circuit.failures < STREAK_LIMIT or circuit.streak <= circuit.suspects:
        return CircuitChange(circuit)
    return CircuitChange(replace(circuit, phase=Phase.CHECKING, chargeable=NOBODY, wake_at=now))


def _guilty(circuit: Circuit, streak: Names, request: Request) -> Names:
    """Who failed by himself, if the API turns out to work, although nobody got through since."""
    if request.others - circuit.suspects - streak:
        return NOBODY
    if streak <= circuit.suspects:
        return streak
    alone = streak == {request.name} and circuit.passed.others_since(request.mark, request.name)
    return streak if alone else NOBODY


def hastened(circuit: Circuit, now: float) -> Circuit:
    """There is reason to ask the account now."""
    return replace(circuit, wake_at=now, level=0)


def led(circuit: Circuit, host: str, now: float) -> Circuit:
    """Another host asks the account for this one as well; this one does so rarely."""
    return replace(circuit, led_by=host, wake_at=now + LED_SECONDS)


def woke(circuit: Circuit) -> CircuitChange:
    """The wait of a throttled time is over: one request may try. Or a trial's job takes long: somebody else may."""
    if circuit.phase not in (Phase.THROTTLED, Phase.HALF_OPEN):
        return CircuitChange(circuit)
    return CircuitChange(_trial(circuit))


def _trial(circuit: Circuit) -> Circuit:
    return replace(circuit, phase=Phase.HALF_OPEN, trial=None, wake_at=None)


def probed(circuit: Circuit, failure: Failure | None, now: float, jitter: float, *, idle: bool = False) -> CircuitChange:
    """`GET /account` was asked because `wake_at` had come, and answered (`failure` None) or failed.

    `idle`: nobody waits who could try.
    """
    if circuit.phase in (Phase.HALF_OPEN, Phase.THROTTLED):
        return CircuitChange(circuit)
    if failure is None or failure.kind is FailureKind.PERMANENT:
        return _account_answers(circuit, now, idle=idle)
    if circuit.phase is Phase.CLOSED and not circuit.streak and failure.kind is FailureKind.TRANSIENT:
        return CircuitChange(replace(circuit, wake_at=None))
    return _account_failed(_account_fails(circuit, failure, now, jitter))


def _account_fails(circuit: Circuit, failure: Failure, now: float, jitter: float) -> CircuitChange:
    if failure.kind is FailureKind.BLOCKED:
        return blocked(circuit, failure, now, again=True)
    if circuit.phase is Phase.BLOCKED:
        level = circuit.level + 1
        wait = LED_SECONDS if circuit.led_by else blocked_delay(level)
        return CircuitChange(replace(circuit, level=level, wake_at=now + wait))
    if failure.kind is FailureKind.THROTTLED:
        return throttled(circuit, failure, now, jitter)
    return opened(circuit, failure, now, jitter)


def _account_failed(step: CircuitChange) -> CircuitChange:
    episode = step.circuit.episode
    if episode is None:
        return step
    return replace(step, circuit=replace(step.circuit, episode=replace(episode, account_failed=True)))


def _account_answers(circuit: Circuit, now: float, *, idle: bool) -> CircuitChange:
    if circuit.phase is not Phase.CLOSED:
        if _is_over(circuit, idle=idle):
            return CircuitChange(closed(circuit, NOBODY), recovery(circuit, now))
        return CircuitChange(_trial(circuit))
    guilty = circuit.chargeable
    circuit = replace(circuit, wake_at=None, chargeable=NOBODY)
    if not guilty:
        return CircuitChange(circuit)
    streak = circuit.streak - guilty
    suspects = circuit.suspects | guilty
    cleared = replace(_with_streak(circuit, streak), failures=0, suspects=suspects)
    return CircuitChange(cleared, charged=guilty)


def _is_over(circuit: Circuit, *, idle: bool) -> bool:
    """Whether an answering account is enough, without a trial: nothing speaks for an outage any more, since those who failed have
    ended as the cause of their own failing; or the account itself was out, and nobody is there who could try."""
    own_faults = circuit.phase is Phase.OPEN and not circuit.streak
    return own_faults or (idle and circuit.episode is not None and circuit.episode.account_failed)
