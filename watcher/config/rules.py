"""From a path to its rule, or to the reason why it is not taken. Pure.

The lists below are data: what browsers, copy programs, synchronisers and desktops leave in folders under names that are not the
file's final one. `ignore` in the configuration adds to them. Names that begin with a dot (rsync, Syncthing, FTP servers with
hidden stores, .DS_Store, ._*, .Trash-*) are left as a rule of their own. All names and globs are compared without regard to case:
cameras write IMG_0001.JPG.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pathspec import GitIgnoreSpec

from watcher.config.folder_settings import MoveTo
from watcher.config.keys import DEFAULT_KEY_TEMPLATE
from watcher.config.merging import output_image, output_store
from watcher.model import IgnoredReason, OutputRule, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from watcher.config.folder_settings import Folder
    from watcher.config.schema import Settings

TEMPORARY_NAMES: Final = (
    "*~",  # editors' backups
    "~*",  # Office's locks, ~syncthing~*
    "#*#",  # Emacs
    "*.~*",  # Nextcloud, ownCloud
    "*.part",  # Firefox, KDE, FTP clients
    "*.part-*",  # yt-dlp
    "*.part.minio",  # MinIO's clients
    "*.partial",  # Internet Explorer, rclone
    "*.crdownload",  # Chromium
    "*.crswap",
    "*.download",  # Safari; a directory that holds the file under its final name
    "*.opdownload",  # Opera
    "*.drivedownload",  # Google Drive
    "*.driveupload",
    "*.filepart",  # WinSCP
    "*.filezilla",
    "*.cyberduckpart",
    "*_.gstmp",  # gsutil
    "*._gstmp",
    "*.tmp",
    "*.temp",
    "*.lrtmp",  # Lightroom
    "*.exiv2_temp",
    "*.digikamtempfile.*",
    "*.swp",  # vim
    "*.swo",
    "*.swx",
    "*.kate-swp",
    "*.aria2",
    "*.aria2__temp",
    "*.ytdl",
    "*.fdmdownload",  # Free Download Manager
    "*.dtapart",  # DownThemAll
    "*.xltd",  # Thunder
    "*.jc!",  # FlashGet
    "*.bc!",  # BitComet
    "*.!ut",  # torrent clients
    "*.!qb",
    "*.!bt",
    "*.az!",
    "*.!sync",  # Resilio
    "*.bts",
    "*.ffs_tmp",  # FreeFileSync
    "*.ffs_lock",
    "*.ffs_db",
    "*.incomplete",
    "*.downloading",
    "*.upload",
    "*.uploading",
    "*.syncing",
    "*.lock",
    "*.lftp-pget-status",
    "*.gstmp",
    "*.td",  # Thunder
    "4913",  # vim tries whether it may write
    "Thumbs.db",
    "ehthumbs*.db",
    "desktop.ini",
    "Icon\r",
)
"""Names of files and directories that are never taken."""

_PICTURES: Final = ("jpg", "jpeg", "jpe", "png", "webp", "avif", "heic", "heif", "gif", "tif", "tiff", "bmp", "svg", "ico")
_SIX: Final = "[a-z0-9]" * 6
_EIGHT: Final = "[a-f0-9]" * 8
TEMPORARY_FILES: Final = (
    "*.*_original",  # exiftool's backup: it still has what was removed, a place perhaps
    "*_exiftool_tmp",
    "*.bak",
    "*.orig",
    "*.old",
    "*.backup",
    "*.sb-????????-??????",  # programs in Apple's sandbox, Office among them
    *(f"*.{kind}.{_SIX}" for kind in _PICTURES),  # Qt's QSaveFile, GLib, mkstemp
    *(f"*.{kind}.{_EIGHT}" for kind in _PICTURES),  # AWS clients
    *(f"*.{kind}.tmp*" for kind in _PICTURES),  # programs that write NAME.tmp.PID or NAME.tmp123
    *(f"*.{kind}.st" for kind in _PICTURES),  # axel
)
"""Names of files that are never taken: half written ones, and backups that the program which edits the image leaves beside it.
Directories may be called so."""

PARTNER_SUFFIXES: Final = (".aria2", ".st", ".lftp-pget-status")
"""aria2, axel, lftp: a file beside which one of its name with this behind it lies is not whole yet; that one keeps the
download's state."""

TEMPORARY_DIRECTORIES: Final = (
    "@eaDir",  # Synology
    "@tmp",
    "@Recycle",  # QNAP
    "@Recently-Snapshot",
    "#recycle",
    "#snapshot",
    "$RECYCLE.BIN",
    "RECYCLER",
    "System Volume Information",
    "Network Trash Folder",
    "Temporary Items",
    "__MACOSX",
    "_gsdata_",  # GoodSync
    "lost+found",
)
"""Directories whose contents are never taken."""
_TEMPORARY_DIRECTORIES: Final = frozenset(name.casefold() for name in TEMPORARY_DIRECTORIES)


_LINE_ENDS: Final = {ord("\n"): "\0", ord("\r"): "\1"}
"""They may be part of a name, and are the end of a line to what globs become; no name holds the first put for them, hardly one
the second."""

_NAMED_GROUP: Final = re.compile(r"\(\?P<\w+>")
_NOTHING: Final = "(?!)"


class Globs:
    """A set of shell globs on "/"-separated paths, as in .gitignore files (`**` crosses directories)."""

    def __init__(self, patterns: Iterable[str], *, ignore_case: bool = False) -> None:
        self._patterns = tuple(patterns)
        self._ignore_case = ignore_case
        self._matches = _any_of(tuple(self._plain(_anchored(pattern)) for pattern in self._patterns)).match

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Globs):
            return NotImplemented
        return (self._patterns, self._ignore_case) == (other._patterns, other._ignore_case)

    def __hash__(self) -> int:
        return hash((self._patterns, self._ignore_case))

    def match(self, path: str) -> bool:
        """Whether any glob matches the path inside the folder."""
        return self._matches(self._plain(path).removeprefix("/")) is not None

    def _plain(self, text: str) -> str:
        text = text.translate(_LINE_ENDS)
        return text.lower() if self._ignore_case else text


@lru_cache(maxsize=64)  # folders share most of theirs, and what reads the configuration anew finds them made
def _any_of(lines: tuple[str, ...]) -> re.Pattern[str]:
    """All globs in one expression: to try a hundred of them one by one takes twice as long. None takes a match back."""
    spec = GitIgnoreSpec.from_lines(lines)
    expressions = (pattern.regex.pattern for pattern in spec.patterns if pattern.include and pattern.regex is not None)
    return re.compile("|".join(f"(?:{_NAMED_GROUP.sub('(?:', each)})" for each in expressions) or _NOTHING)


def _anchored(pattern: str) -> str:
    """A glob with no slash in it is for the top of the folder, like `*.jpg` in a shell; `**/*.jpg` is for every depth."""
    escaped = "\\" + pattern if pattern[:1] in "#!" else pattern
    return escaped if escaped.startswith("/") else "/" + escaped


@dataclass(frozen=True, slots=True)
class FolderRules:
    """A folder's rule and its names, ready to be asked for each path."""

    folder: Folder
    rule: Rule
    include: Globs
    exclude: Globs
    ignore: Globs
    ignore_files: Globs
    move_targets: tuple[Path, ...]

    def ignores_directory(self, relative: str) -> IgnoredReason | None:
        """Why nothing below this directory (path inside the folder) is taken, or None."""
        name = relative.rpartition("/")[2]
        if name.startswith("."):
            return IgnoredReason.HIDDEN
        if name.casefold() in _TEMPORARY_DIRECTORIES or self.ignore.match(name):
            return IgnoredReason.TEMPORARY_NAME
        if not self.folder.recursive:
            return IgnoredReason.SUBFOLDER
        if self.folder.path / relative in self.move_targets:
            return IgnoredReason.MOVE_TARGET
        return None

    def ignores_name(self, relative: str) -> IgnoredReason | None:
        """Why this file is not taken whatever it holds, judged by its own name and the globs; its directories are not asked."""
        name = relative.rpartition("/")[2]
        if name.startswith("."):
            return IgnoredReason.HIDDEN
        if self.ignore.match(name) or self.ignore_files.match(name):
            return IgnoredReason.TEMPORARY_NAME
        if self.exclude.match(relative):
            return IgnoredReason.EXCLUDED
        if not self.include.match(relative):
            return IgnoredReason.NOT_INCLUDED
        return None

    def ignores(self, relative: str) -> IgnoredReason | None:
        """Why this file is not taken whatever it holds, its directories asked from the top down; or None."""
        parts = relative.split("/")
        for depth in range(1, len(parts)):
            if reason := self.ignores_directory("/".join(parts[:depth])):
                return reason
        return self.ignores_name(relative)


def folder_rules(settings: Settings) -> dict[str, FolderRules]:
    """The rules of all configured folders, by the folder's name."""
    targets = tuple(
        after.move for folder in settings.folders for after in (folder.on_success, folder.on_failure) if isinstance(after, MoveTo)
    )
    ignore = Globs((*TEMPORARY_NAMES, *settings.ignore), ignore_case=True)
    ignore_files = Globs(TEMPORARY_FILES, ignore_case=True)
    return {
        folder.name: FolderRules(
            folder=folder,
            rule=build_rule(settings, folder),
            include=Globs(folder.include, ignore_case=True),
            exclude=Globs(folder.exclude, ignore_case=True),
            ignore=ignore,
            ignore_files=ignore_files,
            move_targets=targets,
        )
        for folder in settings.folders
    }


def build_rule(settings: Settings, folder: Folder) -> Rule:
    """The snapshot of a folder's configuration that its images carry."""
    outputs = []
    for rendition in (None, *folder.renditions):
        store = {"path": DEFAULT_KEY_TEMPLATE, **output_store(settings, folder, rendition)}
        link = (rendition.link if rendition else None) or folder.link
        outputs.append(OutputRule(rendition.name if rendition else None, output_image(folder, rendition), store, link))
    return Rule(folder.name, folder.path, tuple(outputs), _after(folder.on_success), _after(folder.on_failure))


def _after(action: str | MoveTo) -> str:
    return f"move:{action.move}" if isinstance(action, MoveTo) else action
