"""Tables laid over each other: defaults, the folder's own, a rendition's."""

import pytest

from watcher.config.merging import merge, output_image, output_store
from watcher.config.schema import Settings


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": 3}, {"a": 3, "b": 2}),
        ({"t": {"a": 1, "b": 2}}, {"t": {"b": 3, "c": 4}}, {"t": {"a": 1, "b": 3, "c": 4}}),
        ({"t": {"u": {"a": 1}}}, {"t": {"u": {"b": 2}}}, {"t": {"u": {"a": 1, "b": 2}}}),
        ({"t": {"a": 1}}, {"t": 5}, {"t": 5}),
        ({"t": 5}, {"t": {"a": 1}}, {"t": {"a": 1}}),
        ({"l": [1, 2]}, {"l": [3]}, {"l": [3]}),
        ({"t": None}, {"t": {"a": 1}}, {"t": {"a": 1}}),
    ],
)
def test_tables_are_merged_key_by_key_and_all_else_is_replaced(
    base: dict[str, object], over: dict[str, object], merged: dict[str, object]
) -> None:
    """Neither of the two is changed."""
    before, above = repr(base), repr(over)
    assert merge(base, over) == merged
    assert (repr(base), repr(over)) == (before, above)


def test_an_output_has_what_is_nearest_to_it() -> None:
    """`[store]` is below the folder's `store`, that below the rendition's; the folder's `image` is below the rendition's."""
    settings = Settings.model_validate(
        {
            "store": {
                "id": "connector",
                "bucket": "all",
                "headers": {"Cache-Control": "no-store", "Content-Disposition": "inline"},
            },
            "folders": [
                {
                    "path": "/srv/drop",
                    "image": {"compression": "high", "resize": {"width": 1600, "height": 1600}},
                    "store": {"bucket": "folder", "headers": {"Content-Disposition": "attachment"}},
                    "renditions": [{"name": "thumb", "image": {"resize": {"width": 320}}, "store": {"path": "t/{name}"}}],
                }
            ],
        }
    )
    (folder,) = settings.folders
    (thumb,) = folder.renditions
    own = {"id": "connector", "bucket": "folder", "headers": {"Cache-Control": "no-store", "Content-Disposition": "attachment"}}
    assert output_store(settings, folder, None) == own
    assert output_store(settings, folder, thumb) == {**own, "path": "t/{name}"}
    assert output_image(folder, None) == folder.image
    assert output_image(folder, thumb) == {"compression": "high", "resize": {"width": 320, "height": 1600}}
