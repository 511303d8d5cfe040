"""What browsers make of an SVG's CSS and renderers of files do not: variables, the root's background, shapes to clip by. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from watcher.formats.svg import find_start

if TYPE_CHECKING:
    from watcher.formats.svg import Root

_DECLARED: Final = re.compile(r"(?<![\w-])--([\w-]+)\s*:\s*([^;}\"'<]+)")
_VARIABLE: Final = re.compile(r"var\(\s*--([\w-]+)\s*(?:,\s*((?:[^()\"'<]|\([^()]*\))*))?\)")
_SCHEME: Final = re.compile(r"light-dark\(\s*((?:[^(),\"'<]|\([^()]*\))*),(?:[^()\"'<]|\([^()]*\))*\)")
_MOST_LEVELS: Final = 8
_BACKGROUND: Final = re.compile(r"(?:^|;)\s*background(?:-color)?\s*:\s*([^;!]+)", re.IGNORECASE)
_BLOCK: Final = re.compile(rb"\{[^{}]*\}|style\s*=\s*\"[^\"]*\"|style\s*=\s*'[^']*'")
_ORIGIN: Final = re.compile(rb"transform-origin\s*:(?!\s*0(?:px|%)?(?:\s+0(?:px|%)?)?\s*[;}\"'])", re.IGNORECASE)
_TRANSFORM: Final = re.compile(rb"(?<![\w-])transform\s*:\s*(?!none)", re.IGNORECASE)
_SHAPE: Final = re.compile(
    rb"clip-path\s*[:=]\s*[\"']?\s*(?:circle|ellipse|inset|polygon|path|rect|xywh)\(|[;{\"'\s]d\s*:\s*path\(", re.IGNORECASE
)


def resolved(text: bytes) -> bytes:
    """The document (not packed) with the values of CSS variables in their place, and the lighter of two colours."""
    plain = text.replace(b"\0", b"") if b"\0" in text[:4] else text
    if b"var(" not in plain and b"light-dark(" not in plain:
        return text
    start = find_start(text)
    if start is None:
        return text
    decoded = text.decode(start.codec, "surrogatepass")
    values: dict[str, str] = {}
    for name, value in _DECLARED.findall(decoded):
        values.setdefault(name, value.strip())  # the first: what follows is for darkness, print or narrow screens
    for _ in range(_MOST_LEVELS):
        changed = _SCHEME.sub(lambda match: match[1].strip(), _VARIABLE.sub(lambda match: _value(match, values), decoded))
        if changed == decoded or len(changed) > 2 * len(text):
            break
        decoded = changed
    return decoded.encode(start.codec, "surrogatepass")


def _value(match: re.Match[str], values: dict[str, str]) -> str:
    return values.get(match[1]) or (match[2] or "").strip() or match[0]


def background(root: Root) -> str:
    """The colour that browsers lay below the drawing; empty where the root's style names none."""
    found = _BACKGROUND.findall(root.attributes.get("style", ""))
    return found[-1].strip() if found else ""


def has_unknown(text: bytes) -> bool:
    """Whether CSS moves or cuts something in a way that no renderer of files knows."""
    text = text.replace(b"\0", b"")
    if b"(" not in text:
        return False
    if b"path" in text and _SHAPE.search(text):
        return True
    return b"transform-origin" in text and any(
        _ORIGIN.search(block) and _TRANSFORM.search(block) for block in _BLOCK.findall(text)
    )
