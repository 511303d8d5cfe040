"""Rules of the whole suite: what all tests may use, what a skip is, and in which order and where tests run."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.journals", "tests.support.postgres", "tests.support.s3", "tests.support.skipping"]

SLOW = [HealthCheck.too_slow]  # of a machine that others use as well, not of a strategy
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=SLOW)
settings.register_profile("search", deadline=None, suppress_health_check=SLOW)
settings.load_profile("suite")  # the same examples in each run; `make soak` searches among others

LONG_FIRST = (
    "tests/system/service",  # the booted box, on one worker
    "tests/system/test_ways_to_receivers.py",  # a minute on a quiet machine
    "tests/fault",
    "tests/system",
    "tests/integration/test_",  # half a minute each, which they mostly wait
    "tests/integration/records/test_shared_jobs.py",
    "tests/integration/service/test_signs_of_life.py",
    "tests/property",
    "tests/integration",
    "tests/contract",
)
"""Where the tests lie that take longest: side by side with others they have to begin first, lest one ends alone. The last are the
unit tests, of which no file takes a second.
"""


PLACE = "compressor-watcher-tests-"
"""How the folder begins that takes what tests, browsers, servers and daemons leave in the place for temporary files."""
MEMORY = Path("/dev/shm")
"""Where the databases of PostgreSQL lie, in a folder of the same name, if so many bytes are free for all processes of a run."""
ROOM = 2**31


def pytest_configure(config: pytest.Config) -> None:
    """One folder for temporary files of the whole run, which goes with it. pytest keeps its own, for a look at what failed."""
    if hasattr(config, "workerinput"):
        return  # of the same run: it has the environment of the process that began it
    outer = tempfile.gettempdir()
    for left in (*Path(outer).glob(f"{PLACE}*"), *MEMORY.glob(f"{PLACE}*")):
        owner = left.name.removeprefix(PLACE)
        if owner == str(os.getpid()) or not Path(f"/proc/{owner}").exists():
            shutil.rmtree(left, ignore_errors=True)  # its run was killed; in a container the next one may have its number
    place = Path(outer) / f"{PLACE}{os.getpid()}"
    place.mkdir()
    place.chmod(0o1777)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", outer)
    os.environ["TMPDIR"] = tempfile.tempdir = str(place)
    os.environ["TESTS_RUN"] = str(os.getpid())
    config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        quick = MEMORY / place.name
        quick.mkdir()
        quick.chmod(0o755)
        os.environ["TESTS_MEMORY"] = str(quick)
        config.add_cleanup(lambda: shutil.rmtree(quick, ignore_errors=True))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """What is made for five thousand tests stays: the garbage collector neither looks at it meanwhile nor ever after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first."""
    items.sort(key=lambda item: _length(item.nodeid))


def _length(nodeid: str) -> int:
    return next((place for place, folder in enumerate(LONG_FIRST) if nodeid.startswith(folder)), len(LONG_FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of one file stay on one worker, and all that need the booted box on one: booting and installing takes the time."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::", 1)[0]
            return LONG_FIRST[0] if path.startswith(LONG_FIRST[0]) else path

    return Scheduling(config, log)
