"""Characters of valid UTF-8, read and written at addresses."""

from __future__ import annotations

import numpy as np

from . import kernel
from .memory import load_u8, store_u8


@kernel(inline=True)
def character(data, i):
    """The code point at byte i, and how many bytes it has."""
    c = np.int64(load_u8(data, i))
    if c < 0x80:
        return c, 1
    if c < 0xE0:
        return (c & 0x1F) << 6 | (load_u8(data, i + 1) & 0x3F), 2
    if c < 0xF0:
        return (c & 0x0F) << 12 | (load_u8(data, i + 1) & 0x3F) << 6 | (load_u8(data, i + 2) & 0x3F), 3
    return (
        (c & 0x07) << 18
        | (load_u8(data, i + 1) & 0x3F) << 12
        | (load_u8(data, i + 2) & 0x3F) << 6
        | (load_u8(data, i + 3) & 0x3F),
        4,
    )


@kernel(inline=True)
def width(lead):
    """How many bytes a character has, by its first one."""
    return 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)


@kernel(inline=True)
def skip(data, i, stop, n_characters):
    """The byte after so many characters from byte i on, at most `stop`."""
    while n_characters > 0 and i < stop:
        i += width(load_u8(data, i))
        n_characters -= 1
    return i


@kernel(inline=True)
def put(out, n, c):
    """Writes the code point c at byte n: the byte after it."""
    if c < 0x80:
        store_u8(out, n, np.uint8(c))
        return n + 1
    if c < 0x800:
        store_u8(out, n, np.uint8(0xC0 | c >> 6))
        store_u8(out, n + 1, np.uint8(0x80 | c & 0x3F))
        return n + 2
    if c < 0x10000:
        store_u8(out, n, np.uint8(0xE0 | c >> 12))
        store_u8(out, n + 1, np.uint8(0x80 | c >> 6 & 0x3F))
        store_u8(out, n + 2, np.uint8(0x80 | c & 0x3F))
        return n + 3
    store_u8(out, n, np.uint8(0xF0 | c >> 18))
    store_u8(out, n + 1, np.uint8(0x80 | c >> 12 & 0x3F))
    store_u8(out, n + 2, np.uint8(0x80 | c >> 6 & 0x3F))
    store_u8(out, n + 3, np.uint8(0x80 | c & 0x3F))
    return n + 4
