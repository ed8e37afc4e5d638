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
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import ALL, U0, U1, U2, U3, U4, U8, U16, U20
from gputok.kernels.cpu.primitives.hashing import same_long
from gputok.kernels.cpu.primitives.memory import View, copy, leading_zeros, store_u32, tail, view
from gputok.kernels.cpu.word_table import LONG
from gputok.kernels.signatures import U8s, U64s, U64x2, i64, u32, u64

N_LINES = 1 << 16  # 4 MB: larger ones miss the processor's caches more often than they save words
RING_BYTES = 1 << 21
MAX_KEPT_BYTES = 1 << 10  # of a word
RUN, END = 4, 5
READY, RUN_VALUE, END_VALUE = (np.uint64(8 << 60), np.uint64(8 + RUN << 60), np.uint64(8 + END << 60))
COUNT = np.uint64(60)

NOWHERE = ALL  # neither a slot nor a place in the ring
_LONG, _CODE = np.uint64(LONG), np.uint64(0xFF)
_POSITION = np.uint64((1 << 60) - 1)


class WordCache(NamedTuple):
    """Make it with `new_cache`; for one model, and one thread at a time."""

    slots: U64x2  # uint64[2 * lines, 4]
    ring: U8s  # uint8[], a power of two
    head: U64s  # uint64[1], how many bytes were ever written to the ring
    width: int  # bytes of an id where it ends up, 2 or 4


def new_cache(width: int = 4, n_lines: int = N_LINES, ring_bytes: int = RING_BYTES) -> WordCache:
    memory = np.empty(8 * n_lines + 8, np.uint64)
    memory[:] = 0  # now, and not one page after the other when they are read first and then written
    skip = -memory.ctypes.data % 64 // 8
    slots = memory[skip : skip + 8 * n_lines].reshape(2 * n_lines, 4)
    return WordCache(slots, np.empty(ring_bytes, np.uint8), np.zeros(1, np.uint64), width)


class _Views(NamedTuple):
    """A cache as a hot loop sees it. A slot, and the line that begins with it, are where it begins in `slots`."""

    slots: View  # of uint64
    shift: np.uint64  # hash >> shift << 3 is its line
    ring: View  # of uint8
    mask: np.uint64  # of a position in the ring
    head: View  # of uint64


@kernel(inline=True)
def views(cache):
    return _Views(
        view(cache.slots),
        leading_zeros(np.uint64(len(cache.slots))) + U2,
        view(cache.ring),
        np.uint64(len(cache.ring) - 1),
        view(cache.head),
    )


@kernel(inline=True)
def line_of(cache, h):
    """The line where a word of this hash may be."""
    return h >> cache.shift << U3


@kernel(inline=True)
def is_there(cache, position):
    """Does the ring still hold what was written at a position?"""
    return cache.head[0] - position <= cache.mask + U1


@kernel(inline=True)
def reserve(cache, n):
    """A position with room for n bytes in a row, at most the size of the ring."""
    position = cache.head[0]
    left = cache.mask + U1 - (position & cache.mask)
    if left < n:
        position += left
    cache.head[0] = position + n
    return position


@kernel(inline=True)
def holds(cache, slot, low, high, code, text, begin, length):
    """Is this word in this slot (a view)?"""
    entry = slot[U2]
    if slot[U0] != low or slot[U1] != high or entry & _CODE != code:
        return False
    position = entry >> U8
    return code < _LONG or (
        is_there(cache, position) and same_long(cache.ring, position & cache.mask, text, begin, length)
    )


@kernel(inline=True)
def find(cache, line, low, high, text, begin, length):
    """The slot of the word text[begin:begin + length], or NOWHERE. It is then the first of its line."""
    slots = tail(cache.slots, line)
    code = min(length, _LONG)
    if holds(cache, slots, low, high, code, text, begin, length):
        return line
    if not holds(cache, tail(slots, U4), low, high, code, text, begin, length):
        return NOWHERE
    for i in range(4):
        first, second = slots[i], slots[i + 4]
        slots[i] = second
        slots[i + 4] = first
    return line


@kernel(inline=True)
def enter(cache, line, low, high, text, begin, length, value):
    """Makes a slot of a line that of a new word, unless it is too long."""
    if length > np.uint64(MAX_KEPT_BYTES):
        return
    slots = cache.slots
    slot = line if slots[line + U2] == U0 else line + U4
    entry = length
    if length >= _LONG:
        position = reserve(cache, length)
        copy(cache.ring, position & cache.mask, text, begin, length)
        entry = position << U8 | _LONG
    slots[slot] = low
    slots[slot + U1] = high
    slots[slot + U2] = entry
    slots[slot + U3] = value


@kernel(inline=True)
def most_ids(n_words, n_bytes):
    """No more ids than this are kept for n_words of n_bytes together."""
    return U3 * n_words + min(n_bytes, np.uint64(MAX_KEPT_BYTES) * n_words)


@kernel(WordCache, u64[:], i64[:], i64[:], u32[:], i64[:])
def keep(cache, lines, begin, end, ids, rows):
    """Gives the new words 0 to n - 1 their ids, where they are still in their lines.

    lines: uint64[n]; begin, end: int64[n], for their lengths; ids: uint32[t], rows: int64[n + 1].
    """
    where, learnt, learnt_bytes = views(cache), view(ids), view(ids, np.uint8)
    slots, ring = where.slots, where.ring
    bits, largest = (U16, U1 << U16) if cache.width == 2 else (U20, U1 << U20)
    for i in range(len(lines)):
        number, slot = np.uint64(i + 1), lines[i]
        if slots[slot + U3] != number:
            slot += U4
            if slots[slot + U3] != number:
                continue
        first, count = np.uint64(rows[i]), np.uint64(rows[i + 1] - rows[i])
        value, fits = READY | count << COUNT, count < np.uint64(RUN)
        if fits:
            for k in range(count):
                token = np.uint64(learnt[first + k])
                value |= token << (bits * k)
                fits = fits and token < largest
        if not fits and count <= np.uint64(end[i] - begin[i]):
            position = reserve(where, U4 * (count + U1))
            run = position & where.mask
            store_u32(ring, run, np.uint32(count))
            copy(ring, run + U4, learnt_bytes, U4 * first, U4 * count)
            value, fits = RUN_VALUE | position, True
        if fits:
            slots[slot + U3] = value
        else:
            slots[slot + U2] = U0  # more ids than most_ids allows: the model is asked each time


@kernel(inline=True)
def run_of(cache, value):
    """Where a run is in the ring, or NOWHERE if it isn't there any more."""
    position = value & _POSITION
    return position & cache.mask if is_there(cache, position) else NOWHERE
