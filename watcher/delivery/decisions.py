"""What is to be done with one output, decided by values. Pure. Read `next_step` first.

    next_step       what to do in this turn: follow a job, send, or nothing more
    after_result    what a result of the API is worth
    after_failure   what a call without a result means for the output
    postponement    when the next turn of an output is due that has not ended
    after_action    what becomes of the original at the end

The first three answer with a *conclusion*, which says how the turn ends (`transitions` writes it down), or with a *question*,
where something more has to be known: whoever asked finds it out, adds it to the `Findings` and asks again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from watcher.backoff import backoff
from watcher.compressor import answer_check
from watcher.compressor.wire import FileFacts, Result
from watcher.delivery.delivery import is_unsettled
from watcher.model import Absence, Event, FailedReason, Failure, FailureKind, OutputState, Postponement
from watcher.s3.addresses import B2_OBJECT, object_url

if TYPE_CHECKING:
    from watcher.delivery.delivery import Delivery, Policy
    from watcher.model import HeadAnswer, Image, StoredObject

# --- questions ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskStore:
    """What does the store say lies at the key?"""


@dataclass(frozen=True, slots=True)
class LookForOwner:
    """Is the file that the key belongs to still in its folder?"""

    relative: bytes


@dataclass(frozen=True, slots=True)
class LookAtOriginal:
    """Is the original still what was hashed, and where it was?"""


Question = AskStore | LookForOwner | LookAtOriginal


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known about a delivery; what was not asked for yet is None."""

    there: StoredObject | None = None
    """What we put at the key before, as the journal has it."""
    head: HeadAnswer | None = None
    """What the store says lies at the key."""
    owner_is_there: bool | None = None
    """Whether the file that the key belongs to is still in its folder."""
    changed: bool | None = None
    """Whether the original is not what was hashed any more, or not where it was."""
    journal_is_unsure: bool = False
    """Whether the journal may lack what was written of late."""


# --- what may follow ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Follow:
    """Ask for the job until it ends."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The object lies at its key. `recovered`: the store says so instead of the API."""

    result: Result
    attempts: int
    recovered: bool = False
    url_mismatch: bool = False


@dataclass(frozen=True, slots=True)
class Unchanged:
    """This very work lies at the key already, and nothing was sent."""

    there: StoredObject


@dataclass(frozen=True, slots=True)
class Failed:
    """It will not be stored: one of the closed reasons, words for people, what to do, and the HTTP status if there was one."""

    reason: FailedReason
    message: str
    hint: str
    attempts: int
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The path does not lead to the version that was taken: it is superseded, vanished, or its folder is away."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Somebody else ended the output meanwhile: a newer version of the file was taken."""


@dataclass(frozen=True, slots=True)
class OnHold:
    """The folder was paused meanwhile: nothing was sent, and the output waits in the journal until it is resumed."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The daemon stops while the job goes on: the next start follows it."""


@dataclass(frozen=True, slots=True)
class Later:
    """Another turn. `counts` uses up an attempt; `tried` paces the backoff and is worth a line."""

    message: str
    counts: bool = False
    tried: bool = False
    doubt: bool | None = None
    """Whether a request's answer is unknown; None: as it was."""
    failure: Failure | None = None
    """What is to be remembered of the call until the next turn."""


Conclusion = Stored | Unchanged | Failed | Gone | Overtaken | OnHold | UnderWay | Later

WAIT_FOR_STORE: Final = Later("the store cannot be reached to ask what it holds", tried=True, doubt=True)
URL_RAN_OUT: Final = Later("its temporary URL ran out while it waited for the API")

# --- before anything is sent --------------------------------------------------------------------------------------------------


def next_step(delivery: Delivery, found: Findings, last: Failure | None, policy: Policy) -> Question | Follow | Send | Conclusion:
    """What to do with an output in this turn. `last` is how it failed before, if it did.

    Never sends what may be done already without asking the store, what is known to be done, or what would overwrite another
    file's object; never more often than the policy allows.
    """
    output, there, head = delivery.output, found.there, found.head
    if output.state is OutputState.ENQUEUED and output.job_id:
        return Follow(output.job_id)
    if head is None and policy.verify != "never" and may_be_done(delivery, found, last):
        return AskStore()
    if head is not None and answer_check.is_done(head, delivery.stored):
        return _recovered(delivery, head)
    if head is not None and head.absence is Absence.UNREACHABLE and is_unsettled(output):
        return WAIT_FOR_STORE
    if there is not None and is_same_work(there, delivery.stored):
        return Unchanged(there)
    if there is not None and (taken := _taken_by_another_file(there, delivery, found.owner_is_there)):
        return taken
    if delivery.attempts >= policy.max_attempts:
        return _exhausted(delivery, last)
    return Send()


def may_be_done(delivery: Delivery, found: Findings, last: Failure | None) -> bool:
    """Whether the work may be done without our knowing: an answer is unknown, or may have come from something in the API's
    place, or an earlier version's request may have put something else at the key, or the journal may lack what was done."""
    there = found.there
    maybe_done = last is not None and last.maybe_done
    may_hold_other = there is not None and not there.sha1
    may_be_lost = found.journal_is_unsure and (there is None or not is_same_work(there, delivery.stored))
    return is_unsettled(delivery.output) or maybe_done or may_hold_other or may_be_lost


def is_same_work(there: StoredObject, asked: StoredObject) -> bool:
    """Whether what lies at the key came from this content under this rule (or under one that is not known any more)."""
    return there.sha1 == asked.sha1 and there.rule in (None, asked.rule)


def _taken_by_another_file(there: StoredObject, delivery: Delivery, owner_is_there: bool | None) -> Failed | LookForOwner | None:
    """The key belongs to another file, so that sending would overwrite somebody's image. None where it does not."""
    file = delivery.image.file
    if (there.folder, there.relative) == (file.folder, file.relative) or there.sha1 == delivery.facts.sha1:
        return None
    if there.folder != file.folder or delivery.image.rule.on_success != "keep" or owner_is_there:
        return _key_conflict(delivery, there)
    return LookForOwner(there.relative) if owner_is_there is None else None


def _key_conflict(delivery: Delivery, there: StoredObject) -> Failed:
    message = f"the object key {delivery.key} belongs to another file of folder {there.folder}"
    hint = "make the keys differ: use {dir}, {name} or {sha1:.8} in store.path; then `compressor-watcher retry`"
    return Failed(FailedReason.KEY_CONFLICT, message, hint, delivery.attempts)


def _exhausted(delivery: Delivery, last: Failure | None) -> Failed:
    hint = "look at the message, then `compressor-watcher retry` puts it back in the queue"
    message, status = (last.message, last.status) if last else ("every attempt failed", None)
    return Failed(FailedReason.ATTEMPTS_EXHAUSTED, message, hint, delivery.attempts, status)


def _recovered(delivery: Delivery, head: HeadAnswer) -> Stored:
    return Stored(_result_of_head(head, delivery), max(1, delivery.attempts), recovered=True)


def _result_of_head(head: HeadAnswer, delivery: Delivery) -> Result:
    """The answer that was lost, as far as the store and our own facts of the original tell it."""
    facts = delivery.facts
    url = head.url or object_url(B2_OBJECT, delivery.bucket, delivery.key, delivery.region)
    output = FileFacts(name=delivery.key.rpartition("/")[2], type="image", size=head.size)
    pixels = (facts.width, facts.height)
    source = FileFacts(facts.name, "image", str(facts.format), facts.format.mime, facts.size, facts.sha1, *pixels)
    return Result(delivery.output.job_id or "", url, source, output)


# --- after the API spoke ------------------------------------------------------------------------------------------------------


def after_result(delivery: Delivery, result: Result, found: Findings, policy: Policy) -> Question | Conclusion:
    """What a result is worth: whether the API worked on what we served, and, where the policy says "always", whether the store
    holds what the API says it stored."""
    counted = delivery.charged(1)
    comparison = answer_check.compare(
        delivery.facts, result, delivery.stored, delivery.region, head=found.head, expects_b2=policy.expects_b2
    )
    if problem := comparison.input_problem:
        return _unless_changed(found, _not_as_asked(counted, FailedReason.INPUT_MISMATCH, problem, policy))
    if policy.verify == "always":
        if found.head is None:
            return AskStore()
        if found.head.absence is Absence.UNREACHABLE:
            return WAIT_FOR_STORE
        if problem := comparison.store_problem:
            return _not_as_asked(counted, FailedReason.STORE_MISMATCH, problem, policy)
    return Stored(result, counted.attempts, url_mismatch=comparison.url_mismatch)


def _unless_changed(found: Findings, conclusion: Conclusion) -> Question | Conclusion:
    """What the API says of other bytes than were hashed is no word on this version."""
    if found.changed is None:
        return LookAtOriginal()
    return Gone() if found.changed else conclusion


def _not_as_asked(counted: Delivery, reason: FailedReason, problem: str, policy: Policy) -> Conclusion:
    if counted.attempts >= policy.max_attempts:
        hint = "something on the way changes what is sent: look at proxies, then `compressor-watcher retry`"
        return Failed(reason, problem, hint, counted.attempts)
    return Later(problem, counts=True, tried=True)


@dataclass(frozen=True, slots=True)
class CallFailure:
    """A call of the API that brought no result."""

    failure: Failure
    counts: bool
    """Whether it uses up an attempt, as far as is known now."""
    reason: FailedReason
    """Why the image failed if the failure is permanent."""


def after_failure(delivery: Delivery, call: CallFailure, found: Findings, last: Failure | None) -> Question | Conclusion:
    """The image fails, or it has another turn, by the class of the failure. `last` is how it failed before."""
    failure = call.failure
    if failure.kind is FailureKind.PERMANENT:
        failed = Failed(call.reason, failure.message, failure.hint, delivery.attempts + 1, failure.status)
        return _unless_changed(found, failed)  # changed: so the API could not fetch it
    blocked = failure.kind is FailureKind.BLOCKED and failure.event is not Event.API_QUOTA  # that one may be the image's own
    held = failure.unreachable or blocked or failure.kind is FailureKind.THROTTLED
    doubt = failure.unknown or delivery.output.doubt
    return Later(failure.message, counts=call.counts, tried=not held, doubt=doubt, failure=_merged(failure, last))


def _merged(failure: Failure, last: Failure | None) -> Failure:
    """That the work may be done stays true, however the next try fails."""
    maybe_done = failure.maybe_done or (last is not None and last.maybe_done)
    return replace(failure, maybe_done=maybe_done)


def job_lost(failure: Failure) -> Later:
    """No answer will come of the job; the store may know what became of it."""
    return Later(failure.message, counts=True, tried=True, doubt=True, failure=failure)


# --- how a turn ends ----------------------------------------------------------------------------------------------------------


def keeps_doubt(delivery: Delivery, later: Later) -> bool:
    """Whether an answer is unknown after a turn that ends so."""
    return delivery.output.doubt if later.doubt is None else later.doubt


def is_last_attempt(delivery: Delivery, later: Later, policy: Policy) -> bool:
    """Whether this used up the last attempt: the next turn asks the store if need be, and ends the output."""
    return later.counts and delivery.attempts + 1 >= policy.max_attempts


def postponement(delivery: Delivery, later: Later, policy: Policy, now: float, jitter: float) -> Postponement:
    """How the output waits for its next turn. `jitter` is a random value in [0, 1)."""
    tries = delivery.output.tries + later.tried
    waits = later.tried and not is_last_attempt(delivery, later, policy)
    wait = backoff(tries, jitter) if waits else 0.0
    return Postponement(now + wait, delivery.attempts + later.counts, tries, keeps_doubt(delivery, later), later.message)


def after_action(image: Image) -> str:
    """What becomes of the original: by `on_failure` if any output failed, nothing where it is not there or is another version."""
    states = {output.state for output in image.outputs}
    if states & {OutputState.SUPERSEDED, OutputState.VANISHED}:
        return "keep"
    return image.rule.on_failure if OutputState.FAILED in states else image.rule.on_success
