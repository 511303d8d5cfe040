"""Image formats: what they are called on the wire. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from watcher import model


@dataclass(frozen=True, slots=True)
class WireFormat:
    """A format as `input` and `output` name it; `extension` is the canonical one (the vendor's sample says `image.jpeg`)."""

    name: str
    mime: str

    @property
    def extension(self) -> str:
        """Without the dot; equal to the format's name."""
        return self.name


FORMATS: Final = {each.value: WireFormat(each.value, each.mime) for each in model.Format}
ACCEPTED: Final = "JPEG, PNG, WebP, AVIF, HEIC, GIF, TIFF, BMP, SVG, ICO"
