"""Counting words: a hash table whose keys are bytes, filled by the walk of an automaton or from given pieces.

A slot of the table holds 32 bytes, so that half a cache line answers for most words: the word itself if it has at
most 16 bytes, else its hash and length (its bytes are then compared in the arena of words). Equality is always
decided on the bytes. Slots are ordered by the upper bits of the hash, so growing a table is one sequential pass.

Words are hashed some hundred at a time, each asking for its slot's cache line; when the probes follow, it is there.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from gputok.threads import run

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
from .ragged import pointer
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

    slots: np.ndarray  # uint64[capacity, 4], capacity a power of two
    arena: np.ndarray  # uint8[], the words one after the other
    offsets: np.ndarray  # int64[room(capacity) + 1], word i is arena[offsets[i]:offsets[i + 1]]
    position: np.ndarray  # int64[room(capacity)], where each was first seen, ascending
    state: (
        np.ndarray
    )  # int64[4]: N_WORDS, N_BYTES; and WANTED_WORDS, WANTED_BYTES when a stage stopped for want of room


def _free_slots(capacity: int) -> np.ndarray:
    """Zeros, where no slot crosses a cache line."""
    memory = np.zeros(4 * capacity + 8, np.uint64)
    skip = -pointer(memory) % 64 // 8
    return memory[skip : skip + 4 * capacity].reshape(capacity, 4)


def room(capacity: int) -> int:
    """How many words a table takes: fuller, its probes are longer; emptier, there is more memory to touch."""
    return capacity * 2 // 3


def new_table(capacity: int = 1 << 14, n_bytes: int = 1 << 18) -> WordTable:
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
        arena = _longer(arena[: state[N_BYTES]], n_bytes)
    if capacity > len(slots):
        slots = _free_slots(capacity)
        move_slots(table.slots, slots)
        offsets = _longer(offsets[: n + 1], room(capacity) + 1)
        position = _longer(position[:n], room(capacity))
    return WordTable(slots, arena, offsets, position, state)


def _longer(array: np.ndarray, length: int) -> np.ndarray:
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
def add(table, key, text, length, count, position):
    """Adds to the count of a word; a new one enters the table with this position."""
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
    store_u64(slot, _U3, load_u64(slot, _U3) + np.uint64(count))


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
                prefetch(where.slots + home(where, h))
                keys[i, _U0], keys[i, _U1], keys[i, _U2] = h, low, high
            for i in range(m):
                begin = np.uint64(load_u32(bound, done + i))
                length = np.uint64(load_u32(bound, done + i + _U1)) - begin
                key = keys[i, _U0], keys[i, _U1], keys[i, _U2]
                add(where, key, text + begin, length, 1, position + 2 * start + np.int64(begin))
            done += m
        start += copied
    return start


def count_pieces(data, start, end, count, position, table):
    """Adds count[i] to the word data[start[i]:end[i]], whose position is `position` + i. An empty one is none.

    data: uint8[n]; start, end, count: int64[n_pieces]. Returns the table, enlarged where it had to be. Positions must
    be larger than those the table has already.
    """
    pieces = [np.ascontiguousarray(column, np.int64) for column in (start, end, count)]
    at = 0
    while True:
        at = _count_pieces(
            pointer(data), len(data), tuple(map(pointer, pieces)), len(start), at, position, table
        )
        if at == len(start):
            return table
        table = enlarged(table)


@kernel
def _count_pieces(text, text_bytes, pieces, n_pieces, at, position, table):
    """Returns n_pieces, or where the table had too little room."""
    starts, ends, count = pieces
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
                word, length = np.uint64(text + begin), np.uint64(end - begin)
                h, low, high = word_key(word, length, np.uint64(text_bytes - begin))
                prefetch(where.slots + home(where, h))
                keys[i, 0], keys[i, 1], keys[i, 2] = h, low, high
        for i in range(m):
            begin, end = load_i64(starts, at + i), load_i64(ends, at + i)
            if begin < end:
                word, length = np.uint64(text + begin), np.uint64(end - begin)
                key = keys[i, 0], keys[i, 1], keys[i, 2]
                add(where, key, word, length, load_i64(count, at + i), position + at + i)
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


def distinct_words(tables, n_threads=1):
    """The words of several tables, each once, by position: data uint8[], offsets int64[n + 1], counts int64[n].

    Nobody builds a table of all: a word stays in the table that saw it first, and its other counts go there. As slots
    are in the order of hashes, that is a walk through two tables side by side. Then the tables, each in the order of
    its positions, are woven into one. The ends of documents are left out.
    """
    own = [counts(table) for table in tables]
    parts = [(part, n_threads) for part in range(n_threads)]
    for _ in run(partial(_join_all, tables, own), parts, n_threads):
        pass
    columns = [
        (*map(pointer, (table.arena, table.offsets, table.position, n)), len(n))
        for table, n in zip(tables, own, strict=True)
    ]
    n_words, n_bytes = sum(map(len, own)), sum(int(table.state[N_BYTES]) for table in tables)
    data, offsets, count = (
        np.empty(n_bytes, np.uint8),
        np.zeros(n_words + 1, np.int64),
        np.empty(n_words, np.int64),
    )
    n_words = _weave(np.array(columns, np.int64).reshape(-1, 5), data, offsets, count)
    return data[: offsets[n_words]], offsets[: n_words + 1], count[:n_words]


def _join_all(tables, own, part, n_parts):
    for j, later in enumerate(tables):
        for i, earlier in enumerate(tables[:j]):
            _join(earlier, own[i], later, own[j], part, n_parts)


@kernel
def _join(a, a_counts, b, b_counts, part, n_parts):
    """Moves the counts of words that both tables have to where the position is smaller, leaving 0 in the other.

    Only of words in one of n_parts parts by their hash, so that threads can share the work: none sees another's words.
    """
    there, slots, capacity = addresses(a), address(b.slots), len(b.slots)
    here = addresses(b)
    i, stop = capacity * part // n_parts, capacity * (part + 1) // n_parts
    first, last = np.uint64(i) * _U32, np.uint64(stop) * _U32
    while True:
        slot = slots + (np.uint64(i) * _U32 & here.mask)
        low, high, entry = load_u64(slot, _U0), load_u64(slot, _U1), load_u64(slot, _U2)
        if entry == _U0 and i >= stop:
            return
        i += 1
        code, word = entry & np.uint64(0xFF), entry >> _U8
        h = mix(low, high, code) if code < np.uint64(LONG) else low
        at = home(here, h)
        if entry == _U0 or at < first or at >= last or b_counts[word] == 0:
            continue
        text = here.arena + load_u64(here.offsets, word)
        length = load_u64(here.offsets, word + _U1) - load_u64(here.offsets, word)
        found = load_u64(find_slot(there, (h, low, high), text, length), _U2)
        if found == _U0 or a_counts[found >> _U8] == 0:
            continue
        if a.position[found >> _U8] < b.position[word]:
            a_counts[found >> _U8] += b_counts[word]
            b_counts[word] = 0
        else:
            b_counts[word] += a_counts[found >> _U8]
            a_counts[found >> _U8] = 0


@kernel
def _weave(columns, data, offsets, count):
    """Writes the words of all tables by position, those with count 0 left out, and returns how many they are.

    columns: int64[tables, 5], the addresses of each table's arena, offsets, position and counts, and its words.
    """
    n_tables, n, out = len(columns), 0, address(data)
    at = np.zeros(n_tables, np.int64)
    while True:
        best, smallest = -1, np.int64(0x7FFFFFFFFFFFFFFF)
        for t in range(n_tables):
            while at[t] < columns[t, 4] and load_i64(columns[t, 3], at[t]) == 0:
                at[t] += 1
            if at[t] < columns[t, 4] and load_i64(columns[t, 2], at[t]) < smallest:
                best, smallest = t, load_i64(columns[t, 2], at[t])
        if best < 0:
            return n
        word = at[best]
        begin, end = load_i64(columns[best, 1], word), load_i64(columns[best, 1], word + 1)
        at[best] += 1
        if end - begin == 1 and load_u8(columns[best, 0], begin) == END_OF_TEXT:
            continue
        copy_bytes(out + np.uint64(offsets[n]), columns[best, 0] + begin, end - begin)
        offsets[n + 1] = offsets[n] + end - begin
        count[n] = load_i64(columns[best, 3], word)
        n += 1


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
