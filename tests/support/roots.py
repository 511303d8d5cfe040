"""Empty Debian machines: a root directory made by mmdebstrap, and commands in it. Slow; only for `make platforms`."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / ".cache"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
HANDED_IN = ("PIP_", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""What of this machine's environment says how packages are reached."""


def why_no_roots() -> str:
    """What this machine lacks; empty where it has all."""
    if os.geteuid() != 0:
        return "root is needed"
    if missing := [tool for tool in ("mmdebstrap", "unshare", "nsenter", "chroot", "setpriv") if shutil.which(tool) is None]:
        return f"{', '.join(missing)} missing (apt-get install mmdebstrap)"
    return ""


def debian(suite: str, target: Path, *packages: str) -> Path:
    """An empty Debian with these packages, unpacked into `target`; made once and kept below .cache."""
    name = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:8]
    archive = CACHE / f"root-{suite}-{name}.tar"
    if not archive.exists():
        CACHE.mkdir(exist_ok=True)
        making = archive.with_suffix(f".{os.getpid()}.tar")
        include = [f"--include={','.join(packages)}"] if packages else []
        old = "--aptopt=Acquire::Check-Valid-Until false"  # a mirror may lag behind with a suite that changes daily
        run(["mmdebstrap", "--quiet", "--variant=minbase", old, *include, suite, making])
        making.rename(archive)
    target.mkdir(parents=True)
    run(["tar", "--extract", "--numeric-owner", "--file", archive, "--directory", target])
    shutil.copyfile("/etc/resolv.conf", target / "etc/resolv.conf")
    hosts = target / "etc/hosts"  # as the installer of Debian writes it
    hosts.write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n", encoding="ascii")
    return target


def run(command: list[str | Path], **options: object) -> subprocess.CompletedProcess[str]:
    """Run it; its output is told where it fails."""
    try:
        done = subprocess.run(command, text=True, capture_output=True, timeout=2700, check=False, **options)  # type: ignore[call-overload]
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{command}: not done in time\n{(late.stdout or b'')[-4000:].decode(errors='replace')}") from None
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done  # type: ignore[no-any-return]


def handed_in() -> dict[str, str]:
    """How packages are reached from here."""
    return {name: value for name, value in os.environ.items() if name.startswith(HANDED_IN)}


def in_root(root: Path, script: str, *, environment: dict[str, str] | None = None, directory: str = "/") -> str:
    """Run a shell script in a root, as its root user, with /proc, /dev and this machine's network; gives its output."""
    trusted = {}
    if CERTIFICATES.exists():  # whom this machine trusts on the way to the packages
        shutil.copyfile(CERTIFICATES, root / "run/certificates.pem")
        trusted = {"PIP_CERT": "/run/certificates.pem", "SSL_CERT_FILE": "/run/certificates.pem"}
    mounts = f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && cd {root} && exec "
    variables = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        **handed_in(),
        **trusted,
        **(environment or {}),
    }
    words = ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
    inner = ["chroot", str(root), *words, "sh", "-ec", f"cd {shlex.quote(directory)}\n{script}"]
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    return run([*apart, "sh", "-ec", mounts + shlex.join(inner)]).stdout
