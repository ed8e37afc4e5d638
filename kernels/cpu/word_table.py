"""A hash table whose keys are words of bytes.

A slot has 32 bytes: a word of at most 16 bytes itself, or the hash and the length of a longer word, whose bytes are then
compared in the arena of words. So most look-ups touch half a cache line, and bytes always decide whether words are equal.
Slots are ordered by the upper bits of the hash, so that growing a table is one sequential pass.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import ALL, GOLDEN, U0, U1, U2, U3, U4, U8, U16, U32, U64
from gputok.kernels.cpu.primitives.hashing import same_long
from gputok.kernels.cpu.primitives.memory import (
    View,
    copy,
    leading_zeros,
    likely,
    load_u64,
    prefetch,
    tail,
    view,
)
from gputok.kernels.signatures import I64s, U8s, U64x2, u64

N_KEYS = 256  # words that are hashed before they are probed
N_MASKS = 34  # of `put_masks`
LONG = 17  # the length code of all words of more than 16 bytes

# table.state
N_WORDS, N_BYTES, WANTED_WORDS, WANTED_BYTES = range(4)

_K2 = np.uint64(0xD6E8FEB86659FD93)
_K3 = np.uint64(0xA0761D6478BD642F)


class WordTable(NamedTuple):
    """Distinct words in order of insertion, each with 64 bits of value (a count, say). Make it with `new_table`, enlarge it with `enlarged`.

    A slot is low, high, word << 8 | length code, value. low and high are the bytes of a word of at most 16 bytes, zeros
    behind; else its hash and its length. A free slot is all zeros (the code is never 0).
    """

    slots: U64x2  # uint64[capacity, 4], capacity a power of two
    arena: U8s  # uint8[], the words one after the other
    offsets: I64s  # int64[room(capacity) + 1], word i is arena[offsets[i]:offsets[i + 1]]
    position: I64s  # int64[room(capacity)], where each was first seen, ascending
    # int64[4]: N_WORDS, N_BYTES; and WANTED_WORDS, WANTED_BYTES when a stage stopped for want of room
    state: I64s


def _free_slots(capacity: int) -> np.ndarray:
    """Slots of zeros, aligned so that no slot crosses a cache line."""
    memory = np.zeros(4 * capacity + 8, np.uint64)
    skip = -memory.ctypes.data % 64 // 8
    return memory[skip : skip + 4 * capacity].reshape(capacity, 4)


def room(capacity: int) -> int:
    """The number of words for a table of this capacity: a fuller table has longer probes, an emptier one more memory."""
    return capacity * 2 // 3


def new_table(capacity: int = 1 << 17, n_bytes: int = 1 << 20) -> WordTable:
    """An empty table for `room(capacity)` words of n_bytes in all; capacity: a power of two."""
    return WordTable(
        _free_slots(capacity),
        np.empty(n_bytes, np.uint8),
        np.zeros(room(capacity) + 1, np.int64),
        np.empty(room(capacity), np.int64),
        np.zeros(4, np.int64),
    )


def n_bytes_of(capacity: int, arena_bytes: int) -> int:
    """The number of bytes of a table with so many slots and bytes of words."""
    return 32 * capacity + arena_bytes + 8 * (2 * room(capacity) + 1)


def wanted(table: WordTable) -> tuple[int, int]:
    """The number of slots and of bytes of words that the last stage wanted."""
    capacity, arena_bytes = len(table.slots), len(table.arena)
    while room(capacity) < table.state[WANTED_WORDS]:
        capacity *= 2
    while arena_bytes < table.state[WANTED_BYTES]:
        arena_bytes *= 2
    return capacity, arena_bytes


def enlarged(table: WordTable) -> WordTable:
    """The same table, with the room that the last stage wanted."""
    slots, arena, offsets, position, state = table
    n = state[N_WORDS]
    capacity, n_bytes = wanted(table)
    if n_bytes > len(arena):
        arena = longer(arena[: state[N_BYTES]], n_bytes)
    if capacity > len(slots):
        slots = _free_slots(capacity)
        move_slots(table.slots, slots)
        offsets = longer(offsets[: n + 1], room(capacity) + 1)
        position = longer(position[:n], room(capacity))
    return WordTable(slots, arena, offsets, position, state)


def clear(table: WordTable) -> None:
    """Removes all words, and keeps the memory."""
    table.slots.fill(0)
    table.state.fill(0)


def longer(array: np.ndarray, length: int) -> np.ndarray:
    """A copy of an array, with room for more at its end."""
    longer = np.empty(length, array.dtype)
    longer[: len(array)] = array
    return longer


class _Views(NamedTuple):
    """A table as a hot loop sees it. The number of a slot is the place where it begins in `slots`."""

    slots: View  # of uint64
    mask: np.uint64  # of a slot
    shift: np.uint64  # hash >> shift << 2 is where its probes begin
    arena: View  # of uint8
    offsets: View  # of uint64
    position: View  # of int64
    state: View  # of uint64


@kernel(inline=True)
def views(table):
    """The views of a table."""
    capacity = np.uint64(len(table.slots))
    return _Views(
        view(table.slots),
        capacity * U4 - U1,
        leading_zeros(capacity) + U1,
        view(table.arena),
        view(table.offsets, np.uint64),
        view(table.position),
        view(table.state, np.uint64),
    )


@kernel(inline=True)
def mix(low, high, length):
    """The hash of a word of at most 16 bytes."""
    h = (low * GOLDEN) ^ ((high + length) * _K2)
    h = (h ^ (h >> U32)) * _K3
    return h ^ (h >> np.uint64(29))


@kernel(inline=True)
def low_bytes(n):
    """A mask of the n lowest bytes, n from 1 to 8."""
    return ALL >> (U64 - (n << U3))


@kernel(inline=True)
def hash_long(word, length):
    """64 bits of hash of more than 16 bytes, eight at a time; the last eight may overlap the bytes before."""
    h, i = length * _K2, U0
    while i + U8 < length:
        h = (h ^ load_u64(word, i)) * GOLDEN
        h ^= h >> U32
        i += U8
    return mix(h, load_u64(word, length - U8), length)


@kernel(inline=True)
def word_key(text, begin, length, readable):
    """(hash, low, high) of the word text[begin:begin + length] of at least one byte; `readable` bytes may be read there."""
    word = tail(text, begin)  # an address: a place in the text would take one more register
    if length > U16:
        h = hash_long(word, length)
        return h, h, length
    if readable >= U16:
        low = load_u64(word, U0) & low_bytes(min(length, U8))
        high = load_u64(word, U8) & low_bytes(length - U8) if length > U8 else U0
    else:
        low, high = U0, U0
        for i in range(length):
            byte, at = np.uint64(word[i]), np.uint64(i) << U3
            if at < U64:
                low |= byte << at
            else:
                high |= byte << (at - U64)
    return mix(low, high, length), low, high


@kernel(inline=True)
def put_masks(masks):
    """Writes for each length up to 16 which bits of `low` and `high` belong to a word; masks: uint64[N_MASKS]."""
    masks[U0], masks[U1] = U0, U0
    for length in range(U1, U16 + U1):
        masks[U2 * length] = low_bytes(min(length, U8))
        masks[U2 * length + U1] = low_bytes(length - U8) if length > U8 else U0


@kernel(inline=True)
def hash_words(table, text, bounds, n, masks, keys):
    """keys[4 * i:] = hash, low, high and length code of text[bounds[i]:bounds[i + 1]] for i < n; prefetches the slots.

    bounds: uint32[n + 1]; 16 bytes may be read from where any word begins. masks: of `put_masks`.
    """
    begin = np.uint64(bounds[U0])
    for i in range(n):
        end = np.uint64(bounds[i + U1])
        length, code = end - begin, end - begin
        if likely(length <= U16):
            low = load_u64(text, begin) & masks[U2 * length]
            high = load_u64(text, begin + U8) & masks[U2 * length + U1]
            h = mix(low, high, length)
        else:
            h = hash_long(tail(text, begin), length)
            low, high, code = h, length, np.uint64(LONG)
        prefetch(table.slots, home(table, h))
        keys[U4 * i], keys[U4 * i + U1], keys[U4 * i + U2], keys[U4 * i + U3] = h, low, high, code
        begin = end


@kernel(inline=True)
def add_one_each(table, keys, i, n):
    """Adds 1 to the values of the words from i on, until a word is long, or is not where its probes begin.

    keys: of `hash_words`. Returns the number of that word, or n.
    """
    while i < n:
        key, slot = tail(keys, U4 * i), tail(table.slots, home(table, keys[U4 * i]))
        code = key[U3]
        other = (slot[U0] ^ key[U1]) | (slot[U1] ^ key[U2]) | ((slot[U2] ^ code) & np.uint64(0xFF))
        if not likely((other == U0) & (code != np.uint64(LONG))):
            break
        slot[U3] += U1
        i += U1
    return i


@kernel(inline=True)
def home(table, h):
    """The slot where the probes of a hash begin."""
    return h >> table.shift << U2


@kernel(inline=True)
def find_slot(table, key, text, begin, length):
    """The slot of the word text[begin:begin + length], or the free slot where the word belongs."""
    slots = table.slots
    h, low, high = key
    code, slot = min(length, np.uint64(LONG)), home(table, h)
    while True:
        entry = slots[slot + U2]
        if slots[slot] == low and slots[slot + U1] == high and entry & np.uint64(0xFF) == code:
            if code < np.uint64(LONG):
                return slot
            if same_long(table.arena, table.offsets[entry >> U8], text, begin, length):
                return slot
        elif entry == U0:
            return slot
        slot = (slot + U4) & table.mask


@kernel(inline=True)
def find_or_enter(table, key, text, begin, length, position):
    """The slot of a word; a new word enters the table with this position and value 0."""
    slots, state = table.slots, table.state
    slot = find_slot(table, key, text, begin, length)
    if slots[slot + U2] == U0:
        word, at = state[N_WORDS], state[N_BYTES]
        copy(table.arena, at, text, begin, length)
        table.position[word] = position
        table.offsets[word + U1] = at + length
        state[N_WORDS] = word + U1
        state[N_BYTES] = at + length
        slots[slot] = key[1]
        slots[slot + U1] = key[2]
        slots[slot + U2] = word << U8 | min(length, np.uint64(LONG))
    return slot


@kernel(inline=True)
def has_room(table, n_words, n_bytes):
    """Whether the table has room for so many more words; if not, notes in the table how much is wanted."""
    state = table.state
    state[WANTED_WORDS] = state[N_WORDS] + n_words
    state[WANTED_BYTES] = state[N_BYTES] + n_bytes
    return state[WANTED_WORDS] <= len(table.position) and state[WANTED_BYTES] <= len(table.arena)


@kernel(u64[:, :], u64[:, :])
def move_slots(slots, target):
    """Enters all slots (uint64[c, 4]) into free ones (uint64[2 ** k * c, 4]): both are read and written in order."""
    source, there = view(slots), view(target)
    capacity = np.uint64(len(target))
    mask, shift = capacity * U4 - U1, leading_zeros(capacity) + U1
    for i in range(len(slots)):
        slot = np.uint64(i) * U4
        low, high, entry = source[slot], source[slot + U1], source[slot + U2]
        if entry:
            code = entry & np.uint64(0xFF)
            h = mix(low, high, code) if code < np.uint64(LONG) else low
            at = h >> shift << U2
            while there[at + U2]:
                at = (at + U4) & mask
            there[at] = low
            there[at + U1] = high
            there[at + U2] = entry
            there[at + U3] = source[slot + U3]
