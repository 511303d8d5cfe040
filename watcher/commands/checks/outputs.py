"""What of a folder's outputs will not be seen as meant: formats that browsers do not show, caches that hide what is new. Pure."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from watcher.commands.checks.finding import ok, warn
from watcher.config.keys import DEFAULT_KEY_TEMPLATE, fields_of
from watcher.config.rules import folder_rules
from watcher.config.units import human_duration
from watcher.formats.targets import AS_IT_CAME, EXTENSIONS, NOT_WEB_SAFE, stored_format, wanted
from watcher.formats.visibility import hidden_for, tells_contents_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watcher.commands.checks.finding import Finding
    from watcher.config.rules import FolderRules
    from watcher.config.schema import Settings
    from watcher.model import Format, OutputRule

_LITERAL_ENDING: Final = re.compile(r"\.([a-z0-9]+)$")
_DAY: Final = 86_400


def check_outputs(settings: Settings) -> list[Finding]:
    """A line for each folder of which there is nothing to say, else one for each thing."""
    findings: list[Finding] = []
    for rules in folder_rules(settings).values():
        what = f"folder {rules.folder.name}: outputs"
        found = list(_look_at(what, rules, embedded=settings.compressor.embedded))
        findings += found or [ok(what, "browsers show what is stored, and see what is replaced")]
    return findings


def _look_at(what: str, rules: FolderRules, *, embedded: bool) -> Iterator[Finding]:
    outputs = rules.rule.outputs
    if not embedded and (asking := [each for each in outputs if "output" in each.image]):
        found = f"image.output of {_names(asking)} goes to the API as it is; the vendor's own name for a conversion is not known"
        yield warn(what, found, 'see what the vendor takes; compressor.url = "embedded" converts on this machine')
    yield from _unsafe(what, rules, embedded=embedded)
    yield from _misnamed(what, outputs)
    yield from _hidden(what, outputs)


def _names(outputs: list[OutputRule]) -> str:
    return ", ".join("the folder's own output" if each.rendition is None else each.rendition for each in outputs)


def _unsafe(what: str, rules: FolderRules, *, embedded: bool) -> Iterator[Finding]:
    """Formats that may come and are stored as they come."""
    coming = [source for source in sorted(NOT_WEB_SAFE) if may_come(rules, source)]
    unsafe = [each for each in rules.rule.outputs if any(_stays(source, each) for source in coming)]
    if not unsafe:
        return
    formats = " and ".join(source.name for source in coming if any(_stays(source, each) for each in unsafe))
    found = f"{formats} files are stored as they come ({_names(unsafe)}), and not every browser shows them"
    convert = 'image.output = { format = "web" } stores a JPEG or PNG instead' if embedded else "see what conversions the API has"
    yield warn(what, found, f"{convert}; or leave them out with `exclude`")


def _stays(source: Format, rule: OutputRule) -> bool:
    return stored_format(source, wanted(rule.image)) in NOT_WEB_SAFE


def may_come(rules: FolderRules, source: Format) -> bool:
    """Whether names of a format pass the folder's globs; a name says nothing for certain, the bytes count."""
    included = [_LITERAL_ENDING.search(pattern.lower()) for pattern in rules.folder.include]
    endings = EXTENSIONS[source]
    if all(match is not None and match[1] not in endings for match in included):
        return False
    return not all(rules.exclude.match(f"{place}a.{ending}") for ending in endings for place in ("", "a/"))


def _misnamed(what: str, outputs: tuple[OutputRule, ...]) -> Iterator[Finding]:
    """Keys that keep the name of what came, though another format is stored."""
    named = [each for each in outputs if wanted(each.image) != AS_IT_CAME and "name" in fields_of(str(each.store["path"]))]
    named = [each for each in named if each.store["path"] != DEFAULT_KEY_TEMPLATE]
    if named:
        found = f"store.path of {_names(named)} has {{name}}: what is converted keeps the extension of what came"
        yield warn(what, found, "use {stem}.{ext} instead")


def _hidden(what: str, outputs: tuple[OutputRule, ...]) -> Iterator[Finding]:
    """Keys that stay the same when a file is replaced, behind caches that ask for long whether anything changed."""
    for each in outputs:
        seconds = hidden_for(each.store)
        if seconds is None or tells_contents_apart(str(each.store["path"])):
            continue
        long = "forever" if math.isinf(seconds) else f"for {_days(seconds)}"
        found = f"what is replaced keeps its key ({_names([each])}), and Cache-Control lets caches show the old picture {long}"
        yield warn(what, found, "put {sha1:.8} into store.path, or give Cache-Control a max-age of a day at most")


def _days(seconds: float) -> str:
    return f"{seconds / _DAY:.0f} days" if seconds >= 2 * _DAY else human_duration(seconds)
