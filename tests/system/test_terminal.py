"""What people see: every command on a terminal of 80 and of 120 columns, as the program draws it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.daemon import command, write_config
from tests.support.pictures import jpeg
from tests.support.standin import DEFAULT_KEY, StandinProcess
from tests.support.terminal import Terminal

KEY = {"WATCHER_COMPRESSOR__API_KEY": DEFAULT_KEY}
SIZES = [(80, 24), (120, 40)]
LONG = "a photograph of the harbour at dawn with a name that is long"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A configuration and its folder after one run: three pictures were stored, one failed, one is ignored."""
    top = tmp_path_factory.mktemp("terminal")
    drop = top / "drop"
    (drop / "press/2026").mkdir(parents=True)
    for place in (f"{LONG}.jpg", "press/2026/短い名前.jpg", "press/2026/b.jpg"):
        (drop / place).write_bytes(jpeg(400, 300, seed=len(place)))
    (drop / "cut.jpg").write_bytes(jpeg(400, 300, seed=9)[:2000])
    (drop / "layers.psd").write_bytes(b"8BPS\0\1" + bytes(500))
    with StandinProcess() as standin:
        config = write_config(
            top / "config.toml",
            {
                "state_dir": top / "state",
                "max_wait": "2s",
                "compressor": {"url": standin.url},
                "publish": {"serve": {"listen": "127.0.0.1:0"}},
                "verify": {"url": standin.verify_url},
                "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
                "folders": [{"name": "products", "path": drop}],
            },
        )
        with Terminal("once", "--config", config, environment=KEY) as terminal:
            assert terminal.end() == 1
            shown = terminal.lines
    assert_once(shown)
    return config, drop


def assert_once(rows: list[str]) -> None:
    """One line for each output, its URL below, and one summary line at the end."""
    stored = [row for row in rows if row.startswith("stored ")]
    assert len(stored) == 3
    assert all("->" in row for row in stored)
    assert any(row.startswith("failed ") and "cut.jpg" in row for row in rows)
    assert any(row.startswith("ignored ") and "layers.psd" in row for row in rows)
    (summary,) = (row for row in rows if row.startswith("3 stored, 1 failed, 1 ignored; "))
    assert " in " in summary


def piped(config: Path, *words: str) -> str:
    """The same command's output where nobody breaks its lines."""
    done = command(*words, "--config", config, environment=KEY)
    return done.stdout + done.stderr


def shown(config: Path, size: tuple[int, int], *words: str) -> list[str]:
    with Terminal(*words, "--config", config, size=size, environment=KEY) as terminal:
        terminal.end()
        return terminal.lines


def broken_words(rows: list[str], whole: str) -> set[str]:
    """Words on the terminal that are none of the command's own; addresses, paths, figures and what was cut on purpose aside."""
    known = {word.strip(":,;") for word in whole.split()}
    told = {word.strip(":,;") for row in rows if "://" not in row and "…" not in row for word in row.split() if "/" not in word}
    return {word for word in told - known if word.isalpha() and not any(path.endswith(word) for path in known)}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "words", [("status",), ("check",), ("list", "--state", "ignored"), ("list", "--state", "failed")], ids=" ".join
)
def test_no_table_breaks_a_word(scene: tuple[Path, Path], size: tuple[int, int], words: tuple[str, ...]) -> None:
    """What does not fit goes on between words, below itself."""
    config, _ = scene
    rows = shown(config, size, *words)

    assert max(map(len, rows)) <= size[0]
    assert broken_words(rows, piped(config, *words) + str(config.parent)) == set()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_list_has_a_line_for_each_output_and_its_address_below(scene: tuple[Path, Path], size: tuple[int, int]) -> None:
    """The name is cut in its middle, the address never."""
    config, _ = scene
    rows = shown(config, size, "list", "--state", "stored")

    assert rows[0].split()[0] == "ID"
    assert sum("  stored " in row for row in rows) == 3
    assert all("->" in row for row in rows if "  stored " in row)
    assert "".join(row.strip() for row in rows).count(LONG.replace(" ", "%20") + ".jpg") == 1
    assert ("DETECTED" in rows[0]) == (size[0] >= 100)


def test_status_says_a_failure_of_an_image_once_and_what_to_do(scene: tuple[Path, Path]) -> None:
    """Images are counted, not outputs."""
    config, _ = scene
    rows = shown(config, (80, 24), "status")

    assert next(row for row in rows if row.startswith("failed")).split()[1] == "1"
    assert sum(row.startswith("error") for row in rows) == 1
    assert any("1 ignored" in row for row in rows)


def test_tail_shows_what_once_showed(scene: tuple[Path, Path]) -> None:
    """One line for each ending, fitted to the width."""
    config, _ = scene
    rows = shown(config, (80, 24), "tail", "--no-follow")

    assert sum(row.startswith("stored ") for row in rows) == 3
    assert sum(row.startswith("failed ") for row in rows) == 1


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_run_shows_each_output_and_a_summary_at_ctrl_c(tmp_path: Path, size: tuple[int, int]) -> None:
    """A picture that is dropped while it runs takes one line and an address; Ctrl-C ends with the sum."""
    drop = tmp_path / "drop"
    drop.mkdir()
    with StandinProcess() as standin:
        config = write_config(
            tmp_path / "config.toml",
            {
                "state_dir": tmp_path / "state",
                "compressor": {"url": standin.url},
                "publish": {"serve": {"listen": "127.0.0.1:0"}},
                "verify": {"url": standin.verify_url},
                "store": {"id": "connector", "bucket": "shop-bucket", "region": "eu-central-003"},
                "folders": [{"name": "products", "path": drop, "on_success": "delete"}],
            },
        )
        with Terminal("run", "--config", config, size=size, environment=KEY, installed=True) as terminal:
            terminal.until("service.ready")
            (drop / "one.jpg").write_bytes(jpeg(400, 300, seed=1))
            terminal.until("deleted")
            terminal.signal(signal.SIGINT)
            assert terminal.end() == 0
            rows = terminal.lines
    told = [row.split()[0 if size[0] < 100 else 1] for row in rows if "one.jpg" in row and "://" not in row.split("one.jpg")[0]]

    assert told.index("stored") < told.index("deleted")
    assert sum(row.startswith("1 stored; ") for row in rows) == 1
