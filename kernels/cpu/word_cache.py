"""Words and the ids that a model gave them, in memory of a fixed size.

A cache line holds two words. A new word takes the second place; one that is found there changes places with the first.
So words that come but once push out each other, and not those that come again. What has no room in a slot, the bytes of
long words and long rows of ids, lies in a ring: it is there as long as not too much was written after it.

    slot:   low, high, position << 8 | length code, value    (the key of a word is that of word_table.py)
    value:  READY | n << 60 | ids           n up to 3 ids side by side, of 16 bits each or of 20
            READY | RUN << 60 | position    of their number and the ids in the ring, uint32 each
            READY | END << 60               the end of a piece of text
            number + 1                      a new word of this round, which the model has not seen yet
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels.signatures import U8, U64, U64x2, i64, u32, u64

from . import kernel
from .memory import address, copy_bytes, leading_zeros, load_u32, load_u64, store_u32, store_u64
from .ragged import pointer
from .word_table import LONG, same_bytes

N_LINES = 1 << 16  # 4 MB: larger ones miss the processor's caches more often than they save words
RING_BYTES = 1 << 21
MAX_KEPT_BYTES = 1 << 10  # of a word
RUN, END = 4, 5
READY, RUN_VALUE, END_VALUE = (np.uint64(8 << 60), np.uint64(8 + RUN << 60), np.uint64(8 + END << 60))
COUNT = np.uint64(60)

_U0, _U1, _U2, _U3, _U4, _U8, _U32 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 8, 32))
_LINE_BITS, _LONG, _CODE = np.uint64(6), np.uint64(LONG), np.uint64(0xFF)
_POSITION = np.uint64((1 << 60) - 1)


class WordCache(NamedTuple):
    """Make it with `new_cache`; for one model, and one thread at a time."""

    slots: U64x2  # uint64[2 * lines, 4]
    ring: U8  # uint8[], a power of two
    head: U64  # uint64[1], how many bytes were ever written to the ring
    width: int  # bytes of an id where it ends up, 2 or 4


def new_cache(width: int = 4, n_lines: int = N_LINES, ring_bytes: int = RING_BYTES) -> WordCache:
    memory = np.empty(8 * n_lines + 8, np.uint64)
    memory[:] = 0  # now, and not one page after the other when they are read first and then written
    skip = -pointer(memory) % 64 // 8
    slots = memory[skip : skip + 8 * n_lines].reshape(2 * n_lines, 4)
    return WordCache(slots, np.empty(ring_bytes, np.uint8), np.zeros(1, np.uint64), width)


class _Addresses(NamedTuple):
    """A cache as a hot loop sees it."""

    slots: np.uint64
    shift: np.uint64  # hash >> shift << 6 is where its line is, in bytes into slots
    ring: np.uint64
    mask: np.uint64  # of a position in the ring
    head: np.uint64


@kernel(inline=True)
def addresses(cache):
    return _Addresses(
        address(cache.slots),
        leading_zeros(np.uint64(len(cache.slots))) + _U2,
        address(cache.ring),
        np.uint64(len(cache.ring) - 1),
        address(cache.head),
    )


@kernel(inline=True)
def line_of(cache, h):
    """The address of the line where a word of this hash may be."""
    return cache.slots + (h >> cache.shift << _LINE_BITS)


@kernel(inline=True)
def is_there(cache, position):
    """Does the ring still hold what was written at a position?"""
    return load_u64(cache.head, _U0) - position <= cache.mask + _U1


@kernel(inline=True)
def reserve(cache, n):
    """A position with room for n bytes in a row, at most the size of the ring."""
    position = load_u64(cache.head, _U0)
    left = cache.mask + _U1 - (position & cache.mask)
    if left < n:
        position += left
    store_u64(cache.head, _U0, position + n)
    return position


@kernel(inline=True)
def holds(cache, slot, low, high, code, text, length):
    """Is this word in this slot?"""
    entry = load_u64(slot, _U2)
    if load_u64(slot, _U0) != low or load_u64(slot, _U1) != high or entry & _CODE != code:
        return False
    position = entry >> _U8
    return code < _LONG or (
        is_there(cache, position) and same_bytes(cache.ring + (position & cache.mask), text, length)
    )


@kernel(inline=True)
def find(cache, line, low, high, text, length):
    """The address of a word's slot, or 0. It is then the first of its line."""
    code = min(length, _LONG)
    if holds(cache, line, low, high, code, text, length):
        return line
    if not holds(cache, line + _U32, low, high, code, text, length):
        return _U0
    for i in range(4):
        first, second = load_u64(line, np.uint64(i)), load_u64(line, np.uint64(i + 4))
        store_u64(line, np.uint64(i), second)
        store_u64(line, np.uint64(i + 4), first)
    return line


@kernel(inline=True)
def enter(cache, line, low, high, text, length, value):
    """Makes a slot of a line that of a new word, unless it is too long."""
    if length > np.uint64(MAX_KEPT_BYTES):
        return
    slot = line if load_u64(line, _U2) == _U0 else line + _U32
    entry = length
    if length >= _LONG:
        position = reserve(cache, length)
        copy_bytes(cache.ring + (position & cache.mask), text, length)
        entry = position << _U8 | _LONG
    store_u64(slot, _U0, low)
    store_u64(slot, _U1, high)
    store_u64(slot, _U2, entry)
    store_u64(slot, _U3, value)


@kernel(inline=True)
def most_ids(n_words, n_bytes):
    """No more ids than this are kept for n_words of n_bytes together."""
    return _U3 * n_words + min(n_bytes, np.uint64(MAX_KEPT_BYTES) * n_words)


@kernel(WordCache, u64[:], i64[:], i64[:], u32[:], i64[:])
def keep(cache, lines, begin, end, ids, rows):
    """Gives the new words 0 to n - 1 their ids, where they are still in their lines.

    lines: uint64[n], addresses; begin, end: int64[n], for their lengths; ids: uint32[t], rows: int64[n + 1].
    """
    where, learnt = addresses(cache), address(ids)
    bits, largest = (
        (np.uint64(16), _U1 << np.uint64(16)) if cache.width == 2 else (np.uint64(20), _U1 << np.uint64(20))
    )
    for i in range(len(lines)):
        number, slot = np.uint64(i + 1), lines[i]
        if load_u64(slot, _U3) != number:
            slot += _U32
            if load_u64(slot, _U3) != number:
                continue
        first, count = np.uint64(rows[i]), np.uint64(rows[i + 1] - rows[i])
        value, fits = READY | count << COUNT, count < np.uint64(RUN)
        if fits:
            for k in range(count):
                token = np.uint64(load_u32(learnt, first + k))
                value |= token << (bits * k)
                fits = fits and token < largest
        if not fits and count <= np.uint64(end[i] - begin[i]):
            position = reserve(where, _U4 * (count + _U1))
            run = where.ring + (position & where.mask)
            store_u32(run, _U0, np.uint32(count))
            copy_bytes(run + _U4, learnt + _U4 * first, _U4 * count)
            value, fits = RUN_VALUE | position, True
        if fits:
            store_u64(slot, _U3, value)
        else:
            store_u64(slot, _U2, _U0)  # more ids than most_ids allows: the model is asked each time


@kernel(inline=True)
def run_of(cache, value):
    """The address of a run in the ring, or 0 if it isn't there any more."""
    position = value & _POSITION
    return cache.ring + (position & cache.mask) if is_there(cache, position) else _U0
