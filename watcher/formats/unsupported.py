"""Kinds of picture files that are valid and cannot be done: which it is, and what to export instead. Pure."""

from __future__ import annotations

from typing import Final

_PHOTO: Final = "export a JPEG from your raw converter or camera"
_EXPORT: Final = "export a PNG, JPEG or TIFF"

_MARKS: Final[tuple[tuple[int, bytes, str, str], ...]] = (
    (8, b"CR\x02\0", "a camera raw (CR2)", _PHOTO),
    (0, b"II\x1a\0\0\0HEAPCCDR", "a camera raw (CRW)", _PHOTO),
    (4, b"ftypcrx ", "a camera raw (CR3)", _PHOTO),
    (0, b"FUJIFILMCCD-RAW", "a camera raw (RAF)", _PHOTO),
    (0, b"IIRO", "a camera raw (ORF)", _PHOTO),
    (0, b"IIRS", "a camera raw (ORF)", _PHOTO),
    (0, b"MMOR", "a camera raw (ORF)", _PHOTO),
    (0, b"IIU\0", "a camera raw (RW2)", _PHOTO),
    (0, b"FOVb", "a camera raw (X3F)", _PHOTO),
    (0, b"\0MRM", "a camera raw (MRW)", _PHOTO),
    (0, b"8BPS\0\1", "a Photoshop file (PSD)", _EXPORT),
    (0, b"8BPS\0\2", "a Photoshop file (PSB)", _EXPORT),
    (0, b"gimp xcf", "a GIMP file (XCF)", _EXPORT),
    (0, b"\xff\x0a", "a JPEG XL", _EXPORT),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL", _EXPORT),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000", _EXPORT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000", _EXPORT),
    (0, b"II\xbc\x01", "a JPEG XR", _EXPORT),
    (0, b"v/1\x01", "an OpenEXR picture", _EXPORT),
    (0, b"#?RADIANCE", "a Radiance HDR picture", _EXPORT),
    (0, b"#?RGBE", "a Radiance HDR picture", _EXPORT),
    (0, b"qoif", "a QOI picture", _EXPORT),
    (0, b"DDS |\0\0\0", "a DirectDraw surface (DDS)", _EXPORT),
    (0, b"BPG\xfb", "a BPG picture", _EXPORT),
    (0, b"FLIF", "a FLIF picture", _EXPORT),
    (0, b"icns\0", "an Apple icon (ICNS)", _EXPORT),
    (0, b"\x8aMNG\r\n\x1a\n", "an MNG animation", "export a GIF or WebP"),
    (0, b"\x8bJNG\r\n\x1a\n", "a JNG picture", _EXPORT),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)", "export an SVG or PNG"),
    (0, b"AT&TFORM", "a DjVu document", _EXPORT),
    (0, b"SIMPLE  =", "a FITS picture", _EXPORT),
    (128, b"DICM", "a DICOM picture", _EXPORT),
    (0, b"\0\0\2\0\1\0", "a Windows cursor (CUR)", "save it as an icon (ICO) or PNG"),
)


def by_mark(head: bytes) -> str:
    """What a file that begins with `head` (at least 140 bytes, or all of it) is, and what to do; empty for no kind known here."""
    for offset, mark, kind, advice in _MARKS:
        if head[offset : offset + len(mark)] == mark:
            return f"{kind}: {advice}"
    return ""


def raw(kind: str) -> str:
    """The words for a camera raw of a kind ("" where it is not known which)."""
    return f"a camera raw{f' ({kind})' if kind else ''}: {_PHOTO}"


def heif(coding: str) -> str:
    """The words for a HEIF file whose pictures are coded otherwise than HEIC's and AVIF's."""
    return f"a HEIF file with {coding}: export a JPEG, HEIC or AVIF"
