"""Counting words: a hash table whose keys are bytes, filled by the walk of an automaton or from given pieces.

A slot of the table holds 32 bytes, so that half a cache line answers for most words: the word itself if it has at
most 16 bytes, else its hash and length (its bytes are then compared in the arena of words). Equality is always
decided on the bytes. Slots are ordered by the upper bits of the hash, so growing a table is one sequential pass.

Words are hashed some hundred at a time, each asking for its slot's cache line; when the probes follow, it is there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import kernel
from .memory import (
    address,
    copy_bytes,
    leading_zeros,
    load_i64,
    load_u8,
    load_u32,
    load_u64,
    prefetch,
    store_i64,
    store_u64,
)
from .ragged import gather, pointer
from .walk import END_OF_TEXT, strong_cut_before, walk_block

BLOCK_BYTES = 1 << 15  # of text that is walked at a time: it and its words stay in the nearest caches
MARGIN = 32  # bytes behind a block that loads of 16 bytes may read
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
    """Distinct words in order of insertion, and their counts. Make it with `new_table`, enlarge it with `enlarged`.

    A slot is low, high, word << 8 | length code, count. low and high are the bytes of a word of at most 16 bytes, zeros
    behind; else its hash and its length. A free slot is all zeros (the code is never 0).
    """

    slots: np.ndarray  # uint64[capacity, 4], capacity a power of two, at most half full
    arena: np.ndarray  # uint8[], the words one after the other
    offsets: np.ndarray  # int64[capacity // 2 + 1], word i is arena[offsets[i]:offsets[i + 1]]
    position: np.ndarray  # int64[capacity // 2], where each was first seen
    state: (
        np.ndarray
    )  # int64[4]: N_WORDS, N_BYTES; and WANTED_WORDS, WANTED_BYTES when a stage stopped for want of room


def _free_slots(capacity: int) -> np.ndarray:
    """Zeros, where no slot crosses a cache line."""
    memory = np.zeros(4 * capacity + 8, np.uint64)
    skip = -pointer(memory) % 64 // 8
    return memory[skip : skip + 4 * capacity].reshape(capacity, 4)


def new_table(capacity: int = 1 << 14, n_bytes: int = 1 << 18) -> WordTable:
    return WordTable(
        _free_slots(capacity),
        np.empty(n_bytes, np.uint8),
        np.zeros(capacity // 2 + 1, np.int64),
        np.empty(capacity // 2, np.int64),
        np.zeros(4, np.int64),
    )


def enlarged(table: WordTable) -> WordTable:
    """The same table with room for what the last stage wanted."""
    slots, arena, offsets, position, state = table
    if state[WANTED_BYTES] > len(arena):
        grown = np.empty(1 << int(state[WANTED_BYTES]).bit_length(), np.uint8)
        grown[: state[N_BYTES]] = arena[: state[N_BYTES]]
        arena = grown
    if state[WANTED_WORDS] > len(position):
        capacity = 2 << int(state[WANTED_WORDS]).bit_length()
        grown = _free_slots(capacity)
        move_slots(slots, grown)
        slots, n = grown, state[N_WORDS]
        offsets = np.append(offsets[: n + 1], np.empty(capacity // 2 - n, np.int64))
        position = np.append(position[:n], np.empty(capacity // 2 - n, np.int64))
    return WordTable(slots, arena, offsets, position, state)


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
def same_bytes(a, b, length):
    """Are more than 8 bytes the same?"""
    i = _U0
    while i + _U8 < length:
        if load_u64(a + i, _U0) != load_u64(b + i, _U0):
            return False
        i += _U8
    return load_u64(a + length - _U8, _U0) == load_u64(b + length - _U8, _U0)


@kernel(inline=True)
def find_slot(table, h, low, high, text, length):
    """The address of the slot of a word: its own, or the free one where it belongs."""
    code = min(length, np.uint64(LONG))
    at = h >> table.shift << np.uint64(5)
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
def add(table, h, low, high, text, length, count, position):
    """Adds to the count of a word; a new one enters the table with this position."""
    slot = find_slot(table, h, low, high, text, length)
    if load_u64(slot, _U2) == _U0:
        word, begin = load_u64(table.state, np.uint64(N_WORDS)), load_u64(table.state, np.uint64(N_BYTES))
        copy_bytes(table.arena + begin, text, length)
        store_i64(table.position, word, position)
        store_u64(table.offsets, word + _U1, begin + length)
        store_u64(table.state, np.uint64(N_WORDS), word + _U1)
        store_u64(table.state, np.uint64(N_BYTES), begin + length)
        store_u64(slot, _U0, low)
        store_u64(slot, _U1, high)
        store_u64(slot, _U2, word << _U8 | min(length, np.uint64(LONG)))
    store_u64(slot, _U3, load_u64(slot, _U3) + np.uint64(count))
    return slot


@kernel(inline=True)
def has_room(table, n_words, n_bytes):
    """Is there room for so many more words? If not, the table says how much is wanted."""
    state = table.state
    state[WANTED_WORDS] = state[N_WORDS] + n_words
    state[WANTED_BYTES] = state[N_BYTES] + n_bytes
    return state[WANTED_WORDS] <= len(table.position) and state[WANTED_BYTES] <= len(table.arena)


@kernel
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


@kernel(inline=True)
def fill_block(data, offsets, document, begin, stop, walk, block):
    """Copies data[begin:stop] into a block as far as whole documents go, with END_OF_TEXT after each.

    Returns (the bytes copied, the bytes of the block, the last document). A document that is longer than the block is
    taken up to a strong cut: 0 bytes are copied where it has none so early. `offsets[document] <= begin`.
    """
    text, room = np.int64(address(block)), len(block) - MARGIN
    at, n = begin, 0
    while at < stop:
        while load_i64(offsets, document + 1) <= at:
            document += 1
        end = min(load_i64(offsets, document + 1), stop)
        if n + end - at >= room:
            if n:
                break
            stop = end = last_strong_cut(data, begin, begin + room - 1, walk)
        copy_bytes(text + n, data + at, end - at)
        n += end - at
        block[n] = END_OF_TEXT
        n += 1
        at = end
    block[n] = END_OF_TEXT
    return at - begin, n, document


def count_text(data, offsets, start, stop, position, walk, table):
    """Counts the words of data[start:stop] and returns the table, enlarged where it had to be.

    data: uint8[n], valid UTF-8; offsets: int64[d + 1], the documents in it; start and stop lie between documents or at
    strong cuts. A word that begins at data[i] gets the position `position` + about 2 * i, increasing with i.
    """
    while True:
        document = np.searchsorted(offsets, start, "right") - 1
        start = _count_text(pointer(data), pointer(offsets), document, start, stop, position, walk, table)
        if start == stop:
            return table
        table = enlarged(table)


@kernel
def _count_text(data, offsets, document, start, stop, position, walk, table):
    """Returns `stop`, or where the table had too little room."""
    block, bounds = np.empty(BLOCK_BYTES + MARGIN, np.uint8), np.empty(BLOCK_BYTES + MARGIN, np.uint32)
    keys = np.empty((N_KEYS, 3), np.uint64)
    where = addresses(table)
    while start < stop:
        copied, n, document = fill_block(data, offsets, document, start, stop, walk, block)
        if copied == 0:
            block, bounds = np.empty(2 * len(block), np.uint8), np.empty(2 * len(block), np.uint32)
            continue
        text, bound = address(block), address(bounds)
        n_words = walk_block(text, np.uint64(n), walk, bound) - _U1
        if not has_room(table, np.int64(n_words), n):
            return start
        done = _U0
        while (
            done < n_words
        ):  # the ends of documents count as words too, but for the last: cheaper than a branch
            m = min(n_words - done, np.uint64(N_KEYS))
            for i in range(m):
                begin = np.uint64(load_u32(bound, done + i))
                length = np.uint64(load_u32(bound, done + i + _U1)) - begin
                h, low, high = word_key(text + begin, length, _U16)
                prefetch(where.slots + (h >> where.shift << np.uint64(5)))
                keys[i, _U0], keys[i, _U1], keys[i, _U2] = h, low, high
            for i in range(m):
                begin = np.uint64(load_u32(bound, done + i))
                length = np.uint64(load_u32(bound, done + i + _U1)) - begin
                h, low, high = keys[i, _U0], keys[i, _U1], keys[i, _U2]
                add(where, h, low, high, text + begin, length, 1, position + 2 * start + np.int64(begin))
            done += m
        start += copied
    return start


def count_pieces(data, start, end, count, position, table):
    """Adds count[i] to the word data[start[i]:end[i]] (an empty one is none), which keeps its smallest position[i].

    data: uint8[n]; the others: int64[n_pieces], in any order. Returns the table, enlarged where it had to be.
    """
    pieces = [np.ascontiguousarray(column, np.int64) for column in (start, end, count, position)]
    at = 0
    while True:
        at = _count_pieces(pointer(data), len(data), tuple(map(pointer, pieces)), len(start), at, table)
        if at == len(start):
            return table
        table = enlarged(table)


@kernel
def _count_pieces(text, text_bytes, pieces, n_pieces, at, table):
    """Returns n_pieces, or where the table had too little room."""
    starts, ends, count, position = pieces
    keys = np.empty((N_KEYS, 3), np.uint64)
    where = addresses(table)
    while at < n_pieces:
        m, n_bytes = min(n_pieces - at, N_KEYS), 0
        for i in range(at, at + m):
            n_bytes += load_i64(ends, i) - load_i64(starts, i)
        if not has_room(table, m, n_bytes):
            return at
        for i in range(m):
            begin, end = load_i64(starts, at + i), load_i64(ends, at + i)
            if begin < end:
                h, low, high = word_key(
                    np.uint64(text + begin), np.uint64(end - begin), np.uint64(text_bytes - begin)
                )
                prefetch(where.slots + (h >> where.shift << np.uint64(5)))
                keys[i, 0], keys[i, 1], keys[i, 2] = h, low, high
        for i in range(m):
            begin, end, first = load_i64(starts, at + i), load_i64(ends, at + i), load_i64(position, at + i)
            if begin < end:
                h, low, high = keys[i, 0], keys[i, 1], keys[i, 2]
                where_text, length = np.uint64(text + begin), np.uint64(end - begin)
                slot = add(where, h, low, high, where_text, length, load_i64(count, at + i), first)
                word = load_u64(slot, _U2) >> _U8
                table.position[word] = min(table.position[word], first)
        at += m
    return at


@kernel
def counts(table):
    """The count of each word of a table, in order of insertion: int64[n_words]."""
    result = np.empty(table.state[N_WORDS], np.int64)
    slots = address(table.slots)
    for i in range(len(table.slots)):
        slot = slots + np.uint64(i) * _U32
        entry = load_u64(slot, _U2)
        if entry:
            result[entry >> _U8] = load_i64(slot, _U3)
    return result


@kernel(inline=True)
def last_strong_cut(data, begin, end, walk):
    """The last strong cut in (begin, end], or begin; both are positions in the text at the address `data`."""
    while load_u8(data, end) & np.uint8(0xC0) == np.uint8(0x80):
        end -= 1
    return np.int64(strong_cut_before(np.uint64(data), np.uint64(begin), np.uint64(end), walk))


def slice_text(data, offsets, n_bytes, walk):
    """Where to cut text into slices of about n_bytes that can be counted apart: int64[slices + 1], ascending.

    data: uint8[n]; offsets: int64[d + 1]. The cuts lie between documents, or at strong cuts inside of long ones; a
    document without any stays whole.
    """
    cuts, stop = [int(offsets[0])], int(offsets[-1])
    while cuts[-1] < stop:
        at, cut = cuts[-1], cuts[-1] + n_bytes
        if cut >= stop:
            cut = stop
        else:
            document = (
                int(np.searchsorted(offsets, cut, "right")) - 1
            )  # the last that begins no later than `cut`
            half = at + n_bytes // 2
            if offsets[document] > half:
                cut = int(offsets[document])
            else:
                strong = _last_strong_cut(pointer(data), half, cut, walk)
                cut = strong if strong > half else int(offsets[document + 1])
        cuts.append(cut)
    return np.array(cuts, np.int64)


@kernel
def _last_strong_cut(data, begin, end, walk):
    return last_strong_cut(data, begin, end, walk)


def merge_tables(tables):
    """One table with the words of all, each with its counts together and its smallest position."""
    merged, *others = sorted(tables, key=lambda table: -table.state[N_WORDS])
    for table in others:
        n = table.state[N_WORDS]
        offsets = table.offsets[: n + 1]
        merged = count_pieces(
            table.arena, offsets[:-1], offsets[1:], counts(table), table.position[:n], merged
        )
    return merged


def distinct_words(table):
    """The words of a table by position, ends of documents left out: data uint8[], offsets int64[n + 1], counts int64[n]."""
    n = table.state[N_WORDS]
    start, end, position = table.offsets[:n], table.offsets[1 : n + 1], table.position[:n]
    order = np.argsort(
        position, kind="stable"
    )  # linear where the table has some sorted runs, as merged ones do
    order = order[(end[order] - start[order] > 1) | (table.arena[start[order]] != END_OF_TEXT)]
    data, offsets = gather(table.arena, start[order], end[order])
    return data, offsets, counts(table)[order]
