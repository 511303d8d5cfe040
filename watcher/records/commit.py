"""Makes batches of changes durable: one transaction for all of them, whatever the engine.

A durable commit costs one wait for the disk, whether it holds one change or two hundred. A change that is wrong fails alone;
where the database refuses, nothing of a batch is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from watcher.records.additions import gathered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from watcher.records.dialect import Connection
    from watcher.records.thread_jobs import ThreadJob


@dataclass(frozen=True, slots=True)
class DatabaseFault:
    """The database, not a change, is to blame: it may take the same changes later. `damaged`: not without a restart."""

    message: str
    hint: str
    damaged: bool = False
    passing: bool = False
    """It is over in a moment, and not worth a word before it was tried a few times."""
    comes_and_goes: bool = False
    """What is small goes through now and then, and says little of what follows."""


class JournalEngine(Protocol):
    """What the write thread asks of a database. All but `changed_by_others` is for that thread, and may wait for the database."""

    errors: tuple[type[Exception], ...]
    """What its driver raises."""
    advice: str
    """What to look at where nothing more is known."""

    def begin(self) -> Connection | None:
        """Begin a transaction. None: the last one, whose commit got no answer, has gone through after all."""

    def commit(self) -> None:
        """Make it durable."""

    def rollback(self) -> None:
        """Undo what is not committed, if anything is."""

    def refusal(self, error: Exception) -> DatabaseFault | None:
        """What an error says of the database; None where the change itself is wrong."""

    def look_around(self) -> None:
        """Nothing is to be written: time for what has to be done now and then. Raises nothing."""

    def changed_by_others(self) -> bool:
        """Whether another process changed the journal since this was last asked. From any thread."""

    def close(self) -> None:
        """Let go of the database."""


def commit(engine: JournalEngine, jobs: Sequence[ThreadJob]) -> None:
    """Make all changes in one transaction. Where one of them is wrong, again with each in a savepoint of its own.

    Savepoints for everybody would cost three times the CPU, and hardly any change is ever wrong. Raises one of the engine's
    errors where it refuses; then nothing is changed.
    """
    try:
        _transact(engine, jobs, _make_together)
    except _Mistake:
        _transact(engine, jobs, _make_apart)


def _transact(
    engine: JournalEngine, jobs: Sequence[ThreadJob], make: Callable[[JournalEngine, Connection, Sequence[ThreadJob]], None]
) -> None:
    try:
        connection = engine.begin()
        if connection is None:
            return
        make(engine, connection, jobs)
        engine.commit()
    except BaseException:  # a batch is kept whole or not at all, whatever stopped it
        engine.rollback()
        raise


class _Mistake(Exception):
    """A change is wrong in itself."""


def _make_together(engine: JournalEngine, connection: Connection, jobs: Sequence[ThreadJob]) -> None:
    """All changes, and at the end what they add. Raises _Mistake where a change, not the database, is to blame."""
    try:
        with gathered(connection):
            for job in jobs:
                job.result, job.error = job.work(connection), None
    except Exception as error:  # the boundary to the callers' functions: whatever one raises spoils the transaction
        if engine.refusal(error):
            raise
        raise _Mistake from error


def _make_apart(engine: JournalEngine, connection: Connection, jobs: Sequence[ThreadJob]) -> None:
    """Each change in its own savepoint. What is wrong with it is kept for its caller, and spoils nothing else."""
    for job in jobs:
        connection.execute("SAVEPOINT change")
        try:
            with gathered(connection):
                job.result, job.error = job.work(connection), None
        except Exception as error:  # the boundary to the caller's function: whatever it raises is handed to the caller
            if engine.refusal(error):
                raise
            job.error = error
            connection.execute("ROLLBACK TO SAVEPOINT change")
        connection.execute("RELEASE SAVEPOINT change")
