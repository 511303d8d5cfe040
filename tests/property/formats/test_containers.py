"""Whatever a file holds, the check of its container ends with a verdict."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.unit.formats.test_containers import judged, samples
from watcher.model import Format

FORMATS: set[Format | None] = {None, *Format}
SAMPLES = [content for _, content in samples().values()]
NUMBERS = [b"\0\0\0\0", b"\0\0\0\1", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\xff"]

Change = Callable[[bytes], bytes]


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Some bytes of a file are replaced, taken out or put in; the beginning, where formats keep their numbers, is likelier."""
    position = draw(st.one_of(st.integers(0, 64), st.integers(0, 20_000)))
    removed = draw(st.integers(0, 20))
    put = draw(st.one_of(st.sampled_from(NUMBERS), st.binary(max_size=20)))
    return lambda content: content[:position] + put + content[position + removed :]


@given(st.sampled_from(SAMPLES), st.lists(changes(), min_size=1, max_size=8))
@examples(250)
def test_changed_images_get_a_verdict(content: bytes, changed: list[Change]) -> None:
    """Any change of any format: a format or none, whole or not, and never an error."""
    for change in changed:
        content = change(content)

    assert judged(content).format in FORMATS


@given(st.binary(max_size=400), st.sampled_from([content[:16] for content in SAMPLES]))
@examples(200)
def test_any_bytes_behind_a_signature_get_a_verdict(content: bytes, signature: bytes) -> None:
    """What only begins like an image."""
    assert judged(signature + content).format in FORMATS
