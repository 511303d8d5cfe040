"""Every problem of a configuration in one list: what tables show, what only the whole shows, and what was meant."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from watcher.config.loading import find_config_file, load_settings
from watcher.config.problems import nearest
from watcher.errors import ConfigurationError

STORE = '[store]\nid = "c"\nbucket = "b"\nregion = "eu-central-003"\n'
FOLDER = '[[folders]]\npath = "/srv/drop"\n'
REST = '[compressor]\nurl = "http://127.0.0.1:1/1.0"\napi_key = "k"\n'


def problems(text: str) -> list[str]:
    """What is wrong with a file."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(tomllib.loads(text), {})
    return list(caught.value.problems)


def test_a_misspelt_key_hides_nothing_that_only_the_whole_shows() -> None:
    """One round is enough to set a file right."""
    text = """
        setle = "2s"
        [store]
        id = "c"
        region = "eu-central-003"
        [[folders]]
        name = "a"
        path = "/srv/a"
        recursve = true
        [folders.store]
        path = "{nme}"
        [[folders]]
        name = "a"
        path = "/srv/a/b"
    """
    found = problems(text + REST)

    assert "setle: no such setting; did you mean `settle`?" in found
    assert "folders[0].recursve: no such setting; did you mean `recursive`?" in found
    assert any(each.startswith("folders[0].store: `path`: no such field {nme}") for each in found)
    assert "folders[1].name: another one has the same name" in found
    assert "folders[1].path: lies in folders[0].path; watched folders must not overlap" in found
    assert "folders[0]: store.bucket is missing; set it in [store] or [folders.store]" in found
    assert len(found) == 7


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[folders]\npath = "/srv/x"\n' + STORE + REST,
            "folders: must be an array of tables: write [[folders]] with two brackets",
        ),
        (FOLDER + STORE.replace("[store]", "[[store]]") + REST, "store: must be one table: write [store] with one bracket"),
        (FOLDER.replace("folders", "folder") + STORE + REST, "folder: no such setting; did you mean `folders`?"),
        (FOLDER + STORE.replace("bucket", "bukcet") + REST, "store.bukcet: no such setting; did you mean `bucket`?"),
        (FOLDER + STORE + REST.replace("api_key", "api-key"), "compressor.api-key: no such setting; did you mean `api_key`?"),
        (
            FOLDER + STORE + REST + "[publish.serve]\nlisten = 8080\n",
            'publish.serve.listen: must be a string like "127.0.0.1:8080"; this is an integer',
        ),
        (FOLDER + 'include = "*"\n' + STORE + REST, "folders[0].include: must be an array; this is a string"),
        (FOLDER + "path2 = 1\nrecursive = 'maybe'\n" + STORE + REST, None),
        (FOLDER + STORE.replace('"b"', "5") + REST, 'store.bucket: must be a string ("..."); this is an integer'),
        ("[[folders]]\n" + STORE + REST, "folders[0].path: is missing"),
        (FOLDER + STORE + REST + "[log]\nlevel = 'loud'\n", "log.level: must be 'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_one_fault_is_one_problem(text: str, problem: str | None) -> None:
    """What follows from it is not told besides, and it is told in the words of the file."""
    found = problems(text)

    assert [problem] == found if problem else len(found) == 2


def test_no_value_is_repeated() -> None:
    """It may be a secret."""
    assert "hunter2" not in str(problems(FOLDER + STORE + "[compressor]\napi_key = ['hunter2']\napi_kye = 'hunter2'\n"))


def test_where_there_is_no_configuration_the_ways_to_one_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("watcher.config.loading.SYSTEM_CONFIG", tmp_path / "none.toml")
    with pytest.raises(ConfigurationError) as caught:
        find_config_file(None, {})

    assert all(word in str(caught.value) for word in ("init", "config.example.toml", "demo", "--config", "WATCHER_CONFIG"))


def test_a_word_that_is_like_none_gets_no_guess() -> None:
    assert nearest("zebra", ["path", "name"]) is None
    assert nearest("Api-Key", ["api_key", "url"]) == "api_key"
