"""A cache of words and the ids that a model gave them, in memory of a fixed size.

A cache line holds two words. A new word takes the second place; a word that is found there changes places with the first.
So words that occur only once replace each other, and not words that occur again. The bytes of long words, and long rows of
ids, are stored in a ring buffer, and stay valid until they are overwritten.

    slot:   low, high, position << 8 | length code, value    (the key of a word is that of word_table.py)
    value:  READY | n << 60 | ids           n up to 3 ids side by side, of 16 bits each or of 20
            READY | RUN << 60 | position    place in the ring of their number and the ids, uint32 each
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
from gputok.kernels.cpu.word_table import LONG, mix
from gputok.kernels.signatures import U8s, U64s, U64x2, i64, u32, u64

FIRST_LINES = 1 << 13  # 512 KB, and half as much of ring; a text of many words makes it larger
MOST_LINES = 1 << 20  # 64 MB
RING_BYTES_A_LINE = 32
BYTES_A_LINE = 64 + RING_BYTES_A_LINE
MAX_KEPT_BYTES = 1 << 10  # of a word
RUN, END = 4, 5
READY, RUN_VALUE, END_VALUE = (np.uint64(8 << 60), np.uint64(8 + RUN << 60), np.uint64(8 + END << 60))
COUNT = np.uint64(60)

NOWHERE = ALL  # neither a slot nor a place in the ring
_LONG, _CODE = np.uint64(LONG), np.uint64(0xFF)
_POSITION = np.uint64((1 << 60) - 1)


class WordCache(NamedTuple):
    """A cache for one model, and one thread at a time; `new_cache` makes it."""

    slots: U64x2  # uint64[2 * lines, 4]
    ring: U8s  # uint8[], a power of two
    head: U64s  # uint64[2], how many bytes were ever written to the ring; words pushed out since the cache was made
    width: int  # bytes of an id where it ends up, 2 or 4


PUSHED_OUT = np.uint64(1)  # in `head`


def new_cache(width: int = 4, n_lines: int = FIRST_LINES, ring_bytes: int | None = None) -> WordCache:
    """An empty cache of n_lines lines for ids of `width` bytes; ring_bytes: a power of two."""
    memory = np.empty(8 * n_lines + 8, np.uint64)
    memory[:] = 0  # now: reading and then writing each page later would take longer
    skip = -memory.ctypes.data % 64 // 8
    slots = memory[skip : skip + 8 * n_lines].reshape(2 * n_lines, 4)
    ring = np.empty(RING_BYTES_A_LINE * n_lines if ring_bytes is None else ring_bytes, np.uint8)
    return WordCache(slots, ring, np.zeros(2, np.uint64), width)


def is_too_small(cache: WordCache) -> bool:
    """Whether so many words were pushed out that a larger cache would be worth its memory."""
    return int(cache.head[PUSHED_OUT]) * 16 > len(cache.slots)


def enlarged(cache: WordCache, times: int) -> WordCache:
    """The same words in a cache that is `times` as large; times: a power of two."""
    n_lines, n = len(cache.slots) // 2, len(cache.ring)
    larger = new_cache(cache.width, times * n_lines, times * n)
    _move(cache, larger)
    larger.head[0] = cache.head[0]
    return larger


class _Views(NamedTuple):
    """A cache as a hot loop sees it. The number of a slot or a line is the place where it begins in `slots`."""

    slots: View  # of uint64
    shift: np.uint64  # hash >> shift << 3 is its line
    ring: View  # of uint8
    mask: np.uint64  # of a position in the ring
    head: View  # of uint64


@kernel(inline=True)
def views(cache):
    """The views of a cache."""
    return _Views(
        view(cache.slots),
        leading_zeros(np.uint64(len(cache.slots))) + U2,
        view(cache.ring),
        np.uint64(len(cache.ring) - 1),
        view(cache.head),
    )


@kernel(inline=True)
def line_of(cache, h):
    """The line that can hold a word with this hash."""
    return h >> cache.shift << U3


@kernel(inline=True)
def is_there(cache, position):
    """Whether the ring still holds what was written at a position."""
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


@kernel(WordCache, WordCache)
def _move(cache, larger):
    """Copies the ring and all slots, except slots with a part that the ring has lost.

    The two words of a line go to one or two lines of the larger cache, which get no other words.
    """
    old, new = views(cache), views(larger)
    size, position = old.mask + U1, old.head[0]
    at = position - min(position, size)
    while at < position:  # in two parts, if the ring has come round
        n = min(position - at, size - (at & old.mask))
        copy(new.ring, at & new.mask, old.ring, at & old.mask, n)
        at += n
    for i in range(len(cache.slots)):
        slot = np.uint64(i) << U2
        low, high, entry, value = (
            old.slots[slot],
            old.slots[slot + U1],
            old.slots[slot + U2],
            old.slots[slot + U3],
        )
        code = entry & _CODE
        if entry == U0 or value < READY or (code == _LONG and not is_there(old, entry >> U8)):
            continue
        if value >= RUN_VALUE and value < END_VALUE and not is_there(old, value & _POSITION):
            continue
        line = line_of(new, low if code == _LONG else mix(low, high, code))
        if new.slots[line + U2] != U0:
            line += U4
        new.slots[line] = low
        new.slots[line + U1] = high
        new.slots[line + U2] = entry
        new.slots[line + U3] = value


@kernel(inline=True)
def holds(cache, slot, low, high, code, text, begin, length):
    """Whether a slot (a view) holds this word."""
    entry = slot[U2]
    if slot[U0] != low or slot[U1] != high or entry & _CODE != code:
        return False
    position = entry >> U8
    return code < _LONG or (
        is_there(cache, position) and same_long(cache.ring, position & cache.mask, text, begin, length)
    )


@kernel(inline=True)
def find(cache, line, low, high, text, begin, length):
    """The slot of the word text[begin:begin + length], which becomes the first of its line; or NOWHERE."""
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
    """Gives a slot of a line to a new word, unless the word is too long."""
    if length > np.uint64(MAX_KEPT_BYTES):
        return
    slots = cache.slots
    slot = line if slots[line + U2] == U0 else line + U4
    cache.head[PUSHED_OUT] += np.uint64(slots[slot + U2] != U0)
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
    """The number of ids that are kept at most for n_words of n_bytes together."""
    return U3 * n_words + min(n_bytes, np.uint64(MAX_KEPT_BYTES) * n_words)


@kernel(inline=True)
def value_of(cache, width, ids, first, count, most):
    """The value of a slot for ids[first:first + count]; 0 for more than `most` ids that don't fit a slot."""
    bits, largest = (U16, U1 << U16) if width == U2 else (U20, U1 << U20)
    if count < np.uint64(RUN):
        value, fits = READY | count << COUNT, True
        for k in range(count):
            token = np.uint64(ids[first + k])
            value |= token << (bits * k)
            fits = fits and token < largest
        if fits:
            return value
    if count > most:
        return U0
    position = reserve(cache, U4 * (count + U1))
    run = position & cache.mask
    store_u32(cache.ring, run, np.uint32(count))
    for k in range(count):
        store_u32(cache.ring, run + U4 * (k + U1), ids[first + k])
    return RUN_VALUE | position


@kernel(WordCache, u64[:], i64[:], i64[:], u32[:], i64[:])
def keep(cache, lines, begin, end, ids, rows):
    """Gives the new words 0 to n - 1 their ids, if they are still in their lines.

    lines: uint64[n]; begin, end: int64[n], for their lengths; ids: uint32[t], rows: int64[n + 1].
    """
    where, learnt, width = views(cache), view(ids), np.uint64(cache.width)
    slots = where.slots
    for i in range(len(lines)):
        number, slot = np.uint64(i + 1), lines[i]
        if slots[slot + U3] != number:
            slot += U4
            if slots[slot + U3] != number:
                continue
        first, count = np.uint64(rows[i]), np.uint64(rows[i + 1] - rows[i])
        value = value_of(where, width, learnt, first, count, np.uint64(end[i] - begin[i]))
        slots[slot + U3] = value
        if value == U0:
            slots[slot + U2] = U0  # more ids than most_ids allows: the model is asked each time


@kernel(inline=True)
def run_of(cache, value):
    """The place of a run in the ring, or NOWHERE if the ring has lost it."""
    position = value & _POSITION
    return position & cache.mask if is_there(cache, position) else NOWHERE
