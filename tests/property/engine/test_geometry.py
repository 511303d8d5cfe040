"""What holds for every picture and every box."""

from hypothesis import given
from hypothesis import strategies as st

from watcher.engine.geometry import GRAVITIES, Resize, place

sides = st.integers(1, 65_535)


@given(sides, sides, sides, sides, st.booleans() | st.none())
def test_auto_never_leaves_the_box_nor_the_aspect(
    width: int, height: int, box_width: int, box_height: int, upscale: bool | None
) -> None:
    """The output fits the box, has at least a pixel, and one of its sides is the box's unless it was not enlarged."""
    placement = place(width, height, Resize(box_width, box_height, upscale=upscale))
    assert 1 <= placement.width <= box_width
    assert 1 <= placement.height <= box_height
    assert not placement.crops
    kept = not upscale and (placement.width, placement.height) == (width, height)
    assert kept or placement.width == box_width or placement.height == box_height


@given(sides, sides, sides, sides, st.sampled_from(GRAVITIES), st.booleans() | st.none())
def test_fit_crops_inside_the_scaled_picture(
    width: int, height: int, box_width: int, box_height: int, gravity: str, upscale: bool | None
) -> None:
    """What is kept lies inside the picture, and is exactly the box unless enlarging was forbidden."""
    placement = place(width, height, Resize(box_width, box_height, "fit", gravity, upscale))  # type: ignore[arg-type]
    assert placement.left >= 0
    assert placement.top >= 0
    assert placement.left + placement.crop_width <= placement.width
    assert placement.top + placement.crop_height <= placement.height
    if upscale is not False or (width >= box_width and height >= box_height):
        assert (placement.crop_width, placement.crop_height) == (box_width, box_height)
