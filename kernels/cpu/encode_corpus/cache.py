"""A cache of words and the ids that a model gave them, in memory of a fixed size.

A cache line holds two words. A new word takes the second slot; a word that is found there is exchanged with the first.
So words that occur only once replace each other, and not words that occur again. If both slots have a word, a new word
goes to another line of the group of 16, if one has room. Then none of 230,000 words in 524,288 slots is pushed out;
with groups of four, 2,300 are, and without groups 12,600. A ring buffer has the bytes of long words, and long rows of
ids; a *position* in the ring counts all bytes that were ever written to it.

    slot:         low, high, value, more
    low, high:    the bytes of a word of at most 15, zeros after them, and their number in the top byte;
                  of a longer word its hash, and LONG << 56 | its length
    value, more:  n | id << 8 | id << 32, id | id << 32     n ids, 1 to 4, of a word of at most 15 bytes
                  n, ids of 16 bits                         the same if ids have two bytes
                  position << 8 | RUN                       where the ring has a number and as many ids, uint32 each
                  END                                       the end of a piece of text
                  number << 8 | NEW                         a word of this round that the model has not seen yet
    more:         of a long word always the position of its bytes in the ring

So two comparisons of 64 bits find a short word, and one or two instructions store its ids, however many they are.

A larger cache takes longer to look at. So it grows only if many words that are pushed out come again: in Chinese, most
words are all that lies between two commas, and never come again. To tell, one of 64 words that are pushed out leaves a
*ghost*, 32 bits of its hash. A word that enters a line far from its own counts as pushed out too, and when it is found
there, as a word that comes again: to look so far for many words would take longer than a larger cache.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import ALL, GOLDEN, U0, U1, U2, U3, U4, U8, U16, U32
from gputok.kernels.cpu.primitives.hashing import mix, same_long
from gputok.kernels.cpu.primitives.memory import (
    as_views,
    copy,
    leading_zeros,
    likely,
    load_u64,
    prefetch,
    store_u32,
    tail,
    view,
)
from gputok.kernels.cpu.word_table import hash_long
from gputok.kernels.signatures import NamedTuple, U8s, U32s, U64s, U64x2, i64, u32, u64

FIRST_LINES = 1 << 15  # 2 MB, and as much of ring; a text of many words makes it larger
MOST_LINES = 1 << 20  # 64 MB
MANY_SLOTS = 1 << 18  # up to this size, a cache becomes four times as large at a time, beyond it twice
RING_BYTES_A_LINE = 64
BYTES_A_LINE = 64 + RING_BYTES_A_LINE
MAX_KEPT_BYTES = 1 << 10  # a longer word is not kept

MOST_INLINE = 4  # ids in a slot
# Parts of a value: the number of ids in the slot, or 0; and what kind it is, by this number, or by RUN, END or NEW
N_INLINE, KIND = np.uint64(7), np.uint64(255)
RUN, END, NEW = np.uint64(8), np.uint64(16), np.uint64(32)
END_BIT = U4  # END is this bit
IN_SLOT = N_INLINE | END  # values with one of these bits need no look at the ring
SHORT = np.uint64(15)  # bytes of a word that is its own key
LONG = np.uint64(16)  # stands in the top byte of a long word, instead of the length
VALUE, MORE = U2, U3  # indices in a slot
GROUP = np.uint64(128)  # elements of `slots` in a group of 16 lines
FAR = U32  # two lines of a group lie far apart if their indices in `slots` differ in this bit, or in a higher one
NOWHERE = ALL  # neither a slot nor an index in the ring
_TOP = np.uint64(56)
FIRST_ID = np.uint64((1 << 24) - 1)  # the bits of the first id of a slot
_HIGH = np.uint64(0xD6E8FEB86659FD93)

# Which bits of `low` and of `high` belong to a word of each length up to 16: uint64[34]
MASKS = np.array([(1 << 8 * n) - 1 for length in range(17) for n in (min(length, 8), max(length - 8, 0))], np.uint64)
N_KEYS = 256  # words whose keys are found before the words are looked up
AHEAD = 8  # a line is prefetched so many words before its word gets its ids


class WordCache(NamedTuple):
    """A cache for one model, and one thread at a time; `new_cache` makes it."""

    slots: U64x2  # uint64[2 * lines, 4]
    ring: U8s  # uint8[], a power of two
    ghosts: U32s  # uint32[N_GHOSTS]
    head: U64s  # uint64[4]: how many bytes were ever written to the ring, and at PUSHED_OUT, CAME_BACK and REACH
    width: int  # bytes of an id where it ends up, 2 or 4


# In `head`, counts since `grown` last used them: words that were pushed out, or entered far from their lines; and, of
# one in WITH_GHOST words, those that came in and have a ghost, or were found far from their lines
PUSHED_OUT, CAME_BACK = U1, U2
REACH = U3  # also in `head`: in how many elements of its group a word is looked for, GROUP or FULL_REACH
FULL_REACH = U8  # if the cache is full: its own line alone
WITH_GHOST = 64  # words of which one leaves a ghost
N_GHOSTS = 1 << 11  # ghosts, which stand for the 131,000 words that were pushed out last
FEWEST = 1 << 12  # words that are pushed out before it is asked whether a larger cache pays
FEW_OF_ALL = 32  # and before it is asked, one word for each FEW_OF_ALL slots must be pushed out
MOST_FOR_ONE = 5  # it pays if more than one in this many of the words that were pushed out has come back


def new_cache(width: int = 4, n_lines: int = FIRST_LINES, ring_bytes: int | None = None) -> WordCache:
    """An empty cache for ids of `width` bytes; n_lines: a power of two, whole groups; ring_bytes: a power of two."""
    if n_lines < GROUP // U8 or n_lines & (n_lines - 1):
        raise ValueError(f"n_lines={n_lines}: must be a power of two, and at least a group of {GROUP // U8}")
    memory = np.zeros(8 * n_lines + 8, np.uint64)
    memory[::512] = 0  # writes to each page of memory now: first reading and then writing it would take longer
    skip = -memory.ctypes.data % 64 // 8
    slots = memory[skip : skip + 8 * n_lines].reshape(2 * n_lines, 4)
    ring = np.empty(RING_BYTES_A_LINE * n_lines if ring_bytes is None else ring_bytes, np.uint8)
    head = np.array([0, 0, 0, GROUP], np.uint64)
    return WordCache(slots, ring, np.zeros(N_GHOSTS, np.uint32), head, width)


def enlarged(cache: WordCache, times: int) -> WordCache:
    """The same words in a cache that is `times` as large; times: a power of two."""
    n_lines, n = len(cache.slots) // 2, len(cache.ring)
    larger = new_cache(cache.width, times * n_lines, times * n)
    _move(cache, larger)
    larger.head[0] = cache.head[0]
    return larger._replace(ghosts=cache.ghosts)


def grown(cache: WordCache, most_lines: int) -> WordCache:
    """The cache, or a larger one if that pays; if it is full and doesn't grow, a word then has only its own line."""
    n_slots, pushed_out, came_back = len(cache.slots), int(cache.head[PUSHED_OUT]), int(cache.head[CAME_BACK])
    if pushed_out < min(FEWEST, n_slots) or pushed_out * FEW_OF_ALL < n_slots:
        return cache
    cache.head[PUSHED_OUT] = cache.head[CAME_BACK] = 0
    if came_back * WITH_GHOST * MOST_FOR_ONE <= pushed_out or n_slots >= 2 * most_lines:
        cache.head[REACH] = FULL_REACH
        return cache
    return enlarged(cache, 4 if 4 * n_slots <= min(2 * most_lines, MANY_SLOTS) else 2)


# The functions below take the views of a WordCache. A slot or a line is the index where it begins in `slots`.


@kernel(inline=True)
def line_of(cache, low, high):
    """The line that can hold a word with this key."""
    shift = leading_zeros(np.uint64(len(cache.slots))) + U4  # a line has eight numbers
    return ((low * GOLDEN) ^ (high * _HIGH)) >> shift << U3


@kernel(inline=True)
def in_ring(cache, position):
    """The index in the ring of what was written at a position."""
    return position & np.uint64(len(cache.ring) - 1)


@kernel(inline=True)
def find_keys(cache, text, bounds, n, masks, keys):
    """Writes keys[4 * i:] = line, low, high of word i < n; prefetches lines; reads 16 bytes a word. masks: MASKS."""
    begin = np.uint64(bounds[U0])
    for i in range(n):
        end = np.uint64(bounds[i + U1])
        length = end - begin
        if likely(length <= SHORT):
            low = load_u64(text, begin) & masks[U2 * length]
            high = load_u64(text, begin + U8) & masks[U2 * length + U1] | length << _TOP
        else:
            low, high = hash_long(tail(text, begin), length), LONG << _TOP | length
        line = line_of(cache, low, high)
        prefetch(cache.slots, line)
        keys[U4 * i] = line
        keys[U4 * i + U1] = low
        keys[U4 * i + U2] = high
        begin = end


@kernel(inline=True)
def is_long(high):
    """Whether a key is that of a word of more than SHORT bytes."""
    return high >= LONG << _TOP


@kernel(inline=True)
def is_there(cache, position):
    """Whether the ring still holds what was written at a position."""
    return cache.head[0] - position <= np.uint64(len(cache.ring))


@kernel(inline=True)
def reserve(cache, n):
    """A position with room for n bytes in a row, at most the size of the ring."""
    position = cache.head[0]
    left = np.uint64(len(cache.ring)) - in_ring(cache, position)
    if left < n:
        position += left
    cache.head[0] = position + n
    return position


@kernel(WordCache, WordCache)
def _move(cache, larger):
    """Copies the ring and all slots, except slots with a part that the ring has lost."""
    old, new = as_views(cache), as_views(larger)
    size, position = np.uint64(len(old.ring)), old.head[0]
    at = position - min(position, size)
    while at < position:  # in two parts, if the ring has come round
        n = min(position - at, size - in_ring(old, at))
        copy(new.ring, in_ring(new, at), old.ring, in_ring(old, at), n)
        at += n
    for i in range(len(cache.slots)):
        slot = np.uint64(i) << U2
        low, high, value = old.slots[slot], old.slots[slot + U1], old.slots[slot + VALUE]
        more, kind = old.slots[slot + MORE], value & KIND
        if high == U0 or kind == NEW or (is_long(high) and not is_there(old, more)):
            continue
        if kind == RUN and not is_there(old, value >> U8):
            continue
        into = _slot_for(new.slots, line_of(new, low, high), GROUP)
        new.slots[into] = low
        new.slots[into + U1] = high
        new.slots[into + VALUE] = value
        new.slots[into + MORE] = more


@kernel(inline=True)
def _find_in(cache, line, low, high, text, begin):
    """The slot of a line that holds the word that begins at text[begin], or NOWHERE."""
    for slot in range(line, line + U8, U4):
        if cache.slots[slot] == low and cache.slots[slot + U1] == high:
            position = cache.slots[slot + MORE]
            if not is_long(high) or (
                is_there(cache, position)
                and same_long(cache.ring, in_ring(cache, position), text, begin, high & (ALL >> U8))
            ):
                return slot
    return NOWHERE


@kernel(inline=True)
def find(cache, line, low, high, text, begin):
    """The slot of the word at text[begin], which is moved to the first slot of its own line; or NOWHERE."""
    # `_slot_for` gives a word another line only if those before it in the group are full
    slot, other, last = _find_in(cache, line, low, high, text, begin), U0, cache.head[REACH] - U8
    while slot == NOWHERE and other < last and cache.slots[(line ^ other) + U4 + U1] != U0:
        other += U8
        slot = _find_in(cache, line ^ other, low, high, text, begin)
        if slot != NOWHERE:
            if other >= FAR:
                cache.head[CAME_BACK] += np.uint64(_sample(low, high) % np.uint64(WITH_GHOST) == U0)
            _exchange(cache, slot, line + U4)
            slot = line + U4
    if slot == line + U4:
        _exchange(cache, slot, line)
        slot = line
    return slot


@kernel(inline=True)
def _exchange(cache, slot, other):
    first, second = tail(cache.slots, slot), tail(cache.slots, other)
    for i in range(U0, U4):
        a, b = first[i], second[i]
        first[i] = b
        second[i] = a


@kernel(inline=True)
def _sample(low, high):
    """A hash that tells whether a word may have a ghost, and which."""
    return mix(mix(low) ^ high)


@kernel(inline=True)
def _leave_ghost(cache, low, high):
    """Notes a word that is pushed out."""
    cache.head[PUSHED_OUT] += U1
    h = _sample(low, high)
    if h % np.uint64(WITH_GHOST) == U0:
        cache.ghosts[(h >> U32) % np.uint64(N_GHOSTS)] = np.uint32(h)


@kernel(inline=True)
def _look_for_ghost(cache, low, high):
    """Notes a word that comes in, if it has a ghost."""
    h = _sample(low, high)
    if h % np.uint64(WITH_GHOST) == U0:
        cache.head[CAME_BACK] += np.uint64(cache.ghosts[(h >> U32) % np.uint64(N_GHOSTS)] == np.uint32(h))


@kernel(inline=True)
def _slot_for(slots, line, reach):
    """A free slot of a line, or of its group; the second slot of the line if there is none."""
    slot = line
    if slots[slot + U1] != U0:
        slot = line + U4
    other = U8
    while slots[slot + U1] != U0 and other < reach:
        if slots[(line ^ other) + U4 + U1] == U0:
            slot = line ^ other
            if slots[slot + U1] != U0:
                slot += U4
        other += U8
    return slot


@kernel(inline=True)
def enter(cache, line, low, high, text, begin, length, value):
    """Gives a new word a slot, in its own line or its group, and returns the slot; NOWHERE: the word is too long."""
    if length > np.uint64(MAX_KEPT_BYTES):
        return NOWHERE
    slots = cache.slots
    slot = _slot_for(slots, line, cache.head[REACH])
    _look_for_ghost(cache, low, high)
    if slots[slot + U1] != U0:
        _leave_ghost(cache, slots[slot], slots[slot + U1])
    elif slot ^ line >= FAR:
        cache.head[PUSHED_OUT] += U1
    more = U0
    if is_long(high):
        more = reserve(cache, length)
        copy(cache.ring, in_ring(cache, more), text, begin, length)
    slots[slot] = low
    slots[slot + U1] = high
    slots[slot + VALUE] = value
    slots[slot + MORE] = more
    return slot


@kernel(inline=True)
def most_ids(n_words, n_bytes):
    """The most ids that the cache can have of n_words of n_bytes together."""
    return np.uint64(MOST_INLINE) * n_words + min(n_bytes, np.uint64(MAX_KEPT_BYTES) * n_words)


@kernel(inline=True)
def inline_ids(width, ids, first, count):
    """(value, more) of a slot for ids[first:first + count]; value 0 if the ids don't fit."""
    if count == U0 or count > np.uint64(MOST_INLINE):
        return U0, U0
    if width == U2:
        more = U0
        for k in range(count):
            more |= np.uint64(ids[first + k]) << (U16 * k)
        return count, more
    one = np.uint64(ids[first])
    if one > FIRST_ID:
        return U0, U0
    two = np.uint64(ids[first + U1]) if count > U1 else U0
    three = np.uint64(ids[first + U2]) if count > U2 else U0
    four = np.uint64(ids[first + U3]) if count > U3 else U0
    return count | one << U8 | two << U32, three | four << U32


@kernel(WordCache, u64[:], i64[:], i64[:], u32[:], i64[:])
def keep(cache, lines, begin, end, ids, rows):
    """Gives n new words their ids, if they are still in the groups of their lines; begin, end: for their lengths."""
    words = view(lines), view(begin, np.uint64), view(end, np.uint64), np.uint64(len(lines))
    keep_words(as_views(cache), np.uint64(cache.width), words, view(ids), view(rows, np.uint64))


@kernel(inline=True)
def keep_words(where, width, words, learnt, rows):
    """`keep`, with views; words: lines, begin, end, and their number."""
    slots, reach, (lines, begin, end, n) = where.slots, where.head[REACH], words
    for i in range(n):
        prefetch(slots, lines[min(i + np.uint64(AHEAD), n - U1)])
        value, slot, other = (i + U1) << U8 | NEW, NOWHERE, U0
        while slot == NOWHERE and other < reach:  # mostly in the first line: `find` may have moved the word
            for at in (lines[i] ^ other, (lines[i] ^ other) + U4):
                slot = at if slots[at + VALUE] == value else slot
            other += U8
        if slot == NOWHERE:
            continue
        give_ids(where, width, slot, learnt, rows[i], rows[i + U1] - rows[i], end[i] - begin[i])


@kernel(inline=True)
def give_ids(where, width, slot, learnt, first, count, length):
    """Gives the word of a slot, of `length` bytes, the ids learnt[first:first + count]."""
    slots = where.slots
    if not is_long(slots[slot + U1]):
        value, more = inline_ids(width, learnt, first, count)
        if value != U0:
            slots[slot + VALUE] = value
            slots[slot + MORE] = more
            return
    if count <= length:
        position = reserve(where, U4 * (count + U1))
        run = in_ring(where, position)
        store_u32(where.ring, run, np.uint32(count))
        for k in range(count):
            store_u32(where.ring, run + U4 * (k + U1), learnt[first + k])
        slots[slot + VALUE] = position << U8 | RUN
    else:  # more ids than most_ids allows: the model is asked each time
        slots[slot + VALUE] = U0
        slots[slot + U1] = U0
