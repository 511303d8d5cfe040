"""`sudo make uninstall`. After it nothing is installed any more: only test_wheel_alone.py comes behind it."""

from __future__ import annotations

import os

import pytest

from tests.support.box import AUDIT, ETC, STATE, UNIT, Service
from tests.support.pictures import jpeg
from tests.support.standin import StandinProcess

pytestmark = pytest.mark.timeout(900)  # the first test waits for the machine to be built
PUT = [
    "/opt/compressor-watcher",
    "/usr/local/bin/compressor-watcher",
    "/usr/local/share/man/man1/compressor-watcher.1",
    "/etc/logrotate.d/compressor-watcher",
    "/etc/sysctl.d/60-compressor-watcher.conf",
    "/etc/systemd/system/compressor-watcher.service",
    "/etc/systemd/system/multi-user.target.wants/compressor-watcher.service",
]


def test_it_removes_what_it_put_and_keeps_what_is_the_operator_s(service: Service, standin: StandinProcess) -> None:
    """A running service is stopped in order; program, unit, rotation and limits go; configuration, state and log stay."""
    box = service.box
    service.configure(standin.url)
    service.drop_in("Nice=1")
    box.ctl("enable", "--now", UNIT)
    box.write("/srv/drop/products/chair.jpg", jpeg())
    service.wait_for("image.stored")

    said = box.make("uninstall").stdout

    assert len(service.lines("service.stopped")) == 1
    for gone in PUT:
        assert not os.path.lexists(box.path(gone))
    for kept in (f"{ETC}/config.toml", f"{ETC}/credentials/compressor_api_key", f"{STATE}/journal.db", AUDIT):
        assert box.path(kept).exists()
    assert box.path(f"/etc/systemd/system/{UNIT}.service.d/test.conf").exists()
    assert box.sh("id", "-un", UNIT).stdout.strip() == UNIT
    assert "Kept, since they are yours" in said
    assert box.ctl("is-active", UNIT, check=False).stdout.strip() == "inactive"


def test_again_does_nothing(service: Service) -> None:
    """Uninstalling what is not installed is no error."""
    assert service.box.make("uninstall").returncode == 0
