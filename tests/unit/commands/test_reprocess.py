"""What becomes of a stored file under today's rule: values in, values out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.records import BUCKET, rule, sighting
from watcher.commands.reprocess import Choice, Left, judge
from watcher.model import Image, ImageState, Known, Output, OutputRule, OutputState, Rule
from watcher.records.reprocessing import Again, StoredFile, StoredOutput

NOW = 5_000.0
TODAY = rule("thumb", after="keep")


def changed(under: Rule, rendition: str | None = None, **parts: Any) -> Rule:
    """The rule with other parts of one output."""
    return replace(
        under, outputs=tuple(replace(each, **parts) if each.rendition == rendition else each for each in under.outputs)
    )


def stored_file(*, under: Rule = TODAY, image: bool = True, known: bool = True, **output: Any) -> StoredFile:
    """A file whose outputs were stored under a rule; `output` changes what is known of each."""
    seen = sighting(under=under)
    made = tuple(StoredOutput(each.rendition, f"k/{each.rendition}", each.fingerprint, 1_000.0, True) for each in under.outputs)
    states = tuple(Output(each.rendition, OutputState.STORED, key=f"k/{each.rendition}") for each in under.outputs)
    newest = Image("image-1", seen.file, seen.observation, under, 1_000.0, ImageState.FINISHED, outputs=states)
    return StoredFile(
        "products",
        b"a.jpg",
        Known(seen.observation) if known else None,
        7 if image else None,
        newest if image else None,
        tuple(replace(each, **output) for each in made),
    )


def again(verdict: Again | Left | None) -> Again:
    assert isinstance(verdict, Again), verdict
    return verdict


def renditions(verdict: Again | Left | None) -> list[str | None]:
    return [each.rendition for each in again(verdict).sighting.rule.outputs]


def test_what_was_made_under_the_rule_of_today_stays() -> None:
    """Whether its image is in the journal still or not."""
    assert judge(stored_file(), TODAY, Choice(), NOW) is Left.CURRENT
    assert judge(stored_file(image=False), TODAY, Choice(), NOW) is Left.CURRENT


def test_only_the_outputs_that_changed_are_taken_and_behind_fresh_drops() -> None:
    """The new image has the rule of today, and of that only what has to be done."""
    for image in (True, False):
        verdict = judge(stored_file(image=image), changed(TODAY, "thumb", image={"compression": "ultra"}), Choice(), NOW)
        assert renditions(verdict) == ["thumb"]
        assert (again(verdict).sighting.backlog, again(verdict).sighting.detected_at, again(verdict).anew) == (True, NOW, False)
        assert again(verdict).replaces == (7 if image else None)


def test_other_link_is_no_reason_but_another_path_is() -> None:
    """Nothing has to be sent for a link; an object has to be made to lie at another key."""
    assert judge(stored_file(), changed(TODAY, link="https://cdn/{key}"), Choice(), NOW) is Left.CURRENT
    store = {**TODAY.outputs[0].store, "path": "new/{name}"}
    assert renditions(judge(stored_file(), changed(TODAY, store=store), Choice(), NOW)) == [None]


def test_everything_is_taken_where_that_is_asked_for() -> None:
    """Also what nobody knows the rule of; by rendition where one is named."""
    assert renditions(judge(stored_file(), TODAY, Choice(everything=True), NOW)) == [None, "thumb"]
    assert renditions(judge(stored_file(rule=None), TODAY, Choice(everything=True, rendition="thumb"), NOW)) == ["thumb"]
    assert again(judge(stored_file(), TODAY, Choice(everything=True), NOW)).anew


def test_rule_that_is_not_known_counts_as_any() -> None:
    """A journal that was built anew does not send everything again; it says so."""
    assert judge(stored_file(rule=None), changed(TODAY, image={}), Choice(), NOW) is Left.UNKNOWN_RULE


def test_time_chooses() -> None:
    """Of the storing."""
    other = changed(TODAY, image={})
    assert judge(stored_file(at=999.0), other, Choice(since=1_000.0), NOW) is None
    assert renditions(judge(stored_file(at=1_000.0), other, Choice(since=1_000.0), NOW)) == [None]


@pytest.mark.parametrize(
    ("state", "output", "reason"),
    [
        (ImageState.OPEN, OutputState.WAITING, Left.QUEUED),
        (ImageState.ENDED, OutputState.STORED, Left.QUEUED),
        (ImageState.FINISHED, OutputState.FAILED, Left.FAILED),
    ],
    ids=["waiting", "to be put away", "failed"],
)
def test_images_with_something_else_to_come_are_left(state: ImageState, output: OutputState, reason: Left) -> None:
    """They get the rule of today by themselves, or by `retry`, or later."""
    file = stored_file()
    assert file.image is not None
    file = replace(file, image=replace(file.image, state=state, outputs=(Output(None, output, key="k"),)))

    assert judge(file, changed(TODAY, image={}), Choice(), NOW) is reason


def test_files_that_are_not_there_or_are_others_are_left() -> None:
    """Gone, put away when it was stored, or another version that will be taken."""
    other = changed(TODAY, image={})
    assert judge(stored_file(known=False), other, Choice(), NOW) is Left.GONE
    assert judge(stored_file(known=False, kept=False), other, Choice(), NOW) is Left.ELSEWHERE
    file = replace(stored_file(), known=Known(sighting(version=2).observation))
    assert judge(file, other, Choice(), NOW) is Left.CHANGED


@pytest.mark.parametrize(
    ("template", "image", "kept"),
    [
        ("{date:%Y}/{name}", {"resize": {}}, True),
        ("{date:%Y}/{name}", {"output": {"format": "webp"}}, False),
        ("{name}", {}, False),
    ],
    ids=["date", "date and another format", "no date"],
)
def test_a_key_with_a_date_stays(template: str, image: dict[str, Any], kept: bool) -> None:
    """Unless the format, and so the ending, may be another one."""
    store = {"id": "c", "bucket": BUCKET, "region": "r", "path": template}
    under = replace(TODAY, outputs=(OutputRule(None, {}, store),))
    file = stored_file(under=under)

    verdict = judge(file, changed(under, image={**image, "compression": "ultra"}), Choice(), NOW)

    assert again(verdict).sighting.keys == (("k/None",) if kept else (None,))
