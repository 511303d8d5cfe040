"""The box and the installed service, shared by the tests of this folder: setting them up is what takes the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.box import Box, Service, running_box, why_no_box
from tests.support.standin import StandinProcess

LIBRARY = ["/usr/local", "/usr/lib/systemd", "/usr/lib/sysusers.d", "/usr/lib/tmpfiles.d"]
PLACES = ["/etc", "/opt", "/home", "/root", "/srv", "/var/lib", "/var/log", *LIBRARY]


@dataclass
class Installation:
    """What the first `make install` said and did. `before` and `after` hold what `find` says of each file, by path."""

    before: dict[str, str]
    after: dict[str, str]
    said: str


def listing(box: Box) -> dict[str, str]:
    """Kind, mode and owner of everything where something might be put; of files also size, time and link."""
    directory, file = ("%p\\0%y %m %u:%g \\n", "%p\\0%y %m %u:%g %s %T@ %l\\n")
    forms = ("-type", "d", "-printf", directory, "-o", "-printf", file)
    found = box.sh("find", *PLACES, "-maxdepth", "4", "-xdev", *forms, check=False)
    return dict(line.split("\0", 1) for line in found.stdout.splitlines())


@pytest.fixture(scope="session")
def machine() -> Iterator[Box]:
    """A machine with systemd and nothing of ours on it."""
    if reason := why_no_box():
        pytest.skip(f"no machine for the service: {reason}")
    with running_box() as box:
        yield box


@pytest.fixture(scope="session")
def installation(machine: Box) -> Installation:
    """The first `make install`."""
    before = listing(machine)
    said = machine.make("install").stdout
    return Installation(before, listing(machine), said)


@pytest.fixture(scope="session")
def box(machine: Box, installation: Installation) -> Box:
    """The machine after `make install`."""
    return machine


@pytest.fixture
def service(box: Box) -> Iterator[Service]:
    """The service from a clean slate, not started."""
    service = Service(box)
    yield service
    service.clean()


@pytest.fixture
def standin() -> Iterator[StandinProcess]:
    """The API stand-in."""
    with StandinProcess() as process:
        yield process
