"""The stage `encode_words`: byte-pair encoding of many words, each by the lowest rank and then the leftmost pair.

    hello     h e l l o         ranks: (h, e) 3, (l, l) 0, (he, ll) 5, (hell, o) 9
              h e ll o          the pair of rank 0
              he ll o           rank 3
              hell o, hello     ranks 5 and 9

A word of few symbols is scanned for its lowest rank before every merge. A long one keeps its pairs in a heap, so that
no word costs more than n log n.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import kernel
from .lookup import (
    NO_PAIR,
    NONE,
    Strings,
    decode_char,
    find_pair,
    find_string,
    hash_bytes,
    same_bytes,
)
from .memory import address, load_i64, load_u8
from .ragged import pointer

SHORT = 48  # symbols; up to here scanning is faster than a heap
MAX_CACHED = 255  # bytes; longer words hardly come twice

_U1, _U32 = np.uint64(1), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


class BpeTables(NamedTuple):
    """A BPE model as arrays. Ids are the vocabulary's; NONE is no id."""

    pairs: np.ndarray  # uint64[capacity, 2]: left << 32 | right, rank << 32 | new id
    symbols: (
        np.ndarray
    )  # uint32[variants, n]: id + 1 of each character or, where n is 256, of each byte; 0: none
    variant: (
        np.ndarray
    )  # int64[4]: row of symbols for a character that is (1: not first) + (2: last) in its word
    fallback: np.ndarray  # uint32[256]: id of the token <0x..> of each byte; empty: no byte fallback
    prefix: np.ndarray  # uint8[n]: continuing_subword_prefix
    suffix: np.ndarray  # uint8[n]: end_of_word_suffix
    whole: Strings  # words that need no merging
    whole_ids: np.ndarray  # uint32[n]
    unk: (
        np.ndarray
    )  # uint32[0 or 1]: id of the unknown token, NONE where it isn't in the vocabulary; empty: no such token
    fuse_unk: bool
    dropout: float
    ordered: (
        bool  # a merge can spell its own left part again, so that only the namesake's queue gives its result
    )


class WordCache(NamedTuple):
    """Encoded words. When it is full it is emptied, so that its size never grows."""

    slots: np.ndarray  # uint64[capacity, 4]: hash (0: free), first byte, first token, bytes << 32 | tokens
    data: np.ndarray  # uint8[n]: the words' bytes
    ids: np.ndarray  # uint32[n]
    stops: np.ndarray  # uint32[n]: end of each token, in bytes from the word's start
    used: np.ndarray  # int64[3]: words, bytes, tokens


def word_cache(capacity: int) -> WordCache:
    """An empty cache for about so many words; 0: none."""
    slots = 1 << (2 * capacity - 1).bit_length() if capacity else 0
    n = 16 * capacity
    return WordCache(
        np.zeros((slots, 4), np.uint64),
        np.empty(n, np.uint8),
        np.empty(n, np.uint32),
        np.empty(n, np.uint32),
        np.zeros(3, np.int64),
    )


@kernel(inline=True)
def next_random(random):
    """The next of uint64[1] by xorshift64*; float64 in [0, 1)."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    return np.float64((x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(40)) / 16777216.0


@kernel(inline=True)
def first_symbols(base, n, tables, symbols, lengths):
    """Writes the characters of a word as ids and lengths in bytes; returns how many.

    An unknown character is left out, or one unknown token, or with fallback the tokens of its bytes. As in the
    namesake, those come before an unknown token that still waits to be fused with a following one.
    """
    n_codes = np.uint64(tables.symbols.shape[1])
    by_byte = n_codes == np.uint64(256)
    count = 0
    waiting = np.int64(0)  # bytes of an unknown token that isn't written yet
    at = np.uint64(0)
    while at < n:
        if by_byte:
            code, width = np.uint64(load_u8(base, at)), _U1
        else:
            code, width = decode_char(base, at)
        kind = np.int64(at > np.uint64(0)) + 2 * np.int64(at + width >= n)
        symbol = tables.symbols[tables.variant[kind], code]
        if symbol:
            if waiting:
                symbols[count], lengths[count] = tables.unk[0], waiting
                count, waiting = count + 1, 0
            symbols[count], lengths[count] = symbol - np.uint32(1), width
            count += 1
        else:
            known = len(tables.fallback) > 0
            if known:
                begin = count
                if kind & 1:
                    for byte in tables.prefix:
                        symbols[count], lengths[count] = tables.fallback[byte], 1
                        count += 1
                for i in range(width):
                    symbols[count], lengths[count] = tables.fallback[load_u8(base, at + np.uint64(i))], 1
                    count += 1
                if kind & 2:
                    for byte in tables.suffix:
                        symbols[count], lengths[count] = tables.fallback[byte], 1
                        count += 1
                for i in range(begin, count):
                    known = known and symbols[i] != NONE
                if not known:
                    count = begin
            if not known and len(tables.unk):
                if waiting and not tables.fuse_unk:
                    symbols[count], lengths[count] = tables.unk[0], waiting
                    count, waiting = count + 1, 0
                waiting += np.int64(width)
        at += width
    if waiting:
        symbols[count], lengths[count] = tables.unk[0], waiting
        count += 1
    return count


@kernel(inline=True)
def merge_by_scan(symbols, lengths, merges, count, pairs, mask):
    """Merges a short word in place; merges[i] is what find_pair says of symbols i and i + 1."""
    for i in range(count - 1):
        merges[i] = find_pair(pairs, mask, symbols[i], symbols[i + 1])
    while count > 1:
        best, at = NO_PAIR, 0
        for i in range(count - 1):
            if merges[i] < best:
                best, at = merges[i], i
        if best == NO_PAIR:
            break
        symbols[at] = np.uint32(best & _LOW)
        lengths[at] += lengths[at + 1]
        count -= 1
        for i in range(at + 1, count):
            symbols[i] = symbols[i + 1]
            lengths[i] = lengths[i + 1]
            merges[i - 1] = merges[i]
        if at > 0:
            merges[at - 1] = find_pair(pairs, mask, symbols[at - 1], symbols[at])
        if at + 1 < count:
            merges[at] = find_pair(pairs, mask, symbols[at], symbols[at + 1])
    return count


@kernel(inline=True)
def push(heap, n, key, new):
    """Adds an entry to a binary min-heap of n entries, ordered by key; `new` travels along."""
    while n > 0 and heap[(n - 1) >> 1, 0] > key:
        heap[n, 0], heap[n, 1] = heap[(n - 1) >> 1, 0], heap[(n - 1) >> 1, 1]
        n = (n - 1) >> 1
    heap[n, 0], heap[n, 1] = key, new


@kernel(inline=True)
def pop(heap, n):
    """Takes the top entry out of a heap of n entries (read it before)."""
    n -= 1
    key, new = heap[n, 0], heap[n, 1]
    at = 0
    while 2 * at + 1 < n:
        child = 2 * at + 1
        if child + 1 < n and heap[child + 1, 0] < heap[child, 0]:
            child += 1
        if heap[child, 0] >= key:
            break
        heap[at, 0], heap[at, 1] = heap[child, 0], heap[child, 1]
        at = child
    heap[at, 0], heap[at, 1] = key, new


@kernel(inline=True)
def merge_by_heap(symbols, lengths, count, pairs, mask, dropout, random):
    """Merges a word of any length in place, with a heap of (rank, position).

    With dropout, each pair taken from the heap is put aside with that probability, until the next that isn't.
    An entry stands for the symbols at its position for as long as merging them gives the same token.
    """
    # Each merge takes an entry out and puts at most two in, so 2 * count entries are enough.
    heap = np.empty((2 * count, 2), np.uint64)
    aside = np.empty((2 * count if dropout > 0.0 else 0, 2), np.uint64)
    before, after = np.empty(count, np.int32), np.empty(count, np.int32)
    n = n_aside = 0
    for i in range(count):
        before[i], after[i] = i - 1, i + 1
    for i in range(count - 1):
        merge = find_pair(pairs, mask, symbols[i], symbols[i + 1])
        if merge != NO_PAIR:
            push(heap, n, merge >> _U32 << _U32 | np.uint64(i), merge & _LOW)
            n += 1
    while n > 0:
        key, new = heap[0, 0], heap[0, 1]
        pop(heap, n)
        n -= 1
        if dropout > 0.0:
            if next_random(random) < dropout:
                aside[n_aside, 0], aside[n_aside, 1] = key, new
                n_aside += 1
                continue
            for i in range(n_aside):
                push(heap, n, aside[i, 0], aside[i, 1])
                n += 1
            n_aside = 0
        at = np.int64(key & _LOW)
        right = np.int64(after[at])
        if lengths[at] == 0 or right == count:
            continue
        merge = find_pair(pairs, mask, symbols[at], symbols[right])
        if merge == NO_PAIR or merge & _LOW != new:
            continue
        symbols[at] = np.uint32(new)
        lengths[at] += lengths[right]
        lengths[right] = 0
        after[at] = after[right]
        if after[at] < count:
            before[after[at]] = at
        if before[at] >= 0:
            merge = find_pair(pairs, mask, symbols[before[at]], symbols[at])
            if merge != NO_PAIR:
                push(heap, n, merge >> _U32 << _U32 | np.uint64(before[at]), merge & _LOW)
                n += 1
        if after[at] < count:
            merge = find_pair(pairs, mask, symbols[at], symbols[after[at]])
            if merge != NO_PAIR:
                push(heap, n, merge >> _U32 << _U32 | np.uint64(at), merge & _LOW)
                n += 1
    kept = 0
    for i in range(count):
        if lengths[i] > 0:
            symbols[kept], lengths[kept] = symbols[i], lengths[i]
            kept += 1
    return kept


@kernel(inline=True)
def recall(cache, base, n, h):
    """The slot of a cached word, or -1 - the free slot where it belongs."""
    mask = np.uint64(len(cache.slots) - 1)
    at = h & mask
    while cache.slots[at, 0]:
        if cache.slots[at, 0] == h and cache.slots[at, 3] >> _U32 == n:
            if same_bytes(address(cache.data) + cache.slots[at, 1], base, n):
                return np.int64(at)
        at = (at + _U1) & mask
    return np.int64(-1) - np.int64(at)


@kernel(inline=True)
def remember(cache, at, base, n, h, symbols, lengths, count):
    """Puts an encoded word into the free slot `at`, emptying the cache first if it is full."""
    words, n_bytes, n_tokens = cache.used[0], cache.used[1], cache.used[2]
    if 2 * words >= len(cache.slots) or n_bytes + n > len(cache.data) or n_tokens + count > len(cache.ids):
        cache.slots[:] = 0
        words = n_bytes = n_tokens = 0
        at = np.int64(h & np.uint64(len(cache.slots) - 1))
    if n > len(cache.data) or count > len(cache.ids):
        return
    cache.slots[at, 0] = h
    cache.slots[at, 1] = n_bytes
    cache.slots[at, 2] = n_tokens
    cache.slots[at, 3] = np.uint64(n) << _U32 | np.uint64(count)
    for i in range(n):
        cache.data[n_bytes + i] = load_u8(base, np.uint64(i))
    stop = np.int64(0)
    for i in range(count):
        stop += lengths[i]
        cache.ids[n_tokens + i] = symbols[i]
        cache.stops[n_tokens + i] = stop
    cache.used[0], cache.used[1], cache.used[2] = words + 1, n_bytes + n, n_tokens + count


def encode_words(data, start, end, tables, cache, random):
    """Encodes word i = data[start[i]:end[i]] to tokens rows[i]:rows[i + 1].

    data uint8[n]; start, end int64[n_words]; `random` uint64[1], not 0: the generator for dropout.
    -> ids uint32[t], start int64[t], end int64[t] (bytes of `data`), rows int64[n_words + 1].
    An unknown token that the vocabulary lacks shows as NONE.
    """
    start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
    n = int((end - start).sum())
    if len(tables.fallback):  # a character can become its bytes and those of both affixes
        n *= 1 + len(tables.prefix) + len(tables.suffix)
    # Pages that no token is written to cost nothing.
    tokens = np.empty(n, np.uint32), np.empty(n, np.int64), np.empty(n, np.int64)
    rows = np.empty(len(start) + 1, np.int64)
    words = pointer(data), pointer(start), pointer(end)
    t = _encode_words(words, tables, cache, random, tokens, rows)
    return *(column[:t] for column in tokens), rows


@kernel
def _encode_words(words, tables, cache, random, tokens, rows):
    base, starts, ends = words
    pairs, mask = address(tables.pairs), np.uint64(len(tables.pairs) - 1)
    ids, begins, stops = tokens
    n_words = len(rows) - 1
    longest = np.int64(1)
    for w in range(n_words):
        longest = max(longest, load_i64(ends, w) - load_i64(starts, w))
    if len(tables.fallback):
        longest *= 1 + len(tables.prefix) + len(tables.suffix)
    symbols, lengths = np.empty(longest, np.uint32), np.empty(longest, np.int64)
    merges = np.empty(SHORT, np.uint64)
    cached = len(cache.slots) > 0 and tables.dropout == 0.0
    t = 0
    for w in range(n_words):
        rows[w] = t
        at = load_i64(starts, w)
        n, word = np.uint64(load_i64(ends, w) - at), np.uint64(base + at)
        if n == 0:
            continue
        if len(tables.whole_ids) and tables.dropout == 0.0:
            found = find_string(tables.whole, word, n)
            if found >= 0:
                ids[t], begins[t], stops[t] = tables.whole_ids[found], at, at + np.int64(n)
                t += 1
                continue
        free, h = np.int64(0), np.uint64(0)
        if cached and n <= MAX_CACHED:
            h = hash_bytes(word, n) | _U1
            slot = recall(cache, word, n, h)
            if slot >= 0:
                first = np.int64(cache.slots[slot, 2])
                begin = at
                for i in range(first, first + np.int64(cache.slots[slot, 3] & _LOW)):
                    ids[t], begins[t], stops[t] = cache.ids[i], begin, at + np.int64(cache.stops[i])
                    begin = stops[t]
                    t += 1
                continue
            free = -1 - slot
        count = first_symbols(word, n, tables, symbols, lengths)
        if count > SHORT or tables.ordered or tables.dropout > 0.0:
            count = merge_by_heap(symbols, lengths, count, pairs, mask, tables.dropout, random)
        else:
            count = merge_by_scan(symbols, lengths, merges, count, pairs, mask)
        if cached and n <= MAX_CACHED:
            remember(cache, free, word, np.int64(n), h, symbols, lengths, count)
        begin = at
        for i in range(count):
            ids[t], begins[t], stops[t] = symbols[i], begin, begin + lengths[i]
            begin = stops[t]
            t += 1
    rows[n_words] = t
    return t
