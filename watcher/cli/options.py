"""What the commands of the command line share: options, the configuration, how an exit status comes about."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from watcher.errors import ConfigurationError
from watcher.service import early

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from watcher.config.schema import Settings
    from watcher.config.validation import Purpose

Word = TypeVar("Word")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file. Default: $WATCHER_CONFIG, ./config.toml, /etc/compressor-watcher/config.toml.",
        show_default=False,
    ),
]
HostOption = Annotated[
    str | None,
    typer.Option("--host", metavar="NAME", help="Only of this host, where several share the journal.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable: JSON.")]


def load(config: Path | None, purpose: Purpose) -> tuple[Settings, Path]:
    """The configuration, and the file it came from. Raises ConfigurationError."""
    with early.Loading():
        from watcher.commands.printing import note
        from watcher.config.loading import find_config_file, load_settings, read_toml

    path = find_config_file(config, os.environ).absolute()
    try:
        return load_settings(read_toml(path), os.environ, purpose=purpose, say=note), path
    except ConfigurationError as error:
        raise ConfigurationError(
            [f"{path}: {problem}" if str(path) not in problem else problem for problem in error.problems]
        ) from None


def is_for_engine_alone(config: Path | None) -> bool:
    """Whether a configuration is for engines, not for a daemon. Raises ConfigurationError where there is none to read."""
    from watcher.config.loading import find_config_file, read_toml

    data = read_toml(find_config_file(config, os.environ).absolute())
    return "engine" in data and not {"folders", "compressor"} & set(data)


def parsed(read: Callable[[str], Word], text: str) -> Word:
    """What an option's text means. Wrong usage where it means nothing."""
    try:
        return read(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def wait(task: Coroutine[Any, Any, int]) -> int:
    """Run it to its end, or until a signal stops it; gives its exit status."""
    from watcher.service.process import run_to_the_end

    return run_to_the_end(task)


def work(task: Coroutine[Any, Any, int]) -> int:
    """The same for what works on its own: who reads its output may hang."""
    from watcher.log.queued_output import queued_output
    from watcher.service.descriptors import require_descriptors, take_all
    from watcher.service.process import require_proc

    try:
        require_proc()
        take_all()
        require_descriptors()
        with queued_output():
            return wait(task)
    finally:
        task.close()


def leave(status: int) -> None:
    """End with this exit status."""
    if status:
        raise typer.Exit(status)
