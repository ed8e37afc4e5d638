"""The stage `encode_words`: byte-pair encoding of many words, each by the lowest rank and then the leftmost pair.

    hello     h e l l o         ranks: (h, e) 3, (l, l) 0, (he, ll) 5, (hell, o) 9
              h e ll o          the pair of rank 0
              he ll o           rank 3
              hell o, hello     ranks 5 and 9

A word of few symbols is scanned for its lowest rank before every merge. A long one keeps its pairs in a heap, so that
no word costs more than n log n. First, though, words are cut where no token can reach across: the parts are merged
alone, with the same result, and come again far more often than their words do (in Chinese two thirds less time; a
model without a pre-tokenizer has a whole document as its word).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels.signatures import i64, plain, u32, u64

from .. import Backtrack, BpeTables, Pairs, Strings
from . import kernel
from .backtrack import ID, MAX_BYTES, backtrack, backtrack_addresses, field
from .lookup import NONE, decode_char, find_string, mix, pairs_of, rank_of
from .memory import address, hold, load_i64, load_u8, load_u32, load_u64, store_i64, store_u32, store_u64
from .ragged import pointer
from .text import NO_ASCII

SHORT = 64  # symbols; up to here scanning is faster than a heap
POSITION_BITS = 6  # of a position in a short word
MAX_CACHED = 24, 8  # bytes and tokens of a word that is kept: with them it fills one cache line

_U0, _U1, _U32 = np.uint64(0), np.uint64(1), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def word_cache(capacity: int) -> np.ndarray:
    """An empty cache for about so many encoded words: uint64[slots, 8], a cache line each; 0: none.

    A word's hash is its slot; a newcomer takes it over, so that the size never grows. Element 0 is bytes (0: free),
    tokens << 8 and the end of token i << 16 + 5 * i, 1 to 3 are the word, 4 to 7 its ids.
    """
    return np.zeros((1 << (capacity - 1).bit_length() if capacity else 0, 8), np.uint64)


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
def bytes_as_symbols(word, n, table, symbols, places):
    """first_symbols where each byte is one, known and the same at every place; `table` is the address of uint32[256]."""
    for i in range(n):
        store_u32(symbols, i, load_u32(table, np.uint64(load_u8(word, i))) - np.uint32(1))
        store_i64(places, i, np.int64(i))
    store_i64(places, n, np.int64(n))
    return n


@kernel
def first_symbols(word, n, tables, symbols, places):
    """Writes the characters of a word as symbols, and where each begins (one more place ends the last one).

    An unknown character is left out (the places behind it move up, as in the namesake), or an unknown token, or with
    fallback the tokens of its bytes and of those of both affixes. These come before an unknown token that waits to be fused with a following one.
    """
    by_byte = tables.symbols.shape[1] == 256
    count = np.int64(0)
    place, waiting = np.int64(0), np.int64(0)  # waiting: bytes of an unknown token that isn't written yet
    at = _U0
    while at < n:
        if by_byte:
            code, width = np.uint64(load_u8(word, at)), _U1
        else:
            code, width = decode_char(word, at)
        kind = np.int64(at > _U0) + 2 * np.int64(at + width >= n)
        symbol = tables.symbols[tables.variant[kind], code]
        known = symbol > 0
        if known:
            if waiting:
                symbols[count], places[count] = tables.unk[0], place
                count, place, waiting = count + 1, place + waiting, 0
            symbols[count], places[count] = symbol - np.uint32(1), place
            count, place = count + 1, place + np.int64(width)
        elif len(tables.fallback):
            known = True
            begin = count
            if kind & 1:
                for byte in tables.prefix:
                    symbols[count] = tables.fallback[byte]
                    count += 1
            for i in range(width):
                symbols[count] = tables.fallback[load_u8(word, at + np.uint64(i))]
                count += 1
            if kind & 2:
                for byte in tables.suffix:
                    symbols[count] = tables.fallback[byte]
                    count += 1
            for i in range(begin, count):
                known = known and symbols[i] != NONE
                places[i] = place + i - begin
            if known:
                place += count - begin
            else:
                count = begin
        if not known and len(tables.unk):
            if waiting and not tables.fuse_unk:
                symbols[count], places[count] = tables.unk[0], place
                count, place, waiting = count + 1, place + waiting, 0
            waiting += np.int64(width)
        at += width
    if waiting:
        symbols[count], places[count] = tables.unk[0], place
        count, place = count + 1, place + waiting
    places[count] = place
    return np.uint64(count)


@kernel(inline=True)
def key_of(pairs, left, right, at):
    """rank << POSITION_BITS | at of a pair of symbols, or NONE."""
    rank = rank_of(pairs, left, right)
    return rank << np.uint32(POSITION_BITS) | np.uint32(at) if rank != NONE else NONE


@kernel(inline=True)
def merge_by_scan(word, n, model, scratch):
    """Merges a word of n symbols, at most SHORT: then its tokens are symbols[0], symbols[after[0]] and so on up to n.

    `model`: of _encode_words; `scratch`: addresses of uint32[n + 2] symbols, links before and after, and keys of all
    pairs. Two symbols that are in no pair, one behind the word and one (a place further) before it, spare the loop its
    branches at the word's ends.
    """
    pairs, merged, byte_ranks, nothing = model
    symbols, before, after, keys = scratch
    store_u32(symbols, n, nothing)
    store_u32(symbols, n + _U1, nothing)
    for i in range(n):
        store_u32(before, i, np.uint32(i - _U1))
        store_u32(after, i, np.uint32(i + _U1))
        key = NONE
        if i + _U1 < n:
            if byte_ranks:
                pair = np.uint64(load_u8(word, i)) << np.uint64(8) | np.uint64(load_u8(word, i + _U1))
                rank = load_u32(byte_ranks, pair)
                key = rank << np.uint32(POSITION_BITS) | np.uint32(i) if rank != NONE else NONE
            else:
                key = key_of(pairs, load_u32(symbols, i), load_u32(symbols, i + _U1), i)
        store_u32(keys, i, key)
    store_u32(before, _U0, np.uint32(n + _U1))
    while True:
        least = NONE
        for i in range(n):  # the compiler makes vector instructions of this
            least = min(least, load_u32(keys, i))
        if least == NONE:
            break
        at = np.uint64(least & np.uint32(SHORT - 1))
        new = load_u32(merged, np.uint64(least >> np.uint32(POSITION_BITS)))
        left, right = np.uint64(load_u32(before, at)), np.uint64(load_u32(after, at))
        behind = np.uint64(load_u32(after, right))
        store_u32(symbols, at, new)
        store_u32(after, at, np.uint32(behind))
        store_u32(before, behind, np.uint32(at))
        store_u32(keys, right, NONE)
        store_u32(keys, at, key_of(pairs, new, load_u32(symbols, behind), at))
        store_u32(keys, left, key_of(pairs, load_u32(symbols, left), new, left))


@kernel(inline=True)
def push(heap, n, entry):
    """Adds an entry to a binary min-heap of n entries."""
    while n > 0 and heap[(n - 1) >> 1] > entry:
        heap[n] = heap[(n - 1) >> 1]
        n = (n - 1) >> 1
    heap[n] = entry


@kernel(inline=True)
def pop(heap, n):
    """Takes the top entry out of a heap of n entries (read it before)."""
    n -= 1
    entry = heap[n]
    at = 0
    while 2 * at + 1 < n:
        child = 2 * at + 1
        if child + 1 < n and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = entry


@kernel
def merge_by_heap(symbols, before, after, count, tables, random):
    """What merge_by_scan does for a word of any length, with a heap of rank << 32 | position.

    With dropout, each pair taken from the heap is put aside with that probability, until the next that isn't.
    An entry stands for the symbols at its position for as long as merging them gives the same token.
    """
    merged, pairs = tables.merged, pairs_of(tables.pairs)
    # Each merge takes an entry out and puts at most two in, so 2 * count entries are enough.
    heap = np.empty(2 * count, np.uint64)
    aside = np.empty(2 * count if tables.dropout > 0.0 else 0, np.uint64)
    n = n_aside = 0
    for i in range(count):
        before[i], after[i] = i - 1, i + 1
    for i in range(count - 1):
        rank = rank_of(pairs, symbols[i], symbols[i + 1])
        if rank != NONE:
            push(heap, n, np.uint64(rank) << _U32 | np.uint64(i))
            n += 1
    while n > 0:
        entry = heap[0]
        pop(heap, n)
        n -= 1
        if tables.dropout > 0.0:
            if next_random(random) < tables.dropout:
                aside[n_aside] = entry
                n_aside += 1
                continue
            for i in range(n_aside):
                push(heap, n, aside[i])
                n += 1
            n_aside = 0
        at = np.int64(entry & _LOW)
        right = np.int64(after[at])
        if symbols[at] == NONE or right == count:
            continue
        rank = rank_of(pairs, symbols[at], symbols[right])
        if rank == NONE or merged[rank] != merged[entry >> _U32]:
            continue
        behind = np.int64(after[right])
        symbols[at], symbols[right] = merged[rank], NONE
        after[at], before[behind] = behind, at
        left = np.int64(before[at])
        if left >= 0:
            rank = rank_of(pairs, symbols[left], symbols[at])
            if rank != NONE:
                push(heap, n, np.uint64(rank) << _U32 | np.uint64(left))
                n += 1
        if behind < count:
            rank = rank_of(pairs, symbols[at], symbols[behind])
            if rank != NONE:
                push(heap, n, np.uint64(rank) << _U32 | np.uint64(at))
                n += 1


@kernel(inline=True)
def load_word(base, n, part):
    """Bytes 8 * part to 8 * part + 7 of the n bytes at an address, filled up with zeros."""
    at = np.uint64(8 * part)
    if n <= at:
        return _U0
    left = n - at
    if left >= np.uint64(8):
        return load_u64(base + at, _U0)
    if n >= np.uint64(8):
        return load_u64(base + n - np.uint64(8), _U0) >> (np.uint64(8) * (np.uint64(8) - left))
    if n >= np.uint64(4):
        high = np.uint64(load_u32(base + n - np.uint64(4), _U0))
        return np.uint64(load_u32(base, _U0)) | high << (np.uint64(8) * (n - np.uint64(4)))
    middle, last = n >> _U1, n - _U1
    first = np.uint64(load_u8(base, _U0)) | np.uint64(load_u8(base, middle)) << (np.uint64(8) * middle)
    return first | np.uint64(load_u8(base, last)) << (np.uint64(8) * last)


@kernel(inline=True)
def key_words(word, n):
    """A word of at most MAX_CACHED[0] bytes as three numbers."""
    return load_word(word, n, 0), load_word(word, n, 1), load_word(word, n, 2)


@kernel(inline=True)
def record_of(slots, mask, n, key):
    """The address of the one slot of a cache where a word of n bytes can be."""
    h = mix(mix(mix(n ^ key[0]) ^ key[1]) ^ key[2])
    return slots + ((h >> np.uint64(20)) & mask) * np.uint64(64)


@kernel(inline=True)
def holds(record, n, key):
    same = load_u64(record, _U0) & np.uint64(255) == n and load_u64(record, _U1) == key[0]
    return same and load_u64(record, np.uint64(2)) == key[1] and load_u64(record, np.uint64(3)) == key[2]


@kernel(inline=True)
def replay(record, tokens, t, at):
    """Writes the tokens of a cached word that begins at `at`; returns the number of all tokens now."""
    ids, begins, stops = tokens
    head, begin = load_u64(record, _U0), at
    for i in range(head >> np.uint64(8) & np.uint64(15)):
        stop = at + np.int64(head >> (np.uint64(16) + np.uint64(5) * i) & np.uint64(31))
        store_u32(ids, t, load_u32(record + np.uint64(32), i))
        store_i64(begins, t, begin)
        store_i64(stops, t, stop)
        begin = stop
        t += _U1
    return t


@kernel(inline=True)
def keep(record, n, key, tokens, at, first, last):
    """Puts a word that begins at `at` and its tokens first:last into a slot of a cache, if they fit."""
    ids, _, stops = tokens
    if last - first > np.uint64(MAX_CACHED[1]):
        return
    if last > first and load_i64(stops, last - _U1) - at > MAX_CACHED[0]:
        return
    head = n | (last - first) << np.uint64(8)
    for i in range(last - first):
        head |= np.uint64(load_i64(stops, first + i) - at) << (np.uint64(16) + np.uint64(5) * i)
        store_u32(record + np.uint64(32), i, load_u32(ids, first + i))
    store_u64(record, _U0, head)
    for part in range(3):
        store_u64(record, np.uint64(part + 1), key[part])


@kernel(inline=True)
def next_cut(word, at, n, inside, crossing, by_byte):
    """The first place behind `at` that no token reaches across, or n.

    A token that does holds the two characters there side by side, or, where bytes are symbols, ends or begins within
    one of them. Most words are ASCII and hardly ever cut, so that with bytes only other characters are looked at.
    """
    left, left_byte = _U0, np.uint64(load_u8(word, at))
    p = at
    while p < n:
        lead = load_u8(word, p)
        width = _U1
        if lead >= np.uint8(0xC0):
            width += _U1 + np.uint64(lead >= np.uint8(0xE0)) + np.uint64(lead >= np.uint8(0xF0))
        if p + width > n:
            return n
        right = decode_char(word, p)[0]
        if p > at and (not by_byte or (left >= np.uint64(0x80) and right >= np.uint64(0x80))):
            if not load_u8(crossing, left_byte << np.uint64(8) | np.uint64(lead)):
                if rank_of(inside, left, right) == NONE:
                    return p
        p += width
        left, left_byte = right, np.uint64(load_u8(word, p - _U1))
    return n


@kernel(inline=True)
def is_ascii(word, n):
    i, bits = _U0, _U0
    while i + np.uint64(8) <= n:
        bits |= load_u64(word + i, _U0)
        i += np.uint64(8)
    while i < n:
        bits |= np.uint64(load_u8(word, i))
        i += _U1
    return bits & np.uint64(NO_ASCII) == _U0


@kernel(inline=True)
def all_known(word, n, symbols):
    """Whether each character has a symbol; `symbols` is the address of uint32[0x110000]."""
    p = _U0
    while p < n:
        code, width = decode_char(word, p)
        if load_u32(symbols, code) == np.uint32(0):
            return False
        p += width
    return True


class Prepared(NamedTuple):
    """BpeTables for the kernel: Numba looks into a named tuple at each call, for longer than a short text takes."""

    tables: tuple  # the same in plain tuples
    widening: int  # no more tokens than this times its bytes come of a word


def prepare(tables):
    return Prepared(
        _plain(tables), 1 + (len(tables.prefix) + len(tables.suffix)) * (len(tables.fallback) > 0)
    )


def _plain(value):
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


@kernel(inline=True)
def _named(plain):
    """The BpeTables of which these are the plain tuples."""
    ids, pairs, merged, byte_ranks, symbols, variant, fallback, prefix, suffix = plain[:9]
    backtrack, whole, unk, fuse_unk, dropout, divisible, inside, crossing, harmless, ordered = plain[9:]
    return BpeTables(
        *(ids, Pairs(*pairs), merged, byte_ranks, symbols, variant, fallback, prefix, suffix),
        *(Backtrack(Pairs(*backtrack[0]), *backtrack[1:]), Strings(*whole), unk, fuse_unk, dropout),
        *(divisible, Pairs(*inside), crossing, harmless, ordered),
    )


def encode_words(data, start, end, tables, cache, random, *, positions=True):
    """Encodes word i = data[start[i]:end[i]] to tokens rows[i]:rows[i + 1].

    data uint8[n]; start, end int64[n_words]; tables: BpeTables, or what `prepare` makes of them;
    cache: of word_cache, for these tables only and one thread at a time;
    random: uint64[1], not 0, the generator for dropout.
    -> ids uint32[t], start int64[t], end int64[t] (bytes of `data`), rows int64[n_words + 1]; without `positions`, for
    which there must be no cache, start and end are empty.
    An unknown token that the vocabulary lacks shows as NONE.
    """
    start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
    if not isinstance(tables, Prepared):
        tables = prepare(tables)
    n = int((end - start).sum()) * tables.widening
    # Pages that no token is written to cost nothing.
    places = np.empty(n if positions else 0, np.int64), np.empty(n if positions else 0, np.int64)
    tokens = np.empty(n, np.uint32), *places
    rows = np.empty(len(start) + 1, np.int64)
    words = pointer(data), pointer(start), pointer(end)
    t = _encode_words(words, tables.tables, cache, random, tokens, rows)
    return *(column[:t] for column in tokens), rows


@kernel((i64, i64, i64), plain(BpeTables), u64[:, :], u64[:], (u32[:], i64[:], i64[:]), i64[:])
def _encode_words(words, plain, cache, random, tokens, rows):
    tables = _named(plain)
    # Passing arrays on would count their references at each word: the loop has addresses, and arrays for rare words.
    base, starts, ends = words
    out = address(tokens[0]), address(tokens[1]), address(tokens[2])
    positions = len(tokens[1]) > 0
    row_ends = address(rows)
    n_words = len(rows) - 1
    longest = np.int64(1)
    for w in range(n_words):
        longest = max(longest, load_i64(ends, w) - load_i64(starts, w))
    if len(tables.fallback):
        longest *= 1 + len(tables.prefix) + len(tables.suffix)
    symbols_array, places_array = np.empty(longest + 2, np.uint32), np.empty(longest + 1, np.int64)
    before, after_array = np.empty(longest + 2, np.int32), np.empty(longest + 2, np.int32)
    keys = np.empty(SHORT + 2, np.uint32)
    symbols, places, after = address(symbols_array), address(places_array), address(after_array)
    scratch = symbols, address(before), after, address(keys)
    names, character_symbols = address(tables.ids), address(tables.symbols)
    by_byte = len(tables.byte_ranks) > 0
    byte_ranks = address(tables.byte_ranks) if by_byte else _U0
    model = pairs_of(tables.pairs), address(tables.merged), byte_ranks, np.uint32(len(tables.ids))
    inside, crossing = pairs_of(tables.inside), address(tables.crossing)
    scanned = not tables.ordered and tables.dropout == 0.0
    vocabulary = backtrack_addresses(tables.backtrack)
    direct = len(tables.backtrack.tokens) > 0 and tables.dropout == 0.0
    closed_array = np.empty((longest >> 6) + 1, np.uint64)
    slots, cached = address(cache), len(cache) > 0 and tables.dropout == 0.0
    mask, most = np.uint64(max(len(cache), 1) - 1), np.uint64(MAX_CACHED[0])
    whole = len(tables.whole.offsets) > 1 and tables.dropout == 0.0
    # Where a word that is a token isn't taken apart, the same bytes as part of a word can have other tokens.
    part_mark = np.uint64(128) if whole else _U0
    t = _U0
    for w in range(n_words):
        store_i64(row_ends, w, np.int64(t))
        start = load_i64(starts, w)
        n, word = np.uint64(load_i64(ends, w) - start), np.uint64(base + start)
        if n == _U0:
            continue
        key, record = (_U0, _U0, _U0), _U0
        if cached and n <= most:
            key = key_words(word, n)
            record = record_of(slots, mask, n, key)
            if holds(record, n, key):
                t = replay(record, out, t, start)
                continue
        found = find_string(tables.whole, word, n) if whole else np.int64(-1)
        if found >= 0:
            store_u32(out[0], t, load_u32(names, np.uint64(found)))
            if positions:
                store_i64(out[1], t, start)
                store_i64(out[2], t, start + np.int64(n))
            t += _U1
            if record:
                keep(record, n, key, out, start, t - _U1, t)
            continue
        divisible = tables.divisible and (not is_ascii(word, n) if by_byte else n > most)
        if divisible and not by_byte and not tables.harmless:
            divisible = all_known(word, n, character_symbols)
        at, first_of_word = _U0, t
        while at < n:
            stop = next_cut(word, at, n, inside, crossing, by_byte) if divisible else n
            part, size = word + at, stop - at
            first, mark = t, size
            if size < n and not direct:  # parts are worth keeping where they cost merges
                record, mark = _U0, size | part_mark
                if cached and size <= most:
                    key = key_words(part, size)
                    record = record_of(slots, mask, mark, key)
                    if holds(record, mark, key):
                        t = replay(record, out, t, start + np.int64(at))
                        at = stop
                        continue
            if direct and size <= np.uint64(MAX_BYTES):
                closed = address(closed_array)
                for i in range(backtrack(vocabulary, part, size, symbols, places, closed)):
                    store_u32(out[0], t, field(vocabulary, load_u32(symbols, i), ID))
                    if positions:
                        store_i64(out[1], t, start + np.int64(at) + load_i64(places, i))
                        store_i64(out[2], t, start + np.int64(at) + load_i64(places, i + _U1))
                    t += _U1
            else:
                if by_byte:
                    count = bytes_as_symbols(part, size, character_symbols, symbols, places)
                else:
                    count = first_symbols(part, size, tables, symbols_array, places_array)
                if count <= np.uint64(SHORT) and scanned:
                    merge_by_scan(part, count, model, scratch)
                else:
                    merge_by_heap(symbols_array, before, after_array, np.int64(count), tables, random)
                i = _U0
                while i < count:
                    behind = np.uint64(load_u32(after, i))
                    symbol = load_u32(symbols, i)
                    store_u32(out[0], t, load_u32(names, np.uint64(symbol)) if symbol != NONE else NONE)
                    if positions:
                        store_i64(out[1], t, start + np.int64(at) + load_i64(places, i))
                        store_i64(out[2], t, start + np.int64(at) + load_i64(places, behind))
                    t += _U1
                    i = behind
            if record and not direct:
                keep(record, mark, key, out, start + np.int64(at), first, t)
            at = stop
        if record and direct:
            keep(record, n, key, out, start, first_of_word, t)
    rows[n_words] = t
    hold((tables, symbols_array, places_array, before, after_array, keys, closed_array))
    return np.int64(t)
