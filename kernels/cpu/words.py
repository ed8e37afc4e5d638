"""Counting words: the table's values are counts, its words come from the walk of an automaton or from given pieces.

Words are hashed some hundred at a time, each asking for its slot's cache line; when the probes follow, it is there.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from gputok.kernels.cpu.walk import Walk
from gputok.kernels.cpu.word_table import WordTable
from gputok.kernels.signatures import i64, u8

from gputok.threads import run

from . import kernel
from .memory import address, copy_bytes, hold, load_i64, load_u8, load_u32, load_u64, prefetch, store_i64
from .ragged import pointer
from .walk import BLOCK_BYTES, END_OF_TEXT, MARGIN, fill_block, walk_block
from .word_table import (
    LONG,
    N_BYTES,
    N_KEYS,
    N_WORDS,
    addresses,
    enlarged,
    find_or_enter,
    find_slot,
    has_room,
    hash_words,
    home,
    mix,
    word_key,
)

_U0, _U1, _U2, _U3, _U4, _U8, _U32 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 8, 32))


@kernel(inline=True)
def add(slot, count):
    store_i64(slot, _U3, load_i64(slot, _U3) + count)


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


@kernel(i64, i64, i64, i64, i64, i64, Walk, WordTable)
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
        n_words = walk_block(text, np.uint64(n), walk, bound)
        if not has_room(table, np.int64(n_words), n):
            return start
        done = _U0
        while done < n_words:  # the ends of documents count as words too: cheaper than a branch
            m = min(n_words - done, np.uint64(N_KEYS))
            hash_words(where, text, bound + done * _U4, m, keys)
            for i in range(m):
                begin = np.uint64(load_u32(bound, done + i))
                length = np.uint64(load_u32(bound, done + i + _U1)) - begin
                key = keys[i, _U0], keys[i, _U1], keys[i, _U2]
                add(
                    find_or_enter(where, key, text + begin, length, position + 2 * start + np.int64(begin)), 1
                )
            done += m
        start += copied
    hold((block, bounds))
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


@kernel(i64, i64, (i64, i64, i64), i64, i64, i64, WordTable)
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
                add(find_or_enter(where, key, word, length, position + at + i), load_i64(count, at + i))
        at += m
    return at


@kernel(WordTable)
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


@kernel(WordTable, i64[:], WordTable, i64[:], i64, i64)
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


@kernel(i64[:, :], u8[:], i64[:], i64[:])
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
