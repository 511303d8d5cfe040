"""`init`: asks for what is needed, in the order a person knows it, and writes a short configuration. Then `check` looks at it."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from watcher.config.loading import SYSTEM_CONFIG
from watcher.errors import ConfigurationError, WatcherError

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PORT: Final = 8080
PORTS_TRIED: Final = 50
CREDENTIAL: Final = "compressor_api_key"
KEY_VARIABLE: Final = "WATCHER_COMPRESSOR__API_KEY"

if TYPE_CHECKING:
    Ask = Callable[[str, str, bool], str]
    """Question, default (empty for none), whether the answer is secret: gives the answer."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a configuration is made of. None: not said yet; empty: not wanted."""

    folder: str | None = None
    bucket: str | None = None
    region: str | None = None
    connector: str | None = None
    public_url: str | None = None
    """How the API reaches this machine; empty for presigned links."""
    staging_bucket: str | None = None
    listen: str | None = None
    originals: str | None = None
    """ "keep", "delete", or the folder to move them to."""
    api_key: str | None = None
    api_url: str | None = None


NEEDED: Final = {
    "folder": "--folder",
    "bucket": "--bucket",
    "region": "--region",
    "connector": "--connector",
}


@dataclass(frozen=True, slots=True)
class Reach:
    """What can be found out about how this machine is reached, without asking anybody outside."""

    port: int
    """A free one."""
    address: str | None
    """The address that this machine uses towards the internet."""

    @property
    def is_public(self) -> bool:
        """Whether that address can be reached from everywhere, firewalls apart."""
        return self.address is not None and ipaddress.ip_address(self.address).is_global


def find_reach() -> Reach:
    """Look for a free port and at the routing table; sends nothing."""
    return Reach(_free_port(), _own_address())


def _free_port() -> int:
    for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))  # noqa: S104 - what the daemon will listen on
            except OSError:
                continue
            return port
    return FIRST_PORT


def _own_address() -> str | None:
    """The source address of a route to the documentation network. Connecting a datagram socket sends no packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


# --- asking -----------------------------------------------------------------------------------------------------------------


def missing(choices: Choices) -> list[str]:
    """The options that a script still has to give."""
    absent = [option for name, option in NEEDED.items() if not getattr(choices, name)]
    if choices.public_url is None and not choices.staging_bucket and not _is_here(choices):
        absent.append("--public-url (or --staging-bucket)")
    return absent


def ask_for(choices: Choices, reach: Reach, ask: Ask, say: Callable[[str], None]) -> Choices:
    """Ask for whatever is not said yet."""
    known = _asked(choices, ask, folder="Folder to watch", bucket="B2 bucket to publish into", region="Region of the bucket")
    known = _asked(known, ask, connector="Storage Connector of your Compressor account (its id)")
    if known.public_url is None and not known.staging_bucket and not _is_here(known):
        known = _ask_reach(known, reach, ask, say)
    known = _asked(known, ask, originals="What becomes of originals that are stored: keep, delete, or a folder to move them to")
    if known.api_key is None:
        say(f"The API key can be set later: in the environment as {KEY_VARIABLE}, or as a systemd credential.")
        known = replace(known, api_key=ask("API key of your Compressor account (Enter: later)", "", True))
    return known


DEFAULTS: Final = {"region": "eu-central-003", "originals": "keep"}


def _asked(choices: Choices, ask: Ask, **questions: str) -> Choices:
    open_ones = {name: text for name, text in questions.items() if getattr(choices, name) is None}
    return replace(choices, **{name: ask(text, DEFAULTS.get(name, ""), False) for name, text in open_ones.items()})


def _ask_reach(choices: Choices, reach: Reach, ask: Ask, say: Callable[[str], None]) -> Choices:
    offer = ""
    if reach.is_public:
        offer = f"http://{reach.address}:{reach.port}"
        say(f"The API fetches each original from this machine, which has the public address {reach.address}.")
        say("If a firewall stands before it, open the port there. With TLS or a proxy, give the https:// address instead.")
    else:
        say("The API fetches each original from this machine, and this machine has no public address of its own. Either")
        say("  give the address of a reverse proxy, a forwarded port, or a tunnel such as `cloudflared tunnel --url ...`,")
        say("  or press Enter: originals are then staged in a private bucket of yours, and nobody needs to reach this machine.")
    url = ask("Address at which the API reaches this machine", offer, False)
    known = replace(choices, public_url=url)
    if url:
        return replace(known, listen=known.listen or f"0.0.0.0:{reach.port}")
    return _asked(known, ask, staging_bucket="Private bucket to stage originals in")


def _is_here(choices: Choices) -> bool:
    """Whether the API runs on this machine, so that loopback reaches us."""
    from watcher.config.values import is_loopback  # pydantic; the questions come first

    return bool(choices.api_url) and is_loopback(urlsplit(str(choices.api_url)).hostname)


# --- writing ----------------------------------------------------------------------------------------------------------------


def compose(choices: Choices, *, system: bool, keeps_key: bool) -> str:
    """The configuration as TOML. `system`: for the service, with its own places; `keeps_key`: the API key stands in it."""
    parts = [
        "# Written by `compressor-watcher init`; checked by `compressor-watcher check`. config.example.toml explains every key.",
        *_places(system=system),
        *_compressor(choices, keeps_key=keeps_key),
        *_publish(choices),
        *_store(choices),
        *_folder(choices),
    ]
    if system:
        parts += ["", "[log]", 'audit = "/var/log/compressor-watcher/audit.jsonl"']
    return "\n".join(parts) + "\n"


def _places(*, system: bool) -> list[str]:
    return ["", 'state_dir = "/var/lib/compressor-watcher"'] if system else []


def _compressor(choices: Choices, *, keeps_key: bool) -> list[str]:
    lines = ["", "[compressor]"]
    if choices.api_url:
        lines.append(f"url = {_text(choices.api_url)}")
    if keeps_key:
        return [*lines, f"api_key = {_text(str(choices.api_key))}"]
    return [*lines, f"# api_key: in the environment as {KEY_VARIABLE}, or a systemd credential named {CREDENTIAL}"]


def _publish(choices: Choices) -> list[str]:
    if choices.staging_bucket:
        region = str(choices.region)
        return [
            "",
            "[publish]",
            'mode = "presign"              # originals are staged in a private bucket; nobody needs to reach this machine',
            "[publish.presign]",
            f"endpoint = {_text(f'https://s3.{region}.backblazeb2.com')}",
            f"region = {_text(region)}",
            f"bucket = {_text(choices.staging_bucket)}",
            "# key_id, application_key: WATCHER_PUBLISH__PRESIGN__KEY_ID and ..__APPLICATION_KEY, or credentials",
        ]
    lines = ["", "[publish.serve]"]
    if choices.listen:
        lines.append(f"listen = {_text(choices.listen)}")
    if choices.public_url:
        lines.append(f"public_url = {_text(choices.public_url)}   # how the API reaches `listen`")
    return lines if len(lines) > 2 else []


def _store(choices: Choices) -> list[str]:
    return [
        "",
        "[store]                        # where results go; yours in every folder unless it says otherwise",
        f"id = {_text(str(choices.connector))}",
        f"bucket = {_text(str(choices.bucket))}",
        f"region = {_text(str(choices.region))}",
    ]


def _folder(choices: Choices) -> list[str]:
    originals = choices.originals or "keep"
    action = _text(originals) if originals in ("keep", "delete") else f"{{ move = {_text(_absolute(originals))} }}"
    return [
        "",
        "[[folders]]                    # one such table for each folder",
        f"path = {_text(_absolute(str(choices.folder)))}",
        f"on_success = {action}",
        'image = { compression = "high", resize = { width = 1600, height = 1600 } }',
    ]


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _text(value: str) -> str:
    """A TOML string: JSON's form is a subset of it."""
    return json.dumps(value, ensure_ascii=False)


def write(choices: Choices, path: Path) -> Path | None:
    """Write the configuration, 0600 if it holds the key. Gives the credential file where the key went there instead.

    Raises WatcherError where a file is there already, or the place cannot be written.
    """
    system = path == SYSTEM_CONFIG
    credential = path.parent / "credentials" / CREDENTIAL if system and choices.api_key else None
    keeps_key = bool(choices.api_key) and credential is None
    try:
        if credential is not None:
            credential.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(credential, str(choices.api_key), 0o600)
        path.parent.mkdir(parents=True, exist_ok=True)
        _create(path, compose(choices, system=system, keeps_key=keeps_key), 0o600 if keeps_key else 0o644)
    except FileExistsError as error:
        raise WatcherError(f"{error.filename} is there already and stays as it is; --config FILE writes elsewhere") from None
    except OSError as error:
        raise WatcherError(f"{error.filename} cannot be written: {error.strerror}") from None
    return credential


def _create(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        file.write(text)


# --- the command ------------------------------------------------------------------------------------------------------------


def run_init(
    choices: Choices,
    path: Path,
    *,
    ask: Ask | None,
    say: Callable[[str], None],
    check: Callable[[Path], int],
) -> int:
    """Ask (where there is somebody to ask), write, check, and say the next command. Exit status as `check` gives it.

    Raises WatcherError where a configuration is there already or the folder is not there, ValueError where a choice is missing.
    """
    if path.exists():
        raise WatcherError(f"{path} is there already and stays as it is; --config FILE writes elsewhere")
    if ask is not None:
        choices = ask_for(choices, find_reach(), ask, say)
    if absent := missing(choices):
        raise ValueError(f"missing: {', '.join(absent)}")
    if choices.public_url and not choices.listen:
        choices = replace(choices, listen=f"0.0.0.0:{_free_port()}")
    _check_folder(choices)
    credential = write(choices, path)
    say(f"Written: {path}")
    if credential:
        say(f"The API key is in {credential}, for the service only.")
    status = _checked(path, check, say)
    command = "run" if not status else "check"
    say(("Fix what failed above. " if status else "") + f"Next: compressor-watcher {command} --config {path}")
    return status


def _check_folder(choices: Choices) -> None:
    folder = Path(_absolute(str(choices.folder)))
    if not folder.is_dir():
        raise WatcherError(f"{folder} is not a folder: make it first (mkdir -p {folder})")


def _checked(path: Path, check: Callable[[Path], int], say: Callable[[str], None]) -> int:
    try:
        return check(path)
    except ConfigurationError as error:
        for problem in error.problems:
            say(f"  {problem}")
        return 1
