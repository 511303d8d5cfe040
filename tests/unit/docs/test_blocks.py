"""Every block of the documentation is run or loaded: configuration by the loader, commands by the command line's own parser."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from watcher.cli import app
from watcher.config.loading import load_settings

PAGES = (Path("README.md"), Path("CONTRIBUTING.md"), *sorted(Path("docs").rglob("*.md")))
BASE: dict[str, Any] = {
    "state_dir": "/var/lib/compressor-watcher",
    "compressor": {"api_key": "a-key"},
    "publish": {"serve": {"public_url": "https://drops.example.com"}},
    "store": {"id": "your-connector-id", "bucket": "my-bucket", "region": "eu-central-003"},
    "folders": [{"path": "/srv/drop/any", "store": {"path": "any/{dir}/{name}"}}],
}
"""What a block leaves out because another one has shown it."""
READ_ELSEWHERE = {"", "text", "ini", "nginx", "console"}
"""Drawings, and the configuration and output of other programs."""


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> list[Block]:
    """All fenced blocks, also those inside lists."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
            line = text[: match.start()].count("\n") + 1
            indent = len(match.group(1))
            body = "".join(row[indent:] if row.strip() else row for row in match.group(3).splitlines(keepends=True))
            found.append(Block(page, line, match.group(2), body))
    return found


BLOCKS = blocks()


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged, everything else is replaced."""
    both = {**base, **over}
    for name in base.keys() & over.keys():
        if isinstance(base[name], dict) and isinstance(over[name], dict):
            both[name] = merged(base[name], over[name])
    return both


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    """A new kind needs a test."""
    assert {block.language for block in BLOCKS} - READ_ELSEWHERE == {"toml", "sh", "json", "python"}


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_configuration_is_accepted(block: Block) -> None:
    """What is shown works when it is copied."""
    data = merged(BASE, tomllib.loads(block.text))
    for folder in data["folders"]:
        folder.setdefault("store", {"path": "any/{dir}/{name}"})

    load_settings(data, secrets_of(data))


def secrets_of(data: dict[str, Any]) -> dict[str, str]:
    """Keys that the environment brings."""
    if data["publish"].get("mode") == "presign":
        return {"WATCHER_PUBLISH__PRESIGN__KEY_ID": "id", "WATCHER_PUBLISH__PRESIGN__APPLICATION_KEY": "key"}
    connectors = data.get("engine", {}).get("connectors", {})
    names = [name.upper() for name, each in connectors.items() if each.get("kind") == "b2" and "key_id" not in each]
    keys = ("KEY_ID", "APPLICATION_KEY")
    return {f"WATCHER_ENGINE__CONNECTORS__{name}__{key}": "x" for name in names for key in keys}


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    """Samples can be parsed."""
    assert json.loads(block.text)


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_programs_are_python(block: Block) -> None:
    """They compile; tests/system/test_recipes.py runs them."""
    compile(block.text, str(block), "exec")


def commands(block: Block) -> list[str]:
    """The commands of a block, without comments; a line that ends with a backslash goes on."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def parts(line: str) -> list[list[str]]:
    """The words of each command of a pipe or list."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|;&"):
            found.append([])
        else:
            found[-1].append(word)
    return found


def calls(line: str) -> list[list[str]]:
    """The arguments of each call of our own command in a line."""
    found = []
    for words in parts(line):
        command = list(dropwhile(lambda word: word in {"sudo", "env"} or re.fullmatch(r"[A-Z_]+=.*", word), words))
        if command and Path(command[0]).name == "compressor-watcher":
            found.append(command[1:])
    return found


def parse(arguments: list[str]) -> None:
    """Have the command line's parser read it, down to the command; raises where an option or command does not exist."""
    group = get_command(app)
    context = group.make_context("compressor-watcher", arguments[:0], resilient_parsing=True)
    if arguments[0].startswith("-"):
        known = {name for each in group.get_params(context) for name in each.opts}
        assert arguments[0] in known
        return
    while True:
        name, command, rest = group.resolve_command(context, arguments)  # type: ignore[attr-defined]
        assert command is not None, arguments
        if not hasattr(command, "resolve_command"):
            command.make_context(name, rest, parent=context)
            return
        group, arguments = command, rest


OURS = sorted({" ".join(call) for block in of("sh") for line in commands(block) for call in calls(line) if call})


@pytest.mark.parametrize("words", OURS)
def test_commands_exist_with_their_options(words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is shown can be typed."""
    monkeypatch.chdir(tmp_path)

    parse(words.split())


TARGETS = sorted({match for block in of("sh") for match in re.findall(r"\bmake (\w+)", block.text)})


@pytest.mark.parametrize("target", TARGETS)
def test_make_targets_exist(target: str) -> None:
    """So can these."""
    done = subprocess.run(["make", "--dry-run", target], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr


FILTERS = [line for block in of("sh") for line in commands(block) if re.search(r"\bjq\b", line)]


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed (apt-get install jq)")
@pytest.mark.parametrize("line", FILTERS)
def test_filters_find_what_they_are_for(line: str, tmp_path: Path) -> None:
    """Each jq filter says something about an audit file with one ending of each kind and one error."""
    records = [
        {"event": "image.stored", "level": "info", "url": "https://b.example/k", "saved_bytes": 5},
        {"event": "image.failed", "level": "error", "file": "/srv/a.jpg", "reason": "truncated", "hint": "drop it whole"},
    ]
    audit = tmp_path / "audit.jsonl"
    audit.write_text("".join(json.dumps(each) + "\n" for each in records))
    (script,) = (words for words in parts(line) if words[0] == "jq")
    words = [str(audit) if word == "audit.jsonl" else word for word in script]

    done = subprocess.run(words, input=audit.read_bytes(), capture_output=True, timeout=60, check=True)

    assert done.stdout.strip()
