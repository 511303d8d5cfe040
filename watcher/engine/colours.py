"""Colours to sRGB with eight bits: by ICC profile, by numbers (CICP, gAMA, cHRM), from CMYK, from HDR. Runs only in a worker.

What a profile says counts, not what it is called: one that moves no colour visibly is sRGB, whatever its name.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import pyvips
from PIL import Image, ImageCms

from watcher.engine import profiles
from watcher.engine.profiles import BT709, PRIMARIES, SRGB_CURVE, Curve, Primaries

_PROFILE: Final = "icc-profile-data"
_CMYK_FALLBACK: Final = "cmyk"
_VISIBLE: Final = 2
"""Of 255: a profile that moves no colour further is sRGB's own, rounded."""
_STEPS: Final = (0, 26, 64, 102, 140, 178, 217, 255)
_UNSPECIFIED: Final = 2
_GAMMAS: Final = (0.1, 10.0)
"""Exponents beyond are a mistake of whoever wrote them."""
_PQ, _HLG = 16, 18
_WHITE_NITS: Final = 203.0
"""What HDR pictures call white (ITU-R BT.2408)."""
_HLG_PEAK: Final = 1000.0
_HLG_SYSTEM_GAMMA: Final = 1.2
"""What such a screen makes of the scene's light (ITU-R BT.2100 table 5)."""
_KNEE: Final = 0.5
"""Linear light below it stays as it is; what is above is compressed so that the brightest is white."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a file says of its colours: an ICC profile (its own, or made from numbers), or an HDR transfer and its primaries."""

    profile: bytes | None = None
    hdr: int | None = None
    primaries: int = 9
    made: bool = False
    """The profile was made from numbers, which speak of grey as of colours; a file's own RGB profile fits no grey image."""

    @property
    def foreign(self) -> bool:
        """Whether the numbers change on the way to sRGB."""
        return self.hdr is not None or (self.profile is not None and not is_srgb(self.profile))


NOTHING: Final = Said()


def from_numbers(primaries: int, transfer: int) -> Said:
    """What numbers of H.273 say; none at all where they are sRGB's or unknown."""
    if transfer in (_PQ, _HLG):
        return Said(hdr=transfer, primaries=primaries if primaries in PRIMARIES else 9)
    curve = profiles.curve_of(transfer)
    if (primaries in (1, _UNSPECIFIED) or primaries not in PRIMARIES) and curve == SRGB_CURVE:
        return NOTHING
    return from_chromaticities(PRIMARIES.get(primaries, BT709), curve)


def from_chromaticities(primaries: Primaries, curve: Curve) -> Said:
    """What such primaries and curve say; none at all where they make no sense."""
    if curve.gamma is not None and not _GAMMAS[0] <= curve.gamma <= _GAMMAS[1]:
        return NOTHING
    try:
        return Said(profiles.profile(primaries, curve), made=True)
    except (ValueError, ArithmeticError, struct.error):
        return NOTHING


@lru_cache(maxsize=16)
def is_srgb(profile: bytes) -> bool:
    """Whether pictures with this profile look the same without it. True of broken ones, which viewers ignore."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB ": "RGB", "GRAY": "L"}[str(source.profile.xcolor_space).ljust(4)]
        target = ImageCms.createProfile("sRGB")
        patches = _patches(mode)
        moved = ImageCms.profileToProfile(
            patches, source, target, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB"
        )
    except KeyError:
        return False
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return True
    before, after = patches.convert("RGB").tobytes(), moved.tobytes() if moved is not None else b""
    return all(abs(one - other) <= _VISIBLE for one, other in zip(before, after, strict=True))


@cache
def _patches(mode: str) -> Image.Image:
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    colours = bytes(value for red in _STEPS for green in _STEPS for blue in _STEPS for value in (red, green, blue))
    return Image.frombytes("RGB", (len(colours) // 3, 1), colours)


def to_srgb(image: pyvips.Image, said: Said = NOTHING) -> pyvips.Image:
    """The same colours in sRGB (grey stays grey) with eight bits a band, one alpha band at most."""
    grey = image.interpretation in ("b-w", "grey16")
    if image.interpretation == "cmyk":
        image = _transformed(image.copy(), input_profile=_CMYK_FALLBACK)
    elif said.hdr is not None:
        image = _from_hdr(image, said.hdr, PRIMARIES[said.primaries])
    elif said.profile is not None and said.foreign:
        if grey and said.made:
            image = image.colourspace("srgb")
        image = _from_profile(image, said.profile)
    image = _eight_bits(image, grey=grey)
    most = 2 if image.interpretation == "b-w" else 4
    return image.extract_band(0, n=most) if image.bands > most else image


def _eight_bits(image: pyvips.Image, *, grey: bool) -> pyvips.Image:
    if grey or image.interpretation == "grey16":
        image = image.colourspace("b-w")
    elif image.interpretation != "srgb":
        image = image.colourspace("srgb")
    return image if image.format == "uchar" else image.cast("uchar")


def _from_profile(image: pyvips.Image, profile: bytes) -> pyvips.Image:
    """Through the profile; one that fits no such image is taken for sRGB, as viewers do."""
    image = image.copy()
    image.set_type(pyvips.GValue.blob_type, _PROFILE, profile)
    try:
        return _transformed(image)
    except pyvips.Error:
        return image


def _transformed(image: pyvips.Image, **options: str) -> pyvips.Image:
    return image.icc_transform("srgb", embedded=True, intent="relative", black_point_compensation=True, **options)


# --- HDR --------------------------------------------------------------------------------------------------------------------


def _from_hdr(image: pyvips.Image, transfer: int, primaries: Primaries) -> pyvips.Image:
    """Pictures that are no brighter than white keep their colours; what is brighter is compressed (BT.2408, BT.2100)."""
    if image.bands < 3:
        image = image[0].bandjoin([image[each] for each in (0, 0, *range(1, image.bands))])
    colour, rest = image.extract_band(0, n=3), image.extract_band(3) if image.bands > 3 else None
    wide = (colour.cast("ushort") * 257).cast("ushort") if colour.format == "uchar" else colour.cast("ushort")
    linear = wide.maplut(_light(transfer))
    if transfer == _HLG:
        luminance = linear.recomb([[0.2627, 0.678, 0.0593]])
        linear = linear * (luminance * (1 / _HLG_PEAK)).math2_const("pow", [_HLG_SYSTEM_GAMMA - 1])
    linear = (linear * (1 / _WHITE_NITS)).recomb([list(row) for row in profiles.between(primaries, BT709)])
    linear = _compressed(linear.copy_memory())
    encoded = linear.copy(interpretation="scrgb").colourspace("srgb")
    if rest is None:
        return encoded
    return encoded.bandjoin((rest if rest.format == "uchar" else rest / 257).cast("uchar"))


@cache
def _light(transfer: int) -> pyvips.Image:
    """For every code of 16 bits its light in nits; of HLG the scene's, for a screen of 1,000 nits."""
    values = [_pq(code / 65_535) if transfer == _PQ else _hlg(code / 65_535) * _HLG_PEAK for code in range(65_536)]
    return pyvips.Image.new_from_array([values])


def _pq(code: float) -> float:
    power = code ** (1 / 78.84375)
    return float(10_000 * (max(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125))


def _hlg(code: float) -> float:
    from math import exp

    return code * code / 3 if code <= 0.5 else (exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12


def _compressed(linear: pyvips.Image) -> pyvips.Image:
    """Linear light from 0 to 1; hues stay, since all bands of a pixel shrink alike."""
    brightest = linear.bandrank([], index=-1) if linear.bands == 1 else _largest_band(linear)
    peak = brightest.max()
    if peak <= 1:
        return linear
    span = (peak - _KNEE) / (1 - _KNEE)
    above = (brightest - _KNEE) / (1 - _KNEE)
    shrunk = above * (above / (span * span) + 1) / (above + 1) * (1 - _KNEE) + _KNEE
    factor = (brightest > _KNEE).ifthenelse(shrunk / brightest, 1.0)
    return linear * factor


def _largest_band(image: pyvips.Image) -> pyvips.Image:
    first, second, third = image.bandsplit()
    larger = (first > second).ifthenelse(first, second)
    return (larger > third).ifthenelse(larger, third)
