"""Cutting text into documents at a separator, and checking that it is UTF-8, in one pass over the bytes.

When a corpus is read, each byte is touched here for the first time. So a document is moved as soon as its end is found,
while the nearest caches hold it. Finding, checking and moving one after the other took 1.2 (text that is not ASCII) to
1.7 times as long.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.lines import AHEAD, NO_LIMITS, check_block
from gputok.kernels.cpu.primitives.arrays import longer, pointer
from gputok.kernels.cpu.primitives.constants import U0, U1, U8
from gputok.kernels.cpu.primitives.memory import (
    bytes_at_least,
    equal_bytes,
    load_u64,
    prefetch,
    store_u64,
    trailing_zeros,
    view,
)
from gputok.kernels.signatures import boolean, i64

_BLOCK = 64  # bytes of a vector
_WINDOW = 1 << 13  # bytes that are checked, and then searched, at a time


def documents(
    data: np.ndarray, separator: np.ndarray, is_last: bool, in_place: bool
) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """Packs the documents of a text, without their separators.

    Args:
        data: uint8[n], contiguous.
        separator: uint8[m], m >= 1, valid UTF-8; it is found from left to right, without overlap.
        is_last: whether the last document may end without a separator; if not, bytes after the last separator are left.
        in_place: whether documents move inside `data`. New memory costs more: 1.2 instead of 4 GB/s.

    Returns:
        The documents, uint8[]; their offsets, int64[n_documents + 1]; how many bytes of `data` they took, with
        separators; and whether all of `data` is valid UTF-8, by the rules of `lines`. If it is, so is each document,
        since a separator begins and ends where characters do.

    >>> text = np.frombuffer("né||x".encode(), np.uint8)
    >>> packed, offsets, n_used, is_valid = documents(text, np.frombuffer(b"||", np.uint8), True, False)
    >>> packed.tobytes().decode(), offsets.tolist(), n_used, is_valid
    ('néx', [0, 3, 4], 6, True)
    """
    n, size = len(data), len(separator)
    n_whole = max(0, n - size) // _BLOCK * _BLOCK  # a block and the separator that begins in it
    # After the last byte come zeros, which are ASCII, so that a character that is cut by the end is found
    rest = np.zeros(n - n_whole + 2 * _BLOCK + size, np.uint8)
    rest[: n - n_whole] = data[n_whole:]
    target = data if in_place else np.empty(n, np.uint8)
    text = pointer(data), n, pointer(rest), n_whole
    offsets, n_used, is_valid = _documents(text, pointer(separator), size, pointer(target), in_place, is_last)
    return target[: offsets[-1]], offsets, n_used, is_valid


@kernel((i64, i64, i64, i64), i64, i64, i64, boolean, boolean)
def _documents(text_of, separator, size, target, in_place, is_last):
    """Writes the documents to `target`; returns their offsets, how many bytes they took, and whether all is UTF-8.

    The n_whole first bytes are whole blocks, with room after them for the separator; blocks of the other bytes are in
    `rest`. Bounds: a document is written where it was read, or before; `target` has as many bytes as `text`.
    """
    text, n = view(text_of[0], np.uint8), text_of[1]
    rest, n_whole = view(text_of[2], np.uint8), text_of[3]
    mark, packed = view(separator, np.uint8), view(target, np.uint8)
    first, final = mark[0], mark[size - 1]
    offsets, n_offsets = np.zeros(64, np.int64), 1
    start = out = at = 0  # where the document begins, where it goes, and the window
    follow, limits, is_bad = U0, NO_LIMITS, U0
    while at < n:
        # A window is read twice, from the nearest cache: in one loop for both, LLVM takes longer
        block, base = (text, 0) if at < n_whole else (rest, n_whole)
        stop = min(at + _WINDOW, n_whole) if at < n_whole else n
        for p in range(at - base, stop - base, _BLOCK):
            prefetch(block, p + AHEAD)
            if bytes_at_least(block, p, 0x80) | follow != U0:
                bad, follow, limits = check_block(block, p, follow, limits)
                is_bad |= bad
        while at < stop:
            hits = _ends_match(block, at - base, first, final, size)
            while hits:
                found = at + np.int64(trailing_zeros(hits))
                hits &= hits - U1
                if found < start or found + size > n:
                    continue
                i = 0
                while i < size and text[found + i] == mark[i]:
                    i += 1
                if i == size:
                    out = _move(packed, out, text, start, found, in_place)
                    if n_offsets + 2 > len(offsets):  # for this document, and the last
                        offsets = longer(offsets, n_offsets, 2 * n_offsets)
                    offsets[n_offsets] = out
                    n_offsets += 1
                    start = found + size
            at += _BLOCK
            # Skips blocks without hits: a loop that carries `hits` takes six times as long, as in `find_tokens._scan`
            while at < stop and _ends_match(block, at - base, first, final, size) == U0:
                at += _BLOCK
    if is_last and start < n:
        out = _move(packed, out, text, start, n, in_place)
        offsets[n_offsets] = out
        n_offsets += 1
        start = n
    return offsets[:n_offsets].copy(), start, is_bad | follow == U0


@kernel(inline=True)
def _ends_match(text, at, first, final, size):
    """Bit i is set if a separator may begin at `at + i`: its first and its last byte match."""
    return equal_bytes(text, at, first) & equal_bytes(text, at + size - 1, final)


@kernel(inline=True)
def _move(packed, out, text, start, stop, in_place):
    """Moves text[start:stop] to packed[out:], and returns where it ends; with `in_place`, it moves to the left."""
    if in_place and out == start:
        return stop
    to, at, end = np.uint64(out), np.uint64(start), np.uint64(stop)
    while at + U8 <= end:
        store_u64(packed, to, load_u64(text, at))
        to += U8
        at += U8
    while at < end:
        packed[to] = text[at]
        to += U1
        at += U1
    return np.int64(to)
