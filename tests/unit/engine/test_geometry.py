"""Where a resized picture ends up."""

import pytest

from watcher.engine.geometry import GRAVITIES, Placement, Resize, place


@pytest.mark.parametrize(
    ("size", "resize", "expected"),
    [
        ((400, 200), Resize(100, 100), (100, 50)),
        ((200, 400), Resize(100, 100), (50, 100)),
        ((400, 200), Resize(100, None), (100, 50)),
        ((400, 200), Resize(None, 100), (200, 100)),
        ((40, 20), Resize(100, 100), (40, 20)),
        ((40, 20), Resize(100, 100, upscale=False), (40, 20)),
        ((40, 20), Resize(100, 100, upscale=True), (100, 50)),
        ((3, 10_000), Resize(100, 100), (1, 100)),
        ((1000, 667), Resize(333, 222), (333, 222)),
    ],
)
def test_auto_stays_inside_the_box(size: tuple[int, int], resize: Resize, expected: tuple[int, int]) -> None:
    """`auto` keeps the aspect ratio, never leaves the box, and enlarges only when asked."""
    assert place(*size, resize) == Placement(*expected, 0, 0, *expected)


@pytest.mark.parametrize(
    ("size", "upscale", "scaled", "kept"),
    [
        ((400, 200), None, (200, 100), (100, 100)),
        ((50, 50), None, (100, 100), (100, 100)),
        ((50, 50), False, (50, 50), (50, 50)),
        ((1000, 50), False, (1000, 50), (100, 50)),
        ((1000, 50), None, (2000, 100), (100, 100)),
        ((1000, 50), True, (2000, 100), (100, 100)),
    ],
)
def test_fit_covers_the_box(size: tuple[int, int], upscale: bool | None, scaled: tuple[int, int], kept: tuple[int, int]) -> None:
    """`fit` fills the box and crops the rest, enlarging unless told not to."""
    placement = place(*size, Resize(100, 100, "fit", upscale=upscale))
    assert (placement.width, placement.height) == scaled
    assert (placement.crop_width, placement.crop_height) == kept


@pytest.mark.parametrize(
    ("gravity", "wide", "high"),
    list(
        zip(
            GRAVITIES,
            [(50, 0), (0, 0), (50, 0), (100, 0), (100, 0), (100, 0), (50, 0), (0, 0), (0, 0)],
            [(0, 50), (0, 0), (0, 0), (0, 0), (0, 50), (0, 100), (0, 100), (0, 100), (0, 50)],
            strict=True,
        )
    ),
)
def test_gravity_keeps_its_side(gravity: str, wide: tuple[int, int], high: tuple[int, int]) -> None:
    """What is cut away is cut from the sides that gravity does not name."""
    resize = Resize(100, 100, "fit", gravity)  # type: ignore[arg-type]
    assert [(each.left, each.top) for each in (place(200, 100, resize), place(100, 200, resize))] == [wide, high]


def test_without_a_resize_nothing_moves() -> None:
    """The picture stays as it is, whole."""
    assert place(7, 5, None) == Placement(7, 5, 0, 0, 7, 5)
