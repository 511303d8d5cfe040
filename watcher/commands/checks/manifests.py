"""Whether the manifests can be written."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from watcher.commands.checks.apart import ChildLook
from watcher.commands.checks.finding import fail, ok
from watcher.commands.checks.folders import RIGHTS_HINT
from watcher.errors import NotAnswering

if TYPE_CHECKING:
    import pwd
    from pathlib import Path

    from watcher.commands.checks.apart import Moved
    from watcher.commands.checks.finding import Finding
    from watcher.config.schema import Settings


def check_manifests(settings: Settings, user: pwd.struct_passwd | None = None) -> list[Finding]:
    """A line for each, seen with the rights of `user`, or with our own."""
    findings = []
    for folder in settings.folders:
        if folder.manifest is None:
            continue
        what = f"manifest of {folder.name}"
        try:
            findings.append(ChildLook(folder.manifest, partial(check_manifest, what, folder.manifest), user).result())
        except NotAnswering as error:
            findings.append(fail(what, error.message, f"{error.hint}; until then it is not written"))
    return findings


def check_manifest(what: str, path: Path, _: Moved = lambda _: None) -> Finding:
    """Whether it can be written beside its place, and put there."""
    parent = path.parent
    if not parent.is_dir():
        return fail(what, f"the folder {parent} is not there", "make it, for the daemon's user to write")
    if not os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
        return fail(what, f"the folder {parent} may not be written by this user", RIGHTS_HINT)
    if path.is_dir():
        return fail(what, f"{path} is a folder", "choose another name for the manifest")
    return ok(what, f"{path} can be written")
