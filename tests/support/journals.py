"""A plugin of the suite: on which engine the journals of tests are kept.

Whoever makes a `World` or `drops` has its journal in SQLite; with `pytest --journal postgresql` each has a database of its own on
a server of the tests' own. Marks say otherwise:

    @pytest.mark.journals("sqlite", "postgresql")           runs on both, whatever is asked for
    @pytest.mark.journals("postgresql")                     runs there alone
    @pytest.mark.journals("sqlite", reason="a file's own")  the same; where the other one is asked for, a skip that says why
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from watcher.records.journal import ThreadedJournal

SQLITE, POSTGRESQL = "sqlite", "postgresql"


class Journals:
    """Where new journals are kept now.

    `make_database` gives the URL of a new database with the tables of a journal; None stands for SQLite.
    """

    make_database: ClassVar[Callable[[], str] | None] = None

    _urls: ClassVar[dict[Path | str, str]] = {}

    @classmethod
    def url_of(cls, path: Path | str) -> str:
        """Of the database that stands for a file."""
        assert cls.make_database is not None
        if path not in cls._urls:
            cls._urls[path] = cls.make_database()
        return cls._urls[path]

    @classmethod
    def end(cls) -> None:
        """From now on SQLite again."""
        cls.make_database = None
        cls._urls.clear()

    @classmethod
    def tables(cls) -> dict[str, Any]:
        """What a configuration says of it: the tables of one host alone."""
        if cls.make_database is None:
            return {}
        return {"journal": cls.make_database(), "cluster": {"name": "alone", "lease": "5s"}}


async def open_journal_at(path: Path | str, **means: Any) -> ThreadedJournal:
    """A journal of this process: in the file, or in the database that stands for it as long as the test lasts."""
    from tests.support.postgres import open_postgres
    from tests.support.records import open_journal

    if Journals.make_database is None:
        return open_journal(path, **means)
    return await open_postgres(Journals.url_of(path), **means)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What is asked for."""
    parser.addoption("--journal", choices=(SQLITE, POSTGRESQL), default=SQLITE, help="the engine on which journals are kept")


def pytest_configure(config: pytest.Config) -> None:
    """The mark is known."""
    config.addinivalue_line("markers", "journals(*engines, reason): on which engines the journal of a test is kept")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of both engines is two tests, but where one engine is asked for it is one."""
    mark = metafunc.definition.get_closest_marker("journals")
    if mark and len(mark.args) > 1 and metafunc.config.getoption("--journal") == SQLITE:
        metafunc.parametrize("journal_engine", mark.args, indirect=True)


@pytest.fixture(autouse=True)
def journal_engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine of this test's journals."""
    engine: str = getattr(request, "param", request.config.getoption("--journal"))
    mark = request.node.get_closest_marker("journals")
    if mark is not None and engine not in mark.args:
        if engine == POSTGRESQL:
            pytest.skip(f"of SQLite alone: {mark.kwargs['reason']}")
        engine = POSTGRESQL
    if engine == POSTGRESQL:
        Journals.make_database = request.getfixturevalue("postgres").journal
    yield engine
    Journals.end()
