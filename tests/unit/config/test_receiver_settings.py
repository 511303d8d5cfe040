"""`[notify.NAME]`: what may stand there, what is said of what may not, and that nothing secret is told."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.unit.config.test_schema import good, load, problems
from watcher.config import apprise_check
from watcher.config.receiver_settings import ReceiverSettings

URL = "https://user:planted-password@hooks.example.com:8443/T0/planted-token?key=planted-query"
SECRET = "whsec_" + base64.b64encode(b"planted-key-of-24-bytes!").decode()


def receiver(**keys: Any) -> ReceiverSettings:
    """A receiver that must be accepted."""
    return load(good(notify={"cms": keys})).notify["cms"]


def wrong(environment: dict[str, str] | None = None, **keys: Any) -> list[str]:
    """What is wrong with a receiver."""
    return problems(good(notify={"cms": keys}), environment)


def test_a_url_is_told_of_all_endings_each_by_itself() -> None:
    """The defaults."""
    one = receiver(url=URL)

    assert (one.kind, one.target, one.gathers) == ("url", "hooks.example.com:8443", None)
    assert one.endings == ("image.stored", "image.failed", "image.superseded", "image.vanished")
    assert one.folders is None


def test_people_get_what_ended_in_ten_minutes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless another digest is set, or none."""
    monkeypatch.setattr(apprise_check, "_is_understood", lambda _: True)

    assert receiver(apprise="ntfy://alerts").gathers == 600.0
    assert receiver(apprise="ntfy://alerts", digest="0s").gathers == 0.0
    assert receiver(apprise="ntfy://alerts", digest="1h").gathers == 3600.0
    assert receiver(url=URL, digest="0s").gathers is None
    assert receiver(command=["/bin/x"], digest="5m").gathers == 300.0


def test_outage_alone_is_told_of_no_endings() -> None:
    """Whoever wants only outages follows no audit line."""
    assert receiver(url=URL, events=["outage"]).endings == ()


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "notify.cms: needs exactly one of `url`, `command` and `apprise`"),
        ({"url": URL, "command": ["/bin/x"]}, "notify.cms: needs exactly one of `url`, `command` and `apprise`, and has 2"),
        ({"url": "ftp://x"}, "notify.cms.url: must begin with http:// or https://"),
        ({"url": "https://"}, "notify.cms.url: must begin with http:// or https://"),
        ({"url": "http://host:99999/"}, "notify.cms.url: must begin with http:// or https://"),
        ({"url": "http://a b/"}, "notify.cms.url: must begin with http:// or https://"),
        ({"command": "/usr/local/bin/on-image"}, "notify.cms.command: must be an array; this is a string"),
        ({"command": []}, "notify.cms.command: names no program"),
        ({"command": [""]}, "notify.cms.command: names no program"),
        ({"command": ["/bin/x", 1]}, "notify.cms.command[1]: must be a string"),
        ({"apprise": "ntfy"}, "notify.cms.apprise: must be an address of Apprise"),
        ({"url": URL, "events": ["image.stroed"]}, "notify.cms.events[0]: no such event; did you mean `image.stored`?"),
        ({"url": URL, "events": ["failed"]}, "notify.cms.events[0]: no such event; did you mean `image.failed`?"),
        ({"url": URL, "events": ["outages"]}, "notify.cms.events[0]: no such event; did you mean `outage`?"),
        ({"url": URL, "events": ["folder.lost"]}, "notify.cms.events[0]: no such event (there are image.stored,"),
        ({"url": URL, "events": []}, "notify.cms.events: names none"),
        ({"url": URL, "folders": []}, "notify.cms.folders: names none"),
        ({"url": URL, "folders": ["dorp"]}, "notify.cms.folders[0]: no folder has this name; did you mean `drop`?"),
        ({"url": URL, "secret": "x"}, "notify.cms.secret: must be base64"),
        ({"url": URL, "secret": ""}, "notify.cms.secret: must be base64"),
        ({"command": ["/bin/x"], "secret": SECRET}, "notify.cms.secret: signs what is sent to a `url`"),
        ({"command": ["/bin/x"], "heartbeat": "1m"}, "notify.cms.heartbeat: is a GET of a `url`"),
        ({"url": URL, "heartbeat": "1m", "digest": "1m"}, "notify.cms.digest: means nothing beside `heartbeat`"),
        ({"url": URL, "heartbeat": "1m", "events": ["outage"]}, "notify.cms.events: means nothing beside `heartbeat`"),
        ({"url": URL, "heartbeat": "1m", "secret": SECRET}, "notify.cms.secret: means nothing beside `heartbeat`"),
        ({"url": URL, "heartbeat": "0s"}, "notify.cms.heartbeat: must be longer than nothing"),
        ({"url": URL, "heartbeat": 60}, "notify.cms.heartbeat: a duration is written like"),
        ({"url": URL, "digest": "10"}, "notify.cms.digest: a duration is written like"),
        ({"url": URL, "sceret": SECRET}, "notify.cms.sceret: no such setting; did you mean `secret`?"),
    ],
)
def test_what_cannot_be_is_said_with_its_place(keys: dict[str, Any], problem: str) -> None:
    """One problem, one line, and no value in it."""
    found = wrong(**keys)

    assert [each for each in found if each.startswith(problem)], found
    assert "planted" not in "".join(found)


def test_a_receivers_name_is_plain() -> None:
    """Names are parts of environment variables and of credentials."""
    assert problems(good(notify={"My CMS": {"url": URL}})) == [
        "notify.My CMS: a receiver's name is made of a-z, 0-9, `_` and `-`, 50 at most"
    ]


def test_all_problems_of_several_receivers_come_at_once() -> None:
    """Nobody has to start twice."""
    found = problems(good(notify={"a": {}, "b": {"url": "x", "evnets": []}, "c": {"command": "x"}}))
    places = ["notify.b.url", "notify.b.evnets", "notify.c.command", "notify.b.events", "notify.a"]

    assert [each.partition(":")[0] for each in found] == places


def test_secrets_come_from_the_environment_and_from_credentials(tmp_path: Path) -> None:
    """A URL and an Apprise address may hold tokens as well."""
    (tmp_path / "notify_cms_secret").write_text(SECRET)
    (tmp_path / "notify_chat_url").write_text(URL)
    tables = {"cms": {"url": "http://cms"}, "chat": {"events": ["image.failed"]}}
    hook = {"WATCHER_NOTIFY__HOOK__URL": "http://hook", "WATCHER_NOTIFY__HOOK__SECRET": "12345678"}
    settings = load(good(notify=tables), {"CREDENTIALS_DIRECTORY": str(tmp_path), **hook})

    secrets = {name: (each.secret.get_secret_value() if each.secret else None) for name, each in settings.notify.items()}
    assert secrets == {"cms": SECRET, "chat": None, "hook": "12345678"}
    assert settings.notify["chat"].target == "hooks.example.com:8443"


def test_nothing_secret_is_in_a_repr() -> None:
    """Settings may end in a traceback."""
    assert "planted" not in repr(receiver(url=URL, secret=SECRET))


def test_apprise_is_needed_only_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra; where it is not installed the configuration is refused with what to do."""
    monkeypatch.setattr(apprise_check, "is_installed", lambda: False)

    assert wrong(apprise="ntfy://alerts") == [
        "notify.cms.apprise: needs the package `apprise`, which is not installed: pip install 'compressor-watcher[notify]'"
    ]
    assert receiver(url=URL).kind == "url"
