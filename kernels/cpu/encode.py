"""Encoding raw text in bulk: each word once by the model, every other time by a table of words.

One walk over the text looks up each word's *value*, 64 bits that hold up to three ids, or the word's number where it has
more; new words get their number and enter the table. The model then encodes all new words of a slice at once, and the
values become ids. So the loop over the text knows nothing of models, and the model sees a word but once.

    value:  READY | n << 60 | id 2 << 40 | id 1 << 20 | id 0    n up to 3 ids below 2 ** 20
            READY | RUN << 60 | word                            ids runs[run_offsets[word]:run_offsets[word + 1]]
            READY | END << 60                                   the end of a piece of text
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import kernel
from .memory import address, copy_bytes, load_i64, load_u32, load_u64, store_u32, store_u64
from .ragged import pointer
from .walk import BLOCK_BYTES, END_OF_TEXT, MARGIN, fill_block, walk_block
from .word_table import (
    N_KEYS,
    N_WORDS,
    WANTED_WORDS,
    WordTable,
    addresses,
    enlarged,
    find_or_enter,
    has_room,
    hash_words,
    longer,
    new_table,
)
from .words import count_pieces

RUN, END = 4, 5
MAX_SLOTS, MAX_WORD_BYTES = 1 << 20, 1 << 24  # of a cache: 32 MB and 16 MB
N_VALUES = 1 << 17  # that are kept before they become ids
_READY, _END = np.uint64(1 << 63), np.uint64(END << 60)
_COUNT, _ID = np.uint64(60), np.uint64((1 << 20) - 1)
_WORD = np.uint64(0xFFFFFFFF)
_U0, _U1, _U2, _U3, _U4, _U7, _U8, _U20 = (np.uint64(i) for i in (0, 1, 2, 3, 4, 7, 8, 20))


class WordCache(NamedTuple):
    """Words that the model has encoded. It grows to a limit; then an empty one takes its place."""

    table: WordTable
    slots: np.ndarray  # int64[words], where in table.slots each new word is, in bytes
    run_offsets: np.ndarray  # int64[words + 1]
    runs: np.ndarray  # uint32[], the ids of each word


def new_cache(capacity: int = 1 << 6, n_bytes: int = 1 << 10) -> WordCache:
    """A cache with room for n_bytes of words in so many slots at first; it knows the end of text."""
    table = new_table(capacity, n_bytes)
    end, zero, one = np.array([END_OF_TEXT], np.uint8), np.zeros(1, np.int64), np.ones(1, np.int64)
    table = count_pieces(end, zero, one, one, 0, table)
    table.slots[table.slots[:, 3] > 0, 3] = _READY | _END
    n = len(table.position)
    return WordCache(table, np.empty(n, np.int64), np.zeros(n + 1, np.int64), np.empty(n_bytes, np.uint32))


def _with_room(cache: WordCache) -> WordCache:
    """A cache with room for what was wanted: the same words in a larger one, or an empty one if it is large already."""
    table, _, run_offsets, runs = cache
    n_words = table.state[N_WORDS]
    if n_words > 1 and (len(table.slots) >= MAX_SLOTS or len(table.arena) >= MAX_WORD_BYTES):
        return new_cache()
    table = enlarged(table)
    n = len(table.position)
    return WordCache(table, np.empty(n, np.int64), longer(run_offsets[: n_words + 1], n + 1), runs)


def encode_text(data, offsets, token, walk, encode_words, cache, dtype=np.uint32):
    """The ids of pieces of text, one after the other, and where each piece's end.

    data: uint8[n], valid UTF-8; offsets: int64[p + 1], the pieces in it; token: int32[p], an id that stands for the
    whole piece, or -1; None: there are none. encode_words(data, start, end) -> ids uint32[t], rows int64[words + 1] is
    called with words that the cache lacks. cache: for this walk and encode_words only, one thread at a time.
    dtype: of the ids, uint32 or uint16, which has to hold them all.
    Returns ids dtype[t], offsets int64[p + 1], and the cache to use next.
    """
    start, stop = int(offsets[0]), int(offsets[-1])
    token = np.empty(0, np.int32) if token is None else np.ascontiguousarray(token, np.int32)
    ends, parts, n_ids = np.zeros(len(offsets), np.int64), [], 0
    values, pieces = np.empty(N_VALUES, np.uint64), np.empty(N_VALUES, np.int64)
    while start < stop:
        known = cache.table.state[N_WORDS]
        piece = np.searchsorted(offsets, start, "right") - 1
        text = pointer(data), pointer(offsets), piece
        start, n_values, n_pieces = _look_up(text, start, stop, walk, cache, values, pieces)
        if n_values == 0:  # one block is more than there is room for
            if cache.table.state[WANTED_WORDS] - known > len(values):
                values, pieces = np.empty(2 * len(values), np.uint64), np.empty(2 * len(pieces), np.int64)
            cache = _with_room(cache)
            continue
        cache = _learn(cache, known, encode_words)
        width = np.dtype(dtype).itemsize
        ids = _emit(values[:n_values], pieces[:n_pieces], token, cache, n_ids, ends, width).view(dtype)
        parts.append(ids)
        n_ids += len(ids)
    np.maximum.accumulate(ends, out=ends)  # a piece without words ends where the one before did
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts]), ends, cache


@kernel
def _look_up(text, start, stop, walk, cache, values, pieces):
    """Writes the value of each word, and for each END the piece that it ends (or a part of it, at a strong cut).

    Goes on until `stop`, or until there may be too little room somewhere. -> where it stopped, n values, n ENDs.
    """
    data, offsets, piece = text
    block, bounds = np.empty(BLOCK_BYTES + MARGIN, np.uint8), np.empty(BLOCK_BYTES + MARGIN, np.uint32)
    keys = np.empty((N_KEYS, 3), np.uint64)
    table = addresses(cache.table)
    n_values, n_ends = _U0, 0
    while start < stop:
        copied, n, _ = fill_block(data, offsets, piece, start, stop, walk, block)
        if copied == 0:
            block, bounds = np.empty(2 * len(block), np.uint8), np.empty(2 * len(block), np.uint32)
            continue
        there, bound = address(block), address(bounds)
        n_words = walk_block(there, np.uint64(n), walk, bound)
        fits = has_room(cache.table, np.int64(n_words), n)
        if not fits or np.int64(n_values + n_words) > len(values):
            break
        at = start
        start += copied
        while at < start:
            while load_i64(offsets, piece + 1) <= at:
                piece += 1
            at = min(load_i64(offsets, piece + 1), start)
            pieces[n_ends] = piece
            n_ends += 1
        done = _U0
        while done < n_words:
            m = min(n_words - done, np.uint64(N_KEYS))
            hash_words(table, there, bound + done * _U4, m, keys)
            for i in range(m):
                begin = np.uint64(load_u32(bound, done + i))
                length = np.uint64(load_u32(bound, done + i + _U1)) - begin
                key = keys[i, _U0], keys[i, _U1], keys[i, _U2]
                slot = find_or_enter(table, key, there + begin, length, 0)
                value = load_u64(slot, _U3)
                if value == _U0:
                    word = load_u64(slot, _U2) >> _U8
                    value = _READY | np.uint64(RUN) << _COUNT | word
                    store_u64(slot, _U3, value)
                    cache.slots[word] = np.int64(slot - table.slots)
                values[n_values + i] = value
            n_values += m
            done += m
    return start, np.int64(n_values), n_ends


def _learn(cache, known, encode_words):
    """Has the words from number `known` on encoded."""
    table = cache.table
    n = table.state[N_WORDS]
    if n == known:
        return cache
    ids, rows = encode_words(table.arena, table.offsets[known:n], table.offsets[known + 1 : n + 1])
    first = cache.run_offsets[known]
    last = int(first + len(ids))
    if last > len(cache.runs):
        cache = cache._replace(runs=longer(cache.runs[:first], 2 * last))
    cache.runs[first:last] = ids
    cache.run_offsets[known : n + 1] = rows + first
    _store_values(cache, known)
    return cache


@kernel
def _store_values(cache, known):
    """Puts the ids of words into their slots, if they fit."""
    slots, runs = address(cache.table.slots), address(cache.runs)
    for word in range(known, cache.table.state[N_WORDS]):
        begin = np.uint64(cache.run_offsets[word])
        count = np.uint64(cache.run_offsets[word + 1]) - begin
        if count < np.uint64(RUN):
            value, largest = _READY | count << _COUNT, _U0
            for i in range(count):
                token = np.uint64(load_u32(runs, begin + i))
                value |= token << (_U20 * i)
                largest = max(largest, token)
            if largest <= _ID:
                store_u64(slots + np.uint64(cache.slots[word]), _U3, value)


@kernel
def _emit(values, pieces, token, cache, n_before, ends, width):
    """The ids of words by their values: uint8[width * n]; ends[piece + 1]: n_before + how many until the piece's end.

    width: bytes of an id, 2 or 4. Four are always stored; the next id then lies over the upper ones, which are zeros.
    """
    offsets, runs = address(cache.run_offsets), address(cache.runs)
    total = np.uint64(len(pieces) + 4)  # a token for each piece, and ids that are stored but not kept
    for value in values:
        count = value >> _COUNT & _U7
        if count >= np.uint64(RUN):
            word = value & _WORD
            count = (
                load_u64(offsets, word + _U1) - load_u64(offsets, word) if count == np.uint64(RUN) else _U0
            )
        total += count
    ids, step = np.empty(total * np.uint64(width), np.uint8), np.uint64(width)
    first = address(ids)
    out, begin, i = first, first, 0
    for value in values:
        count = value >> _COUNT & _U7
        if count < np.uint64(RUN):
            store_u32(out, _U0, np.uint32(value & _ID))
            store_u32(out + step, _U0, np.uint32(value >> _U20 & _ID))
            store_u32(out + _U2 * step, _U0, np.uint32(value >> (_U20 + _U20) & _ID))
            out += step * count
        elif count == np.uint64(RUN):
            word = value & _WORD
            for k in range(load_u64(offsets, word), load_u64(offsets, word + _U1)):
                store_u32(out, _U0, load_u32(runs, k))
                out += step
        else:
            if len(token) and token[pieces[i]] >= 0:  # whatever its text would have been
                store_u32(begin, _U0, np.uint32(token[pieces[i]]))
                out = begin + step
            ends[pieces[i] + 1] = n_before + np.int64((out - first) // step)
            begin = out
            i += 1
    return ids[: out - first]


def surround(ids, rows, before, after):
    """Each row ids[rows[i]:rows[i + 1]] between `before` and `after`; all uint32, but rows int64[n + 1]. -> ids, rows"""
    wider = rows + (len(before) + len(after)) * np.arange(len(rows))
    surrounded = np.empty(wider[-1], np.uint32)
    _surround(pointer(ids), rows, before, after, surrounded)
    return surrounded, wider


@kernel
def _surround(ids, rows, before, after, surrounded):
    at, out = 0, address(surrounded)
    for i in range(len(rows) - 1):
        surrounded[at : at + len(before)] = before
        at += len(before)
        n = rows[i + 1] - rows[i]
        copy_bytes(out + np.uint64(4 * at), ids + 4 * rows[i], 4 * n)
        at += n
        surrounded[at : at + len(after)] = after
        at += len(after)
