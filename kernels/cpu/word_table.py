"""A hash table whose keys are words of bytes.

A slot holds 32 bytes, so that half a cache line answers for most words: the word itself if it has at most 16 bytes,
else its hash and length (its bytes are then compared in the arena of words). Equality is always decided on the bytes.
Slots are ordered by the upper bits of the hash, so growing a table is one sequential pass.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels.signatures import I64, U8, U64x2, u64

from . import kernel
from .memory import (
    address,
    copy_bytes,
    leading_zeros,
    load_u8,
    load_u32,
    load_u64,
    prefetch,
    store_i64,
    store_u64,
)
from .ragged import pointer

N_KEYS = 256  # words that are hashed before they are probed
LONG = 17  # the length code of all words of more than 16 bytes

# table.state
N_WORDS, N_BYTES, WANTED_WORDS, WANTED_BYTES = range(4)

_U0, _U1, _U2, _U3, _U8 = (np.uint64(i) for i in (0, 1, 2, 3, 8))
_U16, _U32, _U64 = np.uint64(16), np.uint64(32), np.uint64(64)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_K1, _K2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_K3 = np.uint64(0xA0761D6478BD642F)


class WordTable(NamedTuple):
    """Distinct words in order of insertion, each with 64 bits of value (a count, say). Make it with `new_table`, enlarge it with `enlarged`.

    A slot is low, high, word << 8 | length code, value. low and high are the bytes of a word of at most 16 bytes, zeros
    behind; else its hash and its length. A free slot is all zeros (the code is never 0).
    """

    slots: U64x2  # uint64[capacity, 4], capacity a power of two
    arena: U8  # uint8[], the words one after the other
    offsets: I64  # int64[room(capacity) + 1], word i is arena[offsets[i]:offsets[i + 1]]
    position: I64  # int64[room(capacity)], where each was first seen, ascending
    # int64[4]: N_WORDS, N_BYTES; and WANTED_WORDS, WANTED_BYTES when a stage stopped for want of room
    state: I64


def _free_slots(capacity: int) -> np.ndarray:
    """Zeros, where no slot crosses a cache line."""
    memory = np.zeros(4 * capacity + 8, np.uint64)
    skip = -pointer(memory) % 64 // 8
    return memory[skip : skip + 4 * capacity].reshape(capacity, 4)


def room(capacity: int) -> int:
    """How many words a table takes: fuller, its probes are longer; emptier, there is more memory to touch."""
    return capacity * 2 // 3


def new_table(capacity: int = 1 << 17, n_bytes: int = 1 << 20) -> WordTable:
    return WordTable(
        _free_slots(capacity),
        np.empty(n_bytes, np.uint8),
        np.zeros(room(capacity) + 1, np.int64),
        np.empty(room(capacity), np.int64),
        np.zeros(4, np.int64),
    )


def enlarged(table: WordTable) -> WordTable:
    """The same table with room for what the last stage wanted."""
    slots, arena, offsets, position, state = table
    capacity, n_bytes, n = len(slots), len(arena), state[N_WORDS]
    while room(capacity) < state[WANTED_WORDS]:
        capacity *= 2
    while n_bytes < state[WANTED_BYTES]:
        n_bytes *= 2
    if n_bytes > len(arena):
        arena = longer(arena[: state[N_BYTES]], n_bytes)
    if capacity > len(slots):
        slots = _free_slots(capacity)
        move_slots(table.slots, slots)
        offsets = longer(offsets[: n + 1], room(capacity) + 1)
        position = longer(position[:n], room(capacity))
    return WordTable(slots, arena, offsets, position, state)


def longer(array: np.ndarray, length: int) -> np.ndarray:
    longer = np.empty(length, array.dtype)
    longer[: len(array)] = array
    return longer


class _Addresses(NamedTuple):
    """A table as a hot loop sees it."""

    slots: np.uint64
    mask: np.uint64  # of a byte offset in slots
    shift: np.uint64  # hash >> shift << 5 is the byte offset of its slot
    arena: np.uint64
    offsets: np.uint64
    position: np.uint64
    state: np.uint64


@kernel(inline=True)
def addresses(table):
    capacity = np.uint64(len(table.slots))
    return _Addresses(
        address(table.slots),
        capacity * _U32 - _U1,
        leading_zeros(capacity) + _U1,
        address(table.arena),
        address(table.offsets),
        address(table.position),
        address(table.state),
    )


@kernel(inline=True)
def mix(low, high, length):
    h = (low * _K1) ^ ((high + length) * _K2)
    h = (h ^ (h >> _U32)) * _K3
    return h ^ (h >> np.uint64(29))


@kernel(inline=True)
def low_bytes(n):
    """A mask of the n lowest bytes, n from 1 to 8."""
    return _ALL >> (_U64 - (n << _U3))


@kernel(inline=True)
def hash_long(text, length):
    """64 bits of hash of more than 16 bytes, eight at a time; the last eight overlap those before."""
    h, i = length * _K2, _U0
    while i + _U8 < length:
        h = (h ^ load_u64(text + i, _U0)) * _K1
        h ^= h >> _U32
        i += _U8
    return mix(h, load_u64(text + length - _U8, _U0), length)


@kernel(inline=True)
def word_key(text, length, readable):
    """(hash, low, high) of a word of at least one byte at the address `text`, whence `readable` bytes may be read."""
    if length > _U16:
        h = hash_long(text, length)
        return h, h, length
    if readable >= _U16:
        low = load_u64(text, _U0) & low_bytes(min(length, _U8))
        high = load_u64(text, _U1) & low_bytes(length - _U8) if length > _U8 else _U0
    else:
        low, high = _U0, _U0
        for i in range(length):
            byte, at = np.uint64(load_u8(text, np.uint64(i))), np.uint64(i) << _U3
            if at < _U64:
                low |= byte << at
            else:
                high |= byte << (at - _U64)
    return mix(low, high, length), low, high


@kernel(inline=True)
def hash_words(table, text, bounds, n, keys):
    """keys[i] = hash, low and high of text[bounds[i]:bounds[i + 1]] for i < n; its slot is on its way to the cache.

    text and bounds (of uint32) are addresses; 16 bytes may be read from where any word begins.
    """
    for i in range(n):
        begin = np.uint64(load_u32(bounds, i))
        h, low, high = word_key(text + begin, np.uint64(load_u32(bounds, i + _U1)) - begin, _U16)
        prefetch(table.slots + home(table, h))
        keys[i, _U0], keys[i, _U1], keys[i, _U2] = h, low, high


@kernel(inline=True)
def same_bytes(a, b, length):
    """Are more than 8 bytes the same?"""
    i = _U0
    while i + _U8 < length:
        if load_u64(a + i, _U0) != load_u64(b + i, _U0):
            return False
        i += _U8
    return load_u64(a + length - _U8, _U0) == load_u64(b + length - _U8, _U0)


@kernel(inline=True)
def home(table, h):
    """Where the probes of a hash begin, in bytes into the slots."""
    return h >> table.shift << np.uint64(5)


@kernel(inline=True)
def find_slot(table, key, text, length):
    """The address of the slot of a word: its own, or the free one where it belongs."""
    h, low, high = key
    code, at = min(length, np.uint64(LONG)), home(table, h)
    while True:
        slot = table.slots + at
        entry = load_u64(slot, _U2)
        if load_u64(slot, _U0) == low and load_u64(slot, _U1) == high and entry & np.uint64(0xFF) == code:
            if code < np.uint64(LONG):
                return slot
            begin = load_u64(table.offsets, entry >> _U8)
            if same_bytes(table.arena + begin, text, length):
                return slot
        elif entry == _U0:
            return slot
        at = (at + _U32) & table.mask


@kernel(inline=True)
def find_or_enter(table, key, text, length, position):
    """The address of a word's slot; a new word enters the table with this position and value 0."""
    slot = find_slot(table, key, text, length)
    if load_u64(slot, _U2) == _U0:
        word, begin = load_u64(table.state, np.uint64(N_WORDS)), load_u64(table.state, np.uint64(N_BYTES))
        copy_bytes(table.arena + begin, text, length)
        store_i64(table.position, word, position)
        store_u64(table.offsets, word + _U1, begin + length)
        store_u64(table.state, np.uint64(N_WORDS), word + _U1)
        store_u64(table.state, np.uint64(N_BYTES), begin + length)
        store_u64(slot, _U0, key[1])
        store_u64(slot, _U1, key[2])
        store_u64(slot, _U2, word << _U8 | min(length, np.uint64(LONG)))
    return slot


@kernel(inline=True)
def has_room(table, n_words, n_bytes):
    """Is there room for so many more words? If not, the table says how much is wanted."""
    state = table.state
    state[WANTED_WORDS] = state[N_WORDS] + n_words
    state[WANTED_BYTES] = state[N_BYTES] + n_bytes
    return state[WANTED_WORDS] <= len(table.position) and state[WANTED_BYTES] <= len(table.arena)


@kernel(u64[:, :], u64[:, :])
def move_slots(slots, target):
    """Enters all slots (uint64[c, 4]) into free ones (uint64[2 ** k * c, 4]): both are read and written in order."""
    source, there = address(slots), address(target)
    capacity = np.uint64(len(target))
    mask, shift = capacity * _U32 - _U1, leading_zeros(capacity) + _U1
    for i in range(len(slots)):
        slot = source + np.uint64(i) * _U32
        low, high, entry = load_u64(slot, _U0), load_u64(slot, _U1), load_u64(slot, _U2)
        if entry:
            code = entry & np.uint64(0xFF)
            h = mix(low, high, code) if code < np.uint64(LONG) else low
            at = h >> shift << np.uint64(5)
            while load_u64(there + at, _U2):
                at = (at + _U32) & mask
            store_u64(there + at, _U0, low)
            store_u64(there + at, _U1, high)
            store_u64(there + at, _U2, entry)
            store_u64(there + at, _U3, load_u64(slot, _U3))
