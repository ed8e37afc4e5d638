"""Counting words, by the walk of an automaton or from given pieces: the values of the table are counts.

Words are looked up in blocks: the slots of all words are prefetched, so that the comparisons after that hit the cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import U0, U1, U2, U3, U4, U32, U64
from gputok.kernels.cpu.primitives.handle import Handle
from gputok.kernels.cpu.primitives.memory import as_views, copy, leading_zeros, prefetch, record_at, scratch, tail, view
from gputok.kernels.cpu.walk.blocks import block_room, next_block
from gputok.kernels.cpu.walk.tables import END_OF_TEXT, Walk
from gputok.kernels.cpu.word_table import (
    N_KEY_MASKS,
    N_KEYS,
    N_WORDS,
    WordTable,
    add_ones,
    enlarged,
    find_or_enter,
    has_room,
    hash_missing,
    hash_of_key,
    hash_word,
    home,
    key_of_slot,
    mask_of,
    put_key_masks,
    put_keys,
    same_word,
    word_key,
)
from gputok.kernels.signatures import I64s, NamedTuple, i64, u8, u64
from gputok.kernels.threads import results

_LAST = np.int64(0x7FFFFFFFFFFFFFFF)  # above all positions
_CHUNK_WORDS = 1 << 10  # words of all tables that are joined together
_TABLE_SHIFT = np.uint64(40)  # a word stands here as number of its table << 40 | its slot
_FEW_WORDS = 1 << 18  # so many words are merged by one thread before another thread has started


class _Counted(NamedTuple):
    """A table, and the counts of its words beside it, int64[n_words]."""

    table: WordTable
    counts: I64s


@kernel(inline=True)
def add(table, slot, count):
    """Adds to the count of a slot."""
    table.slots[slot + U3] += np.uint64(count)


def count_words(
    data: np.ndarray,
    offsets: np.ndarray,
    position: int,
    automaton: Walk,
    table: WordTable,
    start: int = 0,
    stop: int | None = None,
    make_room: Callable[[WordTable], WordTable] = enlarged,
) -> WordTable:
    """Counts the words of data[start:stop] and returns the table, or the result of `make_room(table)` if it was full.

    data: uint8[n], valid UTF-8; offsets: int64[d + 1], the documents in it; start and stop lie between documents or at
    strong cuts. A word that begins at data[i] gets the position `position` + about 2 * i, increasing with i.
    """
    stop = len(data) if stop is None else stop
    while True:
        document = np.searchsorted(offsets, start, "right") - 1
        start = _count_words(pointer(data), pointer(offsets), document, start, stop, position, automaton, table)
        if start == stop:
            return table
        table = make_room(table)


@kernel(i64, i64, i64, i64, i64, i64, Walk, WordTable)
def _count_words(data, offsets, document, start, stop, position, walk, table):
    """Returns `stop`, or the byte where the table had too little room."""
    data, offsets = view(data, np.uint8), view(offsets, np.int64)
    views_of_walk, (n_block, text, codes, bounds) = as_views(walk), block_room()
    masks, keys = scratch(N_KEY_MASKS, np.uint64), scratch(2 * N_KEYS, np.uint64)
    homes, missing = scratch(N_KEYS, np.uint64), scratch(N_KEYS, np.uint64)
    put_key_masks(masks)
    where = as_views(table)
    while start < stop:
        copied, n, document, n_words = next_block(
            data, offsets, document, start, stop, views_of_walk, (n_block, text, codes, bounds), offsets, False
        )
        if copied == 0:
            n_block, text, codes, bounds = block_room(2 * n_block)
            continue
        if not has_room(where, np.int64(n_words), n):
            return start
        done = U0
        while done < n_words:  # the ends of documents count as words too: cheaper than a branch
            m = min(n_words - done, np.uint64(N_KEYS))
            begins = tail(bounds, done)
            put_keys(where, text, begins, m, masks, keys, homes)
            n_missing = add_ones(where, keys, homes, m, missing)
            hash_missing(where, text, begins, keys, homes, missing, n_missing)
            for k in range(n_missing):  # in the order of the text, since new words are numbered by their positions
                i = missing[k]
                begin, key = np.uint64(begins[i]), (keys[U2 * i], keys[U2 * i + U1])
                length = np.uint64(begins[i + U1]) - begin
                seen_at = position + 2 * start + np.int64(begin)
                add(where, find_or_enter(where, key, homes[i], text, begin, length, U64, seen_at), 1)
            done += m
        start += copied
    return start


def count_pieces(
    data: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    count: np.ndarray,
    position: int,
    table: WordTable,
    make_room: Callable[[WordTable], WordTable] = enlarged,
) -> WordTable:
    """Adds count[i] to the word data[start[i]:end[i]], at position `position` + i; leaves out empty words.

    data: uint8[n]; start, end, count: int64[n_pieces]. Returns the table, or the result of `make_room(table)` if it was
    full. The positions must be larger than all positions in the table.
    """
    pieces = [np.ascontiguousarray(column, np.int64) for column in (start, end, count)]
    at = 0
    while True:
        at = _count_pieces(pointer(data), len(data), tuple(map(pointer, pieces)), len(start), at, position, table)
        if at == len(start):
            return table
        table = make_room(table)


@kernel(i64, i64, (i64, i64, i64), i64, i64, i64, WordTable)
def _count_pieces(text, text_bytes, pieces, n_pieces, at, position, table):
    """Returns n_pieces, or the piece for which the table had too little room."""
    text = view(text, np.uint8)
    starts, ends, count = view(pieces[0], np.int64), view(pieces[1], np.int64), view(pieces[2], np.int64)
    keys = scratch(3 * N_KEYS, np.uint64)
    where = as_views(table)
    while at < n_pieces:
        m, n_bytes = min(n_pieces - at, N_KEYS), 0
        for i in range(at, at + m):
            n_bytes += ends[i] - starts[i]
        if not has_room(where, m, n_bytes):
            return at
        for i in range(m):
            begin, end = starts[at + i], ends[at + i]
            if begin < end:
                word, length = np.uint64(begin), np.uint64(end - begin)
                low, high = word_key(text, word, length, np.uint64(text_bytes - begin))
                slot = home(where, low, high)
                prefetch(where.slots, slot)
                keys[3 * i], keys[3 * i + 1], keys[3 * i + 2] = low, high, slot
        for i in range(m):
            begin, end = starts[at + i], ends[at + i]
            if begin < end:
                word, length = np.uint64(begin), np.uint64(end - begin)
                key, slot, readable = ((keys[3 * i], keys[3 * i + 1]), keys[3 * i + 2], np.uint64(text_bytes - begin))
                slot = find_or_enter(where, key, slot, text, word, length, readable, position + at + i)
                add(where, slot, count[at + i])
        at += m
    return at


@kernel(WordTable)
def counts(table):
    """The count of each word of a table, in order of insertion: int64[n_words]."""
    result = np.empty(table.state[N_WORDS], np.int64)
    slots = view(table.slots)
    for i in range(len(table.slots)):
        slot = np.uint64(i) * U4
        if slots[slot + U1]:
            result[slots[slot + U2]] = slots[slot + U3]
    return result


def word_keys(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """A number for each word, which depends on its bytes alone: its hash with the halves exchanged.

    Tables use other bits (`hash_of_key`), so words whose numbers share upper bits still spread over all of a table.

    data: uint8[n_bytes]; offsets: int64[n_words + 1] -> uint64[n_words].
    """
    offsets, keys = np.ascontiguousarray(offsets, np.int64), np.empty(len(offsets) - 1, np.uint64)
    _word_keys(pointer(data), len(data), pointer(offsets), keys)
    return keys


@kernel(i64, i64, i64, u64[:])
def _word_keys(text, n_bytes, offsets, keys):
    """Writes the numbers of words i < len(keys), which end at offsets[i + 1] <= n_bytes."""
    text, offsets, found = view(text, np.uint8), view(offsets, np.int64), view(keys)
    for i in range(len(keys)):
        begin, end = offsets[i], offsets[i + 1]
        h = U0
        if begin < end:
            word, length = np.uint64(begin), np.uint64(end - begin)
            h = hash_word(text, word, length, np.uint64(n_bytes - begin))
        found[i] = h << U32 | h >> U32


def _records(tables: Iterable[WordTable], own: Iterable[np.ndarray]) -> np.ndarray:
    """The numbers of a `Handle` for each _Counted, one row each; the caller keeps the arrays alive."""
    return np.array(
        [Handle.holding(_Counted(*each)).slots.ravel() for each in zip(tables, own, strict=True)], np.uint64
    )


def distinct_words(tables: Sequence[WordTable], n_threads: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words of several tables, each once, by position: data uint8[], offsets int64[n + 1], counts int64[n].

    No table of all words is built: a word stays in the table that saw it first, and its counts in other tables move
    there. Slots are in the order of hashes, so all tables are read side by side, from the first slot to the last. Then
    the tables, each in the order of its positions, are merged. The ends of documents are left out.
    """
    own = joined_counts(tables, n_threads, n_threads)
    if sum(map(len, own)) < _FEW_WORDS:
        n_threads = 1
    return woven_words(tables, own, n_threads, n_threads)


def joined_counts(tables: Sequence[WordTable], n_threads: int, n_parts: int) -> list[np.ndarray]:
    """The counts of each table's words, int64[], after they have moved to the table that saw the word first.

    The threads share n_parts parts of the words, by hash.
    """
    if len(tables) == 1:
        return [counts(tables[0])]
    own = [np.empty(int(table.state[N_WORDS]), np.int64) for table in tables]
    least = min(len(table.slots) for table in tables)
    n_chunks = 1 << (min(least, max(1, sum(map(len, own)) // _CHUNK_WORDS)).bit_length() - 1)
    edges = [n_chunks * part // n_parts for part in range(n_parts + 1)]
    join = partial(_join, _records(tables, own), n_chunks)
    results(join, itertools.pairwise(edges), n_threads)
    return own


def woven_words(
    tables: Sequence[WordTable], own: Sequence[np.ndarray], n_threads: int, n_parts: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`distinct_words`, from what `joined_counts` gives; the threads share n_parts ranges of positions."""
    records = _records(tables, own)
    positions = [table.position[: len(n)] for table, n in zip(tables, own, strict=True)]
    some = np.sort(np.concatenate([column[:: max(1, len(column) // n_parts)] for column in positions]))
    edges = some[len(some) * np.arange(1, n_parts) // n_parts] if len(some) else some[:0]
    ends = np.array([[0, *np.searchsorted(column, edges), len(column)] for column in positions], np.int64)
    ranges = [(records, first, last) for first, last in itertools.pairwise(ends.T.copy())]
    sizes = np.array([(0, 0), *results(_size_of, ranges, n_threads)])
    starts = np.cumsum(sizes, axis=0)
    n_words, n_bytes = starts[-1].tolist()
    data, offsets = np.empty(n_bytes, np.uint8), np.zeros(n_words + 1, np.int64)
    counts = np.empty(n_words, np.int64)
    work = ((*some, *start, data, offsets, counts) for some, start in zip(ranges, starts.tolist(), strict=False))
    results(_weave, work, n_threads)
    return data, offsets, counts


@kernel(u64[:, :], i64, i64, i64)
def _join(tables, n_chunks, first, stop):
    """Writes the counts of the words of chunks first:stop; all counts of a word move to the table that saw it first.

    A chunk has the words with some of the hashes, whose slots stand together in each table. Its words from all tables
    meet in `met`, a small table of (table << 40 | slot) + 1, which stays in a cache: so the time grows with the number
    of words, not with that of pairs of tables.

    tables: a row of `_records` for each _Counted. n_chunks: a power of two, at most the smallest capacity. Bounds:
    slots are masked; a word of a slot is below the number of words of its table; `found` has room for what
    `_most_words` says of each table, and `met` for twice the words of the chunk.
    """
    bits = np.uint64(63) - leading_zeros(np.uint64(n_chunks))  # of a hash, which are equal in a chunk
    rows, room, met = as_views(tables), U4, scratch(4, np.uint64)
    n_found, found = U4, scratch(4, np.uint64)
    for chunk in range(first, stop):
        need = n = U0
        for t in range(len(tables)):
            table, _ = _table(rows, t)
            begin, end = _chunk_of(table, chunk, n_chunks)
            need += _most_words(table, begin, end)
        if need > n_found:
            n_found, found = need, scratch(np.int64(need), np.uint64)
        for t in range(len(tables)):
            table, counts = _table(rows, t)
            begin, end = _chunk_of(table, chunk, n_chunks)
            n = _find_words(table, counts, begin, end, np.uint64(t) << _TABLE_SHIFT, found, n)
        size = U4
        while size < n + n:
            size += size
        if size > room:
            room, met = size, scratch(np.int64(size), np.uint64)
        for i in range(size):
            met[i] = U0
        for i in range(n):
            _meet(rows, found[i], met, size, bits)


@kernel(inline=True)
def _table(rows, t):
    """The views of a table, and its counts, by its row of `_records`."""
    return as_views(record_at(tail(rows, np.uint64(t) * rows.columns), _Counted))


@kernel(inline=True)
def _chunk_of(table, chunk, n_chunks):
    """The slots where the probes of the words of a chunk begin: the first, and the one after the last."""
    n_slots = np.uint64(len(table.slots)) // np.uint64(n_chunks)
    return np.uint64(chunk) * n_slots, np.uint64(chunk + 1) * n_slots


@kernel(inline=True)
def _most_words(table, first, stop):
    """The most words whose probes begin in first:stop: one for each of these slots, and for the taken slots after."""
    slot = stop
    while table.slots[(slot & mask_of(table)) + U1] != U0:  # a table always has free slots
        slot += U4
    return (slot - first) >> U2


@kernel(inline=True)
def _find_words(table, counts, first, stop, number, found, n):
    """Writes number | slot to found[n:] for each word whose probes begin in first:stop, and its count to `counts`.

    number: table << 40. Returns the new n. Probes go on at the first slot after the last: there, only words are taken
    whose probes begin before the end. Without a branch: whether a slot is taken can't be foreseen.
    """
    begun, i = n, first
    while i < stop or table.slots[(i & mask_of(table)) + U1] != U0:
        slot, again = i & mask_of(table), i > mask_of(table)
        low, high = key_of_slot(table, slot)
        begin = home(table, low, high)
        found[n] = number | slot
        n += np.uint64((high != U0) & (begin >= first) & (begin < stop) & ((begin > slot) == again))
        i += U4
    for k in range(begun, n):
        slot = found[k] ^ number
        counts[table.slots[slot + U2]] = np.int64(table.slots[slot + U3])
    return n


@kernel(inline=True)
def _meet(rows, own, met, size, bits):
    """Enters a word, table << 40 | slot, into `met` (of `size` elements). If it is there, joins both counts."""
    table, counts = _table(rows, np.int64(own >> _TABLE_SHIFT))
    slot = own & ((U1 << _TABLE_SHIFT) - U1)
    low, high = key_of_slot(table, slot)
    at = hash_of_key(low, high) << bits >> (leading_zeros(size) + U1)
    while met[at] != U0:
        there = (met[at] - U1) & ((U1 << _TABLE_SHIFT) - U1)
        other, other_counts = _table(rows, np.int64((met[at] - U1) >> _TABLE_SHIFT))
        if same_word(table, slot, other, there):
            word, other_word = table.slots[slot + U2], other.slots[there + U2]
            if table.position[word] < other.position[other_word]:
                counts[word] += other_counts[other_word]
                other_counts[other_word] = 0
                met[at] = own + U1
            else:
                other_counts[other_word] += counts[word]
                counts[word] = 0
            return
        at = (at + U1) & (size - U1)
    met[at] = own + U1


@kernel(inline=True)
def _is_counted(table, counts, word):
    """Whether a word stays in its table, and is not the end of a document."""
    begin = table.offsets[word]
    return counts[word] != 0 and not (table.offsets[word + 1] - begin == 1 and table.arena[begin] == END_OF_TEXT)


@kernel(u64[:, :], i64[:], i64[:])
def _size_of(tables, first, last):
    """The number of words, and of their bytes, that `_weave` writes of the words first[t]:last[t] of each table t."""
    n = n_bytes = 0
    for t in range(len(tables)):
        table, counts = _table(as_views(tables), t)
        for word in range(first[t], last[t]):
            if _is_counted(table, counts, word):
                n += 1
                n_bytes += table.offsets[word + 1] - table.offsets[word]
    return n, n_bytes


@kernel(u64[:, :], i64[:], i64[:], i64, i64, u8[:], i64[:], i64[:])
def _weave(tables, first, last, n, end, data, offsets, count):
    """Writes the words first[t]:last[t] of all tables t by position, without those of count 0.

    tables: a row of `_records` for each _Counted. n: the number of words of the ranges before; end: the number of their
    bytes. Bounds: `_size_of` all ranges bounds what is written; the words first[t]:last[t] are words of table t.
    """
    out, at, rows = view(data), first.copy(), as_views(tables)
    while True:
        # The new words of one slice of text stand side by side in one table: they are written together
        best, smallest, second = -1, _LAST, _LAST
        for t in range(len(tables)):
            if at[t] == last[t]:
                continue
            position = _table(rows, t).table.position[at[t]]
            if position < smallest:
                best, smallest, second = t, position, smallest
            else:
                second = min(second, position)
        if best < 0:
            return
        table, counts = _table(rows, best)
        word = at[best]
        while word < last[best] and table.position[word] <= second:
            if _is_counted(table, counts, word):
                length = table.offsets[word + 1] - table.offsets[word]
                copy(out, end, table.arena, table.offsets[word], length)
                end += length
                n += 1
                offsets[n], count[n - 1] = end, counts[word]
            word += 1
        at[best] = word
