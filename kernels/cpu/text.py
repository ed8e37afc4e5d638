"""Text as bytes: is it UTF-8, and where do its lines end?"""

from __future__ import annotations

import numpy as np

from . import kernel
from .memory import count_ones, equal_bytes, load_u8, load_u32, load_u64, trailing_zeros
from .ragged import pointer

NO_ASCII = 0x8080808080808080  # the bit that no ASCII byte has, in each of eight bytes
NEWLINE = 10


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
    return _line_ends(pointer(data), len(data))


@kernel
def _line_ends(base, n_bytes):
    n_vectors, n_lines = n_bytes // 64, np.uint64(0)
    for i in range(n_vectors):
        n_lines += count_ones(equal_bytes(base + 64 * i, np.uint8(NEWLINE)))
    for p in range(64 * n_vectors, n_bytes):
        n_lines += np.uint64(load_u8(base, p) == NEWLINE)
    ends = np.empty(n_lines, np.int64)
    line = 0
    for i in range(n_vectors):
        hits = equal_bytes(base + 64 * i, np.uint8(NEWLINE))
        while hits:
            ends[line] = 64 * i + np.int64(trailing_zeros(hits)) + 1
            line += 1
            hits &= hits - np.uint64(1)
    for p in range(64 * n_vectors, n_bytes):
        if load_u8(base, p) == NEWLINE:
            ends[line] = p + 1
            line += 1
    return ends


def find_bytes(data: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Where `pattern` (uint8[m], m at least 1) occurs in data (uint8[n]), from left to right, not overlapping: int64[]."""
    return _find_bytes(pointer(data), len(data), pointer(pattern), len(pattern))


@kernel
def _find_bytes(base, n_bytes, pattern, size):
    found, n = np.empty(64, np.int64), 0
    last, first, final = n_bytes - size, load_u8(pattern, 0), load_u8(pattern, size - 1)
    free = 0  # where the next may begin
    at = 0
    while at <= last:
        if at + 63 <= last:  # 64 places at a time: both ends must be right
            hits, width = equal_bytes(base + at, first) & equal_bytes(base + at + size - 1, final), 64
        else:
            hits, width = np.uint64(1), 1
        while hits:
            place = at + np.int64(trailing_zeros(hits))
            hits &= hits - np.uint64(1)
            i = 0
            while i < size and load_u8(base + place, i) == load_u8(pattern, i):
                i += 1
            if i == size and place >= free:
                if n == len(found):
                    found = np.append(found, np.empty(n, np.int64))
                found[n] = place
                n += 1
                free = place + size
        at += width
    return found[:n].copy()
