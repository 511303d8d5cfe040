"""The manual page, made from the commands' own help: `python -m watcher.cli.manual FILE` (part of `make reference`)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from watcher import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = "compressor-watcher"
FILES: Final = (
    (
        "./config.toml, /etc/compressor-watcher/config.toml",
        "The configuration; --config and $WATCHER_CONFIG come first.",
    ),
    (
        "/etc/compressor-watcher/credentials/",
        "Secrets of the service, one file each.",
    ),
    ("/var/lib/compressor-watcher/", "The service's state: the journal and its lock."),
    ("/var/log/compressor-watcher/audit.jsonl", "The service's audit file: one line for each ending."),
)
ENVIRONMENT: Final = (
    ("WATCHER_CONFIG", "The configuration file."),
    ("WATCHER_...", "Any setting: WATCHER_ and its path, with __ between levels (WATCHER_COMPRESSOR__API_KEY)."),
    ("NO_COLOR", "No colours on a terminal."),
)


def page() -> str:
    """The page in roff, for man(1)."""
    from typer.main import get_command

    from watcher.cli import app

    top = get_command(app)
    lines = [
        f'.TH COMPRESSOR\\-WATCHER 1 "" "{NAME} {__version__}" "User Commands"',
        ".SH NAME",
        r"compressor\-watcher \- publish the images of a folder through the Compressor API",
        ".SH SYNOPSIS",
        r".B compressor\-watcher",
        r"\fICOMMAND\fR [\fIOPTIONS\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(str(top.help)),
        ".SH COMMANDS",
        *(line for words, command in _commands(top, ()) for line in _command(words, command)),
        ".SH FILES",
        *_terms(FILES),
        ".SH ENVIRONMENT",
        *_terms(ENVIRONMENT),
        ".SH EXIT STATUS",
        *_paragraphs(str(top.epilog).removeprefix("Exit status: ")),
    ]
    return "\n".join(lines) + "\n"


def _commands(group: Any, before: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands with the words that call them."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, (*before, name))
        else:
            yield (*before, name), command


def _command(words: tuple[str, ...], command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden and each.name != "help"]
    places = "".join(f" {each.metavar or each.name.upper()}" for each in arguments)
    yield f".SS {_escaped(' '.join(words) + places)}"
    yield from _paragraphs(command.help or "")
    yield from _terms((each.metavar or each.name.upper(), each.help) for each in arguments if each.help)
    yield from _terms((_signature(each), each.help or "") for each in options)


def _signature(option: Any) -> str:
    """How an option is written: its names, and what it takes."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {option.metavar or option.name.upper().rstrip('_')}"


def _terms(pairs: Any) -> Iterator[str]:
    for term, words in pairs:
        yield ".TP"
        yield f".B {_escaped(term)}"
        yield from _paragraphs(words)


def _paragraphs(text: str) -> Iterator[str]:
    """Plain text, a paragraph each; the markup of the help is taken out."""
    plain = re.sub(r"\[/?(?:bold|italic|dim|/)\]", "", text)
    for number, paragraph in enumerate(re.split(r"\n\s*\n", plain.strip())):
        if number:
            yield ".PP"
        yield _escaped(" ".join(paragraph.split()))


def _escaped(text: str) -> str:
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
