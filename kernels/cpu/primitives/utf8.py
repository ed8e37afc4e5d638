"""Characters of valid UTF-8, read from and written to views of bytes."""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import U1, U2, U3, U4, U6

_LOW6 = np.uint64(0x3F)


@kernel(inline=True)
def decode_wide(text, p):
    """(code point, its number of bytes), unsigned, of the character of two to four bytes that begins at byte p."""
    lead, second = np.uint64(text[p]), np.uint64(text[p + U1]) & _LOW6
    if lead < np.uint64(0xE0):
        return (lead & np.uint64(0x1F)) << U6 | second, U2
    rest = second << U6 | (np.uint64(text[p + U2]) & _LOW6)
    if lead < np.uint64(0xF0):
        return (lead & np.uint64(0x0F)) << np.uint64(12) | rest, U3
    rest = rest << U6 | (np.uint64(text[p + U3]) & _LOW6)
    return (lead & np.uint64(0x07)) << np.uint64(18) | rest, U4


@kernel(inline=True)
def decode(text, p):
    """(code point, its number of bytes), unsigned, of the character that begins at byte p (uint64)."""
    lead = np.uint64(text[p])
    if lead < np.uint64(0x80):
        return lead, U1
    return decode_wide(text, p)


@kernel(inline=True)
def character(data, i):
    """(code point, its number of bytes) as int64, of the character that begins at byte i."""
    code, size = decode(data, np.uint64(i))
    return np.int64(code), np.int64(size)


@kernel(inline=True)
def width(lead):
    """The number of bytes of a character, by its first byte."""
    return 1 + (lead >= 0xC0) + (lead >= 0xE0) + (lead >= 0xF0)


@kernel(inline=True)
def character_before(text, p):
    """The position where the character begins that ends before byte p (uint64)."""
    p -= U1
    while np.uint64(text[p]) & np.uint64(0xC0) == np.uint64(0x80):
        p -= U1
    return p


@kernel(inline=True)
def skip(data, i, stop, n_characters):
    """The position n_characters after byte i, at most `stop`."""
    while n_characters > 0 and i < stop:
        i += width(data[i])
        n_characters -= 1
    return i


@kernel(inline=True)
def put(out, n, c):
    """Writes the code point c (int64) at byte n, and returns the byte after it."""
    if c < 0x80:
        out[n] = c
        return n + 1
    if c < 0x800:
        out[n] = 0xC0 | c >> 6
        out[n + 1] = 0x80 | c & 0x3F
        return n + 2
    if c < 0x10000:
        out[n] = 0xE0 | c >> 12
        out[n + 1] = 0x80 | c >> 6 & 0x3F
        out[n + 2] = 0x80 | c & 0x3F
        return n + 3
    out[n] = 0xF0 | c >> 18
    out[n + 1] = 0x80 | c >> 12 & 0x3F
    out[n + 2] = 0x80 | c >> 6 & 0x3F
    out[n + 3] = 0x80 | c & 0x3F
    return n + 4
