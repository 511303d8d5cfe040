"""The manual page says what the commands' help says."""

from pathlib import Path

from typer.main import get_command

from watcher.cli import app
from watcher.cli.manual import page

PAGE = Path("docs/compressor-watcher.1")


def test_the_page_in_the_repository_is_what_the_commands_say() -> None:
    """`make reference` was run after the last change of a command."""
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make reference`"


def test_every_command_has_a_section_with_its_options() -> None:
    """Nothing that can be typed is left out."""
    text = page()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        names = [f"{name} {each}" for each in command.commands] if hasattr(command, "commands") else [name]
        for words in names:
            assert f".SS {words}".replace("-", r"\-") in text
    assert r".B \-\-dry\-run" in text or r".B \-\-limit LIMIT" in text


def test_no_line_is_taken_for_a_request_of_the_formatter() -> None:
    """Text that begins with a dot or an apostrophe is text."""
    requests = {line.split()[0] for line in page().splitlines() if line.startswith((".", "'"))}

    assert requests <= {".TH", ".SH", ".SS", ".TP", ".PP", ".B"}
