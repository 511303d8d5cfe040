"""The watched folders and where files are moved to: rights, mounts, and whether the kernel can watch them all."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watcher.commands.checks.apart import ChildLook
from watcher.commands.checks.finding import fail, ok, warn
from watcher.config.folder_settings import MoveTo
from watcher.config.rules import folder_rules
from watcher.config.units import human_duration
from watcher.errors import NotAnswering
from watcher.intake.mounts import current_mounts, missing_mount, root_identity
from watcher.intake.watch import watch_limit
from watcher.intake.watchdog_internals import watches_left

if TYPE_CHECKING:
    import pwd
    from collections.abc import Iterator

    from watcher.commands.checks.apart import Moved
    from watcher.commands.checks.finding import Finding
    from watcher.config.rules import FolderRules
    from watcher.config.schema import Settings

SURVEY_SECONDS: Final = 20.0
"""So long a folder's tree is walked at most; what was not seen by then is not counted."""
SAMPLE_FILES: Final = 2_000
"""So many files of a folder are asked for their rights."""
NAMED: Final = 3
MIN_QUEUED_EVENTS: Final = 16_384
MIN_INSTANCES: Final = 32
RIGHTS_HINT: Final = "give this user the right (chmod, setfacl, or a group: for the service SupplementaryGroups= in a drop-in)"


@dataclass(slots=True)
class Survey:
    """What a walk through a folder's tree found. Paths are bytes, as the file system keeps them."""

    directories: int = 0
    closed: list[bytes] = field(default_factory=list)
    """Directories that may not be listed."""
    fixed: list[bytes] = field(default_factory=list)
    """Directories out of which this user may not move or delete."""
    files: int = 0
    unreadable: list[bytes] = field(default_factory=list)
    complete: bool = True


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there (or can be seen)."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))


def check_folders(settings: Settings, user: pwd.struct_passwd | None = None) -> list[Finding]:
    """A few lines for each folder, then those of the watch limits. Seen with the rights of `user`, or with our own.

    A folder that does not answer is said, and keeps nothing else from being looked at.
    """
    findings: list[Finding] = []
    watched, answering = 0, Path("/")
    looks = [
        (rules.folder, ChildLook(rules.folder.path, partial(check_folder, rules, settings.rescan), user))
        for rules in folder_rules(settings).values()
    ]
    for folder, look in looks:
        try:
            lines, directories = look.result()
        except NotAnswering as error:
            findings.append(fail(f"folder {folder.name}", error.message, f"{error.hint}; until then its images wait"))
        else:
            findings += lines
            watched += directories
            answering = folder.path
    return [*findings, *check_limits(watched, answering)]


def check_folder(rules: FolderRules, rescan: float, moved: Moved) -> tuple[list[Finding], int]:
    """A folder's lines, and how many directories of it the kernel has to watch."""
    folder = rules.folder
    what = f"folder {folder.name}"
    if (trouble := _reachable(what, folder.path)) is not None:
        return [trouble], 0
    try:
        return _look_closely(what, rules, rescan, moved)
    except OSError as error:
        return [fail(what, f"{folder.path}: {error.strerror}", "it went away while it was looked at; check again")], 0


def _look_closely(what: str, rules: FolderRules, rescan: float, moved: Moved) -> tuple[list[Finding], int]:
    folder = rules.folder
    needs_write = rules.rule.on_success != "keep" or rules.rule.on_failure != "keep"
    survey = walk(rules, time.monotonic() + SURVEY_SECONDS, needs_write=needs_write, moved=moved)
    kind, remote = file_system(folder.path)
    polled = folder.polling is True or (folder.polling == "auto" and remote)
    findings = [
        _content(what, folder.path, survey),
        *_rights(what, survey, needs_write=needs_write),
        *_mount(what, folder.path, kind, polled=polled, remote=remote, rescan=rescan),
        *(_move_target(what, folder.path, after.move, moved) for after in _moves(rules)),
    ]
    return findings, 0 if polled else survey.directories


def _reachable(what: str, path: Path) -> Finding | None:
    """The line of a folder that cannot be looked into at all."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        (path / ".").stat()
    except FileNotFoundError:
        return fail(what, f"{path} is not there", f"make it (mkdir -p {path}), mount it, or correct `path`")
    except NotADirectoryError:
        return fail(what, f"{path} is no folder", "correct `path`")
    except PermissionError:
        return fail(what, f"{path} may not be listed by this user", RIGHTS_HINT)
    except OSError as error:
        return fail(what, f"{path}: {error.strerror}", "look at the disk or the share")
    return None


# --- the tree ---------------------------------------------------------------------------------------------------------------


def walk(rules: FolderRules, deadline: float, *, needs_write: bool, moved: Moved = lambda _: None) -> Survey:
    """Walk the directories that will be watched. `moved` is told of each."""
    survey = Survey()
    root = os.fsencode(rules.folder.path)
    waiting = [b""]
    while waiting:
        if time.monotonic() > deadline:
            survey.complete = False
            break
        relative = waiting.pop()
        moved(os.fsdecode(root + b"/" + relative) if relative else rules.folder.path)
        waiting.extend(_visit(survey, rules, root, relative, needs_write=needs_write))
    return survey


def _visit(survey: Survey, rules: FolderRules, root: bytes, relative: bytes, *, needs_write: bool) -> list[bytes]:
    """One directory; gives those in it that are to be visited."""
    path = root + b"/" + relative if relative else root
    try:
        with os.scandir(path) as entries:
            found = list(entries)
    except OSError:
        survey.closed.append(path)
        return []
    survey.directories += 1
    if needs_write and not may_remove_from(path):
        survey.fixed.append(path)
    below = []
    for entry in found:
        inside = relative + b"/" + entry.name if relative else entry.name
        if entry.is_dir(follow_symlinks=False):
            if rules.ignores_directory(os.fsdecode(inside)) is None:
                below.append(inside)
        elif survey.files < SAMPLE_FILES and rules.ignores_name(os.fsdecode(inside)) is None:
            survey.files += 1
            if not os.access(entry.path, os.R_OK, effective_ids=True):
                survey.unreadable.append(entry.path)
    return below


def may_remove_from(path: bytes) -> bool:
    """Whether this user may move or delete other people's files out of a directory."""
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        return False
    status = Path(os.fsdecode(path)).stat()
    return not status.st_mode & stat.S_ISVTX or os.geteuid() in (0, status.st_uid)


def _content(what: str, path: Path, survey: Survey) -> Finding:
    directories = _directories(survey.directories)
    if survey.complete:
        return ok(what, f"{path}: readable, {directories}")
    found = f"{path}: more than {directories}; counted for {human_duration(SURVEY_SECONDS)} and not to the end"
    return warn(what, found, "nothing, if the watch limit below has room to spare")


def _directories(count: int) -> str:
    return "1 directory" if count == 1 else f"{count} directories"


def _rights(what: str, survey: Survey, *, needs_write: bool) -> Iterator[Finding]:
    if survey.closed:
        yield fail(f"{what}: rights", f"may not be listed: {named(survey.closed)}", RIGHTS_HINT)
    if survey.unreadable:
        found = f"{len(survey.unreadable)} of {survey.files} files looked at may not be read: {named(survey.unreadable)}"
        todo = (
            f"they are taken as soon as they can be read; {RIGHTS_HINT}, and see to it that new files get it (umask, default ACL)"
        )
        yield warn(f"{what}: rights", found, todo)
    if survey.fixed:
        found = f"files may not be moved or deleted out of {named(survey.fixed)}"
        yield fail(f"{what}: rights", found, f"on_success or on_failure need write permission (no sticky bit); {RIGHTS_HINT}")
    elif needs_write and not survey.closed:
        yield ok(f"{what}: rights", "files may be moved and deleted")


def named(paths: list[bytes]) -> str:
    """The first few of many paths."""
    shown = ", ".join(os.fsdecode(path) for path in paths[:NAMED])
    more = len(paths) - NAMED
    return shown + (f" and {more} more" if more > 0 else "")


# --- what it lies on --------------------------------------------------------------------------------------------------------


def file_system(path: Path) -> tuple[str, bool]:
    """The type of the file system that a folder lies on, and whether writers elsewhere go unseen there."""
    mount = current_mounts().get(root_identity(os.fsencode(path)).mount)
    return (mount.kind, mount.remote) if mount is not None else ("unknown", False)


def _mount(what: str, path: Path, kind: str, *, polled: bool, remote: bool, rescan: float) -> Iterator[Finding]:
    if (point := missing_mount(os.path.realpath(os.fsencode(path)))) is not None:
        found = f"/etc/fstab has a mount at {os.fsdecode(point)}, and nothing is mounted there"
        yield fail(f"{what}: mount", found, f"mount {os.fsdecode(point)}")
    if remote and not polled:
        found = f"lies on {kind}, where changes made elsewhere are not seen, and `polling` is false"
        yield warn(f"{what}: mount", found, f'set polling = "auto"; else only the scan every {human_duration(rescan)} finds them')
    elif polled:
        yield ok(f"{what}: mount", f"lies on {kind}: polled")


def _moves(rules: FolderRules) -> list[MoveTo]:
    return [after for after in (rules.folder.on_success, rules.folder.on_failure) if isinstance(after, MoveTo)]


def _move_target(what: str, folder: Path, target: Path, moved: Moved) -> Finding:
    """A folder that files are moved to; it is made when the first one is."""
    moved(target)
    what = f"{what}: move to {target}"
    there = existing(target)
    if not there.is_dir():
        return fail(what, f"{there} is no folder", "correct `move`")
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        return fail(what, f"{there} may not be written by this user", RIGHTS_HINT)
    made = "" if there == target else "it will be made; "
    if (there.stat().st_dev, _mount_of(there)) == (folder.stat().st_dev, _mount_of(folder)):
        return ok(what, f"{made}same file system: files are renamed")
    return ok(what, f"{made}another file system: files are copied, checked, then deleted")


def _mount_of(directory: Path) -> str:
    """Which mount it is seen through: between two of one file system, too, nothing can be renamed."""
    descriptor = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii").splitlines()
    finally:
        os.close(descriptor)
    return next((line for line in lines if line.startswith("mnt_id:")), "")


# --- the kernel's limits ----------------------------------------------------------------------------------------------------


def check_limits(directories: int, anywhere: Path) -> list[Finding]:
    """fs.inotify.* against what is to be watched; `anywhere` is a directory to try it on."""
    return [
        judge_watches(directories, watch_limit(), left=not directories or watches_left(os.fsencode(anywhere))),
        *judge_limits(_limit("max_user_instances"), _limit("max_queued_events")),
    ]


def judge_watches(directories: int, limit: int, *, left: bool) -> Finding:
    """Whether so many directories can be watched. `left`: the kernel granted one more watch just now."""
    what = "watch limit"
    found = f"{_directories(directories)} to watch, {limit} allowed for this user (fs.inotify.max_user_watches)"
    enough = max(524_288, 2 * directories)
    todo = f"sysctl fs.inotify.max_user_watches={enough} (and in /etc/sysctl.d/); until then folders are polled"
    if directories > limit:
        return fail(what, found, todo)
    if not left:
        return fail(what, f"{found}, and other programs use them up", todo)
    if directories > limit * 0.8:
        return warn(what, found, todo)
    return ok(what, found)


def judge_limits(instances: int | None, queued: int | None) -> Iterator[Finding]:
    """The two other limits; None where the kernel does not tell. Silent where they are large enough."""
    if instances is not None and instances < MIN_INSTANCES:
        todo = "sysctl fs.inotify.max_user_instances=128; until then folders may be polled"
        yield warn("watch limit", f"only {instances} inotify instances for this user", todo)
    if queued is not None and queued < MIN_QUEUED_EVENTS:
        todo = f"sysctl fs.inotify.max_queued_events={MIN_QUEUED_EVENTS}; an overflow costs a scan, no image"
        yield warn("watch limit", f"only {queued} events can wait in the queue", todo)


def _limit(name: str) -> int | None:
    try:
        return int(Path(f"/proc/sys/fs/inotify/{name}").read_bytes())
    except (OSError, ValueError):
        return None
