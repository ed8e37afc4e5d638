"""A hash table whose keys are words of bytes.

    slot:       low, high, word, value
    low, high:  the bytes of a word of at most 15, zeros after them, and their number in the top byte;
                of a longer word its hash, and LONG << 56 | min(its length, 65,535) << 40 | its index in the arena
    word:       its number, in order of insertion

LONG is 17. So most look-ups touch half a cache line, and the bytes of two words, not their hashes, decide whether they
are equal. Slots are ordered by the upper bits of the hash, so that growing a table is one sequential pass.

A block of words is looked up by a loop for each step (keys, hashes, prefetches, comparisons), since LLVM makes vector
instructions of them: on an AMD EPYC (Zen 4), English took 5.0 ns a word, and 5.6 with one loop for the first three.
"""

from __future__ import annotations

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import resized
from gputok.kernels.cpu.primitives.constants import ALL, GOLDEN, U0, U1, U2, U3, U4, U8, U16, U32, U64
from gputok.kernels.cpu.primitives.hashing import same_long
from gputok.kernels.cpu.primitives.memory import (
    copy,
    copy_64,
    folded_product,
    leading_zeros,
    load_u64,
    prefetch,
    put_key,
    tail,
    view,
)
from gputok.kernels.signatures import I64s, NamedTuple, U8s, U64x2, u64

_HUGE_PAGE = 1 << 18  # a huge page in numbers of 64 bits; NumPy asks for huge pages if an array is as large as two
N_KEYS = 256  # words that are looked up together
N_KEY_MASKS = 68  # numbers that `put_key_masks` writes
SLACK = 64  # bytes of an arena that a store may reach after its last word

# Indices of table.state
N_WORDS, N_BYTES, WANTED_WORDS, WANTED_BYTES = range(4)

_K2 = np.uint64(0xD6E8FEB86659FD93)
_K3 = np.uint64(0xA0761D6478BD642F)
_K4 = np.uint64(0xE7037ED1A0B428DB)
# The bits of `high` where the code and a long word's length begin
_TOP, _LENGTH = (np.uint64(56), np.uint64(40))
_UNHASHED = U16 << _TOP  # `high` of a word of more than 15 bytes, until `hash_missing` hashes it
_LONG = np.uint64(17) << _TOP  # the least `high` of words of more than 15 bytes; that of all others is below
_MOST_LENGTH = np.uint64(65_535)
_INDEX = (U1 << _LENGTH) - U1  # the bits of an index in the arena: an arena that needs more fits no memory


class WordTable(NamedTuple):
    """Distinct words in order of insertion, each with 64 bits of value (a count, say).

    Make a table with `new_table`, and enlarge it with `enlarged`. A free slot is all zeros.
    """

    slots: U64x2  # uint64[capacity, 4], capacity a power of two
    arena: U8s  # uint8[], the words one after the other
    offsets: I64s  # int64[room(capacity) + 1], word i is arena[offsets[i]:offsets[i + 1]]
    position: I64s  # int64[room(capacity)], the position at which each word was first seen, ascending
    # int64[4]: N_WORDS, N_BYTES; and WANTED_WORDS, WANTED_BYTES when a stage stopped for want of room
    state: I64s


def _free_slots(capacity: int) -> np.ndarray:
    """Slots of zeros, aligned so that no slot crosses a cache line, and many slots are in huge pages only."""
    n, align = 4 * capacity, 8
    if n >= _HUGE_PAGE:
        align = _HUGE_PAGE  # memory beyond the slots is never touched
    memory = np.zeros(n + align, np.uint64)
    skip = -memory.ctypes.data % (8 * align) // 8
    return memory[skip : skip + n].reshape(capacity, 4)


def room(capacity: int) -> int:
    """The most words of a table of this capacity: with more, probes get longer; with fewer, memory is wasted."""
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
    """The number of bytes of a table with `capacity` slots and `arena_bytes` bytes of words."""
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
        arena = resized(arena[: state[N_BYTES]], n_bytes)
    if capacity > len(slots):
        slots = _free_slots(capacity)
        move_slots(table.slots, slots)
        offsets = resized(offsets[: n + 1], room(capacity) + 1)
        position = resized(position[:n], room(capacity))
    return WordTable(slots, arena, offsets, position, state)


def clear(table: WordTable) -> None:
    """Removes all words, and keeps the memory."""
    table.slots.fill(0)
    table.state.fill(0)


# The functions below take the views of a table. `slot`: the index where a slot begins in `slots`, four times its row.
# `key`: (low, high) of a word, in which the index in the arena is 0. Words are looked up by linear probing.


@kernel(inline=True)
def mask_of(table):
    """A mask for the next slot of a probe, which goes on at the first slot after the last one."""
    return np.uint64(len(table.slots)) - U1


@kernel(inline=True)
def mix(low, high, length):
    """A hash of 16 bytes and a length."""
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
def _hash_16s(word, length):
    """64 bits of hash of at least 16 bytes, sixteen at a time; the last sixteen may overlap the bytes before.

    One step is wyhash's (github.com/wangyi-fudan/wyhash): both halves of a product of 128 bits.
    """
    h, i = length * _K2, U0
    while i + U16 < length:
        h = folded_product(load_u64(word, i) ^ _K3, load_u64(word, i + U8) ^ h)
        i += U16
    return folded_product(load_u64(word, length - U16) ^ _K4, load_u64(word, length - U8) ^ h)


@kernel(inline=True)
def _bytes_of(word, length, readable):
    """(low, high): the bytes of a word of at most 16, zeros after them."""
    low, high = U0, U0
    if readable >= U16:
        low = load_u64(word, U0) & low_bytes(min(length, U8))
        return low, load_u64(word, U8) & low_bytes(length - U8) if length > U8 else U0
    for i in range(length):
        byte, at = np.uint64(word[i]), np.uint64(i) << U3
        if at < U64:
            low |= byte << at
        else:
            high |= byte << (at - U64)
    return low, high


@kernel(inline=True)
def hash_word(text, begin, length, readable):
    """A hash of the word text[begin:begin + length] of at least one byte; `readable` bytes may be read there.

    It decides the order of words in files (`word_keys`), so all of its bits depend on all bytes. With sums of products
    in place of products of 128 bits, 3,961 of 662,548 runs of private-use characters, which differ in their bytes 7 and
    15 alone, had the hash of another run.
    """
    word = tail(text, begin)
    if length > U16:
        return folded_product(_hash_16s(word, length) ^ _K3, _K4)
    low, high = _bytes_of(word, length, readable)
    return folded_product(folded_product(low ^ GOLDEN, high ^ _K2 ^ length) ^ _K3, _K4)


@kernel(inline=True)
def word_key(text, begin, length, readable):
    """The key of the word text[begin:begin + length], not empty; `readable` bytes may be read from text[begin] on."""
    word = tail(text, begin)  # an address: an index into the text would take one more register
    if length >= U16:
        return _hash_16s(word, length), _LONG | min(length, _MOST_LENGTH) << _LENGTH
    low, high = _bytes_of(word, length, readable)
    return low, high | length << _TOP


@kernel(inline=True)
def key_of_slot(table, slot):
    """The key of the word in a slot."""
    low, high = table.slots[slot], table.slots[slot + U1]
    return low, high & ~_INDEX if high >= _LONG else high


@kernel(inline=True)
def put_key_masks(masks):
    """Writes what `put_keys` needs for each length up to 16: two masks of the bytes of a word, and two for its length.

    masks: uint64[N_KEY_MASKS]. A word of 16 bytes or more gets the length 16 and no bytes. So all of these words look
    at the same slot until `hash_missing` hashes them: with a random slot for each, Chinese took 5 % longer.
    """
    for length in range(U16 + U1):
        row = U4 * length
        masks[row] = low_bytes(min(length, U8)) if length > U0 and length < U16 else U0
        masks[row + U1] = low_bytes(length - U8) if length > U8 and length < U16 else U0
        masks[row + U2], masks[row + U3] = U0, length << _TOP


@kernel(inline=True)
def put_keys(table, text, bounds, n, masks, keys, homes):
    """Writes keys[2 * i:] = low, high and homes[i] = the slot of the word text[bounds[i]:bounds[i + 1]] for i < n.

    Prefetches the slots. bounds: uint32[n + 1]; 16 bytes may be read where any word begins. masks: of `put_key_masks`.
    """
    begin = np.uint64(bounds[U0])
    for i in range(n):
        end = np.uint64(bounds[i + U1])
        put_key(keys, U2 * i, text, begin, masks, min(end - begin, U16) << U2)
        begin = end
    for i in range(n):
        homes[i] = home(table, keys[U2 * i], keys[U2 * i + U1])
    for i in range(n):
        prefetch(table.slots, homes[i])


@kernel(inline=True)
def add_ones(table, keys, homes, n, missing):
    """Adds 1 to the value of each word that stands in the first slot of its probe; the others are *missing*.

    keys, homes: of `put_keys`. Writes the numbers of the missing words to `missing`, and returns how many they are.
    """
    slots, n_missing = table.slots, U0
    for i in range(n):
        slot = homes[i]
        other = (slots[slot] ^ keys[U2 * i]) | (slots[slot + U1] ^ keys[U2 * i + U1])
        same = np.uint64(other == U0)  # without a branch, which would be mispredicted often
        slots[slot + U3] += same
        missing[n_missing] = i
        n_missing += U1 - same
    return n_missing


@kernel(inline=True)
def hash_missing(table, text, bounds, keys, homes, missing, n_missing):
    """Completes keys and homes of words of more than 15 bytes, all of which are missing, and prefetches their slots."""
    for k in range(n_missing):
        i = missing[k]
        if keys[U2 * i + U1] == _UNHASHED:
            begin = np.uint64(bounds[i])
            low, high = word_key(text, begin, np.uint64(bounds[i + U1]) - begin, U64)
            keys[U2 * i], keys[U2 * i + U1], homes[i] = low, high, home(table, low, high)
            prefetch(table.slots, homes[i])


@kernel(inline=True)
def home(table, low, high):
    """The slot where the probes of a key begin."""
    return hash_of_key(low, high) >> (leading_zeros(np.uint64(len(table.slots))) + U3) << U2


@kernel(inline=True)
def hash_of_key(low, high):
    """A hash of a key, of which tables use the upper bits."""
    return low * GOLDEN + high * _K2


@kernel(inline=True)
def same_word(a, slot, b, other):
    """Whether the slots of two tables have the same word."""
    (low, high), (other_low, other_high) = key_of_slot(a, slot), key_of_slot(b, other)
    if low != other_low or high != other_high:
        return False
    if high < _LONG:
        return True
    word, other_word = a.slots[slot + U2], b.slots[other + U2]
    begin, there = a.offsets[word], b.offsets[other_word]
    length = a.offsets[word + U1] - begin
    return b.offsets[other_word + U1] - there == length and same_long(a.arena, begin, b.arena, there, np.uint64(length))


@kernel(inline=True)
def find_slot(table, key, slot, text, begin, length):
    """The slot of the word text[begin:begin + length], or the free slot where it belongs; probes begin at `slot`."""
    slots = table.slots
    low, high = key
    if high < _LONG:
        while slots[slot + U1] != U0 and (slots[slot] != low or slots[slot + U1] != high):
            slot = (slot + U4) & mask_of(table)
        return slot
    while slots[slot + U1] != U0:
        there = slots[slot + U1]
        if slots[slot] == low and there & ~_INDEX == high:
            at = there & _INDEX
            word = slots[slot + U2]
            # `high` has the length, unless it is _MOST_LENGTH or more: then the offsets tell it
            if length < _MOST_LENGTH or table.offsets[word + U1] - table.offsets[word] == np.int64(length):
                if same_long(table.arena, at, text, begin, length):
                    return slot
        slot = (slot + U4) & mask_of(table)
    return slot


@kernel(inline=True)
def find_or_enter(table, key, slot, text, begin, length, readable, position):
    """The slot of a word; a new word enters the table with this position and value 0.

    slot: where the probe begins; readable: bytes that may be read from text[begin] on. The caller has asked `has_room`
    before, so the table has room for the word, and the arena for SLACK bytes after it.
    """
    slots, state = table.slots, table.state
    slot = find_slot(table, key, slot, text, begin, length)
    if slots[slot + U1] == U0:
        word, at = np.uint64(state[N_WORDS]), np.uint64(state[N_BYTES])
        if length <= U64 and readable >= U64:
            copy_64(table.arena, at, text, begin)
        else:
            copy(table.arena, at, text, begin, length)
        table.position[word] = position
        table.offsets[word + U1] = at + length
        state[N_WORDS] = word + U1
        state[N_BYTES] = at + length
        slots[slot] = key[0]
        slots[slot + U1] = key[1] | at if key[1] >= _LONG else key[1]
        slots[slot + U2] = word
    return slot


@kernel(inline=True)
def has_room(table, n_words, n_bytes):
    """Whether `n_words` more words of `n_bytes` bytes have room; if not, notes in the table how much is wanted."""
    state = table.state
    state[WANTED_WORDS] = state[N_WORDS] + n_words
    state[WANTED_BYTES] = state[N_BYTES] + n_bytes + SLACK
    return state[WANTED_WORDS] <= len(table.position) and state[WANTED_BYTES] <= len(table.arena)


@kernel(u64[:, :], u64[:, :])
def move_slots(slots, target):
    """Enters all slots (uint64[c, 4]) into free ones (uint64[2 ** k * c, 4]): both are read and written in order."""
    source, there = view(slots), view(target)
    capacity = np.uint64(len(target))
    mask, shift = capacity * U4 - U1, leading_zeros(capacity) + U1
    for i in range(len(slots)):
        slot = np.uint64(i) * U4
        low, high, word = source[slot], source[slot + U1], source[slot + U2]
        if high:
            key = high & ~_INDEX if high >= _LONG else high
            at = (low * GOLDEN + key * _K2) >> shift << U2
            while there[at + U1]:
                at = (at + U4) & mask
            there[at] = low
            there[at + U1] = high
            there[at + U2] = word
            there[at + U3] = source[slot + U3]
