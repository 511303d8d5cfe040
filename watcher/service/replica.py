"""Copies this installation into another environment: what `service install` builds a release of, without a network.

Run as `python -m watcher.service.replica digest` and `python -m watcher.service.replica copy ENVIRONMENT`.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import sysconfig
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = "compressor-watcher"
_REQUIRED: Final = re.compile(r"^[A-Za-z0-9._-]+")


class NotCopyable(Exception):
    """This installation cannot be copied; the message says why and what to do."""


def distributions(name: str = NAME) -> list[Distribution]:
    """The distribution `name` and all that it may need of what is installed, each once, in the order of their names."""
    found: dict[str, Distribution] = {}
    wanted = [name]
    while wanted:
        key = _normal(wanted.pop())
        if key in found:
            continue
        try:
            found[key] = distribution(key)
        except PackageNotFoundError:
            continue  # of an extra that is not installed, or for another platform
        wanted += [match[0] for each in found[key].requires or () if (match := _REQUIRED.match(each))]
    if _normal(name) not in found:
        raise NotCopyable(f"{name} is not installed in {sys.prefix}")
    return [found[key] for key in sorted(found)]


def digest(parts: list[Distribution]) -> str:
    """Names an installation by its Python and by every file's hash: equal installations have equal digests."""
    whole = hashlib.sha256(sys.version.encode())
    for part in parts:
        whole.update((part.read_text("RECORD") or part.metadata["Version"]).encode())
    return whole.hexdigest()[:12]


def copy(parts: list[Distribution], environment: Path) -> None:
    """Copy the distributions into the environment's site-packages, and put the command beside its interpreter.

    Raises NotCopyable where the installation is a link to a checkout.
    """
    if _is_editable(parts):
        raise NotCopyable(f"{NAME} is installed as a link to its sources: run `make install` there")
    target = environment / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for part in parts:
        for source, inside in _files(part):
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / inside)
    command = environment / "bin" / NAME
    command.write_text(f"#!{environment}/bin/python\nimport sys\n\nfrom watcher.__main__ import main\n\nsys.exit(main())\n")
    command.chmod(0o755)


def _files(part: Distribution) -> Iterator[tuple[Path, Path]]:
    """Each file of the distribution inside site-packages: where it lies, and its path there."""
    for file in part.files or ():
        source = Path(str(part.locate_file(file)))
        if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
            yield source, Path(*file.parts)


def _is_editable(parts: list[Distribution]) -> bool:
    texts = (part.read_text("direct_url.json") for part in parts if _normal(part.metadata["Name"]) == NAME)
    return any(text and json.loads(text).get("dir_info", {}).get("editable") for text in texts)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: list[str]) -> int:
    """Exit status 1 with a message on stderr where this installation cannot be copied."""
    try:
        parts = distributions()
        if arguments == ["digest"]:
            sys.stdout.write(digest(parts) + "\n")
        else:
            copy(parts, Path(arguments[1]))
    except NotCopyable as error:
        sys.stderr.write(f"{NAME}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
