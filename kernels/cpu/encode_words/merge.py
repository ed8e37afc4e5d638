"""The stage `encode_words`: byte-pair encoding of many words, each by the lowest rank and then the leftmost pair.

    hello     h e l l o         ranks: (h, e) 3, (l, l) 0, (he, ll) 5, (hell, o) 9
              h e ll o          the pair of rank 0
              he ll o           rank 3
              hell o, hello     ranks 5 and 9

A word of few symbols is scanned for its lowest rank before each merge. A long word keeps its pairs in a heap, so that no word
costs more than n log n. Before that, words are cut at places that no token can cross: each part is merged on its own, with
the same result, and parts occur again far more often than words (in Chinese that takes two thirds less time; for a model
without a pre-tokenizer, a whole document is one word).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gputok.kernels import Backtrack, BpeTables, Pairs, Strings
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_words.backtrack import ID, MAX_BYTES, backtrack, backtrack_views, field
from gputok.kernels.cpu.lookup import NONE, find_among, pairs_of, rank_of, strings_of
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import (
    ALL,
    LOW32,
    NO_ASCII,
    U0,
    U1,
    U2,
    U3,
    U4,
    U8,
    U16,
    U20,
    U32,
)
from gputok.kernels.cpu.primitives.hashing import mix
from gputok.kernels.cpu.primitives.heap import less, pop, push
from gputok.kernels.cpu.primitives.memory import View, load_u32, load_u64, scratch, view
from gputok.kernels.cpu.primitives.utf8 import decode, width
from gputok.kernels.signatures import i64, plain, u32, u64

SHORT = 64  # symbols; up to here scanning is faster than a heap
POSITION_BITS = 6  # of a position in a short word
MAX_CACHED = 24, 8  # bytes and tokens of a word that is kept: with them it fills one cache line

NOWHERE = ALL  # no slot of a cache


def word_cache(capacity: int) -> np.ndarray:
    """An empty cache for about `capacity` encoded words, uint64[slots, 8], a cache line each; capacity 0: no cache.

    The hash of a word is its slot; a new word replaces the word in its slot, so that the size never grows. Element 0 is the
    number of bytes (0: free), tokens << 8, and the end of token i << 16 + 5 * i; 1 to 3 are the word, 4 to 7 its ids.
    """
    return np.zeros((1 << (capacity - 1).bit_length() if capacity else 0, 8), np.uint64)


@kernel(inline=True)
def next_random(random):
    """The next random number by xorshift64*, float64 in [0, 1); random: the state, uint64[1]."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    return np.float64((x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(40)) / 16777216.0


class Model(NamedTuple):
    """BpeTables as a hot loop sees them: arrays would cost more than the merges."""

    names: View  # of uint32, the ids
    pairs: tuple  # of pairs_of
    merged: View  # of uint32
    byte_ranks: View  # of uint32
    nothing: np.uint32  # a symbol that is in no pair
    symbols: View  # of uint32, rows one after the other
    n_columns: np.uint64  # of symbols
    variant: View  # of int64
    fallback: View  # of uint32
    prefix: View  # of uint8
    suffix: View  # of uint8
    unk: View  # of uint32
    n_fallback: np.int64
    n_prefix: np.int64
    n_suffix: np.int64
    n_unk: np.int64
    fuse_unk: bool
    dropout: float
    vocabulary: tuple  # of backtrack_views
    direct: bool  # by them
    whole: tuple  # of strings_of
    has_whole: bool
    inside: tuple  # of pairs_of
    crossing: View  # of uint8
    divisible: bool
    harmless: bool
    ordered: bool
    by_byte: bool  # each byte is a symbol, the same one wherever it stands


@kernel(inline=True)
def model_of(tables):
    """The Model of BpeTables."""
    merging = tables.dropout == 0.0
    return Model(
        view(tables.ids),
        pairs_of(tables.pairs),
        view(tables.merged),
        view(tables.byte_ranks),
        np.uint32(len(tables.ids)),
        view(tables.symbols),
        np.uint64(tables.symbols.shape[1]),
        view(tables.variant),
        view(tables.fallback),
        view(tables.prefix),
        view(tables.suffix),
        view(tables.unk),
        len(tables.fallback),
        len(tables.prefix),
        len(tables.suffix),
        len(tables.unk),
        tables.fuse_unk,
        tables.dropout,
        backtrack_views(tables.backtrack),
        len(tables.backtrack.tokens) > 0 and merging,
        strings_of(tables.whole),
        len(tables.whole.offsets) > 1 and merging,
        pairs_of(tables.inside),
        view(tables.crossing),
        tables.divisible,
        tables.harmless,
        tables.ordered,
        len(tables.byte_ranks) > 0,
    )


@kernel(inline=True)
def bytes_as_symbols(text, begin, n, table, symbols, places):
    """`first_symbols` if each byte is a known symbol, the same at all places; table: uint32[256]."""
    for i in range(n):
        symbols[i] = table[text[begin + i]] - np.uint32(1)
        places[i] = i
    places[n] = n
    return n


@kernel
def first_symbols(text, begin, n, model, symbols, places):
    """Writes the characters of n bytes from text[begin] on as symbols, and their places, counted from `begin`.

    places has one more element, the end of the last symbol. An unknown character is left out (the places behind it move up,
    as in `tokenizers`), or becomes an unknown token, or with fallback the tokens of its bytes and of the bytes of both
    affixes. Byte tokens are written before an unknown token that waits to be fused with the next one, as `tokenizers` does.
    """
    by_byte = model.n_columns == np.uint64(256)
    count = np.int64(0)
    place, waiting = np.int64(0), np.int64(0)  # waiting: bytes of an unknown token that isn't written yet
    at = U0
    while at < n:
        if by_byte:
            code, size = np.uint64(text[begin + at]), U1
        else:
            code, size = decode(text, begin + at)
        kind = np.int64(at > U0) + 2 * np.int64(at + size >= n)
        symbol = model.symbols[np.uint64(model.variant[kind]) * model.n_columns + code]
        known = symbol > 0
        if known:
            if waiting:
                symbols[count], places[count] = model.unk[U0], place
                count, place, waiting = count + 1, place + waiting, 0
            symbols[count], places[count] = symbol - np.uint32(1), place
            count, place = count + 1, place + np.int64(size)
        elif model.n_fallback:
            known = True
            old = count
            if kind & 1:
                for i in range(model.n_prefix):
                    symbols[count] = model.fallback[model.prefix[i]]
                    count += 1
            for i in range(size):
                symbols[count] = model.fallback[text[begin + at + i]]
                count += 1
            if kind & 2:
                for i in range(model.n_suffix):
                    symbols[count] = model.fallback[model.suffix[i]]
                    count += 1
            for i in range(old, count):
                known = known and symbols[i] != NONE
                places[i] = place + i - old
            if known:
                place += count - old
            else:
                count = old
        if not known and model.n_unk:
            if waiting and not model.fuse_unk:
                symbols[count], places[count] = model.unk[U0], place
                count, place, waiting = count + 1, place + waiting, 0
            waiting += np.int64(size)
        at += size
    if waiting:
        symbols[count], places[count] = model.unk[U0], place
        count, place = count + 1, place + waiting
    places[count] = place
    return np.uint64(count)


@kernel(inline=True)
def key_of(pairs, left, right, at):
    """The key of a pair of symbols at a place, rank << POSITION_BITS | at, or NONE."""
    rank = rank_of(pairs, left, right)
    return rank << np.uint32(POSITION_BITS) | np.uint32(at) if rank != NONE else NONE


@kernel(inline=True)
def merge_by_scan(text, begin, n, model, by_byte, scratch):
    """Merges a word of n symbols, at most SHORT: then its tokens are symbols[0], symbols[after[0]] and so on up to n.

    `model`: the pairs, merged symbols, byte ranks and `nothing` of a Model; `scratch`: uint32[n + 2] symbols, links before and after, and keys of all
    pairs. Two symbols that are in no pair, one behind the word and one (a place further) before it, spare the loop its
    branches at the word's ends.
    """
    pairs, merged, byte_ranks, nothing = model
    symbols, before, after, keys = scratch
    symbols[n] = nothing
    symbols[n + U1] = nothing
    for i in range(n):
        before[i] = i - U1
        after[i] = i + U1
        key = NONE
        if i + U1 < n:
            if by_byte:
                pair = np.uint64(text[begin + i]) << U8 | np.uint64(text[begin + i + U1])
                rank = byte_ranks[pair]
                key = rank << np.uint32(POSITION_BITS) | np.uint32(i) if rank != NONE else NONE
            else:
                key = key_of(pairs, symbols[i], symbols[i + U1], i)
        keys[i] = key
    before[U0] = n + U1
    while True:
        least = NONE
        for i in range(n):  # the compiler makes vector instructions of this
            least = min(least, keys[i])
        if least == NONE:
            break
        at = np.uint64(least & np.uint32(SHORT - 1))
        new = merged[least >> np.uint32(POSITION_BITS)]
        left, right = np.uint64(before[at]), np.uint64(after[at])
        behind = np.uint64(after[right])
        symbols[at] = new
        after[at] = behind
        before[behind] = at
        keys[right] = NONE
        keys[at] = key_of(pairs, new, symbols[behind], at)
        keys[left] = key_of(pairs, symbols[left], new, left)


@kernel
def merge_by_heap(symbols, before, after, count, model, random):
    """Like `merge_by_scan` for a word of any length, with a heap of rank << 32 | position.

    model: the merged symbols and pairs of a Model, and its dropout.
    With dropout, a pair taken from the heap is put aside with that probability, until the next pair that isn't put aside.
    An entry stands for the symbols at its position as long as merging them gives the same token.
    """
    merged, pairs, dropout = model
    # Each merge takes an entry out and puts at most two in, so 2 * count entries are enough.
    heap = scratch(2 * count, np.uint64)
    aside = scratch(2 * count if dropout > 0.0 else 0, np.uint64)
    n = n_aside = 0
    for i in range(count):
        before[i], after[i] = i - 1, i + 1
    for i in range(count - 1):
        rank = rank_of(pairs, symbols[i], symbols[i + 1])
        if rank != NONE:
            push(heap, n, np.uint64(rank) << U32 | np.uint64(i), less, 0)
            n += 1
    while n > 0:
        entry = heap[0]
        pop(heap, n, less, 0)
        n -= 1
        if dropout > 0.0:
            if next_random(random) < dropout:
                aside[n_aside] = entry
                n_aside += 1
                continue
            for i in range(n_aside):
                push(heap, n, aside[i], less, 0)
                n += 1
            n_aside = 0
        at = np.int64(entry & LOW32)
        right = np.int64(after[at])
        if symbols[at] == NONE or right == count:
            continue
        rank = rank_of(pairs, symbols[at], symbols[right])
        if rank == NONE or merged[rank] != merged[entry >> U32]:
            continue
        behind = np.int64(after[right])
        symbols[at], symbols[right] = merged[rank], NONE
        after[at], before[behind] = behind, at
        left = np.int64(np.int32(before[at]))  # -1: none
        if left >= 0:
            rank = rank_of(pairs, symbols[left], symbols[at])
            if rank != NONE:
                push(heap, n, np.uint64(rank) << U32 | np.uint64(left), less, 0)
                n += 1
        if behind < count:
            rank = rank_of(pairs, symbols[at], symbols[behind])
            if rank != NONE:
                push(heap, n, np.uint64(rank) << U32 | np.uint64(at), less, 0)
                n += 1


@kernel(inline=True)
def load_word(text, begin, n, part):
    """Bytes 8 * part to 8 * part + 7 of the n bytes from text[begin] on, padded with zeros."""
    at = np.uint64(8 * part)
    if n <= at:
        return U0
    left = n - at
    if left >= U8:
        return load_u64(text, begin + at)
    if n >= U8:
        return load_u64(text, begin + n - U8) >> (U8 * (U8 - left))
    if n >= U4:
        high = np.uint64(load_u32(text, begin + n - U4))
        return np.uint64(load_u32(text, begin)) | high << (U8 * (n - U4))
    middle, last = n >> U1, n - U1
    first = np.uint64(text[begin]) | np.uint64(text[begin + middle]) << (U8 * middle)
    return first | np.uint64(text[begin + last]) << (U8 * last)


@kernel(inline=True)
def key_words(text, begin, n):
    """A word of at most MAX_CACHED[0] bytes as three numbers."""
    return load_word(text, begin, n, 0), load_word(text, begin, n, 1), load_word(text, begin, n, 2)


@kernel(inline=True)
def record_of(cache, n, key):
    """Where the slot begins that can hold a word of n bytes."""
    _, _, mask = cache
    h = mix(mix(mix(n ^ key[0]) ^ key[1]) ^ key[2])
    return ((h >> U20) & mask) << U3


@kernel(inline=True)
def holds(cache, record, n, key):
    """Whether a slot of a cache holds a word of n bytes."""
    slots, _, _ = cache
    same = slots[record] & np.uint64(255) == n and slots[record + U1] == key[0]
    return same and slots[record + U2] == key[1] and slots[record + U3] == key[2]


@kernel(inline=True)
def replay(cache, record, tokens, t, at):
    """Writes the tokens of a cached word that begins at `at`; returns the number of all tokens now."""
    slots, kept, _ = cache
    ids, begins, stops = tokens
    head, begin = slots[record], at
    for i in range(head >> U8 & np.uint64(15)):
        stop = at + np.int64(head >> (U16 + np.uint64(5) * i) & np.uint64(31))
        ids[t] = kept[(record << U1) + U8 + i]
        begins[t] = begin
        stops[t] = stop
        begin = stop
        t += U1
    return t


@kernel(inline=True)
def keep(cache, record, n, key, tokens, at, first, last):
    """Puts a word that begins at `at` and its tokens first:last into a slot of a cache, if they fit."""
    slots, kept, _ = cache
    ids, _, stops = tokens
    if last - first > np.uint64(MAX_CACHED[1]):
        return
    if last > first and stops[last - U1] - at > MAX_CACHED[0]:
        return
    head = n | (last - first) << U8
    for i in range(last - first):
        head |= np.uint64(stops[first + i] - at) << (U16 + np.uint64(5) * i)
        kept[(record << U1) + U8 + i] = ids[first + i]
    slots[record] = head
    slots[record + U1], slots[record + U2], slots[record + U3] = key


@kernel(inline=True)
def next_cut(text, at, end, inside, crossing, by_byte):
    """The first place behind `at` that no token crosses, or `end`.

    A token that crosses a place contains the two characters there side by side, or, if bytes are symbols, ends or begins
    within one of them. Most words are ASCII and are rarely cut, so that with bytes only other characters are tested.
    """
    left, left_byte = U0, np.uint64(text[at])
    p = at
    while p < end:
        lead = text[p]
        size = np.uint64(width(lead)) if lead >= np.uint8(0xC0) else U1
        if p + size > end:
            return end
        right = decode(text, p)[0]
        if p > at and (not by_byte or (left >= np.uint64(0x80) and right >= np.uint64(0x80))):
            if not crossing[left_byte << U8 | np.uint64(lead)]:
                if rank_of(inside, left, right) == NONE:
                    return p
        p += size
        left, left_byte = right, np.uint64(text[p - U1])
    return end


@kernel(inline=True)
def is_ascii(text, at, end):
    """Whether text[at:end] is ASCII."""
    bits = U0
    while at + U8 <= end:
        bits |= load_u64(text, at)
        at += U8
    while at < end:
        bits |= np.uint64(text[at])
        at += U1
    return bits & NO_ASCII == U0


@kernel(inline=True)
def all_known(text, at, end, symbols):
    """Whether each character has a symbol; symbols: uint32[0x110000]."""
    while at < end:
        code, size = decode(text, at)
        if symbols[code] == np.uint32(0):
            return False
        at += size
    return True


class Prepared(NamedTuple):
    """BpeTables for the kernel, as plain tuples: reading a named tuple takes Numba longer than encoding a short text."""

    tables: tuple  # the same in plain tuples
    widening: int  # no more tokens than this times its bytes come of a word


def prepare(tables):
    """The tables as `encode_words` takes them at once."""
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


@kernel(inline=True)
def encode_word(text, begin, end, model, kept, cached, work, out, t):
    """Writes the tokens of the word text[begin:end], which isn't empty, and returns the number of all tokens now.

    kept: of a cache for this model, its slots as uint64 and as uint32, and their number - 1; asked if `cached`.
    work: for a word of n symbols (bytes, unless a character becomes more tokens than it has bytes): uint32[n + 2] for
    symbols, int64[n + 1] places, uint32[n + 2] links before and after, uint32[SHORT + 2] keys, uint64[n // 64 + 1] closed
    places; and the state of the random generator. out: ids, begins, ends, and whether begins and ends are wanted, as
    they must be if `cached`.
    """
    symbols, places, before, after, keys, closed, random = work
    ids, begins, stops, positions = out
    tokens = ids, begins, stops
    by_byte, direct = model.by_byte, model.direct
    merging = model.pairs, model.merged, model.byte_ranks, model.nothing
    scanned = not model.ordered and model.dropout == 0.0
    n, start, most = end - begin, np.int64(begin), np.uint64(MAX_CACHED[0])
    # Where a word that is a token isn't taken apart, the same bytes as part of a word can have other tokens.
    part_mark = np.uint64(128) if model.has_whole else U0
    key, record = (U0, U0, U0), NOWHERE
    if cached and n <= most:
        key = key_words(text, begin, n)
        record = record_of(kept, n, key)
        if holds(kept, record, n, key):
            return replay(kept, record, tokens, t, start)
    found = find_among(model.whole, text, begin, n) if model.has_whole else np.int64(-1)
    if found >= 0:
        ids[t] = model.names[found]
        if positions:
            begins[t] = start
            stops[t] = end
        t += U1
        if record != NOWHERE:
            keep(kept, record, n, key, tokens, start, t - U1, t)
        return t
    divisible = model.divisible and (not is_ascii(text, begin, end) if by_byte else n > most)
    if divisible and not by_byte and not model.harmless:
        divisible = all_known(text, begin, end, model.symbols)
    at, first_of_word = begin, t
    while at < end:
        stop = next_cut(text, at, end, model.inside, model.crossing, by_byte) if divisible else end
        size, place = stop - at, np.int64(at)
        first, mark = t, size
        if size < n and not direct:  # parts are worth keeping where they cost merges
            record, mark = NOWHERE, size | part_mark
            if cached and size <= most:
                key = key_words(text, at, size)
                record = record_of(kept, mark, key)
                if holds(kept, record, mark, key):
                    t = replay(kept, record, tokens, t, place)
                    at = stop
                    continue
        if direct and size <= np.uint64(MAX_BYTES):
            for i in range(backtrack(model.vocabulary, text, at, size, symbols, places, closed)):
                ids[t] = field(model.vocabulary, symbols[i], ID)
                if positions:
                    begins[t] = place + places[i]
                    stops[t] = place + places[i + U1]
                t += U1
        else:
            if by_byte:
                count = bytes_as_symbols(text, at, size, model.symbols, symbols, places)
            else:
                count = first_symbols(text, at, size, model, symbols, places)
            if count <= np.uint64(SHORT) and scanned:
                merge_by_scan(text, at, count, merging, by_byte, (symbols, before, after, keys))
            else:
                rest = model.merged, model.pairs, model.dropout
                merge_by_heap(symbols, before, after, np.int64(count), rest, random)
            i = U0
            while i < count:
                behind = np.uint64(after[i])
                symbol = symbols[i]
                ids[t] = model.names[symbol] if symbol != NONE else NONE
                if positions:
                    begins[t] = place + places[i]
                    stops[t] = place + places[behind]
                t += U1
                i = behind
        if record != NOWHERE and not direct:
            keep(kept, record, mark, key, tokens, place, first, t)
        at = stop
    if record != NOWHERE and direct:
        keep(kept, record, n, key, tokens, start, first_of_word, t)
    return t


def encode_words(data, start, end, tables, cache, random, *, positions=True):
    """Encodes word i = data[start[i]:end[i]] to tokens rows[i]:rows[i + 1].

    data uint8[n]; start, end int64[n_words]; tables: BpeTables, or the result of `prepare`;
    cache: the result of `word_cache`, for these tables and one thread at a time;
    random: uint64[1], not 0, the state of the random generator for dropout.
    -> ids uint32[t], start int64[t], end int64[t] (places in `data`), rows int64[n_words + 1]. Without `positions`, start
    and end are empty, and the cache must be empty as well. An unknown token that the vocabulary lacks becomes NONE.
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
    # Passing arrays on would count their references at each word
    text, starts, ends = view(words[0], np.uint8), view(words[1], np.int64), view(words[2], np.int64)
    out = view(tokens[0]), view(tokens[1]), view(tokens[2]), len(tokens[1]) > 0
    row_ends = view(rows)
    n_words = len(rows) - 1
    longest = np.int64(1)
    for w in range(n_words):
        longest = max(longest, ends[w] - starts[w])
    if len(tables.fallback):
        longest *= 1 + len(tables.prefix) + len(tables.suffix)
    work = (
        scratch(longest + 2, np.uint32),
        scratch(longest + 1, np.int64),
        scratch(longest + 2, np.uint32),
        scratch(longest + 2, np.uint32),
        scratch(SHORT + 2, np.uint32),
        scratch((longest >> 6) + 1, np.uint64),
        view(random),
    )
    model = model_of(tables)
    kept = view(cache), view(cache, np.uint32), np.uint64(max(len(cache), 1) - 1)
    cached = len(cache) > 0 and tables.dropout == 0.0
    t = U0
    for w in range(n_words):
        row_ends[w] = t
        if starts[w] < ends[w]:
            t = encode_word(text, np.uint64(starts[w]), np.uint64(ends[w]), model, kept, cached, work, out, t)
    rows[n_words] = t
    return np.int64(t)
