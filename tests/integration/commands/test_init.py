"""`init`: by options and at a terminal, what it writes, and what it never overwrites."""

from __future__ import annotations

import os
import pty
import select
import stat
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.daemon import command
from watcher.commands.init import Choices, Reach, ask_for, compose, missing
from watcher.config.loading import load_settings

COMMAND = [sys.executable, "-m", "watcher"]
OPTIONS = {
    "--folder": "drop",
    "--bucket": "my-bucket",
    "--region": "eu-central-003",
    "--connector": "a-connector",
    "--public-url": "https://drops.example.com",
}


def init(place: Path, *more: str, key: str = "a-key", **changes: str) -> subprocess.CompletedProcess[str]:
    """Run `init` by options in `place`, with an API key in the environment."""
    (place / "drop").mkdir(exist_ok=True)
    options = {**OPTIONS, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    words = [word for option in options.items() for word in option]
    environment = {"WATCHER_COMPRESSOR__API_KEY": key, "XDG_STATE_HOME": str(place / "state")}
    return command("init", *words, *more, environment=environment, cwd=place)


def test_what_it_writes_is_what_was_said_and_is_checked(tmp_path: Path) -> None:
    """The file loads, says what the options said, and `check` has looked at it: the API that is not there is named."""
    done = init(tmp_path, "--api-url", "http://127.0.0.1:9/1.0")
    data = tomllib.loads((tmp_path / "config.toml").read_text())

    assert data["folders"][0]["path"] == str(tmp_path / "drop")
    assert data["store"] == {"id": "a-connector", "bucket": "my-bucket", "region": "eu-central-003"}
    assert data["publish"]["serve"]["public_url"] == "https://drops.example.com"
    assert done.returncode == 1
    assert "127.0.0.1" in done.stdout
    assert f"Next: compressor-watcher check --config {tmp_path}/config.toml" in done.stderr


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """Not even a broken one is overwritten."""
    (tmp_path / "config.toml").write_text("mine")

    done = init(tmp_path)

    assert done.returncode == 1
    assert "stays as it is" in done.stderr
    assert (tmp_path / "config.toml").read_text() == "mine"


def test_a_script_is_told_every_option_that_is_missing(tmp_path: Path) -> None:
    """Nobody waits at a prompt that nobody sees."""
    done = subprocess.run([*COMMAND, "init"], cwd=tmp_path, text=True, capture_output=True, stdin=subprocess.DEVNULL)

    assert done.returncode == 2
    for option in ("--folder", "--bucket", "--region", "--connector", "--public-url"):
        assert option in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_given_makes_the_file_private(tmp_path: Path) -> None:
    """0600 where it holds a secret, and the secret is on no screen."""
    done = init(tmp_path, "--api-key", "very-secret", "--api-url", "http://127.0.0.1:9/1.0")

    assert stat.S_IMODE((tmp_path / "config.toml").stat().st_mode) == 0o600
    assert tomllib.loads((tmp_path / "config.toml").read_text())["compressor"]["api_key"] == "very-secret"
    assert "very-secret" not in done.stdout + done.stderr


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Before anything is written."""
    done = init(tmp_path, folder="elsewhere")

    assert done.returncode == 1
    assert f"{tmp_path}/elsewhere is not a folder" in done.stderr
    assert not (tmp_path / "config.toml").exists()


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20).filter(
    lambda text: not set(text) & set("/~") and text not in (".", "..")
)


@given(folder=NAMES, connector=NAMES, originals=st.sampled_from(["keep", "delete", "/srv/done"]), staged=st.booleans())
def test_any_words_come_back_from_the_file(folder: str, connector: str, originals: str, staged: bool) -> None:
    """Quotes, backslashes and letters of all scripts survive the way through TOML, and the whole is a valid configuration."""
    reach = {"staging_bucket": "my-staging"} if staged else {"public_url": "https://drops.example.com"}
    choices = Choices(f"/srv/{folder}", "my-bucket", "eu-central-003", connector, originals=originals, **reach)
    data = tomllib.loads(compose(choices, system=False, keeps_key=False))

    settings = load_settings(data, {}, purpose="read")

    assert str(settings.folders[0].path) == f"/srv/{folder}"
    assert settings.store.id == connector
    assert settings.publish.mode == ("presign" if staged else "serve")


@pytest.mark.parametrize(
    ("address", "offered"), [("10.0.0.5", ""), (None, ""), ("8.8.8.8", "http://8.8.8.8:8081")], ids=["private", "none", "public"]
)
def test_a_public_address_is_offered_and_without_one_the_ways_out_are_said(address: str | None, offered: str) -> None:
    """Who cannot be reached is told of proxies, tunnels and presigning; an empty answer means presigning."""
    offers, said = {}, list[str]()

    def answer(question: str, default: str, secret: bool) -> str:
        offers[question] = default
        return default or ("" if "Address" in question or secret else "x")

    choices = ask_for(Choices(), Reach(8081, address), answer, said.append)

    assert offers["Address at which the API reaches this machine"] == offered
    assert (choices.staging_bucket == "x") is not bool(offered)
    assert ("tunnel" in " ".join(said)) is not bool(offered)
    assert missing(choices) == []


def test_somebody_at_a_terminal_is_asked(tmp_path: Path) -> None:
    """The questions come one by one; what was given as an option is not asked."""
    (tmp_path / "drop").mkdir()
    answers = {
        b"bucket to publish": b"my-bucket",
        b"Region": b"",
        b"Connector": b"abc",
        b"Address": b"http://[::1]:1",
        b"originals": b"",
    }
    answers[b"API key"] = b"the-key"
    screen = _at_a_terminal([*COMMAND, "init", "--folder", "drop", "--api-url", "http://127.0.0.1:9/1.0"], tmp_path, answers)
    data = tomllib.loads((tmp_path / "config.toml").read_text())

    assert data["store"] == {"id": "abc", "bucket": "my-bucket", "region": "eu-central-003"}
    assert data["compressor"]["api_key"] == "the-key"
    assert b"Folder to watch" not in screen
    assert b"the-key" not in screen


def _at_a_terminal(command: list[str], place: Path, answers: dict[bytes, bytes]) -> bytes:
    """Run a command at a terminal of its own, answer each question once when it is asked, and give all that was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place)
        os.execvp(command[0], command)
    screen, answered, deadline = b"", 0, time.monotonic() + 60
    left = dict(answers)
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            screen += os.read(terminal, 4096)
        except OSError:
            break
        for question in [each for each in left if each in screen[answered:] and screen.endswith(b": ")]:
            answered = len(screen)
            os.write(terminal, left.pop(question) + b"\n")
    os.waitpid(pid, 0)
    os.close(terminal)
    return screen
