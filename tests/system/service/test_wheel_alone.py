"""`compressor-watcher service install` from an installed wheel: what `make install` does from a checkout.

The last of this folder: what `make install` put is gone, and what this puts goes with the machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pip
import pytest

from tests.support.box import REPOSITORY, WHEELS, Box, Service
from tests.support.pictures import jpeg
from tests.support.standin import StandinProcess
from tests.system.service.conftest import listing

pytestmark = pytest.mark.timeout(900)
RELEASES = "/opt/compressor-watcher/releases"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, made as `python -m build` makes it."""
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", place, REPOSITORY]
    made = subprocess.run(command, text=True, capture_output=True)
    assert made.returncode == 0, made.stderr
    return next(place.glob("*.whl"))


@pytest.fixture
def packaged(box: Box, wheel: Path) -> str:
    """An environment in the box with nothing but the wheel and what it requires. Gives the command's path there."""
    box.write(f"/root/{wheel.name}", wheel.read_bytes())
    box.sh("python3", "-m", "venv", "--clear", "--without-pip", "/root/environment")
    shutil.copytree(pip.__path__[0], box.path("/root/borrowed/pip"))  # to install one there takes two seconds
    install = ("/root/environment/bin/python", "-m", "pip", "install", "--quiet", "--no-index", "--find-links", WHEELS)
    box.sh("env", "PYTHONPATH=/root/borrowed", *install, "--no-compile", f"/root/{wheel.name}")
    return "/root/environment/bin/compressor-watcher"


def test_the_wheel_holds_the_page(wheel: Path) -> None:
    """Its templates, style and script are package data; nothing builds them."""
    page = REPOSITORY / "watcher" / "service" / "page"
    wanted = {
        str(each.relative_to(REPOSITORY)) for each in page.rglob("*") if each.suffix in (".html", ".css", ".js", ".svg", ".py")
    }
    with zipfile.ZipFile(wheel) as packed:
        assert len(wanted) > 20
        assert wanted <= set(packed.namelist())


def test_the_wheel_alone_installs_the_service(box: Box, service: Service, standin: StandinProcess, packaged: str) -> None:
    """The service runs from a copy of the packages beside the command, stores a drop, and a second install changes nothing."""
    said = box.sh(packaged, "service", "install").stdout
    before = listing(box)
    again = box.sh(packaged, "service", "install").stdout
    after = listing(box)
    release = box.sh("readlink", "-f", "/opt/compressor-watcher/current").stdout.strip()
    service.configure(standin.url)
    service.start()
    service.box.write("/srv/drop/products/a.jpg", jpeg())
    service.wait_for("image.stored")

    assert "systemctl enable --now" in said
    assert "nothing to change" in again
    assert after == before
    assert release.startswith(f"{RELEASES}/")
    assert box.sh(f"{release}/bin/python", "-c", "import watcher; print(watcher.__file__)").stdout.startswith(release)
    assert not box.path(f"{release}/lib/python3.11/site-packages/pyvips").exists()  # the engine was not asked for


def test_a_checkout_is_not_copied() -> None:
    """An editable installation has nothing to copy: the message says what to do instead."""
    done = subprocess.run(
        [sys.executable, "-m", "watcher.service.replica", "copy", "/nonexistent"], text=True, capture_output=True, cwd=REPOSITORY
    )

    assert done.returncode == 1
    assert "make install" in done.stderr
