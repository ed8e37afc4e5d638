"""Training BPE by the queue of `tokenizers`, for the case that two merges spell the same string.

That can happen if a prefix or a suffix consists of characters of the text. Then a pair can be queued twice, and the order of
merges depends on the words that each entry of the queue knows (see `reference.train_bpe`). This way is slower than
`train.py`, but never quadratic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gputok.kernels import BpeLimits, BpeMerges
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.arrays import resized
from gputok.kernels.cpu.primitives.constants import GOLDEN, U1, U32
from gputok.kernels.cpu.primitives.heap import pop, push
from gputok.kernels.cpu.primitives.memory import owned, view
from gputok.kernels.cpu.primitives.token_strings import (
    index_names,
    learnt,
    log_merge,
    merge_word,
    merged_token,
    power_of_two,
    room,
)
from gputok.kernels.cpu.veto import may_merge, merged_traits, put_traits, veto_limits
from gputok.kernels.signatures import I64s, NamedTuple, U8s, U32s, U64s, i64

_SLICE = 2_000_000  # symbols between two calls of progress
_MERGES, _TOKENS, _PAIRS, _ENTRIES, _POOL, _HEAP, _PUSHED, _VISITS, _BIRTHS, _N_SCALARS = range(10)
_NONE, _AGAIN = -1, -2  # results instead of an entry
_KEY, _COUNT, _NUMBER, _START, _END, _FIELDS = range(6)  # of an entry; _NUMBER: the number of the push


class _Queue(NamedTuple):
    at: I64s  # int64[_N_SCALARS]
    limits: I64s  # int64[3]: vocab_size, min_frequency (at least 1), max_token_length
    veto: I64s  # int64[N_VETO] of veto.py
    traits: U64s  # uint64[ids + 1], of each token; without a veto, uint64[0]
    prefix: U8s  # uint8[k]
    symbols: U32s  # uint32[n], each word from its start on
    length: U32s  # uint32[n], of each symbol in initial symbols
    start: I64s  # int64[words]
    size: I64s  # int64[words], in symbols
    counts: I64s  # int64[words]
    text_end: I64s  # int64[ids + 1]
    names: U32s  # uint32[power of two], see index_names


class _Grown(NamedTuple):
    """What a step may replace by larger copies."""

    text: U8s  # uint8[bytes], the tokens' strings
    merges: U32s  # uint32[3 * m]: left, right, merged
    merge_counts: I64s  # int64[m]
    pairs: I64s  # int64[power of two], a hash table of left << 32 | right; -1: empty
    count: I64s  # int64[same], of each pair
    found: I64s  # int64[same], in how many words of this step a pair was born
    visit: I64s  # int64[same], the last visit of a word in which it was born
    entries: I64s  # int64[_FIELDS * entries]; the words that an entry knows are pool[_START:_END]
    heap: I64s  # int64[entries]
    pool: I64s  # int64[m], words
    births: I64s  # int64[2 * m], slot and word of this step


@kernel(inline=True)
def _slot(pairs, mask, key):
    """The slot of a pair, or the free slot where the pair belongs; pairs: a view; mask: number of slots - 1."""
    at = (np.uint64(key) * GOLDEN) >> U32 & mask
    while pairs[at] >= 0 and pairs[at] != key:
        at = (at + U1) & mask
    return at


@kernel(inline=True)
def _before(entries, i, j):
    """`before` of the heap: the higher count (as an unsigned number), then the smaller pair, then the earlier push."""
    i, j = _FIELDS * i, _FIELDS * j
    if entries[i + _COUNT] != entries[j + _COUNT]:
        return np.uint64(entries[i + _COUNT]) > np.uint64(entries[j + _COUNT])
    if entries[i + _KEY] != entries[j + _KEY]:
        return entries[i + _KEY] < entries[j + _KEY]
    return entries[i + _NUMBER] < entries[j + _NUMBER]


@kernel(inline=True)
def _first_entry(at, entries, heap, pairs, count, least):
    """Takes the first entry out of the queue; _AGAIN if its count has changed, and it was pushed again; _NONE: no merge is left."""
    if at[_HEAP] == 0:
        return np.int64(_NONE)
    entry = _FIELDS * heap[0]
    current = count[_slot(owned(pairs), np.uint64(len(pairs) - 1), entries[entry + _KEY])]
    changed = entries[entry + _COUNT] != current
    if not changed and np.uint64(current) < np.uint64(least):
        return np.int64(_NONE)
    pop(heap, at[_HEAP], _before, entries)
    if changed:
        entries[entry + _COUNT] = current
        entries[entry + _NUMBER] = at[_PUSHED]
        at[_PUSHED] += 1
        push(heap, at[_HEAP] - 1, entry // _FIELDS, _before, entries)
        return np.int64(_AGAIN)
    at[_HEAP] -= 1
    return entry


@kernel(inline=True)
def _with_room(at, pairs, count, found, visit, n_new):
    """The hash table of pairs, with room for n_new more pairs."""
    if 2 * (at[_PAIRS] + n_new) > len(pairs):
        old_pairs, old_count = pairs, count
        capacity = len(pairs)
        while capacity < 4 * (at[_PAIRS] + n_new):
            capacity *= 2
        pairs, count = np.full(capacity, -1, np.int64), np.zeros(capacity, np.int64)
        found, visit = np.zeros(capacity, np.int64), np.zeros(capacity, np.int64)
        slots, mask = owned(pairs), np.uint64(capacity - 1)
        for i in range(len(old_pairs)):
            if old_pairs[i] >= 0:
                slot = _slot(slots, mask, old_pairs[i])
                pairs[slot], count[slot] = old_pairs[i], old_count[i]
    return pairs, count, found, visit


@kernel(inline=True)
def _change(context, left, right, sign):
    """Changes the count of a pair (left is -1: none) by an occurrence in a word, unless the pair may not merge.

    context: views of the scalars; of pairs, with their mask; of count, found, visit and births; the arguments of `may_merge`;
    the word and its weight. Arrays would be reference-counted at each change (measured: four times as slow).
    """
    at, (pairs, mask, count, found, visit, births), (n_traits, traits, bounds), word, weight = context
    if left >= 0 and may_merge(n_traits, traits, bounds, np.uint64(left), np.uint64(right)):
        key = left << 32 | right
        slot = _slot(pairs, mask, key)
        if pairs[slot] < 0:
            pairs[slot] = key
            at[_PAIRS] += 1
        count[slot] += sign * weight
        if sign > 0 and visit[slot] != at[_VISITS]:
            visit[slot] = at[_VISITS]
            found[slot] += 1
            births[2 * at[_BIRTHS]], births[2 * at[_BIRTHS] + 1] = slot, word
            at[_BIRTHS] += 1


@kernel(inline=True)
def _queue_births(at, entries, heap, pool, births, pairs, count, found):
    """Queues the new pairs, each with the words that have it: `found` becomes the index of the next word."""
    at[_PUSHED] += 1
    for i in range(at[_BIRTHS]):
        slot = births[2 * i]
        if found[slot] > 0:
            number = found[slot]
            found[slot] = 0
            if count[slot] > 0:
                entries = room(entries, _FIELDS * (at[_ENTRIES] + 1))
                heap = room(heap, at[_ENTRIES] + 1)
                entry = _FIELDS * at[_ENTRIES]
                entries[entry + _KEY], entries[entry + _COUNT] = pairs[slot], count[slot]
                entries[entry + _NUMBER] = at[_PUSHED]
                entries[entry + _START], entries[entry + _END] = at[_POOL], at[_POOL] + number
                push(heap, at[_HEAP], at[_ENTRIES], _before, entries)
                at[_HEAP] += 1
                at[_ENTRIES] += 1
                found[slot] = -1 - at[_POOL]
                at[_POOL] += number
                at[_PUSHED] += 1
        if found[slot] < 0:
            pool[-1 - found[slot]] = births[2 * i + 1]
            found[slot] -= 1
    for i in range(at[_BIRTHS]):
        found[births[2 * i]] = 0
    return entries, heap


@kernel(_Queue, _Grown, i64)
def _merge_queued(state, grown, work):
    """Merges for about `work` symbols: (whether training is done, what has grown). The first step counts the pairs of all words."""
    at, limits, veto, traits, prefix, symbols, length, start, size, counts, text_end, names = state
    text, merges, merge_counts, pairs, count, found, visit, entries, heap, pool, births = grown
    vocab_size, min_frequency, max_length = limits
    done = False
    while work > 0 and not done:
        counting = at[_PUSHED] == 0
        a = b = new = np.uint64(0)
        known, known_end = 0, len(counts)
        if not counting:
            entry = np.int64(_NONE)
            if at[_TOKENS] < vocab_size:
                entry = _first_entry(at, entries, heap, pairs, count, min_frequency)
            done = entry == _NONE
            work -= 1
            if entry < 0:
                continue
            key = np.uint64(entries[entry + _KEY])
            a, b = key >> np.uint64(32), key & np.uint64(0xFFFFFFFF)
            known, known_end = entries[entry + _START], entries[entry + _END]
            text, token = merged_token(at[_TOKENS], prefix, text, text_end, names, a, b)
            at[_TOKENS] += token == at[_TOKENS]
            new = np.uint64(token)
            if len(traits) > 0:
                traits[new] = merged_traits(traits[a], traits[b])
            logged = (a, b, new), entries[entry + _COUNT]
            merges, merge_counts = log_merge(merges, merge_counts, at[_MERGES], *logged)
            at[_MERGES] += 1

        total = 0
        for i in range(known, known_end):
            total += size[i if counting else pool[i]]
        work -= total
        births = room(births, 4 * total)
        pool = room(pool, at[_POOL] + 2 * total)
        pairs, count, found, visit = _with_room(at, pairs, count, found, visit, 2 * total)

        # Merge in the words that the entry knows; the changes of a word count once for each occurrence of the word
        at[_BIRTHS] = 0
        scalars, all_symbols, lengths = view(at), view(symbols), view(length)
        tables = (owned(pairs), np.uint64(len(pairs) - 1), owned(count), owned(found), owned(visit), owned(births))
        merging = np.uint64(len(traits)), view(traits), view(veto)
        for i in range(known, known_end):
            word = np.int64(i) if counting else pool[i]
            context = scalars, tables, merging, word, counts[word]
            at[_VISITS] += 1
            begin, stop = start[word], start[word] + size[word]
            if counting:
                for p in range(begin, stop - 1):
                    _change(context, np.int64(symbols[p]), np.int64(symbols[p + 1]), 1)
            else:
                merge = a, b, new, max_length
                size[word] = merge_word(all_symbols, lengths, begin, stop, merge, _change, context) - begin
        entries, heap = _queue_births(at, entries, heap, pool, births, pairs, count, found)
    return done, _Grown(text, merges, merge_counts, pairs, count, found, visit, entries, heap, pool, births)


def train_bpe_queued(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
    slice_length: int = _SLICE,
) -> BpeMerges:
    """Learns merges like `reference.train_bpe`, in all cases. slice_length: symbols between two calls of progress."""
    n_tokens = len(token_offsets) - 1
    ids = int(min(max(limits.vocab_size, n_tokens), n_tokens + len(symbols)))
    nothing = np.empty(0, np.int64)
    state = _Queue(
        at=np.zeros(_N_SCALARS, np.int64),
        limits=np.array([limits.vocab_size, max(1, limits.min_frequency), limits.max_token_length], np.int64),
        veto=veto_limits(limits.veto),
        traits=np.zeros(0 if limits.veto is None else ids + 1, np.uint64),
        prefix=np.frombuffer(limits.prefix, np.uint8),
        symbols=symbols.astype(np.uint32),
        length=np.ones(len(symbols), np.uint32),
        start=offsets[:-1].copy(),
        size=np.diff(offsets),
        counts=counts,
        text_end=resized(token_offsets, ids + 1),
        names=np.zeros(power_of_two(2 * ids + 2), np.uint32),
    )
    table = np.full(1024, -1, np.int64), *np.zeros((3, 1024), np.int64)
    grown = _Grown(tokens.copy(), np.empty(0, np.uint32), nothing, *table, *[nothing] * 4)
    state.at[_TOKENS] = n_tokens
    index_names(grown.text, state.text_end, n_tokens, state.names)
    put_traits(grown.text, state.text_end, n_tokens, limits.veto, state.traits)
    done = False
    while not done:
        done, grown = _merge_queued(state, grown, slice_length)
        if progress is not None:
            progress(int(state.at[_TOKENS]) - n_tokens, limits.vocab_size - n_tokens)
    return learnt(*grown[:3], state.text_end, state.at[_MERGES], state.at[_TOKENS])
