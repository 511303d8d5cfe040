"""The demo's sample photographs, written and read again."""

from dataclasses import replace
from pathlib import Path

import pytest
import pyvips

from watcher.commands.samples import SCENES, Scene, write_samples

SMALL = [replace(scene, width=scene.width // 8, height=scene.height // 8) for scene in SCENES]


@pytest.mark.parametrize("scene", SMALL, ids=lambda scene: scene.file)
def test_the_sky_is_above_the_hills(tmp_path: Path, scene: Scene) -> None:
    """As it is shown: also where the pixels lie and a mark says so."""
    (path,) = write_samples(tmp_path, [scene])
    lying = pyvips.Image.new_from_file(str(path))
    shown = lying.autorot()

    assert (shown.width, shown.height) == (scene.width, scene.height)
    assert (lying.width == scene.height) == scene.held_upright
    third = scene.height // 3
    sky, hills = (shown.crop(0, top, scene.width, third).avg() for top in (0, scene.height - third))
    assert sky > hills
