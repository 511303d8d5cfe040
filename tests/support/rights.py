"""Doing without the powers of root for a while, so that file modes and owners count even where tests run as root."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DAC_OVERRIDE, DAC_READ_SEARCH, LEASE = 1, 2, 28
_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def without(*capabilities: int) -> Iterator[None]:
    """This thread, and those that it starts meanwhile, have not these capabilities (capset(2)). No effect for other users."""
    header, sets = _Header(_VERSION_3, 0), (_Data * 2)()
    assert _libc.capget(ctypes.byref(header), sets) == 0
    before = [each.effective for each in sets]
    for capability in capabilities:
        sets[capability // 32].effective &= ~(1 << capability % 32)
    assert _libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        for each, effective in zip(sets, before, strict=True):
            each.effective = effective
        assert _libc.capset(ctypes.byref(header), sets) == 0
