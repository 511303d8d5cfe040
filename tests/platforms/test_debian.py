"""Debian 12, 13 and the next: README's commands from a checkout, and the wheel alone, from `pip install` to a stored drop."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.box import UNIT, Service, running_box, why_no_box
from tests.support.pictures import jpeg
from tests.support.roots import CERTIFICATES, REPOSITORY, debian, handed_in, in_root, run, why_no_roots
from tests.support.standin import StandinProcess

pytestmark = [
    pytest.mark.platforms,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(bool(why_no_roots()), reason=why_no_roots() or "has all"),
]
SUITES = ["bookworm", "trixie", "forky"]
"""With Python 3.11, 3.13 and 3.14. The last is still being made."""
README_PACKAGES = ("python3", "python3-venv", "make")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
MACHINES = ["x86_64", "aarch64"]
PURE_SOURCES = ["pyvips"]
"""Published as sources only, and pure Python: pip builds them without a compiler."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dist")
    run([sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", place, REPOSITORY])
    return next(place.glob("*.whl"))


@pytest.mark.parametrize("suite", SUITES)
def test_the_readme_s_two_commands_work(suite: str, tmp_path: Path) -> None:
    """With no other packages than those that README names."""
    root = debian(suite, tmp_path / suite, *README_PACKAGES)
    place = root / "srv/compressor-watcher"
    for name in subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, text=True, capture_output=True, check=True
    ).stdout.splitlines():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target)

    said = in_root(root, "make demo && make test", directory="/srv/compressor-watcher")

    assert "stored" in said
    assert " passed" in said
    assert " failed" not in said


@pytest.mark.skipif(bool(why_no_box()), reason=why_no_box() or "has all")
@pytest.mark.parametrize("suite", SUITES)
def test_the_wheel_alone_leads_to_a_running_service(suite: str, tmp_path: Path, wheel: Path) -> None:
    """pip install, init by options, service install, a drop, its line."""
    root = debian(suite, tmp_path / suite, "systemd", "dbus", "logrotate", "python3", "python3-venv", "ca-certificates")
    trusted = "/root/certificates.pem"
    shutil.copyfile(CERTIFICATES, root / trusted.lstrip("/"))
    shutil.copyfile(wheel, root / "root" / wheel.name)
    command = "/root/environment/bin/compressor-watcher"
    with running_box(root) as box, StandinProcess() as standin:
        variables = [f"{name}={value}" for name, value in {**handed_in(), "PIP_CERT": trusted}.items()]
        box.sh("python3", "-m", "venv", "/root/environment")
        box.sh("env", *variables, "/root/environment/bin/pip", "install", "--quiet", f"/root/{wheel.name}", timeout=600)
        box.sh("mkdir", "-p", "/srv/drop/products")
        asked = "--folder /srv/drop/products --bucket my-bucket --region eu-central-003 --connector c --public-url http://127.0.0.1:8080"
        box.sh(command, "init", "--config", "/root/config.toml", *shlex.split(asked), check=False)
        assert "my-bucket" in box.path("/root/config.toml").read_text()
        assert "systemctl enable --now" in box.sh(command, "service", "install", timeout=300).stdout
        service = Service(box)
        service.configure(standin.url)
        service.start()
        box.write("/srv/drop/products/a.jpg", jpeg())
        service.wait_for("image.stored")
        assert box.ctl("is-active", UNIT).stdout.strip() == "active"
        box.sh(command, "service", "uninstall")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("machine", MACHINES)
def test_every_locked_package_has_a_wheel(machine: str, python: str, tmp_path: Path) -> None:
    """Nothing is compiled, on no supported Python and machine. pip itself chooses, by the lock's hashes."""
    lock = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    for name in PURE_SOURCES:
        lock = re.sub(rf"^{name}==[^\n]*\\\n(?: +--hash[^\n]*\n)+", "", lock, flags=re.MULTILINE)
    (tmp_path / "lock.txt").write_text(lock, encoding="utf-8")
    platforms = [f"--platform=manylinux_{version}_{machine}" for version in ("2_17", "2_24", "2_26", "2_27", "2_28", "2_34")]
    options = ["--dry-run", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--ignore-installed"]
    where = ["--target", tmp_path / "target", f"--python-version={python}", f"--platform=manylinux2014_{machine}", *platforms]

    run([sys.executable, "-m", "pip", "install", *options, *where, "-r", tmp_path / "lock.txt"])
