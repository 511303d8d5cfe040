"""What `check` makes of what it finds: values in, values out."""

from pathlib import Path

import pytest

from watcher.commands.checks.finding import Finding, State
from watcher.commands.checks.folders import judge_limits, judge_watches, named
from watcher.commands.checks.probe import Lines, judge, probe_key
from watcher.commands.checks.remote import judge_call, judge_clock, judge_head, judge_store
from watcher.commands.checks.serving import (
    Reached,
    judge_addresses,
    judge_expiry,
    judge_fetched,
    judge_public_url,
    judge_unreached,
)
from watcher.commands.checks.state import judge_room
from watcher.errors import CallFailed
from watcher.model import Absence, Event, Failure, FailureKind, HeadAnswer

URL = "https://drops.example.net"
ACCOUNT_401 = Failure(FailureKind.BLOCKED, "the API answered 401: revoked", "set a valid key", status=401)


# --- machine ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directories", "limit", "left", "state"),
    [(10, 8_192, True, "ok"), (7_000, 8_192, True, "warn"), (9_000, 8_192, True, "fail"), (10, 8_192, False, "fail")],
)
def test_the_watch_limit_is_held_against_the_directories(directories: int, limit: int, left: bool, state: str) -> None:
    """Too few watches, or all of them used by others, is said before the daemon falls back to polling; with the sysctl."""
    finding = judge_watches(directories, limit, left=left)

    assert finding.state == state
    assert state == "ok" or "fs.inotify.max_user_watches=524288" in finding.todo


def test_many_directories_are_given_room_to_grow() -> None:
    """The advised limit is twice what there is, where that is more than the usual advice."""
    assert "max_user_watches=2000000" in judge_watches(1_000_000, 8_192, left=True).todo


def test_the_other_limits_are_said_only_when_small() -> None:
    """128 instances and 16,384 events are the kernel's own defaults and fine."""
    assert list(judge_limits(128, 16_384)) == []
    assert list(judge_limits(None, None)) == []
    assert [finding.state for finding in judge_limits(4, 100)] == [State.WARN, State.WARN]


def test_many_paths_are_named_in_part() -> None:
    """Three names, and how many more."""
    assert named([b"/a", b"/b"]) == "/a, /b"
    assert named([b"/%d" % number for number in range(5)]) == "/0, /1, /2 and 2 more"


@pytest.mark.parametrize(("free", "state"), [(80 * 10**9, "ok"), (500_000_000, "warn"), (1_000_000, "fail")])
def test_room_on_the_disk(free: int, state: str) -> None:
    """A nearly full disk is a warning, a full one a failure."""
    assert judge_room("disk", free).state == state


# --- ways -------------------------------------------------------------------------------------------------------------------


def test_plain_http_is_warned_of() -> None:
    """Over plain http to another machine the secrets travel readable; on this machine nobody can listen."""
    (finding,) = judge_public_url("http://drops.example.net:8080", require_header=True)

    assert (finding.state, "second secret" in finding.found) == (State.WARN, True)
    assert judge_public_url("http://127.0.0.1:8080", require_header=True) == []
    assert judge_public_url(URL, require_header=True) == []


def test_the_examples_address_is_no_address() -> None:
    """Who forgot to set public_url is told so, not that DNS fails."""
    (finding,) = judge_public_url("https://drops.example.com", require_header=True)

    assert (finding.state, "still the example's" in finding.found) == (State.FAIL, True)


@pytest.mark.parametrize(
    ("addresses", "api_is_here", "state"),
    [
        (["93.184.216.34"], False, "ok"),
        (["192.168.1.5", "2606:2800:220:1::1"], False, "ok"),
        (["192.168.1.5"], False, "warn"),
        (["127.0.0.1"], False, "warn"),
        (["fe80::1%eth0"], False, "warn"),
        (["127.0.0.1"], True, "ok"),
    ],
)
def test_a_private_address_is_warned_of(addresses: list[str], api_is_here: bool, state: str) -> None:
    """The API cannot reach a private address, unless it runs on this machine."""
    assert judge_addresses("host", addresses, api_is_here=api_is_here).state == state


IMAGE = b"an image"


@pytest.mark.parametrize(
    ("reached", "denied", "state", "words"),
    [
        (Reached(200, ours=True, content=IMAGE), [], "ok", "came back whole"),
        (Reached(403, ours=True), ["key_missing"], "fail", "header with the second secret was lost"),
        (Reached(404, ours=True), ["unknown_url"], "fail", "the path was changed"),
        (Reached(404, ours=True), [], "fail", "another daemon answers"),
        (Reached(502), [], "fail", "does not reach `listen`"),
        (Reached(200, content=b"<html>"), [], "fail", "something else answers"),
        (Reached(problem="connecting took too long"), [], "warn", "from inside"),
        (Reached(problem="certificate has expired", certain=True), [], "fail", "certificate has expired"),
    ],
)
def test_what_comes_back_from_public_url_tells_the_trouble(reached: Reached, denied: list[str], state: str, words: str) -> None:
    """Each way in which a proxy, a router or a certificate can be wrong has words and advice of its own."""
    finding = judge_fetched(URL, reached, IMAGE, denied)

    assert (finding.state, words in finding.found) == (state, True), finding
    assert state == "ok" or finding.todo


def test_an_unreached_address_may_be_the_routers_doing() -> None:
    """What cannot be reached from inside may be reached from outside: hairpin NAT is named, and how to ask from outside."""
    todo = judge_unreached(URL, Reached(problem="connecting took too long")).todo

    assert "hairpin NAT" in todo
    assert f"curl -I {URL}/t/x" in todo


@pytest.mark.parametrize(("days", "state"), [(60, "ok"), (3, "warn")])
def test_a_certificate_near_its_end_is_warned_of(days: int, state: str) -> None:
    """Two weeks before."""
    assert judge_expiry(Path("/tls.crt"), 1_000.0 + days * 86_400, 1_000.0).state == state


# --- API and stores ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "state", "what"),
    [
        (ACCOUNT_401, "fail", "account"),
        (Failure(FailureKind.TRANSIENT, "cannot be reached", "check", unreachable=True), "fail", "API"),
        (Failure(FailureKind.THROTTLED, "too many", status=429), "warn", "account"),
        (Failure(FailureKind.TRANSIENT, "the API answered 500", status=500), "fail", "account"),
    ],
)
def test_a_failed_account_says_what_to_do(failure: Failure, state: str, what: str) -> None:
    """A wrong key, an API that cannot be reached and one that is busy are told apart."""
    finding = judge_call(CallFailed(failure))

    assert (finding.state, finding.what, finding.found) == (state, what, failure.message)
    assert finding.todo


@pytest.mark.parametrize(
    ("seconds", "state", "words"),
    [
        (2.0, "ok", "2 s"),
        (-299.0, "ok", "299 s"),
        (600.0, "warn", "10 minutes ahead of"),
        (-7_200.0, "warn", "120 minutes behind"),
    ],
)
def test_a_wrong_clock_is_warned_of(seconds: float, state: str, words: str) -> None:
    """Above five minutes, since signed links break then."""
    finding = judge_clock(seconds)

    assert (finding.state, words in finding.found) == (state, True)


@pytest.mark.parametrize(
    ("head", "state"),
    [
        (HeadAnswer(Absence.ABSENT), "ok"),
        (HeadAnswer(Absence.FORBIDDEN, message="403"), "warn"),
        (HeadAnswer(Absence.UNREACHABLE, message="no answer"), "warn"),
        (HeadAnswer(size=3), "warn"),
    ],
)
def test_a_store_that_does_not_tell_is_warned_of(head: HeadAnswer, state: str) -> None:
    """Images go through without it, but one whose answer is lost is paid twice or waits."""
    assert judge_head("my-bucket", head).state == state


def test_the_examples_store_is_no_store() -> None:
    """Who forgot to set connector or bucket is told which."""
    assert judge_store("c", "b", "r").state is State.SKIP
    assert "store.id" in judge_store("your-connector-id", "b", "r").todo
    assert "store.bucket" in judge_store("c", "my-bucket", "r").todo


# --- probe ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{folder}/{dir}/{name}", "products/.compressor-watcher-probe/1.png"),
        ("shop/img-{stem}.{ext}", "shop/.compressor-watcher-probe/1.png"),
        ("a/b/{date:%Y}/{name}", "a/b/.compressor-watcher-probe/1.png"),
        ("{sha1}.{ext}", ".compressor-watcher-probe/1.png"),
        ("fixed.jpg", ".compressor-watcher-probe/1.png"),
    ],
)
def test_the_probes_key_lies_where_the_folders_keys_lie(template: str, key: str) -> None:
    """A B2 key may be limited to a prefix, so the probe stays below it, under a name that nobody mistakes."""
    assert probe_key(template, "products", "1") == key


STORED: Lines = [
    (Event.IMAGE_DETECTED, {}),
    (Event.IMAGE_PUBLISHED, {}),
    (Event.IMAGE_REQUESTED, {}),
    (Event.IMAGE_FETCHED, {"remote": "192.0.2.1", "bytes": 273}),
    (Event.IMAGE_STORED, {"url": "https://b/k", "bucket": "b", "key": "k", "url_mismatch": False}),
]
FAILED = (Event.IMAGE_FAILED, {"reason": "rejected", "message": "could not be fetched", "hint": ""})


def states(findings: list[Finding]) -> list[str]:
    return [str(finding.state) for finding in findings]


def test_a_probe_that_went_through_says_that_its_object_stays() -> None:
    """Six steps, and where to remove the object by hand."""
    findings = judge(STORED, serves=True, verifies=True)

    assert states(findings) == ["ok"] * 6
    assert "remove b/k by hand" in findings[4].found


@pytest.mark.parametrize(
    ("lines", "step", "words"),
    [
        ([], "probe: detected", "was not taken"),
        ([*STORED[:1], (Event.IMAGE_RETRY, {"message": "cannot be staged", "wait": 1})], "probe: published", "cannot be staged"),
        ([*STORED[:2], (Event.API_UNAUTHORIZED, {"message": "401", "hint": "key"})], "probe: requested", "401"),
        ([*STORED[:3], FAILED], "probe: fetched", "did not come to our URL; it said: could not be fetched"),
        ([*STORED[:3], (Event.SERVE_DENIED, {"reason": "key_missing", "hint": "h"}), FAILED], "probe: fetched", "key_missing"),
        (
            [*STORED[:3], (Event.API_UNAVAILABLE, {"message": "reset", "hint": "h"})],
            "probe: fetched",
            "did not get so far: reset",
        ),
        ([*STORED[:4], FAILED], "probe: answered", "rejected: could not be fetched"),
        (STORED[:4], "probe: answered", "no answer came in time"),
    ],
)
def test_a_probe_says_where_it_stopped(lines: Lines, step: str, words: str) -> None:
    """The first step that was not done fails with its reason; none after it claims anything."""
    findings = judge(lines, serves=True, verifies=True)
    failed = [finding for finding in findings if finding.state is State.FAIL]

    assert [(finding.what, words in finding.found) for finding in failed] == [(step, True)], findings
    assert set(states(findings[findings.index(failed[0]) + 1 :])) <= {"skip"}


def test_a_probe_does_not_claim_more_than_it_saw() -> None:
    """Another address, a silent store and a store that was not asked are no `verified`."""
    other = [*STORED[:4], (Event.IMAGE_STORED, {**STORED[4][1], "url_mismatch": True})]
    silent = [*STORED[:4], (Event.IMAGE_RETRY, {"message": "403", "hint": "set [verify]"}), STORED[4]]

    assert judge(other, serves=True, verifies=True)[5].state is State.WARN
    assert judge(silent, serves=True, verifies=True)[5].todo == "set [verify]"
    assert judge(STORED, serves=True, verifies=False)[5].state is State.SKIP


def test_a_staged_probe_is_not_fetched_from_here() -> None:
    """With signed links the API goes to the bucket, so no fetch is waited for."""
    assert states(judge([*STORED[:3], STORED[4]], serves=False, verifies=True)) == ["ok"] * 6
