"""`explain FILE`: which rule, key and request body a file would get, or why it is ignored. Reads, sends nothing."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from watcher.clock import SystemClock
from watcher.compressor.wire import FetchRequest
from watcher.config.keys import InvalidKey, KeyFields, render_key
from watcher.config.rules import folder_rules
from watcher.errors import NotAnswering
from watcher.formats.containers import judge
from watcher.formats.targets import by_name, converted_extension
from watcher.formats.visibility import notices
from watcher.in_time import ask
from watcher.intake.inspection import Inspector, Unsuitable, inspect_file
from watcher.intake.roots import Place
from watcher.model import IgnoredReason, SourceFacts, path_fields
from watcher.result_records import printable

if TYPE_CHECKING:
    from watcher.config.rules import FolderRules
    from watcher.config.schema import Settings
    from watcher.model import OutputRule

READING_SECONDS = 60.0
"""So long a file may take to be read to its end."""
WHY = {
    IgnoredReason.UNSUPPORTED: "it is a picture of a kind that cannot be done",
    IgnoredReason.NOT_AN_IMAGE: "its bytes are no image that the API takes (the name does not matter)",
    IgnoredReason.HIDDEN: "its name, or a directory on its way, begins with a dot",
    IgnoredReason.TEMPORARY_NAME: "its name is one that programs use for files in the making",
    IgnoredReason.NOT_INCLUDED: "no glob of `include` matches it",
    IgnoredReason.EXCLUDED: "a glob of `exclude` matches it",
    IgnoredReason.SUBFOLDER: "it lies in a subfolder and `recursive` is false",
    IgnoredReason.MOVE_TARGET: "it lies in a folder that finished files are moved to",
    IgnoredReason.NOT_REGULAR: "it is no regular file",
    IgnoredReason.SYMLINK_OUTSIDE: "it is a symbolic link that leads out of the folder",
    IgnoredReason.SYMLINK_BROKEN: "it is a symbolic link that leads nowhere",
    IgnoredReason.UNREADABLE: "this user may not read it",
    IgnoredReason.OWN_OUTPUT: "it is what an earlier image of this folder came out as",
}


def explain(settings: Settings, file: Path, *, as_json: bool) -> int:
    """Print what would happen to the file. Exit status 1 where it lies in no watched folder."""
    answer = explanation(settings, Path(os.path.normpath(file.absolute())))
    if as_json:
        print(json.dumps(printable(answer), ensure_ascii=False))  # noqa: T201 - the command's output
    else:
        _show(printable(answer))
    return 0 if answer.get("folder") else 1


def explanation(settings: Settings, file: Path) -> dict[str, Any]:
    """What would happen to the file, as data."""
    rules = next((each for each in folder_rules(settings).values() if file.is_relative_to(each.folder.path)), None)
    if rules is None or file == rules.folder.path:
        return {**path_fields("file", file), "verdict": "outside", "message": "it lies in none of the watched folders"}
    return explain_below(settings, rules, str(file.relative_to(rules.folder.path)))


def explain_below(settings: Settings, rules: FolderRules, relative: str) -> dict[str, Any]:
    """What would happen to a file of a folder, by its path inside it."""
    answer: dict[str, Any] = {**path_fields("file", rules.folder.path / relative), "folder": rules.folder.name}
    if reason := rules.ignores(relative):
        return {**answer, "verdict": "ignored", "reason": str(reason), "message": WHY[reason]}
    facts, problem = _facts_if_it_answers(rules, relative)
    if problem and problem["verdict"] == "not_answering":
        answer |= problem
    elif problem:
        return {**answer, **problem}
    elif facts is None:
        answer |= {
            "verdict": "not_there",
            "message": "there is no such file; if its bytes are an image, this is what it would get",
        }
    else:
        answer |= {"verdict": "taken"}
    return {**answer, **_outputs(settings, rules, relative, facts)}


def _facts_if_it_answers(rules: FolderRules, relative: str) -> tuple[SourceFacts | None, dict[str, Any] | None]:
    try:
        return _facts(rules, relative)
    except NotAnswering as error:
        message = f"{error.message} ({error.hint}); if the file's bytes are an image, this is what it would get"
        return None, {"verdict": "not_answering", "message": message}


def _facts(rules: FolderRules, relative: str) -> tuple[SourceFacts | None, dict[str, Any] | None]:
    """What the file's bytes say; or why it would not be taken as it is."""
    root, name = rules.folder.path, os.fsencode(relative)
    inspector = Inspector(Place(root, 0, 0, "unknown"), leases=False)
    real_root = ask(root, lambda: os.path.realpath(os.fsencode(root)))
    first = ask(root / relative, lambda: inspect_file(real_root, name, inspector))
    if isinstance(first, Unsuitable):
        return None, {"verdict": "ignored", "reason": str(first.reason), "message": first.message or WHY[first.reason]}
    if first is None:
        return None, None
    if first.observation.size == 0:
        return None, {"verdict": "waited_for", "message": "it is empty"}
    return ask(root / relative, lambda: _judged(real_root + b"/" + name), READING_SECONDS)


def _judged(path: bytes) -> tuple[SourceFacts | None, dict[str, Any] | None]:
    with open(path, "rb") as file:  # noqa: PTH123 - the name is bytes
        size = os.fstat(file.fileno()).st_size
        verdict = judge(lambda offset, count: os.pread(file.fileno(), count, offset), size)
        if verdict.format is None:
            reason = IgnoredReason.UNSUPPORTED if verdict.unsupported else IgnoredReason.NOT_AN_IMAGE
            return None, {"verdict": "ignored", "reason": str(reason), "message": verdict.unsupported or WHY[reason]}
        if not verdict.whole:
            then = "; all its pixels are there: it is sent when max_wait is over" if verdict.formal else ""
            return None, {"verdict": "waited_for", "message": f"it is not whole yet: {verdict.missing}{then}"}
        sha1 = hashlib.file_digest(file, "sha1").hexdigest()
    return SourceFacts(os.fsdecode(path).rpartition("/")[2], sha1, size, verdict.format), None


def _outputs(settings: Settings, rules: FolderRules, relative: str, facts: SourceFacts | None) -> dict[str, Any]:
    now = datetime.fromtimestamp(SystemClock().now(), UTC)
    outputs = [_output(settings, rules, rule, relative, facts, now) for rule in rules.rule.outputs]
    about = {"sha1": facts.sha1, "size": facts.size, "format": str(facts.format)} if facts else {}
    return {**about, "outputs": outputs, "on_success": rules.rule.on_success, "on_failure": rules.rule.on_failure}


def _output(
    settings: Settings, rules: FolderRules, rule: OutputRule, relative: str, facts: SourceFacts | None, now: datetime
) -> dict[str, Any]:
    renders_svg = settings.compressor.embedded
    source = facts.format if facts else by_name(relative)
    converted = converted_extension(source, rule.image, renders_svg=renders_svg) if source else None
    fields = KeyFields(relative, rules.folder.name, rule.rendition, facts.sha1 if facts else "0" * 40, now, converted)
    try:
        key = render_key(str(rule.store["path"]), fields)
    except InvalidKey as error:
        return {"rendition": rule.rendition, "problem": str(error)}
    store = {**rule.store, "path": key}
    if settings.verify.mode != "never":
        ours = {"source-sha1": fields.sha1, "rule": rule.fingerprint}
        store["metadata"] = {**store.get("metadata", {}), **ours}
    request = FetchRequest("<temporary URL>", rule.image, store)
    told = notices(source, rule.image, renders_svg=renders_svg) if source else ()
    warnings = {"warnings": [str(each) for each in told]} if told else {}
    return {"rendition": rule.rendition, "bucket": store["bucket"], "key": key, **warnings, "request": request.body()}


def _show(answer: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(answer["file"], style="bold")
    if "folder" in answer:
        console.print(f"  folder   {answer['folder']}")
    console.print(f"  verdict  {answer['verdict'].replace('_', ' ')}" + (f": {answer['message']}" if "message" in answer else ""))
    if "format" in answer:
        console.print(f"  content  {answer['format']}, {answer['size']} bytes, SHA-1 {answer['sha1']}")
    for output in answer.get("outputs", ()):
        console.print(f"\n  {output['rendition'] or 'own output'}: " + str(output.get("key") or output["problem"]), style="bold")
        if "warnings" in output:
            console.print(f"  warning: {', '.join(output['warnings'])}", style="yellow")
        if "request" in output:
            console.print_json(data=output["request"], indent=2)
    if "on_success" in answer:
        console.print(f"\n  afterwards: {answer['on_success']}; if an output fails: {answer['on_failure']}")
