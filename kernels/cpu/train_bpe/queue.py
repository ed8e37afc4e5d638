"""Training BPE by the queue of `tokenizers`, for the case that two merges spell the same string.

That can happen if a prefix or a suffix consists of characters of the text. Then a pair can be queued twice, and the order of
merges depends on the words that each entry of the queue knows (see `reference.train_bpe`). This way is slower than
`train.py`, but never quadratic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from gputok.kernels import BpeLimits, BpeMerges
from gputok.kernels.cpu import kernel
from gputok.kernels.cpu.primitives.constants import GOLDEN, U32
from gputok.kernels.cpu.primitives.heap import pop, push
from gputok.kernels.cpu.primitives.memory import owned, view
from gputok.kernels.cpu.primitives.token_strings import (
    index_names,
    name_slot,
    power_of_two,
    resized,
    room,
    spell_merged,
)
from gputok.kernels.signatures import I64s, U8s, U32s, i64

_SLICE = 2_000_000  # symbols between two calls of progress
_MERGES, _TOKENS, _PAIRS, _ENTRIES, _POOL, _HEAP, _PUSHED, _VISITS, _N_SCALARS = range(9)
_KEY, _COUNT, _NUMBER, _START, _END, _FIELDS = range(
    6
)  # of an entry of the queue; _NUMBER: the number of the push


class _Queue(NamedTuple):
    at: I64s  # int64[_N_SCALARS]
    limits: I64s  # int64[3]: vocab_size, min_frequency (at least 1), max_token_length
    prefix: U8s  # uint8[k]
    symbols: U32s  # uint32[n], each word from its start on
    length: U32s  # uint32[n], of each symbol in initial symbols
    start: I64s  # int64[words]
    size: I64s  # int64[words], in symbols
    counts: I64s  # int64[words]
    merges: U32s  # uint32[3 * m]: left, right, merged
    text: U8s  # uint8[bytes], the tokens' strings
    text_end: I64s  # int64[ids + 1]
    names: U32s  # uint32[power of two], see index_names
    pairs: I64s  # int64[power of two], a hash table of left << 32 | right; -1: empty
    count: I64s  # int64[same], of each pair
    found: I64s  # int64[same], in how many words of this step a pair was born
    visit: I64s  # int64[same], the last visit of a word in which it was born
    entries: I64s  # int64[_FIELDS * entries]; the words that an entry knows are pool[_START:_END]
    heap: I64s  # int64[entries]
    pool: I64s  # int64[m], words
    births: I64s  # int64[2 * m], slot and word of this step


@kernel(inline=True)
def _slot(pairs, key):
    mask = len(pairs) - 1
    at = np.int64((np.uint64(key) * GOLDEN) >> U32) & mask
    while pairs[at] >= 0 and pairs[at] != key:
        at = (at + 1) & mask
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


@kernel(_Queue, i64)
def _merge_queued(state, work):
    """Merges for about `work` symbols: (whether training is done, the state). The first step counts the pairs of all words."""
    (at, limits, prefix, symbols, length, start, size, counts, merges, text, text_end, names, pairs, count, found,
     visit, entries, heap, pool, births) = state  # fmt: skip
    vocab_size, min_frequency, max_length = limits
    done = False
    while work > 0 and not done:
        counting = at[_PUSHED] == 0
        a = b = new = np.uint64(0)
        known, known_end = 0, len(counts)
        if not counting:
            # 1. The pair that comes first; an entry is pushed again if its count has changed
            if at[_TOKENS] >= vocab_size or at[_HEAP] == 0:
                done = True
                continue
            entry = _FIELDS * heap[0]
            current = count[_slot(pairs, entries[entry + _KEY])]
            if entries[entry + _COUNT] != current:
                pop(heap, at[_HEAP], _before, entries)
                entries[entry + _COUNT] = current
                entries[entry + _NUMBER] = at[_PUSHED]
                at[_PUSHED] += 1
                push(heap, at[_HEAP] - 1, entry // _FIELDS, _before, entries)
                work -= 1
                continue
            if np.uint64(current) < np.uint64(min_frequency):
                done = True
                continue
            pop(heap, at[_HEAP], _before, entries)
            at[_HEAP] -= 1
            key = np.uint64(entries[entry + _KEY])
            a, b = key >> np.uint64(32), key & np.uint64(0xFFFFFFFF)
            known, known_end = entries[entry + _START], entries[entry + _END]

            # 2. The string of the merged token, which may be a token already
            begin = text_end[at[_TOKENS]]
            text = room(
                text,
                begin + text_end[a + np.uint64(1)] - text_end[a] + text_end[b + np.uint64(1)] - text_end[b],
            )
            strings, ends, all_names = owned(text), view(text_end), view(names)
            end = spell_merged(strings, ends, view(prefix), np.uint64(len(prefix)), a, b, begin)
            slot = name_slot(strings, ends, all_names, np.uint64(len(names) - 1), begin, end)
            if names[slot] == 0:
                at[_TOKENS] += 1
                names[slot] = at[_TOKENS]
                text_end[at[_TOKENS]] = end
            new = np.uint64(names[slot] - 1)
            merges = room(merges, 3 * at[_MERGES] + 3)
            merges[3 * at[_MERGES]], merges[3 * at[_MERGES] + 1], merges[3 * at[_MERGES] + 2] = a, b, new
            at[_MERGES] += 1

        # 3. Room for the pairs that the merge can make
        total = 0
        for i in range(known, known_end):
            total += size[i if counting else pool[i]]
        work -= total + 1
        births = room(births, 4 * total)
        pool = room(pool, at[_POOL] + 2 * total)
        if 2 * (at[_PAIRS] + 2 * total) > len(pairs):
            old_pairs, old_count = pairs, count
            capacity = len(pairs)
            while capacity < 4 * (at[_PAIRS] + 2 * total):
                capacity *= 2
            pairs, count = np.full(capacity, -1, np.int64), np.zeros(capacity, np.int64)
            found, visit = np.zeros(capacity, np.int64), np.zeros(capacity, np.int64)
            for i in range(len(old_pairs)):
                if old_pairs[i] >= 0:
                    slot = _slot(pairs, old_pairs[i])
                    pairs[slot], count[slot] = old_pairs[i], old_count[i]

        # 4. Merge in the words that the entry knows; the changes of a word count once for each occurrence of the word
        n_births = 0
        for i in range(known, known_end):
            word = np.int64(i) if counting else pool[i]
            at[_VISITS] += 1
            kept = first = start[word]
            p, stop = first, first + size[word]
            while p < stop:
                merging = not counting and symbols[p] == a and p + 1 < stop and symbols[p + 1] == b
                lost_left = lost_right = won_left = won_right = np.int64(-1)
                if merging:
                    merged_length = np.int64(length[p]) + length[p + 1]
                    if kept > first:
                        lost_left = np.int64(symbols[kept - 1]) << 32 | np.int64(a)
                        if length[kept - 1] + merged_length < max_length:
                            won_left = np.int64(symbols[kept - 1]) << 32 | np.int64(new)
                    if p + 2 < stop:
                        lost_right = np.int64(b) << 32 | np.int64(symbols[p + 2])
                        if length[p + 2] + merged_length < max_length:
                            won_right = np.int64(new) << 32 | np.int64(symbols[p + 2])
                    symbols[kept], length[kept] = new, merged_length
                    p += 2
                else:
                    if counting and p + 1 < stop:
                        won_right = np.int64(symbols[p]) << 32 | np.int64(symbols[p + 1])
                    symbols[kept], length[kept] = symbols[p], length[p]
                    p += 1
                kept += 1
                for key, sign in ((lost_left, -1), (won_left, 1), (lost_right, -1), (won_right, 1)):
                    if key < 0:
                        continue
                    slot = _slot(pairs, key)
                    if pairs[slot] < 0:
                        pairs[slot] = key
                        at[_PAIRS] += 1
                    count[slot] += sign * counts[word]
                    if sign > 0 and visit[slot] != at[_VISITS]:
                        visit[slot] = at[_VISITS]
                        found[slot] += 1
                        births[2 * n_births], births[2 * n_births + 1] = slot, word
                        n_births += 1
            size[word] = kept - first

        # 5. Queue the new pairs, each with the words that have it: `found` becomes the place of the next word
        at[_PUSHED] += 1
        for i in range(n_births):
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
        for i in range(n_births):
            found[births[2 * i]] = 0
    return done, _Queue(
        at, limits, prefix, symbols, length, start, size, counts, merges, text, text_end, names, pairs, count, found,
        visit, entries, heap, pool, births,
    )  # fmt: skip


def train_bpe_queued(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    tokens: np.ndarray,
    token_offsets: np.ndarray,
    limits: BpeLimits,
    progress: Callable[[int, int], None] | None = None,
) -> BpeMerges:
    """Learns merges like `reference.train_bpe`, in all cases."""
    n_tokens = len(token_offsets) - 1
    ids = int(min(max(limits.vocab_size, n_tokens), n_tokens + len(symbols)))
    nothing = np.empty(0, np.int64)
    state = _Queue(
        at=np.zeros(_N_SCALARS, np.int64),
        limits=np.array([limits.vocab_size, max(1, limits.min_frequency), limits.max_token_length], np.int64),
        prefix=np.frombuffer(limits.prefix, np.uint8),
        symbols=symbols.astype(np.uint32),
        length=np.ones(len(symbols), np.uint32),
        start=offsets[:-1].copy(),
        size=np.diff(offsets),
        counts=counts,
        merges=np.empty(0, np.uint32),
        text=tokens.copy(),
        text_end=resized(token_offsets, ids + 1),
        names=np.zeros(power_of_two(2 * ids + 2), np.uint32),
        pairs=np.full(1024, -1, np.int64),
        count=np.zeros(1024, np.int64),
        found=np.zeros(1024, np.int64),
        visit=np.zeros(1024, np.int64),
        entries=nothing,
        heap=nothing,
        pool=nothing,
        births=nothing,
    )
    state.at[_TOKENS] = n_tokens
    index_names(state.text, state.text_end, n_tokens, state.names)
    done = False
    while not done:
        done, state = _merge_queued(state, _SLICE)
        if progress is not None:
            progress(int(state.at[_TOKENS]) - n_tokens, limits.vocab_size - n_tokens)
    columns = state.merges[: 3 * state.at[_MERGES]].reshape(-1, 3).T
    offsets = state.text_end[: state.at[_TOKENS] + 1]
    return BpeMerges(*columns, state.text[: offsets[-1]], offsets)
