"""Bytes in pieces: packing them, and rewriting them byte by byte.

Piece i of a text is data[start[i]:end[i]]; results are packed, with offsets[n_pieces + 1].
"""

from __future__ import annotations

import ctypes

import numpy as np
from gputok.kernels.signatures import i64, u32

from . import kernel
from .memory import address, copy_bytes, load_i64, load_u8, load_u32, store_u32

PREFIX = 256  # the row of a byte table that holds the bytes put before a piece
MAP, PREPEND = 1, 2  # bits of `mode`


def pointer(array: np.ndarray) -> int:
    """Where the elements of a contiguous array lie; read-only ones would be a second specialisation of a kernel."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # in a fifth of the time
    except (TypeError, ValueError):  # read-only, or empty
        return array.__array_interface__["data"][0]


@kernel(inline=True)
def longer(array, used, n):
    """An array of length n with the first `used` elements of another; a slice would take a second more to compile."""
    new = np.empty(n, array.dtype)
    for i in range(used):
        new[i] = array[i]
    return new


def gather(data, start, end):
    """The bytes of each piece, packed one after the other.

    data uint8[n]; start, end int64[n_pieces] -> uint8[total], offsets int64[n_pieces + 1].
    """
    start, offsets = np.ascontiguousarray(start), np.zeros(len(start) + 1, np.int64)
    np.cumsum(end - start, out=offsets[1:])
    packed = np.empty(offsets[-1], np.uint8)
    _gather(pointer(data), pointer(start), pointer(offsets), len(start), pointer(packed))
    return packed, offsets


@kernel(i64, i64, i64, i64, i64)
def _gather(data, start, offsets, n_pieces, packed):
    for i in range(n_pieces):
        at = load_i64(offsets, i)
        copy_bytes(packed + at, data + load_i64(start, i), load_i64(offsets, i + 1) - at)


def rewrite_bytes(data, start, end, mode, table, alignment=None):
    """Packs pieces with each byte replaced by up to four others, and a prefix before some of them.

    data uint8[n]; start, end int64[n_pieces]; mode uint8[n_pieces], bits: 1 replace bytes, 2 put the prefix;
    table uint32[2, 257]: how many bytes stand for a byte, and which (the lowest first), row 256 being the
    prefix; alignment: int32[n], int32[n], or None.
    -> uint8[total], offsets int64[n_pieces + 1], alignment or None: what replaces a byte comes from where that
    byte came from, a prefix from where the first byte of its piece did.
    """
    start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
    pieces = pointer(start), pointer(end), pointer(mode), len(start)
    origin = (0, 0) if alignment is None else (pointer(alignment[0]), pointer(alignment[1]))
    out, offsets, *aligned = _rewrite_bytes(pointer(data), pieces, table, origin)
    return out, offsets, None if alignment is None else tuple(aligned)


@kernel(i64, (i64, i64, i64, i64), u32[:, :], (i64, i64))
def _rewrite_bytes(data, pieces, table, origin):
    start, end, mode, n_pieces = pieces
    widths, codes = address(table), address(table[1])
    offsets = np.zeros(n_pieces + 1, np.int64)
    for i in range(n_pieces):
        size = load_i64(end, i) - load_i64(start, i)
        if load_u8(mode, i) & MAP:
            size = 0
            for p in range(load_i64(start, i), load_i64(end, i)):
                size += load_u32(widths, load_u8(data, p))
        if load_u8(mode, i) & PREPEND:
            size += load_u32(widths, PREFIX)
        offsets[i + 1] = offsets[i] + size

    total = offsets[n_pieces]
    rewritten = np.empty(total + 3, np.uint8)  # every replacement is stored as four bytes
    n_aligned = total if origin[0] else 0
    from_start, from_end = np.empty(n_aligned, np.int32), np.empty(n_aligned, np.int32)
    out, out_start, out_end = address(rewritten), address(from_start), address(from_end)
    n = 0
    for i in range(n_pieces):
        first, stop = load_i64(start, i), load_i64(end, i)
        row = -1 if load_u8(mode, i) & PREPEND else 0  # row -1 is the prefix, then one for each byte
        mapped = load_u8(mode, i) & MAP
        if row == 0 and not mapped and not n_aligned:
            copy_bytes(out + n, data + first, stop - first)
            n += stop - first
            continue
        for p in range(first + row, stop):
            code = PREFIX if p < first else np.int64(load_u8(data, p))
            width = load_u32(widths, code) if mapped or p < first else 1
            store_u32(out + n, 0, load_u32(codes, code) if mapped or p < first else np.uint32(code))
            if n_aligned:
                source = max(p, first)
                for k in range(n, n + width):
                    store_u32(out_start, k, load_u32(origin[0], source))
                    store_u32(out_end, k, load_u32(origin[1], source))
            n += width
    return rewritten[:total], offsets, from_start, from_end
