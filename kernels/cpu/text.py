"""Text as bytes: is it UTF-8, and where do its lines end?"""

from __future__ import annotations

import numpy as np

from . import kernel
from .memory import address, load_u8, load_u32, load_u64, store_i64, trailing_zeros
from .ragged import pointer

NO_ASCII = 0x8080808080808080  # the bit that no ASCII byte has, in each of eight bytes
LOW_BITS = 0x7F7F7F7F7F7F7F7F
NEWLINES = 0x0A0A0A0A0A0A0A0A


def find_invalid_utf8(data: np.ndarray) -> int:
    """The index in data (uint8[n]) of the first byte that begins no valid UTF-8 character; -1: all is valid.

    That is `UnicodeDecodeError.start`. Over-long forms, surrogates and code points past U+10FFFF are invalid
    (table 3-7 of the Unicode standard); each test below masks one 4-byte load, as in simdutf's scalar path.
    """
    return _find_invalid_utf8(pointer(data), len(data))


@kernel
def _find_invalid_utf8(base, n_bytes):
    base, n, p = np.uint64(base), np.uint64(n_bytes), np.uint64(0)
    while p < n:
        while p + np.uint64(32) <= n:  # 32 ASCII bytes at a time
            at = base + p
            bits = load_u64(at, np.uint64(0)) | load_u64(at, np.uint64(1))
            bits |= load_u64(at, np.uint64(2)) | load_u64(at, np.uint64(3))
            if bits & np.uint64(NO_ASCII):
                break
            p += np.uint64(32)
        stop = min(p + np.uint64(256), n)
        while p < stop:  # then character by character for a while
            if p + np.uint64(4) <= n:
                w = load_u32(base + p, np.uint64(0))
            else:  # a missing byte reads as 0, which continues no character
                w = np.uint32(0)
                for i in range(n - p):
                    w |= np.uint32(load_u8(base, p + np.uint64(i))) << np.uint32(8 * i)
            if w & np.uint32(0x80) == 0:
                p += np.uint64(1)
            elif w & np.uint32(0x00C0C0F0) == np.uint32(0x008080E0):
                edge = w & np.uint32(0x200F)  # 0: over-long; 0x200D: a surrogate
                if edge == 0 or edge == np.uint32(0x200D):
                    return np.int64(p)
                p += np.uint64(3)
            elif w & np.uint32(0xC0E0) == np.uint32(0x80C0) and w & np.uint32(0x1E):
                p += np.uint64(2)
            elif w & np.uint32(0xC0C0C0F8) == np.uint32(0x808080F0):
                edge = w & np.uint32(0x3007)  # 0: over-long; F4 90 and up: past U+10FFFF
                if edge == 0 or (edge & np.uint32(4) and edge & np.uint32(0x3003)):
                    return np.int64(p)
                p += np.uint64(4)
            else:
                return np.int64(p)
    return np.int64(-1)


def line_ends(data: np.ndarray) -> np.ndarray:
    """The offset after each `\\n` of data (uint8[n]): int64[number of newlines]."""
    ends = np.empty(np.count_nonzero(data == 10), np.int64)
    _line_ends(pointer(data), len(data), ends)
    return ends


@kernel
def _line_ends(base, n_bytes, ends):
    base, out, n = np.uint64(base), address(ends), np.uint64(n_bytes)
    p, line = np.uint64(0), np.uint64(0)
    while p + np.uint64(8) <= n:
        x = load_u64(base + p, np.uint64(0)) ^ np.uint64(NEWLINES)
        # the high bit of each byte that is zero in x, exactly
        hits = ~(((x & np.uint64(LOW_BITS)) + np.uint64(LOW_BITS)) | x | np.uint64(LOW_BITS))
        while hits:
            store_i64(out, line, np.int64(p + (trailing_zeros(hits) >> np.uint64(3)) + np.uint64(1)))
            line += np.uint64(1)
            hits &= hits - np.uint64(1)
        p += np.uint64(8)
    while p < n:
        if load_u8(base, p) == np.uint8(10):
            store_i64(out, line, np.int64(p + np.uint64(1)))
            line += np.uint64(1)
        p += np.uint64(1)
