"""Reads the configuration: TOML file, `WATCHER_` environment and systemd credentials, strictly.

Order of precedence: command line, environment, credentials, file, default. Every problem is collected and reported with its
place; no value is ever repeated in a message, since it may be a secret.
"""

from __future__ import annotations

import os
import re
import tomllib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic_settings import EnvSettingsSource, SettingsError

from watcher.config.merging import merge
from watcher.config.problems import read_settings
from watcher.config.receiver_settings import SECRET_KEYS, WAYS
from watcher.config.schema import Settings
from watcher.config.spelling import did_you_mean
from watcher.config.validation import LookedAt, Purpose, check_whole, move_targets
from watcher.errors import ConfigurationError, reason_of
from watcher.in_time import answered, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from watcher.config.validation import Chain, FileId

ENVIRONMENT_PREFIX: Final = "WATCHER_"
CONFIG_VARIABLE: Final = "WATCHER_CONFIG"
SYSTEM_CONFIG: Final = Path("/etc/compressor-watcher/config.toml")


def find_config_file(given: Path | None, environment: Mapping[str, str]) -> Path:
    """The file to read: given, else $WATCHER_CONFIG, else ./config.toml, else the one in /etc.

    Raises ConfigurationError where none is there.
    """
    named = given or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
    if named is not None:
        if not ask(named, named.is_file):
            raise ConfigurationError([f"{named}: no such file"])
        return named
    for candidate in (Path("config.toml"), SYSTEM_CONFIG):
        if ask(candidate, candidate.is_file):
            return candidate
    there = (
        f"no configuration: there is no ./config.toml, no {SYSTEM_CONFIG}, and neither --config nor ${CONFIG_VARIABLE} names one"
    )
    todo = "`compressor-watcher init` writes one, config.example.toml explains every key, `compressor-watcher demo` needs none"
    raise ConfigurationError([f"{there}; {todo}"])


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Raises ConfigurationError with line and column where it is not TOML, NotAnswering where it hangs."""
    try:
        return tomllib.loads(ask(path, partial(path.read_text, encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path}: not valid TOML: {error}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: not valid TOML: it must be UTF-8"]) from None
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {reason_of(error)}"]) from None


def load_settings(
    data: Mapping[str, Any],
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
    purpose: Purpose = "daemon",
    say: Callable[[str], None] | None = None,
) -> Settings:
    """Merge file data, credentials, environment and command line, and check the whole.

    `purpose` says how much must be there: "daemon" needs folders, stores and secrets; "engine" needs the engine's keys;
    "read" (commands that only read or steer) needs no secret at all. `say` is told of folders that do not answer, which hold
    nobody up. Raises ConfigurationError with every problem.
    """
    problems = list(_misspelt(environment))
    try:
        from_environment = _environment_values(environment)
    except SettingsError as error:
        raise ConfigurationError([*problems, f"environment: {error}"]) from None
    merged: dict[str, Any] = {}
    credentials = _credentials(data, environment)
    for source in (data, credentials, from_environment, overrides or {}):
        merged = merge(merged, source)
    settings, found, left_out = read_settings(merged, Places(from_environment).name)
    problems += found
    if settings is not None:
        looked_at = LookedAt(_real_paths(settings, say), _chains(settings) if purpose == "daemon" else {})
        whole = check_whole(settings, purpose, environment, looked_at)
        problems += [problem for problem in whole if not _follows(problem, left_out)]
    if problems or settings is None:
        raise ConfigurationError(problems)
    return settings


def _real_paths(settings: Settings, say: Callable[[str], None] | None) -> dict[Path, Path]:
    """Where the folders' paths lead to; without those on a share that does not answer."""
    places = [folder.path for folder in settings.folders]
    places += [folder.manifest.parent for folder in settings.folders if folder.manifest is not None]
    calls = {place: partial(os.path.realpath, place) for place in places}
    found = answered(calls)
    for folder in settings.folders:
        if folder.path not in found and say is not None:
            say(f"folder {folder.name}: {folder.path} does not answer; its path is taken as it is written")
    return {path: Path(real) for path, real in found.items()}


def _chains(settings: Settings) -> dict[Path, Chain]:
    """Which directories lie on the way to watched folders and to those that originals are moved to; without what hangs."""
    targets = [target for folder in settings.folders for _, target in move_targets(folder)]
    places = [*targets, *(folder.path for folder in settings.folders)] if targets else []
    found = answered({("chain", place): partial(_chain, place) for place in places})
    return {place: chain for (_, place), chain in found.items()}


def _chain(path: Path) -> Chain:
    real = Path(os.path.realpath(path))
    return tuple(_identity(each) for each in (real, *real.parents))


def _identity(path: Path) -> FileId | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _follows(problem: str, left_out: set[str]) -> bool:
    """Whether a problem of the whole is there only since something unusable was left out, which is told already."""
    if receiver := re.match(r"(notify\.[^.:]+): needs exactly one of", problem):
        return any(f"{receiver[1]}.{way}" in left_out for way in WAYS)
    if problem.endswith("set `journal` to a postgresql:// URL"):
        return "journal" in left_out
    return any(re.search(rf"\b{re.escape(key)}:? is missing", problem) for key in left_out)


def _environment_values(environment: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(Settings, env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__")
    source.env_vars = {key.lower(): value for key, value in environment.items() if key.upper() != CONFIG_VARIABLE}
    return source()


def _misspelt(environment: Mapping[str, str]) -> Iterator[str]:
    for variable in sorted(environment):
        upper = variable.upper()
        if upper.startswith(ENVIRONMENT_PREFIX) and upper != CONFIG_VARIABLE:
            first = upper.removeprefix(ENVIRONMENT_PREFIX).split("__")[0].lower()
            if first not in Settings.model_fields:
                yield f"environment variable {variable}: no such setting{did_you_mean(first, Settings.model_fields)}"


def _credentials(data: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Secrets from the service's credentials: the file's name is the setting's path joined by `_`. An empty file is none.

    Raises ConfigurationError for one that cannot be read.
    """
    paths = {"_".join(path): path for path in secret_paths(data)}
    texts: dict[str, str] = {}
    for directory in _credential_directories(environment):
        for name, file in _credential_files(directory, paths).items():
            texts[name] = texts.get(name) or _credential(file)
    result: dict[str, Any] = {}
    for name, text in texts.items():
        value: Any = text.split() if name == "engine_api_keys" else text
        for key in reversed(paths[name]):
            value = {key: value}
        result = merge(result, value) if text else result
    return result


def _credential_directories(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where the service manager puts credentials, the newest first.

    systemd 252 fills $CREDENTIALS_DIRECTORY at the start only; the unit's ExecReload= puts fresh copies into $RUNTIME_DIRECTORY.
    """
    if runtime := environment.get("RUNTIME_DIRECTORY"):
        yield Path(runtime.split(":")[0]) / "credentials"
    if directory := environment.get("CREDENTIALS_DIRECTORY"):
        yield Path(directory)


def _credential_files(directory: Path, names: Iterable[str]) -> dict[str, Path]:
    """The file of each credential that is there.

    systemd's directory form of LoadCredential= puts the credential's own name before the file's: `secrets_compressor_api_key`.
    """
    found: dict[str, Path] = {}
    try:
        files = [each for each in directory.iterdir() if each.is_file()] if directory.is_dir() else []
    except OSError as error:
        raise ConfigurationError([f"credentials in {directory}: cannot be read: {reason_of(error)}"]) from None
    for file in sorted(files, key=lambda each: (len(each.name), each.name)):
        fitting = [name for name in names if file.name == name or file.name.endswith(f"_{name}")]
        if fitting:
            found.setdefault(max(fitting, key=len), file)
    return found


def _credential(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError([f"credential {file}: cannot be read: {reason_of(error)}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"credential {file}: cannot be read: it is not UTF-8 text"]) from None


def secret_paths(data: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Where a secret may stand, for this file's connectors and receivers."""
    pair = ("key_id", "application_key")
    engine, receivers = data.get("engine"), data.get("notify")
    connectors = engine.get("connectors") if isinstance(engine, dict) else None
    return [
        ("journal_password",),
        ("compressor", "api_key"),
        ("admin", "password"),
        ("engine", "api_keys"),
        *(("publish", "presign", key) for key in pair),
        *(("verify", key) for key in pair),
        *(("engine", "connectors", name, key) for name in (connectors or {}) for key in pair),
        *(("notify", name, key) for name in (receivers if isinstance(receivers, dict) else {}) for key in SECRET_KEYS),
    ]


class Places:
    """Tells where a setting was written, for the messages."""

    def __init__(self, environment: Mapping[str, Any]) -> None:
        self._environment = environment

    def name(self, path: Sequence[str | int]) -> str:
        """`folders[0].image.compression`, or the environment variable's name where it was set there."""
        if self._in_environment(path):
            return "environment variable " + ENVIRONMENT_PREFIX + "__".join(str(part).upper() for part in path)
        text = ""
        for part in path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
        return text or "configuration"

    def _in_environment(self, path: Sequence[str | int]) -> bool:
        value: Any = self._environment
        for part in path:
            if not isinstance(value, dict) or part not in value:
                return False
            value = value[part]
        return bool(path)
