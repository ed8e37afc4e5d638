"""The stage `encode_words`: byte-pair encoding of many words, one after the other.

The cache has the tokens of many words, and with `ignore_merges` a word that is a token stays whole. Any other word is
cut at edges that no token can cross (symbols.py): each part is encoded on its own, with the same result, and parts
occur again far more often than words (in Chinese that takes two thirds less time; without a pre-tokenizer, a whole
document is one word). A part is encoded by merges of its symbols (characters.py, merge.py).
"""

from __future__ import annotations

import numpy as np
from gputok.kernels import BpeTables
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.encode_words.cache import MAX_CACHED, NOWHERE, keep, recall
from gputok.kernels.cpu.encode_words.merge import SHORT, merge_by_heap, merge_by_scan
from gputok.kernels.cpu.encode_words.symbols import (
    all_known,
    bytes_as_symbols,
    characters_as_symbols,
    first_symbols,
    is_ascii,
    next_cut,
)
from gputok.kernels.cpu.lookup import NONE, find_string
from gputok.kernels.cpu.primitives.arrays import pointer
from gputok.kernels.cpu.primitives.constants import U0, U1
from gputok.kernels.cpu.primitives.memory import as_views, scratch, view
from gputok.kernels.signatures import i64, u32, u64


def encode_words(data, start, end, tables, cache, random, *, positions=True):
    """Encodes word i = data[start[i]:end[i]] to tokens rows[i]:rows[i + 1].

    data uint8[n]; start, end int64[n_words]; tables: BpeTables; cache: the result of `word_cache`, for these tables and
    one thread at a time; random: uint64[1], not 0, the state of the random generator for dropout.
    -> ids uint32[t], start int64[t], end int64[t] (bytes of `data`), rows int64[n_words + 1]. Without `positions`,
    start and end are empty, and so must be the cache. An unknown token that the vocabulary lacks becomes NONE.
    """
    start, end = np.ascontiguousarray(start), np.ascontiguousarray(end)
    # An unknown character can become the tokens of its bytes, and of the bytes of prefix and suffix (`first_symbols`)
    n_affixes = (len(tables.prefix) + len(tables.suffix)) * (len(tables.fallback) > 0)
    n = int((end - start).sum()) * (1 + n_affixes)
    # Mostly far more than there are tokens: pages of memory that nothing is written to cost nothing
    spans = np.empty(n if positions else 0, np.int64), np.empty(n if positions else 0, np.int64)
    tokens = np.empty(n, np.uint32), *spans
    rows = np.empty(len(start) + 1, np.int64)
    words = pointer(data), pointer(start), pointer(end)
    t = _encode_words(words, tables, cache, random, tokens, rows)
    return *(column[:t] for column in tokens), rows


@kernel((i64, i64, i64), BpeTables, u64[:, :], u64[:], (u32[:], i64[:], i64[:]), i64[:])
def _encode_words(words, tables, cache, random, tokens, rows):
    # Views, since passing arrays on would count their references at each word
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
        view(random),
    )
    model, dropout = as_views(tables), tables.dropout
    kept = view(cache), view(cache, np.uint32), np.uint64(max(len(cache), 1) - 1)
    cached = len(cache) > 0 and dropout == 0.0
    t = U0
    for w in range(n_words):
        row_ends[w] = t
        if starts[w] < ends[w]:
            begin, end = np.uint64(starts[w]), np.uint64(ends[w])
            t = encode_word(text, begin, end, model, dropout, kept, cached, work, out, t)
    rows[n_words] = t
    return np.int64(t)


@kernel(inline=True)
def encode_word(text, begin, end, model, dropout, kept, cached, work, out, t):
    """Writes the tokens of the word text[begin:end], which isn't empty, and returns the number of all tokens now.

    model: the views of BpeTables. dropout: of the tables; with the constant 0.0, LLVM leaves out what only dropout
    needs. kept: the slots of a `word_cache` for this model as uint64, the same as uint32, and their number - 1; used if
    `cached`. work: for n symbols (one for each byte; more if a character becomes more tokens than it has bytes):
    uint32[n + 2] symbols, int64[n + 1] offsets, uint32[n + 2] links before and after, uint32[SHORT + 2] keys; and the
    state of the random generator. out: ids, begins, ends, and whether the last two are wanted: always, if `cached`.
    """
    symbols, offsets, before, after, keys, random = work
    ids, begins, stops, positions = out
    tokens = ids, begins, stops
    by_byte = len(model.byte_ranks) > 0  # each byte is a symbol, the same one wherever it stands
    merging = model.pairs, model.merged, model.byte_ranks, np.uint32(len(model.ids))  # the last: a symbol in no pair
    scanned = not model.ordered and dropout == 0.0
    keeps_whole = len(model.whole.offsets) > 1 and dropout == 0.0
    n, start = end - begin, np.int64(begin)
    # If a word that is a token stays whole, the same bytes as part of a word can have other tokens: so they have a mark
    part_mark = np.uint64(128) if keeps_whole else U0
    key, record = (U0, U0, U0), NOWHERE
    if cached:
        known, t, record, key = recall(kept, text, begin, n, n, tokens, t)
        if known:
            return t
    found = find_string(model.whole, text, begin, n) if keeps_whole else np.int64(-1)
    if found >= 0:
        ids[t] = model.ids[found]
        if positions:
            begins[t] = start
            stops[t] = end
        t += U1
        keep(kept, record, n, key, tokens, start, t - U1, t)
        return t
    ascii = is_ascii(text, begin, end)
    divisible = model.divisible and (not ascii if by_byte else n > np.uint64(MAX_CACHED[0]))
    if divisible and not by_byte and not model.harmless:
        divisible = all_known(text, begin, end, model.symbols)
    at = begin
    while at < end:
        stop = next_cut(text, at, end, model.inside, model.crossing, by_byte) if divisible else end
        size, position = stop - at, np.int64(at)
        first, mark = t, size
        if size < n:
            record, mark = NOWHERE, size | part_mark
            if cached:
                known, t, record, key = recall(kept, text, at, size, mark, tokens, t)
                if known:
                    at = stop
                    continue
        by_pairs = by_byte
        if by_byte and (ascii or len(model.characters) == 0 or dropout > 0.0):
            count = bytes_as_symbols(text, at, size, model.symbols, symbols, offsets)
        elif by_byte:
            by_pairs = False
            tables = model.symbols, model.characters, model.edges
            count = characters_as_symbols(text, at, size, tables, symbols, offsets)
        else:
            count = first_symbols(text, at, size, model, symbols, offsets)
        if count <= np.uint64(SHORT) and scanned:
            merge_by_scan(text, at, count, merging, by_pairs, (symbols, before, after, keys))
        else:
            rest = model.merged, model.pairs, dropout
            merge_by_heap(symbols, before, after, np.int64(count), rest, random)
        i = U0
        while i < count:
            next_one = np.uint64(after[i])
            symbol = symbols[i]
            ids[t] = model.ids[symbol] if symbol != NONE else NONE
            if positions:
                begins[t] = position + offsets[i]
                stops[t] = position + offsets[next_one]
            t += U1
            i = next_one
        keep(kept, record, mark, key, tokens, position, first, t)
        at = stop
    return t
