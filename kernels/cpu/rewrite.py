"""Packing pieces of text, and rewriting them byte by byte.

Piece i is data[start[i]:end[i]]; results are packed, with offsets[n_pieces + 1].
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import of_pieces, pointer, views_of
from gputok.kernels.cpu.primitives.memory import copy, is_given, owned, store_u32, tail, view
from gputok.kernels.signatures import i64

PREFIX = 256  # row of a byte table: the bytes of the prefix
MAP, PREPEND = 1, 2  # bits of `mode`


def gather(data: np.ndarray, start: np.ndarray, end: np.ndarray):
    """Packs the bytes of pieces data[start[i]:end[i]] side by side: uint8[total], offsets int64[n_pieces + 1]."""
    start, offsets = np.ascontiguousarray(start), np.zeros(len(start) + 1, np.int64)
    np.cumsum(end - start, out=offsets[1:])
    packed = np.empty(offsets[-1], np.uint8)
    _gather(pointer(data), pointer(start), pointer(offsets), len(start), pointer(packed))
    return packed, offsets


@kernel(i64, i64, i64, i64, i64)
def _gather(data, start, offsets, n_pieces, packed):
    data, start = view(data, np.uint8), view(start, np.int64)
    offsets, packed = view(offsets, np.int64), view(packed, np.uint8)
    for i in range(n_pieces):
        at = offsets[i]
        copy(packed, at, data, start[i], offsets[i + 1] - at)


def rewrite_bytes(
    data: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    mode: np.ndarray,
    table: np.ndarray,
    alignment: tuple[np.ndarray, np.ndarray] | None = None,
):
    """Packs pieces, replaces each byte by up to four others, and puts a prefix before some pieces.

    data uint8[n]; start, end int64[n_pieces]; mode uint8[n_pieces], bits: 1 replace bytes, 2 put the prefix; table
    uint32[2, 257]: the number of bytes that replace each byte, and these bytes (the lowest first); column 256 is the
    prefix; alignment: where each byte came from, int32[n], int32[n], or None.
    -> uint8[total], offsets int64[n_pieces + 1], alignment or None: a replacement has the origin of its byte, and a
    prefix that of the first byte of its piece.
    """
    origin = tuple(map(pointer, alignment or (None, None)))
    out, offsets, *aligned = of_pieces(rewrite_pieces, data, start, end, mode, pointer(table), origin)
    return out, offsets, None if alignment is None else tuple(aligned)


@kernel(i64, (i64, i64, i64, i64), i64, (i64, i64))
def rewrite_pieces(data, pieces, table, origin):
    """`rewrite_bytes`, with the addresses of `arrays.pointer`."""
    data, (start, end, mode, n_pieces) = view(data, np.uint8), views_of(pieces)
    old_start, old_end = view(origin[0], np.int32), view(origin[1], np.int32)
    widths = view(table, np.uint32)
    codes = tail(widths, PREFIX + 1)
    offsets = np.zeros(n_pieces + 1, np.int64)
    for i in range(n_pieces):
        size = end[i] - start[i]
        if mode[i] & MAP:
            size = 0
            for p in range(start[i], end[i]):
                size += widths[data[p]]
        if mode[i] & PREPEND:
            size += widths[PREFIX]
        offsets[i + 1] = offsets[i] + size

    total = offsets[n_pieces]
    # Each replacement, even an empty one, is stored as four bytes, of which the next one overwrites what is too much
    rewritten = np.empty(total + 4, np.uint8)
    n_aligned = total if is_given(old_start) else 0
    from_start, from_end = np.empty(n_aligned, np.int32), np.empty(n_aligned, np.int32)
    out, out_start, out_end = owned(rewritten), owned(from_start), owned(from_end)
    n = 0
    for i in range(n_pieces):
        first, stop = start[i], end[i]
        row = -1 if mode[i] & PREPEND else 0  # row -1 is the prefix, then one for each byte
        mapped = mode[i] & MAP
        if not mapped and not n_aligned:
            if row:
                store_u32(out, n, codes[PREFIX])
                n += widths[PREFIX]
            copy(out, n, data, first, stop - first)
            n += stop - first
            continue
        for p in range(first + row, stop):
            code = PREFIX if p < first else np.int64(data[p])
            width = widths[code] if mapped or p < first else 1
            store_u32(out, n, codes[code] if mapped or p < first else np.uint32(code))
            if n_aligned:
                source = max(p, first)
                for k in range(n, n + width):
                    out_start[k] = old_start[source]
                    out_end[k] = old_end[source]
            n += width
    return rewritten[:total], offsets, from_start, from_end
